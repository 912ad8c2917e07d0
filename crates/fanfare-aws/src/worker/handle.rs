//! A batch of one queue on its way through the consumer.

use std::{mem::take, pin::pin, sync::Arc, time::Duration};

use fanfare_core::{Outcome, RawDelivery};
use futures_util::StreamExt;
use tokio::time::{Instant, sleep};

use super::{
    desk::Batch,
    host::{Host, RETURN},
    leases::Key,
};
use crate::limits::BATCH_ENTRIES;

/// Handles a batch, and settles each message as soon as its outcome is known.
pub(super) async fn handle(host: Arc<Host>, batch: Batch) {
    let handlers = batch.handlers;
    let (mut open, deliveries) = Open::new(Arc::clone(&host), batch);
    let may_begin = || !host.is_stopping();
    let outcomes = host.consumer.process(deliveries, handlers, &host.queue, &may_begin);
    // What is ready together is settled together.
    let mut outcomes = pin!(outcomes.ready_chunks(BATCH_ENTRIES));
    loop {
        tokio::select! {
            biased;
            outcomes = outcomes.next() => match outcomes {
                Some(outcomes) => open.ended(outcomes),
                None => return,
            },
            () = open.all_lost() => {
                let (queue, deliveries) = (&host.queue.name, open.left());
                tracing::warn!(%queue, deliveries, "handlers went on after their leases were lost: dropped");
                return;
            }
        }
    }
}

/// What of a batch has no outcome yet. If it is dropped, that is given back at once.
struct Open {
    host: Arc<Host>,
    leases: Vec<Option<Key>>,
    /// Which handler each message is for.
    handler_of: Vec<usize>,
    handlers: Vec<Handler>,
    running: usize,
    /// When outcomes were known last.
    since: Instant,
    /// For how long handlers were busy that have not been told of yet.
    busy: Duration,
}

/// One of the handlers that a batch has: for one message, or those of one group.
#[derive(Default)]
struct Handler {
    left: usize,
    group: Option<String>,
}

impl Open {
    fn new(host: Arc<Host>, batch: Batch) -> (Self, Vec<RawDelivery>) {
        let count = batch.messages.len();
        let mut deliveries: Vec<RawDelivery> = Vec::with_capacity(count);
        let (mut leases, mut handler_of) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut handlers: Vec<Handler> = Vec::with_capacity(batch.handlers);
        for message in batch.messages {
            let group = &message.delivery.metadata.group;
            let is_next = |last: &&mut Handler| group.is_some() && last.group == *group;
            match handlers.last_mut().filter(is_next) {
                Some(last) => last.left += 1,
                None => handlers.push(Handler { left: 1, group: group.clone() }),
            }
            handler_of.push(handlers.len() - 1);
            leases.push(Some(message.lease));
            deliveries.push(message.delivery);
        }
        let (running, since, busy) = (handlers.len(), Instant::now(), Duration::ZERO);
        (Open { host, leases, handler_of, handlers, running, since, busy }, deliveries)
    }

    /// How many have no outcome yet.
    fn left(&self) -> usize {
        self.leases.iter().flatten().count()
    }

    /// Resolves when the leases on all that is left are lost, and have been for as long as one is kept.
    async fn all_lost(&self) {
        for lease in self.leases.iter().flatten() {
            if let Some(cancellation) = self.host.leases.cancellation(*lease) {
                cancellation.cancelled().await;
            }
        }
        sleep(self.host.leases.limit()).await;
    }

    fn ended(&mut self, outcomes: Vec<(usize, Outcome)>) {
        let now = Instant::now();
        let running = u32::try_from(self.running).unwrap_or(u32::MAX);
        self.busy += (now - self.since).saturating_mul(running);
        self.since = now;
        let (mut settled, mut groups) = (Vec::with_capacity(outcomes.len()), Vec::new());
        let before = self.running;
        for (index, outcome) in outcomes {
            let Some(lease) = self.leases.get_mut(index).and_then(Option::take) else { continue };
            settled.push((lease, outcome.disposition()));
            let handler = &mut self.handlers[self.handler_of[index]];
            handler.left -= 1;
            if handler.left == 0 {
                self.running -= 1;
                groups.extend(handler.group.take());
            }
        }
        let ended = before - self.running;
        let busy = if ended > 0 { take(&mut self.busy) } else { Duration::ZERO };
        self.host.ended(settled, ended, &groups, busy);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let left = self.leases.iter_mut().filter_map(Option::take);
        let left: Vec<_> = left.map(|lease| (lease, RETURN)).collect();
        if left.is_empty() && self.running == 0 {
            return;
        }
        let groups: Vec<_> =
            self.handlers.iter_mut().filter_map(|handler| handler.group.take()).collect();
        // How long they would have taken is not known.
        let busy = self.busy + self.since.elapsed();
        self.host.ended(left, self.running, &groups, busy);
    }
}

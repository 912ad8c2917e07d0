//! One shard, from the moment its lease is taken until it is given up or has come to its end.
//!
//! Records are read ahead into a window (`window`), which says what may begin. That goes to the
//! consumer in batches, each a task of its own, and comes back as outcomes. Nothing else is done with
//! the shard but this: whoever drops the future drops all of it.

mod batch;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use aws_sdk_kinesis::types::Record;
use fanfare_core::{Cancellation, Checkpoint, Disposition, Lease, Outcome};
use futures_util::{FutureExt, future::BoxFuture};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use self::batch::{Batch, Outcomes};
use super::{
    fan_out::FanOut,
    leases::{Ended, Held, ShardInfo},
    letters::Letters,
    reader::Reader,
    record::{Item, Resume, unpack},
    shards::HashRange,
    source::{Read, Source, SourceError},
    window::{End, Room, Window},
    worker::Host,
};

/// How far a shard may be ahead of its oldest event that is not done: what is kept in memory, and what
/// may come again after a takeover.
const AHEAD: Room = Room { events: 10_000, bytes: 16 << 20 };

/// The most keys of a batch; and deliveries of one, where they share a transaction: as many as the
/// batch function takes.
const UNIT: usize = 50;

/// The most deliveries of one batch of plain handlers, which are copied for it.
const BATCH: usize = 500;

/// A record is not kept longer than this, so nothing is tried again later.
/// <https://docs.aws.amazon.com/streams/latest/dev/kinesis-extended-retention.html>
const LONGEST_RETRY: Duration = Duration::from_hours(365 * 24);

/// Consumes the shard of a lease.
pub(super) async fn consume(host: Arc<Host>, held: Held) -> Ended {
    let lease = held.lease();
    let (stream, shard) = (host.stream.name().to_owned(), lease.key.clone());
    tracing::info!(stream, shard, from = ?lease.checkpoint, "consuming");
    if lease.checkpoint == Checkpoint::End {
        return Ended::ShardEnd { children: Vec::new() };
    }
    let range = match host.shards.range(&shard).await {
        Ok(range) => range,
        Err(failure) => {
            tracing::warn!(stream, shard, %failure, "its hash range is not known");
            return Ended::Failed;
        }
    };
    let ended = Shard::new(host, held, range).run().await;
    match &ended {
        Ended::GivenUp => tracing::info!(stream, shard, "given up"),
        Ended::ShardEnd { children } => {
            let children: Vec<_> = children.iter().map(|child| &*child.id).collect();
            tracing::info!(stream, shard, ?children, "handled to its end");
        }
        Ended::Failed => {}
    }
    ended
}

struct Shard {
    host: Arc<Host>,
    held: Held,
    range: Option<HashRange>,
    resume: Option<Resume>,
    letters: Arc<Letters>,
    window: Window<Item>,
    /// Read, and not yet in the window.
    read: VecDeque<Record>,
    /// None while it is fetching, and when nothing comes any more.
    source: Option<Source>,
    /// Nothing comes any more; with what the shard was split or merged into.
    closed: Option<Vec<ShardInfo>>,
    batches: JoinSet<()>,
    /// How many events are in batches.
    running: usize,
    /// Of all its deliveries.
    cancellation: Cancellation,
}

/// It is dropped when its lease is lost, and its handlers with it; what those have begun beside
/// themselves hears of it, too.
impl Drop for Shard {
    fn drop(&mut self) {
        self.cancellation.cancel();
    }
}

impl Shard {
    fn new(host: Arc<Host>, held: Held, range: Option<HashRange>) -> Self {
        let Lease { key: shard, checkpoint, .. } = held.lease().clone();
        let shards = host.shards.clone();
        let resume = match &checkpoint {
            Checkpoint::After { sequence_number, sub_sequence_number: Some(sub) } => {
                Some(Resume { sequence_number: sequence_number.clone(), sub_sequence_number: *sub })
            }
            _ => None,
        };
        let source = match host.consumer_arn.clone() {
            Some(arn) => Source::FanOut(FanOut::new(shards, arn, shard, checkpoint)),
            None => Source::Reader(Reader::new(shards, shard, checkpoint)),
        };
        Shard {
            range,
            resume,
            letters: Arc::new(Letters::new(&host.stream)),
            window: Window::new(host.hold, AHEAD),
            read: VecDeque::new(),
            source: Some(source),
            closed: None,
            batches: JoinSet::new(),
            running: 0,
            cancellation: Cancellation::default(),
            host,
            held,
        }
    }

    async fn run(mut self) -> Ended {
        // Unbounded, but each entry is an event in the window.
        let (outcomes, mut settled) = mpsc::unbounded_channel();
        let mut fetching: Option<BoxFuture<'static, Fetched>> = None;
        let mut slots: Option<BoxFuture<'static, Option<OwnedSemaphorePermit>>> = None;
        loop {
            self.fill();
            if let Some(checkpoint) = self.window.checkpoint() {
                self.held.checkpoint(checkpoint);
            }
            let empty = self.read.is_empty() && self.window.is_empty();
            if let Some(children) = self.closed.take_if(|_| empty) {
                return Ended::ShardEnd { children };
            }
            let wanted = self.held.is_wanted();
            if wanted && self.running == 0 {
                return Ended::GivenUp;
            }
            let open = !wanted && self.held.is_valid();
            while open && let Some(free) = self.free_slots() {
                self.begin(free, &outcomes);
            }
            if !open || self.window.ready(Instant::now()) == 0 {
                slots = None;
            } else if slots.is_none() {
                slots = Some(self.next_slots());
            }
            let room = self.window.room().filter(|_| open && self.read.is_empty());
            if !open {
                fetching = None;
            } else if let Some(room) = room
                && let Some(mut source) =
                    self.source.take_if(|source| source.due() <= Instant::now())
            {
                fetching = Some(
                    async move {
                        let read = source.fetch(room).await;
                        Fetched { source, read }
                    }
                    .boxed(),
                );
            }
            let fetch = room.and(self.source.as_ref()).map(Source::due);
            let next = [fetch, self.window.next_due()].into_iter().flatten().min();
            tokio::select! {
                biased;
                Some((ticket, outcome)) = settled.recv() => {
                    self.settle(ticket, &outcome);
                    while let Ok((ticket, outcome)) = settled.try_recv() {
                        self.settle(ticket, &outcome);
                    }
                }
                Some(batch) = self.batches.join_next() => {
                    if let Err(error) = batch {
                        let (stream, shard) = (self.host.stream.name(), &self.held.lease().key);
                        tracing::error!(stream, shard, %error, "a batch was not handled to its end");
                        return Ended::Failed;
                    }
                }
                free = ready(&mut slots) => {
                    slots = None;
                    if let Some(free) = free {
                        self.begin(free, &outcomes);
                    }
                }
                fetched = ready(&mut fetching) => {
                    fetching = None;
                    if self.fetched(fetched).is_err() {
                        return Ended::Failed;
                    }
                }
                () = sleep_until(next.unwrap_or_else(Instant::now)), if open && next.is_some() => {}
                () = self.held.wanted(), if !wanted => {}
            }
        }
    }

    /// Moves what was read into the window, as far as there is room.
    fn fill(&mut self) {
        let mut consumed = 0;
        while self.window.room().is_some()
            && let Some(record) = self.read.pop_front()
        {
            let events =
                unpack(record, self.range.as_ref(), self.resume.as_ref(), &mut self.window);
            if let Some(source) = &mut self.source {
                source.opened(events);
            }
            consumed += events;
        }
        self.host.consumer.channel().consumed(consumed);
    }

    /// Takes what was fetched; an error if nothing can be had of the shard.
    fn fetched(&mut self, Fetched { source, read }: Fetched) -> Result<(), ()> {
        match read {
            Ok(read) => {
                self.read.extend(read.records);
                self.closed = read.end;
                self.source = Some(source).filter(|_| self.closed.is_none());
            }
            Err(SourceError::Gone) => {
                let (stream, shard) = (self.host.stream.name(), &self.held.lease().key);
                tracing::warn!(
                    stream,
                    shard,
                    "the stream has the shard no longer: what was not read of it is lost"
                );
                self.closed = Some(Vec::new());
            }
            Err(SourceError::Fatal(error)) => {
                self.host.fail(error);
                return Err(());
            }
        }
        Ok(())
    }

    /// Slots for what is ready, as far as there are some now.
    fn free_slots(&mut self) -> Option<OwnedSemaphorePermit> {
        let ready = self.window.ready(Instant::now());
        let slots = &self.host.slots;
        let wanted = match self.host.unit_slots() {
            Some(unit) => unit,
            None => slots.available_permits().min(ready).min(UNIT).try_into().unwrap_or(1),
        };
        if ready == 0 || wanted == 0 {
            return None;
        }
        Arc::clone(slots).try_acquire_many_owned(wanted).ok()
    }

    /// Waits for slots.
    fn next_slots(&self) -> BoxFuture<'static, Option<OwnedSemaphorePermit>> {
        let wanted = self.host.unit_slots().unwrap_or(1);
        let slots = Arc::clone(&self.host.slots);
        // It is never closed.
        async move { slots.acquire_many_owned(wanted).await.ok() }.boxed()
    }

    /// Begins a batch of what is ready: of plain handlers one key per slot.
    fn begin(&mut self, slots: OwnedSemaphorePermit, outcomes: &Outcomes) {
        let (keys, events) = match self.host.unit_slots() {
            Some(_) => (UNIT, UNIT),
            None => (slots.num_permits(), BATCH),
        };
        let begun = self.window.begin(Instant::now(), keys, events);
        if begun.is_empty() {
            return;
        }
        self.running += begun.len();
        let batch = Batch {
            host: Arc::clone(&self.host),
            held: self.held.clone(),
            letters: Arc::clone(&self.letters),
            begun,
            cancellation: self.cancellation.clone(),
            slots,
            outcomes: outcomes.clone(),
        };
        self.batches.spawn(batch.run());
    }

    fn settle(&mut self, ticket: u64, outcome: &Outcome) {
        let at = |after: Duration| Instant::now() + after.min(LONGEST_RETRY);
        let end = match (outcome, outcome.disposition()) {
            (_, Disposition::Acknowledge) => End::Done,
            (Outcome::Failed { .. }, Disposition::GiveBack { after }) => End::Failed(at(after)),
            (Outcome::Released, _) | (_, Disposition::Leave) => End::Untried(None),
            (_, Disposition::GiveBack { after }) => End::Untried(Some(at(after))),
        };
        self.running -= 1;
        self.window.end(ticket, end);
    }
}

/// What came of a fetch.
struct Fetched {
    source: Source,
    read: Result<Read, SourceError>,
}

/// The output of a future that may not be there.
async fn ready<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

//! Deliveries of a shard that are handled together.

use std::{pin::pin, sync::Arc};

use fanfare_core::{Cancellation, Outcome};
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::stream::{
    leases::Held,
    letters::Letters,
    record::{Item, delivery},
    window::Begun,
    worker::Host,
};

/// Where outcomes go, by ticket.
pub(super) type Outcomes = mpsc::UnboundedSender<(u64, Outcome)>;

/// A batch: the events of each key stand together, in order.
pub(super) struct Batch {
    pub(super) host: Arc<Host>,
    pub(super) held: Held,
    pub(super) letters: Arc<Letters>,
    pub(super) begun: Vec<Begun<Item>>,
    /// Of each of its deliveries.
    pub(super) cancellation: Cancellation,
    /// One per key, given back when the key is through; of a transaction all until its end.
    pub(super) slots: OwnedSemaphorePermit,
    pub(super) outcomes: Outcomes,
}

impl Batch {
    /// Handles all of it; what is not begun when the lease is lost or wanted is released.
    pub(super) async fn run(self) {
        let Batch { host, held, letters, begun, cancellation, mut slots, outcomes } = self;
        let shard = &held.lease().key;
        let delivery = |begun| {
            let mut delivery = delivery(shard, begun);
            delivery.cancellation = cancellation.clone();
            delivery
        };
        let deliveries = begun.iter().map(delivery).collect();
        let tickets: Vec<u64> = begun.iter().map(|begun| begun.ticket).collect();
        let (keys, mut left) = keys(begun);
        if host.unit_slots().is_none() {
            drop(slots.split(slots.num_permits().saturating_sub(left.len())));
        }
        let may_begin = || held.is_valid() && !held.is_wanted();
        let handled = host.consumer.process(deliveries, left.len(), &*letters, &may_begin);
        let mut handled = pin!(handled);
        while let Some((index, outcome)) = handled.next().await {
            let (Some(ticket), Some(key)) = (tickets.get(index), keys.get(index)) else { continue };
            // Nobody hears it any more if the shard was given up.
            let _ = outcomes.send((*ticket, outcome));
            left[*key] -= 1;
            if left[*key] == 0 && host.unit_slots().is_none() {
                drop(slots.split(1));
            }
        }
    }
}

/// The key of each event by its number, and how many events there are of each.
fn keys(begun: Vec<Begun<Item>>) -> (Vec<usize>, Vec<usize>) {
    let mut counts: Vec<usize> = Vec::new();
    let mut last = None;
    let mut keys = Vec::with_capacity(begun.len());
    for begun in begun {
        if last.as_ref() != Some(&begun.key) {
            last = Some(begun.key);
            counts.push(0);
        }
        keys.push(counts.len() - 1);
        if let Some(count) = counts.last_mut() {
            *count += 1;
        }
    }
    (keys, counts)
}

//! A batch of deliveries to their outcomes: the one function that every host calls.
//!
//! Its only I/O is through ports, and all of it happens within a group's step: the next delivery
//! of a group starts when the last is wholly done. There are two kinds of step: a delivery for a
//! plain handler by itself (`step`), and several for handlers that run in transactions, in one
//! unit of work (`unit`). Where the consumer has something to prepare with, a step of its own comes
//! before (`prepare`). Who comes when is decided by the schedule (`schedule`).

mod prepare;
mod schedule;
mod step;
mod translate;
mod unit;

use std::time::Duration;

use futures_util::{Stream, stream};

use crate::{Call, Consumer, DynDeadLetters, Opened, Outcome, Policy, RawDelivery, Reason};
use schedule::Schedule;

/// The longest chain of events that cause each other: what is behind it is a loop, and goes to
/// the dead-letter queue. AWS stops loops through its own services after about 16, but not those
/// through streams.
const MAX_HOPS: u32 = 64;

/// What all steps of a batch share.
#[derive(Clone, Copy)]
struct Host<'a> {
    consumer: &'a Consumer,
    dead_letters: &'a dyn DynDeadLetters,
    may_begin: &'a (dyn Fn() -> bool + Sync),
}

/// One delivery of a batch.
struct Item {
    /// Its place in the batch.
    index: usize,
    /// Its group's place in the schedule.
    group: usize,
    delivery: RawDelivery,
    /// What the transport brought, where that is not what is handled.
    original: Option<Box<RawDelivery>>,
    /// Whether it has been prepared; it is the first of its group then, and stays that.
    prepared: bool,
    /// Whether it is the first that is parked of its group.
    parked: bool,
}

/// A delivery that has been looked into.
struct Opening {
    item: Item,
    content: Content,
}

/// What was found in it.
enum Content {
    /// An event, and who handles it.
    Call(Call),
    /// Nothing that anybody here can handle: what to do with it, and why.
    Refused(Policy, Reason),
    /// An event for others, from a source that brings everything.
    Unrelated(Reason),
}

impl Consumer {
    /// Handles `batch` and yields each delivery's index and outcome as soon as it is known, every
    /// index once.
    ///
    /// Deliveries of one group are handled one after another in the order of the batch; at the
    /// first that fails the group stops, and the rest of it is [`Outcome::Blocked`]. Groups, and
    /// deliveries without one, run side by side, at most `concurrency` of them.
    ///
    /// Deliveries for handlers that run in a transaction ([`Router::on_tx`](crate::Router::on_tx))
    /// are handled one after another, groups mixed, at most 50 in a transaction. What became of
    /// them is known, and yielded, when it has committed. One that fails is undone and stops its
    /// group alone; where the transaction cannot commit, all its deliveries have failed. What
    /// follows is published after the commit, unless it is recorded in an outbox.
    ///
    /// `may_begin` is asked before each delivery; from its first `false` on nothing new is begun,
    /// and the rest is [`Outcome::Released`]: because the host is asked to stop, or because what
    /// is begun now would outlive the lease on its message.
    ///
    /// A host that loses the lease on a delivery cancels its
    /// [`cancellation`](RawDelivery::cancellation). Then it is not begun; or, if it was, whatever
    /// comes of it is [`Outcome::Lost`], and it is not dead-lettered. The rest of its group is not
    /// begun either, and released.
    ///
    /// Dropping the stream abandons the handlers that run, and rolls back the transaction that is
    /// under way; their deliveries have no outcome.
    pub fn process<'a>(
        &'a self,
        batch: Vec<RawDelivery>,
        concurrency: usize,
        dead_letters: &'a dyn DynDeadLetters,
        may_begin: &'a (dyn Fn() -> bool + Sync),
    ) -> impl Stream<Item = (usize, Outcome)> + Send + 'a {
        let host = Host { consumer: self, dead_letters, may_begin };
        let schedule = Schedule::new(host, batch, concurrency.max(1));
        stream::unfold(schedule, |mut schedule| async move {
            let settled = schedule.next().await?;
            Some((settled, schedule))
        })
    }

    /// Looks into a delivery.
    fn open(&self, item: Item) -> Opening {
        let content = self.content(&item.delivery);
        Opening { item, content }
    }

    fn content(&self, delivery: &RawDelivery) -> Content {
        let undecodable =
            |error| Content::Refused(self.policies.undecodable, Reason::Undecodable(error));
        let opened = match Opened::open(&delivery.body) {
            Ok(opened) => opened,
            Err(error) => return undecodable(error),
        };
        let decode = match self.decoder(&opened.envelope().tag) {
            Ok(decode) => decode,
            Err(reason @ Reason::UnknownTag { handled: None, .. }) if self.unfiltered => {
                return Content::Unrelated(reason);
            }
            Err(reason) => return Content::Refused(self.policies.unknown_tags, reason),
        };
        match decode(opened, delivery) {
            Ok(call) if call.envelope().context.hops > MAX_HOPS => {
                let reason = Reason::TooManyHops(call.envelope().context.hops);
                Content::Refused(Policy::DeadLetter, reason)
            }
            Ok(call) => Content::Call(call),
            Err(error) => undecodable(error),
        }
    }
}

impl Opening {
    /// Whether it is one for a unit of work.
    fn in_transaction(&self) -> bool {
        matches!(&self.content, Content::Call(call) if call.wants_connection())
    }
}

/// The delay of a delivery that comes again, if it does.
fn failed_after(outcome: &Outcome) -> Option<Duration> {
    match outcome {
        Outcome::Failed { after, .. } => Some(*after),
        _ => None,
    }
}

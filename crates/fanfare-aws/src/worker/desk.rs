//! Who is handled next: the handlers that there can be at once, and what waits for one of them, of one
//! queue or of several.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use fanfare_core::RawDelivery;

use super::leases::Key;
use crate::limits::BATCH_ENTRIES;

/// A received message that is held.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) lease: Key,
    pub(super) delivery: RawDelivery,
}

/// Messages of one queue that are handled together, by so many handlers: one for each message, or for
/// all of one group, which stand together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) messages: Vec<Message>,
    pub(super) handlers: usize,
}

/// The handlers, and who waits for one. `Q` is a queue's end of it.
#[derive(Debug)]
pub(super) struct Desk<Q>(Mutex<State<Q>>);

#[derive(Debug)]
struct State<Q> {
    /// Handlers that nobody has.
    free: usize,
    queues: Vec<Waiting<Q>>,
    /// Whose turn it is.
    turn: usize,
}

#[derive(Debug)]
struct Waiting<Q> {
    queue: Q,
    messages: VecDeque<Message>,
    /// How many handlers it may have at once, and has.
    limit: usize,
    running: usize,
    /// The groups that handlers are at.
    groups: HashSet<String>,
}

/// What began when something came or ended: the batches and whose they are.
pub(super) type Begun<Q> = Vec<(Q, Batch)>;

impl<Q: Clone> Desk<Q> {
    pub(super) fn new(handlers: usize) -> Self {
        Desk(Mutex::new(State { free: handlers, queues: Vec::new(), turn: 0 }))
    }

    /// Adds a queue that may have so many handlers at once; its place is what it is known by.
    pub(super) fn join(&self, queue: Q, limit: usize) -> usize {
        let mut state = self.state();
        let (messages, groups) = (VecDeque::new(), HashSet::new());
        state.queues.push(Waiting { queue, messages, limit, running: 0, groups });
        state.queues.len() - 1
    }

    /// Takes in what was received; gives what begins, and whether nothing of the queue waited before.
    pub(super) fn arrive(
        &self,
        place: usize,
        came: impl Iterator<Item = Message>,
    ) -> (Begun<Q>, bool) {
        let mut state = self.state();
        let Some(waiting) = state.queues.get_mut(place) else { return (Vec::new(), false) };
        let hungry = waiting.messages.is_empty();
        waiting.messages.extend(came);
        (state.begin(), hungry)
    }

    /// Frees handlers, and groups that they were at; gives what begins.
    pub(super) fn ended(&self, place: usize, handlers: usize, groups: &[String]) -> Begun<Q> {
        let mut state = self.state();
        state.free += handlers;
        if let Some(waiting) = state.queues.get_mut(place) {
            waiting.running -= handlers;
            groups.iter().for_each(|group| {
                waiting.groups.remove(group);
            });
        }
        state.begin()
    }

    /// How many more messages a queue can take in beside those that wait: as many as there are handlers
    /// free, and a whole receive at least where nothing waits, so that a queue among several has its
    /// turn.
    pub(super) fn room(&self, place: usize) -> usize {
        let state = self.state();
        if state.queues.len() < 2 {
            return usize::MAX;
        }
        let waiting = state.queues.get(place).map_or(0, |waiting| waiting.messages.len());
        let least = if waiting == 0 { BATCH_ENTRIES } else { 0 };
        state.free.saturating_sub(waiting).max(least)
    }

    /// How many messages of a queue wait.
    pub(super) fn waiting(&self, place: usize) -> usize {
        self.state().queues.get(place).map_or(0, |waiting| waiting.messages.len())
    }

    /// All that waits of a queue.
    pub(super) fn leave(&self, place: usize) -> VecDeque<Message> {
        let mut state = self.state();
        let waiting = state.queues.get_mut(place);
        waiting.map(|waiting| std::mem::take(&mut waiting.messages)).unwrap_or_default()
    }

    /// Everybody's ends, if there are several.
    pub(super) fn others(&self) -> Vec<Q> {
        let state = self.state();
        match state.queues.as_slice() {
            [_] => Vec::new(),
            queues => queues.iter().map(|waiting| waiting.queue.clone()).collect(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<Q>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Q: Clone> State<Q> {
    /// Gives the free handlers to what waits, to one queue after another.
    fn begin(&mut self) -> Begun<Q> {
        let mut begun: Begun<Q> = Vec::new();
        // Of each queue the batch that has room.
        let mut batches: Vec<Option<Batch>> = Vec::new();
        let mut without = 0;
        while self.free > 0 && without < self.queues.len() {
            let place = self.turn % self.queues.len();
            self.turn = place + 1;
            batches.resize_with(self.queues.len(), || None);
            let waiting = &mut self.queues[place];
            let batch = batches[place].get_or_insert_default();
            if !waiting.begin(batch) {
                without += 1;
                continue;
            }
            without = 0;
            self.free -= 1;
            if batch.messages.len() >= BATCH_ENTRIES {
                begun.extend(batches[place].take().map(|batch| (waiting.queue.clone(), batch)));
            }
        }
        let rest = batches.into_iter().enumerate();
        let rest = rest.filter_map(|(place, batch)| Some((place, batch?)));
        let rest = rest.filter(|(_, batch)| batch.handlers > 0);
        begun.extend(rest.map(|(place, batch)| (self.queues[place].queue.clone(), batch)));
        begun
    }
}

impl<Q> Waiting<Q> {
    /// Moves what one handler takes next into a batch, if there is something that may begin.
    fn begin(&mut self, batch: &mut Batch) -> bool {
        if self.running >= self.limit {
            return false;
        }
        let may_begin =
            |message: &Message| message.group().is_none_or(|group| !self.groups.contains(group));
        let Some(first) = self.messages.iter().position(may_begin) else { return false };
        let group = self.messages[first].group();
        let count = match group {
            None => 1,
            Some(_) => {
                self.messages.range(first..).take_while(|next| next.group() == group).count()
            }
        };
        if let Some(group) = group.cloned() {
            self.groups.insert(group);
        }
        batch.messages.extend(self.messages.drain(first..first + count));
        batch.handlers += 1;
        self.running += 1;
        true
    }
}

impl Message {
    fn group(&self) -> Option<&String> {
        self.delivery.metadata.group.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use fanfare_core::Metadata;

    use super::*;

    fn messages(count: u64) -> impl Iterator<Item = Message> {
        let message =
            |lease| Message { lease, delivery: RawDelivery::new("", Metadata::new("", 1)) };
        (0..count).map(message)
    }

    fn begun(begun: Begun<char>) -> Vec<(char, usize)> {
        begun.into_iter().map(|(queue, batch)| (queue, batch.messages.len())).collect()
    }

    #[test]
    fn a_queue_of_several_may_always_receive_when_nothing_of_it_waits() {
        let desk = Desk::new(2);
        let left = desk.join('l', 2);
        assert_eq!(desk.room(left), usize::MAX, "alone it has its own bounds");
        let right = desk.join('r', 2);
        assert_eq!(begun(desk.arrive(left, messages(7)).0), [('l', 2)]);
        assert_eq!((desk.waiting(left), desk.room(left), desk.room(right)), (5, 0, BATCH_ENTRIES));
    }

    #[test]
    fn a_handler_that_is_free_goes_to_the_queues_in_turn() {
        let desk = Desk::new(4);
        let (left, right) = (desk.join('l', 4), desk.join('r', 3));
        assert_eq!(begun(desk.arrive(left, messages(20)).0), [('l', 4)]);
        assert_eq!(begun(desk.arrive(right, messages(20)).0), []);
        assert_eq!(begun(desk.ended(left, 4, &[])), [('l', 2), ('r', 2)]);
        assert_eq!(begun(desk.ended(left, 2, &[])), [('l', 1), ('r', 1)]);
        assert_eq!(
            begun(desk.ended(left, 1, &[])),
            [('l', 1)],
            "the other has all that it may have"
        );
    }
}

//! The messages of one call for one destination, sent in rounds.
//!
//! A round sends everything that may go: on an unordered destination all that is left, on an
//! ordered one the first message of each key. What was accepted is done, what failed for good is
//! done too (and, where order is kept, holds back the rest of its key); what failed for now goes
//! into the next round, alone, after a pause.

use std::collections::{HashSet, VecDeque};

use fanfare_core::{Message, PublishError};
use futures_util::{StreamExt, stream};

use super::{BACKOFF, Outcome, REQUESTS_AT_ONCE, left::Left, target::Target};
use crate::{failure::Failure, limits::BATCH_ENTRIES};

pub(super) struct Lane<'a> {
    target: Target<'a>,
    batch: &'a [Message],
    left: VecDeque<Left>,
    done: Vec<Outcome>,
}

impl<'a> Lane<'a> {
    pub(super) fn new(target: Target<'a>, batch: &'a [Message], indices: Vec<usize>) -> Self {
        let left = indices.into_iter().map(Left::new).collect();
        Lane { target, batch, left, done: Vec::new() }
    }

    pub(super) async fn run(mut self) -> Vec<Outcome> {
        self.refuse_unfit();
        while !self.left.is_empty() {
            let round = self.take_round();
            let batches =
                into_batches(round, |left| self.batch[left.index].size(), self.target.bytes());
            let sends = batches.into_iter().map(|entries| async {
                let messages: Vec<_> = entries.iter().map(|left| &self.batch[left.index]).collect();
                let results = self.target.send(&messages).await;
                (entries, results)
            });
            let answers: Vec<_> =
                stream::iter(sends).buffer_unordered(REQUESTS_AT_ONCE).collect().await;
            let mut again = Vec::new();
            for (entries, results) in answers {
                let alone = entries.len() == 1;
                for (left, result) in entries.into_iter().zip(results) {
                    again.extend(self.settle(left, result, alone));
                }
            }
            let pause =
                again.iter().filter(|left| left.attempts > 0).map(|left| left.attempts).max();
            again.sort_by_key(|left| left.index);
            self.put_back(again);
            if let Some(attempts) = pause {
                tokio::time::sleep(BACKOFF.delay(attempts)).await;
            }
        }
        self.done
    }

    /// Before anything is sent.
    fn refuse_unfit(&mut self) {
        for left in std::mem::take(&mut self.left) {
            if self.is_blocked(left.index) {
                self.done.push((left.index, Err(PublishError::Blocked)));
            } else if let Err(error) = self.target.check(&self.batch[left.index]) {
                self.done.push((left.index, Err(error)));
            } else {
                self.left.push_back(left);
            }
        }
    }

    /// What may be sent now.
    fn take_round(&mut self) -> Vec<Left> {
        if !self.target.is_ordered() {
            return self.left.drain(..).collect();
        }
        let mut keys = HashSet::new();
        let (round, rest) = std::mem::take(&mut self.left)
            .into_iter()
            .partition::<Vec<_>, _>(|left| keys.insert(&self.batch[left.index].key));
        self.left = rest.into();
        round
    }

    /// Takes a result; gives the message back if it is to be sent again.
    fn settle(&mut self, mut left: Left, result: Result<(), Failure>, alone: bool) -> Option<Left> {
        let Err(failure) = result else {
            self.done.push((left.index, Ok(())));
            return None;
        };
        let message = &self.batch[left.index];
        let Some(error) = left.fail(failure, message, self.target.resource(), alone) else {
            return Some(left);
        };
        self.done.push((left.index, Err(error)));
        if self.target.is_ordered() {
            let key = &self.batch[left.index].key;
            let (held, free) = std::mem::take(&mut self.left)
                .into_iter()
                .partition::<Vec<_>, _>(|later| self.batch[later.index].key == *key);
            self.left = free.into();
            self.done.extend(held.iter().map(|later| (later.index, Err(PublishError::Blocked))));
        }
        None
    }

    /// Puts what is to be sent again before what has not been sent, which keeps each key's order.
    fn put_back(&mut self, again: Vec<Left>) {
        for left in again.into_iter().rev() {
            self.left.push_front(left);
        }
    }

    /// Whether an earlier message of the same key was refused already.
    fn is_blocked(&self, index: usize) -> bool {
        let key = &self.batch[index].key;
        self.target.is_ordered()
            && self.done.iter().any(|(earlier, _)| self.batch[*earlier].key == *key)
    }
}

/// Cuts `round` into batches, in order: at most 10 entries and `bytes` each.
fn into_batches(round: Vec<Left>, size: impl Fn(&Left) -> usize, bytes: usize) -> Vec<Vec<Left>> {
    let mut batches: Vec<Vec<Left>> = Vec::new();
    let (mut open, mut weight) = (false, 0);
    for left in round {
        let size = size(&left);
        match batches.last_mut() {
            Some(last)
                if open && !left.alone && last.len() < BATCH_ENTRIES && weight + size <= bytes =>
            {
                weight += size;
                last.push(left);
            }
            _ => {
                open = !left.alone;
                weight = size;
                batches.push(vec![left]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn batches_hold_every_message_once_in_order_within_both_limits(
            sizes in prop::collection::vec((1usize..400, any::<bool>()), 0..60),
        ) {
            let round: Vec<_> = (0..sizes.len())
                .map(|index| {
                    let mut left = Left::new(index);
                    left.alone = sizes[index].1 && index % 5 == 0;
                    left
                })
                .collect();
            let batches = into_batches(round.clone(), |left| sizes[left.index].0, 1_000);
            let flat: Vec<_> = batches.iter().flatten().copied().collect();
            prop_assert_eq!(flat, round);
            for batch in &batches {
                let weight: usize = batch.iter().map(|left| sizes[left.index].0).sum();
                prop_assert!(!batch.is_empty() && batch.len() <= BATCH_ENTRIES && weight <= 1_000);
                prop_assert!(batch.len() == 1 || batch.iter().all(|left| !left.alone));
            }
        }
    }
}

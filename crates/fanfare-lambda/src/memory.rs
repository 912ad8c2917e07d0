//! What a function remembers of the records of streams that come again: Lambda does not say how often it has
//! tried one, and brings those along that were done behind one that failed.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use fanfare_core::{Disposition, Outcome, RawDelivery};

use crate::{kinesis::order, source::Batch};

/// So many records are remembered of each sort at most: those of one batch.
const MOST: usize = 10_000;

/// By stream and message id, for as long as the process lives. Another process begins anew, so this is how often a
/// record was tried at least, and not all that was done.
#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<Records>);

#[derive(Debug, Default)]
struct Records {
    failures: HashMap<String, u32>,
    done: HashSet<String>,
}

/// What came in a batch.
#[derive(Debug)]
pub(crate) struct Came {
    /// What is handled, in the order of the deliveries.
    fresh: Vec<Record>,
    /// What was done already.
    done: Vec<Record>,
}

#[derive(Debug)]
struct Record {
    /// With its stream before it.
    message_id: String,
    sequence_number: String,
}

impl Memory {
    /// Takes out of a batch what was done already, and says of the rest how often it has been tried.
    pub(crate) fn recall(&self, batch: &mut Batch) -> Came {
        let records = self.records();
        let mut came = Came { fresh: Vec::new(), done: Vec::new() };
        let mut is_fresh = Vec::with_capacity(batch.deliveries.len());
        for (RawDelivery { metadata, .. }, number) in
            batch.deliveries.iter_mut().zip(&batch.identifiers)
        {
            // Shards and numbers are a stream's own, and a function may have several.
            let arn = batch.arn.as_deref().unwrap_or_default();
            let message_id = format!("{arn}/{}", metadata.message_id);
            let fresh = !records.done.contains(&message_id);
            let failures = records.failures.get(&message_id).copied().unwrap_or(0);
            metadata.attempt = failures.saturating_add(1);
            let record = Record { message_id, sequence_number: number.clone() };
            if fresh { &mut came.fresh } else { &mut came.done }.push(record);
            is_fresh.push(fresh);
        }
        retain(&mut batch.deliveries, &is_fresh);
        retain(&mut batch.identifiers, &is_fresh);
        retain(&mut batch.receipts, &is_fresh);
        came
    }

    /// Notes what came of a batch of which all from the `lowest` sequence number on comes again.
    pub(crate) fn settle(
        &self,
        came: &Came,
        outcomes: &[Option<Outcome>],
        lowest: Option<&String>,
    ) {
        let mut records = self.records();
        let comes_again = |record: &Record| {
            lowest.is_some_and(|lowest| order(&record.sequence_number) >= order(lowest))
        };
        for (record, outcome) in came.fresh.iter().zip(outcomes) {
            match outcome {
                Some(outcome) if outcome.disposition() == Disposition::Acknowledge => {
                    records.failures.remove(&record.message_id);
                    if comes_again(record) {
                        records.done(&record.message_id);
                    }
                }
                Some(Outcome::Failed { .. }) => records.failed(&record.message_id),
                // What was not begun was no attempt.
                _ => {}
            }
        }
        for record in came.done.iter().filter(|record| !comes_again(record)) {
            records.done.remove(&record.message_id);
        }
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Records {
    fn failed(&mut self, message_id: &str) {
        if let Some(count) = self.failures.get_mut(message_id) {
            *count = count.saturating_add(1);
        } else if self.failures.len() < MOST {
            self.failures.insert(message_id.into(), 1);
        }
    }

    fn done(&mut self, message_id: &str) {
        if self.done.len() >= MOST {
            // Most are of shards that other processes have by now.
            self.done.clear();
        }
        self.done.insert(message_id.into());
    }
}

/// Keeps what is marked.
fn retain<T>(all: &mut Vec<T>, marked: &[bool]) {
    let mut marks = marked.iter();
    all.retain(|_| marks.next().copied().unwrap_or(true));
}

//! The state of SNS, SQS and Kinesis: plain data behind one mutex, advanced by the clock on every call.

pub(crate) mod arn;
pub(crate) mod batch;
pub(crate) mod content;
pub(crate) mod dedup;
pub(crate) mod limits;
pub(crate) mod policy;

use std::collections::{BTreeMap, HashMap};

use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::faults::Faults;
use crate::kinesis::{Rates, Stream};
use crate::requests::Requests;
use crate::sns::{Subscription, Topic};
use crate::sqs::{MoveTask, Queue};

/// Everything there is, of all accounts and regions, keyed by ARN.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) clock: Clock,
    pub(crate) faults: Faults,
    pub(crate) requests: Requests,
    pub(crate) queues: BTreeMap<String, Queue>,
    /// When queues were deleted whose names are not free again yet.
    pub(crate) deleted_queues: HashMap<String, Instant>,
    /// By handle; finished ones are kept for `ListMessageMoveTasks`.
    pub(crate) move_tasks: Vec<MoveTask>,
    pub(crate) topics: BTreeMap<String, Topic>,
    pub(crate) subscriptions: BTreeMap<String, Subscription>,
    pub(crate) streams: BTreeMap<String, Stream>,
    pub(crate) stream_rates: Rates,
    changes: watch::Sender<u64>,
    serial: u64,
    rng: fastrand::Rng,
}

impl Engine {
    pub(crate) fn new(changes: watch::Sender<u64>) -> Self {
        Self {
            clock: Clock::start(),
            faults: Faults::default(),
            requests: Requests::default(),
            queues: BTreeMap::new(),
            deleted_queues: HashMap::new(),
            move_tasks: Vec::new(),
            topics: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            streams: BTreeMap::new(),
            stream_rates: Rates::default(),
            changes,
            serial: 0,
            rng: fastrand::Rng::new(),
        }
    }

    /// The next number of a series that never repeats: keys, sequence numbers, receipts.
    pub(crate) fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// A fresh random UUID: message ids, subscription ids, task handles.
    pub(crate) fn uuid(&mut self) -> String {
        uuid::Builder::from_random_bytes(self.rng.u128(..).to_be_bytes()).into_uuid().to_string()
    }

    /// Tells watchers that the contents of some queue or stream changed.
    pub(crate) fn note_change(&self) {
        self.changes.send_modify(|version| *version += 1);
    }
}

/// A sequence number as FIFO queues and topics write it: 20 digits.
pub(crate) fn sequence_number(serial: u64) -> String {
    format!("{:020}", 10_000_000_000_000_000_000_u64.saturating_add(serial))
}

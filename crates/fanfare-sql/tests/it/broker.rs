//! A broker in the process that remembers what it accepted, and fails as it is told.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use fanfare_core::{Destination, Message, Opened, PublishError, PublishReport, Publisher};
use tokio::sync::watch;

/// How long a test waits for what has to come: far more than it needs, also where 100,000 events leave
/// beside fifteen other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// What the broker does with a message: accept it, or not.
type Judge = dyn FnMut(&Message) -> Result<(), PublishError> + Send;

#[derive(Clone)]
pub(crate) struct Broker {
    judge: Arc<Mutex<Box<Judge>>>,
    accepted: Arc<watch::Sender<Accepted>>,
    /// How many messages each call had.
    calls: Arc<Mutex<Vec<usize>>>,
    /// How many calls more are answered how late, after their events were accepted.
    late: Arc<Mutex<(usize, Duration)>>,
}

#[derive(Default)]
struct Accepted {
    messages: Vec<Message>,
    ids: HashSet<String>,
}

impl Broker {
    /// Accepts everything.
    pub(crate) fn new() -> Broker {
        Broker::with(|_| Ok(()))
    }

    pub(crate) fn with(
        judge: impl FnMut(&Message) -> Result<(), PublishError> + Send + 'static,
    ) -> Broker {
        Broker {
            judge: Arc::new(Mutex::new(Box::new(judge))),
            accepted: Arc::default(),
            calls: Arc::default(),
            late: Arc::default(),
        }
    }

    /// Answers the first `calls` calls so late after it has accepted their events.
    pub(crate) fn answering_late(self, calls: usize, latency: Duration) -> Broker {
        *self.late.lock().unwrap() = (calls, latency);
        self
    }

    pub(crate) fn judge_by(
        &self,
        judge: impl FnMut(&Message) -> Result<(), PublishError> + Send + 'static,
    ) {
        *self.judge.lock().unwrap() = Box::new(judge);
    }

    pub(crate) fn accepted(&self) -> Vec<Message> {
        self.accepted.borrow().messages.clone()
    }

    /// How many events it has accepted, duplicates among them.
    pub(crate) fn count(&self) -> usize {
        self.accepted.borrow().messages.len()
    }

    pub(crate) fn calls(&self) -> Vec<usize> {
        self.calls.lock().unwrap().clone()
    }

    /// Waits until it has accepted `count` different events.
    pub(crate) async fn has(&self, count: usize) {
        let mut accepted = self.accepted.subscribe();
        let enough = accepted.wait_for(|accepted| accepted.ids.len() >= count);
        if tokio::time::timeout(PATIENCE, enough).await.is_err() {
            let has = self.accepted.borrow().ids.len();
            panic!("{has} of {count} events after {PATIENCE:?}");
        }
    }

    /// The numbers of each key's events, in the order of their first acceptance.
    pub(crate) fn by_key(&self) -> BTreeMap<String, Vec<u64>> {
        let mut by_key: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        let mut seen = HashSet::new();
        for message in self.accepted() {
            if seen.insert(message.id.clone()) {
                by_key.entry(message.key.clone()).or_default().push(number(&message));
            }
        }
        by_key
    }
}

/// The number in an event's data.
pub(crate) fn number(message: &Message) -> u64 {
    #[derive(serde::Deserialize)]
    struct Data {
        number: u64,
    }
    impl fanfare_core::EventType for Data {
        const TAG: &'static str = "tests.Happened.v1";
        const TOPIC: &'static str = "happenings";
    }
    Opened::open(&message.body).unwrap().read::<Data>().unwrap().1.number
}

/// What an AWS that is down says.
pub(crate) fn unavailable(message: &Message) -> PublishError {
    PublishError::Unavailable {
        destination: message.destination.clone(),
        tag: message.tag.clone(),
        attempts: 1,
        last: "ServiceUnavailable".into(),
    }
}

/// What AWS says of an event that it will never take.
pub(crate) fn refused(message: &Message) -> PublishError {
    let (destination, tag) = (message.destination.clone(), message.tag.clone());
    PublishError::Refused { destination, tag, code: "InvalidParameter".into() }
}

impl Publisher for Broker {
    async fn publish(&self, batch: &[Message]) -> PublishReport {
        self.calls.lock().unwrap().push(batch.len());
        let outcomes: Vec<_> = {
            let mut judge = self.judge.lock().unwrap();
            let mut failed = HashSet::new();
            let judged = batch.iter().map(|message| {
                if self.keeps_order(&message.destination) && failed.contains(&message.key) {
                    return Err(PublishError::Blocked);
                }
                let outcome = judge(message);
                if outcome.is_err() {
                    failed.insert(message.key.clone());
                }
                outcome
            });
            judged.collect()
        };
        self.accepted.send_modify(|accepted| {
            let taken = batch.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok());
            for (message, _) in taken {
                accepted.ids.insert(message.id.clone());
                accepted.messages.push(message.clone());
            }
        });
        let late = {
            let mut late = self.late.lock().unwrap();
            let is_late = late.0 > 0;
            late.0 = late.0.saturating_sub(1);
            is_late.then_some(late.1)
        };
        if let Some(latency) = late {
            tokio::time::sleep(latency).await;
        }
        PublishReport::new(outcomes)
    }

    fn keeps_order(&self, destination: &Destination) -> bool {
        matches!(destination, Destination::Topic(name) if name.ends_with("ordered"))
    }
}

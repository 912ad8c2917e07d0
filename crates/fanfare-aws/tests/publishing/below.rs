//! A publisher that does as it is told, below the buffer.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use fanfare_core::{Destination, Message, PublishError, PublishReport, Publisher, RequestLimits};
use tokio::time::sleep;

use crate::number;

type Judge = dyn Fn(&Message) -> Result<(), PublishError> + Send + Sync;
type Latency = dyn Fn(&[Message]) -> Duration + Send + Sync;

#[derive(Clone)]
pub(crate) struct Below {
    latency: Arc<Latency>,
    judge: Arc<Judge>,
    keeps_order: bool,
    limits: RequestLimits,
    calls: Arc<Mutex<Vec<Vec<usize>>>>,
}

impl Below {
    /// Accepts everything, 10 messages a call, each call in 10 ms.
    pub(crate) fn new() -> Below {
        Below {
            latency: Arc::new(|_| Duration::from_millis(10)),
            judge: Arc::new(|_| Ok(())),
            keeps_order: false,
            limits: RequestLimits::new(10, 262_144),
            calls: Arc::default(),
        }
    }

    pub(crate) fn ordered(self) -> Below {
        Below { keeps_order: true, ..self }
    }

    pub(crate) fn limits(self, limits: RequestLimits) -> Below {
        Below { limits, ..self }
    }

    pub(crate) fn latency(
        self,
        latency: impl Fn(&[Message]) -> Duration + Send + Sync + 'static,
    ) -> Below {
        Below { latency: Arc::new(latency), ..self }
    }

    pub(crate) fn judge(
        self,
        judge: impl Fn(&Message) -> Result<(), PublishError> + Send + Sync + 'static,
    ) -> Below {
        Below { judge: Arc::new(judge), ..self }
    }

    /// Answers nothing, ever.
    pub(crate) fn silent(self) -> Below {
        self.latency(|_| Duration::from_secs(1_000_000))
    }

    /// The numbers of the messages of each call, in the order in which they began.
    pub(crate) fn calls(&self) -> Vec<Vec<usize>> {
        self.calls.lock().unwrap().clone()
    }

    /// The numbers of all messages, in that order.
    pub(crate) fn numbers(&self) -> Vec<usize> {
        self.calls().concat()
    }
}

impl Publisher for Below {
    async fn publish(&self, batch: &[Message]) -> PublishReport {
        self.calls.lock().unwrap().push(batch.iter().map(number).collect());
        sleep((self.latency)(batch)).await;
        let mut failed = HashSet::new();
        let outcomes = batch.iter().map(|message| {
            if self.keeps_order && failed.contains(&message.key) {
                return Err(PublishError::Blocked);
            }
            let outcome = (self.judge)(message);
            if outcome.is_err() {
                failed.insert(message.key.clone());
            }
            outcome
        });
        PublishReport::new(outcomes.collect())
    }

    fn keeps_order(&self, _: &Destination) -> bool {
        self.keeps_order
    }

    fn request_limits(&self, _: &Destination) -> RequestLimits {
        self.limits
    }
}

/// What AWS says of a message that it will never take, with the message's number.
pub(crate) fn refused(message: &Message) -> PublishError {
    let (destination, tag) = (message.destination.clone(), message.tag.clone());
    PublishError::Refused { destination, tag, code: message.id.clone() }
}

//! The shop's publisher.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fanfare::{Destination, Message, PublishError, PublishReport, Publisher, aws::AwsPublisher};

/// How many messages are kept to be found again.
const KEPT: usize = 200;

/// A publisher that counts what went out, keeps a copy of the last, and can be cut off: the port is
/// a trait, so wrapping it is easy.
#[derive(Clone)]
pub struct Published {
    publisher: AwsPublisher,
    sent: Arc<Mutex<Sent>>,
}

#[derive(Default)]
struct Sent {
    count: usize,
    /// Events and their bytes, by topic.
    sizes: BTreeMap<String, (usize, usize)>,
    last: VecDeque<Message>,
    cut_off: bool,
}

impl Published {
    pub fn new(publisher: AwsPublisher) -> Self {
        Published { publisher, sent: Arc::default() }
    }

    pub fn count(&self) -> usize {
        self.sent().count
    }

    /// How many bytes an event of `topic` had, on average.
    pub fn mean_bytes(&self, topic: &str) -> u32 {
        let (events, bytes) = self.sent().sizes.get(topic).copied().unwrap_or_default();
        u32::try_from(bytes / events.max(1)).unwrap_or(u32::MAX)
    }

    /// The message of the event with this id.
    pub fn find(&self, id: &str) -> Option<Message> {
        self.sent().last.iter().find(|message| message.id == id).cloned()
    }

    /// Waits until the event with this id has gone out.
    pub async fn until_sent(&self, id: &str) -> anyhow::Result<()> {
        for _ in 0..600 {
            if self.find(id).is_some() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::bail!("{id} was not published in half a minute")
    }

    /// The tags of what went out under a key, in order.
    pub fn tags(&self, key: &str) -> Vec<String> {
        let sent = self.sent();
        sent.last.iter().filter(|message| message.key == key).map(|m| m.tag.clone()).collect()
    }

    /// Plays an outage: from now on nothing is accepted, or everything again.
    pub fn cut_off(&self, cut_off: bool) {
        self.sent().cut_off = cut_off;
    }

    fn sent(&self) -> MutexGuard<'_, Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Publisher for Published {
    async fn publish(&self, batch: &[Message]) -> PublishReport {
        if self.sent().cut_off {
            return PublishReport::new(batch.iter().map(refused).collect());
        }
        let report = self.publisher.publish(batch).await;
        let accepted = batch.iter().zip(report.outcomes()).filter(|(_, outcome)| outcome.is_ok());
        let mut sent = self.sent();
        sent.count += report.published();
        for (message, _) in accepted {
            if let Destination::Topic(topic) = &message.destination {
                let (events, bytes) = sent.sizes.entry(topic.to_string()).or_default();
                (*events, *bytes) = (*events + 1, *bytes + message.body.len());
            }
            sent.last.push_back(message.clone());
        }
        let surplus = sent.last.len().saturating_sub(KEPT);
        sent.last.drain(..surplus);
        report
    }

    fn keeps_order(&self, destination: &Destination) -> bool {
        self.publisher.keeps_order(destination)
    }
}

/// What a publisher says of a message when AWS is away.
fn refused(message: &Message) -> Result<(), PublishError> {
    Err(PublishError::Unavailable {
        destination: message.destination.clone(),
        tag: message.tag.clone(),
        attempts: 1,
        last: "an outage is played".into(),
    })
}

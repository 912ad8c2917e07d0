//! Publishing with a claim check.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures_util::{StreamExt, stream};
use sha2::{Digest, Sha256};

use super::{ClaimCheck, ClaimCheckError, DynClaimCheck};
use crate::{Destination, Message, Opened, PublishError, PublishReport, Publisher, RequestLimits};

/// Bytes of a message that still goes as it is: what SNS takes, and from where on the extended clients
/// store payloads. <https://docs.aws.amazon.com/sns/latest/dg/large-message-payloads.html>
const MOST: usize = 262_144;

/// Payloads of one call that are stored at once. Each is copied while it is.
const AT_ONCE: usize = 4;

/// Characters of a source or id in a key; a longer one is hashed.
const PART: usize = 100;

/// Stores what is too large for a message, and publishes where it is: around any publisher.
///
/// A message that weighs more than [a limit](Self::over) is stored first, and then its body is a
/// [`Pointer`](super::Pointer). Type tag and filter attributes stay, so that subscriptions filter as
/// ever; on SNS and SQS the attribute [`PAYLOAD_SIZE_ATTRIBUTE`](super::PAYLOAD_SIZE_ATTRIBUTE) comes
/// with it, one of the ten that a message may have. Consumers read it with
/// [`Consumer::claim_check`](crate::Consumer::claim_check), and so do AWS's extended clients for Java and
/// Python.
///
/// - What cannot be stored is not published: [`PublishError::NotStored`] is its outcome, and the later
///   messages of its key are [`PublishError::Blocked`] where the destination keeps order.
/// - A payload's key is made of its event's source and id and a hash of its bytes: publishing it again
///   stores the same bytes under the same key.
/// - Nothing here removes payloads. Let the store expire them, later than queues and dead-letter queues
///   keep messages; and do not let the extended clients delete them where there are other subscribers.
///
/// # Memory
/// A call that stores nothing copies nothing. One that does copies what it publishes as it is, at most
/// the limit each, and at most 4 of the payloads at a time, once, while they are stored.
///
/// ```
/// # use fanfare_core::{ClaimCheckPublisher, Emitter, MemoryClaimCheck, Publisher};
/// # fn example(publisher: impl Publisher + 'static, store: MemoryClaimCheck) {
/// let publisher = ClaimCheckPublisher::new(publisher, store);
/// let orders = Emitter::new("orders", publisher);
/// # }
/// ```
#[derive(Clone)]
pub struct ClaimCheckPublisher<P> {
    publisher: P,
    store: Arc<dyn DynClaimCheck>,
    over: usize,
}

impl<P> ClaimCheckPublisher<P> {
    /// Publishes with `publisher`, and keeps large payloads in `store`.
    pub fn new(publisher: P, store: impl ClaimCheck + 'static) -> Self {
        ClaimCheckPublisher { publisher, store: Arc::new(store), over: MOST }
    }

    /// Stores the payload of a message over so many bytes, its attributes counted; 0 stores every one.
    /// By default 262,144, what SNS takes. More than the destination takes makes no sense.
    #[must_use]
    pub fn over(self, bytes: usize) -> Self {
        ClaimCheckPublisher { over: bytes, ..self }
    }

    /// Stores the payload of a message, and gives the message that points to it.
    async fn check_in(&self, message: &Message) -> Result<Message, PublishError> {
        let stored = self.store.put_boxed(&key(message), &message.body).await;
        let not_stored = |error: ClaimCheckError| {
            let (tag, id) = (message.tag.clone(), &message.id);
            tracing::debug!(event.id = %id, %error, "a payload was not stored");
            PublishError::NotStored { tag, error }
        };
        let body = stored.map_err(not_stored)?.to_body();
        // All but the body, which may be large.
        let Message { destination, id, tag, key, attributes, body: payload, offloaded: _, delay } =
            message;
        Ok(Message {
            destination: destination.clone(),
            id: id.clone(),
            tag: tag.clone(),
            key: key.clone(),
            attributes: attributes.clone(),
            body,
            offloaded: u64::try_from(payload.len()).ok(),
            delay: *delay,
        })
    }
}

impl<P: Publisher> Publisher for ClaimCheckPublisher<P> {
    async fn publish(&self, batch: &[Message]) -> PublishReport {
        let is_large = |m: &Message| m.offloaded.is_none() && m.size() > self.over;
        let large: Vec<usize> = (0..batch.len()).filter(|&index| is_large(&batch[index])).collect();
        if large.is_empty() {
            return self.publisher.publish(batch).await;
        }
        let stores = large
            .into_iter()
            .map(|index| async move { (index, self.check_in(&batch[index]).await) });
        let mut stored: HashMap<_, _> =
            stream::iter(stores).buffer_unordered(AT_ONCE).collect().await;
        let mut outcomes = vec![Err(PublishError::Blocked); batch.len()];
        let (mut messages, mut indices) = (Vec::new(), Vec::new());
        let mut held: HashSet<(&Destination, &str)> = HashSet::new();
        for (index, message) in batch.iter().enumerate() {
            let lane = (&message.destination, &*message.key);
            if held.contains(&lane) {
                continue;
            }
            match stored.remove(&index).unwrap_or_else(|| Ok(message.clone())) {
                Ok(message) => {
                    messages.push(message);
                    indices.push(index);
                }
                Err(error) => {
                    outcomes[index] = Err(error);
                    if self.keeps_order(&message.destination) {
                        held.insert(lane);
                    }
                }
            }
        }
        if !messages.is_empty() {
            let report = self.publisher.publish(&messages).await;
            for (index, outcome) in indices.into_iter().zip(report.outcomes()) {
                outcomes[index] = outcome.clone();
            }
        }
        PublishReport::new(outcomes)
    }

    fn keeps_order(&self, destination: &Destination) -> bool {
        self.publisher.keeps_order(destination)
    }

    fn request_limits(&self, destination: &Destination) -> RequestLimits {
        self.publisher.request_limits(destination)
    }
}

/// Under which key a payload is kept. Two messages of one id need not have the same bytes, as a handler
/// that runs again may return other data, and both may be under way: hence the hash.
fn key(message: &Message) -> String {
    let hash = hex::encode(&Sha256::digest(&message.body)[..16]);
    let id = part(&message.id);
    match Opened::open(&message.body) {
        Ok(opened) => format!("{}/{id}/{hash}", part(&opened.envelope().source)),
        // In a foreign format.
        Err(_) => format!("{id}/{hash}"),
    }
}

/// `text` itself where it is harmless in a key, else a hash of it. The extended clients take two dots for
/// a mark of their own.
fn part(text: &str) -> String {
    let harmless = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let legal = (1..=PART).contains(&text.len()) && text.bytes().all(harmless);
    if legal && !text.contains("..") && !text.starts_with('.') {
        text.into()
    } else {
        format!("sha256-{}", hex::encode(Sha256::digest(text)))
    }
}

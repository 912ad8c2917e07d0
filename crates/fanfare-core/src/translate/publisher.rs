//! Events in a foreign format, for some destinations.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use super::{TranslateError, Translator};
use crate::{Destination, Message, PublishError, PublishReport, Publisher, RequestLimits};

/// A [`Publisher`] that puts what goes to some destinations into a foreign format, and leaves the rest
/// alone. So one service gets what it understands, by tasks to its queue, while the topics keep ours.
///
/// An event that its destination's translator cannot translate is not sent
/// ([`PublishError::Untranslatable`]); where the destination keeps order, neither is what is behind it in
/// its key. Ids and keys stay, and so deduplication and order do.
///
/// Put it around a publisher that offloads large bodies, not into one: a pointer cannot be translated.
///
/// ```
/// # use fanfare_core::{Emitter, Event, EventType, Destination, Publisher};
/// # use fanfare_core::translate::{TranslatingPublisher, Translation, format};
/// # #[derive(Event, serde::Serialize)]
/// # #[event(type = "shop.orders.OrderPlaced.v1", topic = "orders", key = order_id)]
/// # struct OrderPlaced { order_id: String }
/// # fn example(publisher: impl Publisher + 'static) -> Emitter {
/// let legacy = Translation::of(format::MassTransit)
///     .map::<OrderPlaced>("urn:message:Company.Project:OrderPlaced");
/// let publisher = TranslatingPublisher::new(publisher)
///     .translate(Destination::Queue("legacy".into()), legacy);
/// # Emitter::new("orders", publisher)
/// # }
/// ```
#[derive(Clone)]
pub struct TranslatingPublisher<P> {
    publisher: P,
    translators: BTreeMap<Destination, Arc<dyn Translator>>,
}

impl<P> TranslatingPublisher<P> {
    /// `publisher`, with nothing translated yet.
    pub fn new(publisher: P) -> Self {
        TranslatingPublisher { publisher, translators: BTreeMap::new() }
    }

    /// What goes to `destination` is translated; the last translator that is given for one counts.
    #[must_use]
    pub fn translate(
        mut self,
        destination: Destination,
        translator: impl Translator + 'static,
    ) -> Self {
        self.translators.insert(destination, Arc::new(translator));
        self
    }
}

impl<P: Publisher> TranslatingPublisher<P> {
    /// The message as its destination reads it.
    fn translated(&self, message: &Message) -> Result<Message, TranslateError> {
        let Some(translator) = self.translators.get(&message.destination) else {
            return Ok(message.clone());
        };
        let message = message.clone();
        catch_unwind(AssertUnwindSafe(|| translator.outward(message)))
            .unwrap_or(Err(TranslateError::Panicked))
    }
}

impl<P: Publisher> Publisher for TranslatingPublisher<P> {
    async fn publish(&self, batch: &[Message]) -> PublishReport {
        if !batch.iter().any(|message| self.translators.contains_key(&message.destination)) {
            return self.publisher.publish(batch).await;
        }
        let mut held: HashSet<(&Destination, &str)> = HashSet::new();
        let mut outcomes = Vec::with_capacity(batch.len());
        let mut sent = Vec::with_capacity(batch.len());
        for message in batch {
            let key = (&message.destination, message.key.as_str());
            if held.contains(&key) {
                outcomes.push(Some(Err(PublishError::Blocked)));
                continue;
            }
            match self.translated(message) {
                Ok(message) => {
                    outcomes.push(None);
                    sent.push(message);
                }
                Err(error) => {
                    if self.keeps_order(&message.destination) {
                        held.insert(key);
                    }
                    outcomes.push(Some(Err(PublishError::Untranslatable(error))));
                }
            }
        }
        let report = self.publisher.publish(&sent).await;
        let mut published = report.outcomes().iter().cloned();
        let unanswered = || Err(PublishError::Blocked);
        let outcomes = outcomes.into_iter();
        PublishReport::new(
            outcomes
                .map(|known| known.or_else(|| published.next()).unwrap_or_else(unanswered))
                .collect(),
        )
    }

    fn keeps_order(&self, destination: &Destination) -> bool {
        self.publisher.keeps_order(destination)
    }

    fn request_limits(&self, destination: &Destination) -> RequestLimits {
        self.publisher.request_limits(destination)
    }
}

impl<P> fmt::Debug for TranslatingPublisher<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let destinations: Vec<_> = self.translators.keys().collect();
        f.debug_struct("TranslatingPublisher")
            .field("translated", &destinations)
            .finish_non_exhaustive()
    }
}

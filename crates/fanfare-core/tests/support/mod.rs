//! Events, deliveries and ports in memory for the tests of the batch function.
#![allow(dead_code, missing_docs, unreachable_pub)]

pub mod ledger;

use std::sync::{Arc, Mutex};

use fanfare_core::{
    Consumer, Context, DeadLetter, DeadLetterError, DeadLetters, Event, EventType, Message,
    Metadata, Outcome, PublishError, PublishReport, Publisher, RawDelivery,
};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

#[derive(EventType, Deserialize)]
#[event(type = "shop.orders.OrderPlaced.v1", topic = "orders")]
pub struct OrderPlaced {
    pub order_id: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "shop.delivery.Shipped.v1", topic = "deliveries", key = order_id)]
pub struct Shipped {
    pub order_id: String,
}

/// What handlers did, in order.
#[derive(Clone, Default)]
pub struct Recorder(Arc<Mutex<Vec<String>>>);

impl Recorder {
    pub fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }

    pub fn notes(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// A delivery of an `OrderPlaced` in the making.
pub struct Placed {
    id: String,
    tag: &'static str,
    attempt: u32,
    group: Option<String>,
    context: Context,
}

pub fn placed(id: &str) -> Placed {
    Placed {
        id: id.into(),
        tag: OrderPlaced::TAG,
        attempt: 1,
        group: None,
        context: Context::default(),
    }
}

impl Placed {
    pub fn tag(self, tag: &'static str) -> Self {
        Placed { tag, ..self }
    }

    pub fn attempt(self, attempt: u32) -> Self {
        Placed { attempt, ..self }
    }

    pub fn group(self, group: &str) -> Self {
        Placed { group: Some(group.into()), ..self }
    }

    pub fn context(self, context: Context) -> Self {
        Placed { context, ..self }
    }

    /// Written by hand, not by our own encoder.
    pub fn raw(self) -> RawDelivery {
        let Context { correlation_id, traceparent, hops, .. } = self.context;
        let mut body = serde_json::json!({
            "specversion": "1.0", "id": format!("{}-id", self.id), "source": "orders",
            "type": self.tag, "hops": hops, "data": { "order_id": self.id },
        });
        for (name, value) in [("correlationid", correlation_id), ("traceparent", traceparent)] {
            if let Some(value) = value {
                body[name] = value.into();
            }
        }
        let metadata = Metadata::new(format!("{}-message", self.id), self.attempt);
        let metadata = match self.group {
            Some(group) => metadata.in_group(group),
            None => metadata,
        };
        RawDelivery::new(body.to_string(), metadata)
    }
}

/// Ports in memory around a consumer.
#[derive(Clone, Default)]
pub struct Bench {
    pub recorder: Recorder,
    ports: Arc<Mutex<Ports>>,
}

#[derive(Default)]
struct Ports {
    published: Vec<Message>,
    fail: Option<Box<dyn FnMut() -> Option<PublishError> + Send>>,
    dead_letters: Vec<(String, String)>,
    refuse_dead_letters: bool,
}

#[derive(Clone)]
pub struct Port(Arc<Mutex<Ports>>);

impl Publisher for Port {
    async fn publish(&self, batch: &[Message]) -> PublishReport {
        tokio::task::yield_now().await;
        let mut ports = self.0.lock().unwrap();
        if let Some(error) = ports.fail.as_mut().and_then(|fail| fail()) {
            return PublishReport::new(batch.iter().map(|_| Err(error.clone())).collect());
        }
        ports.published.extend_from_slice(batch);
        PublishReport::new(batch.iter().map(|_| Ok(())).collect())
    }
}

impl DeadLetters for Port {
    async fn put(&self, letter: DeadLetter<'_>) -> Result<(), DeadLetterError> {
        tokio::task::yield_now().await;
        let mut ports = self.0.lock().unwrap();
        if ports.refuse_dead_letters {
            let error: fanfare_core::BoxError = "full".into();
            return Err(error.into());
        }
        let id = letter.event_id.unwrap_or(&letter.delivery.metadata.message_id).to_string();
        ports.dead_letters.push((id, letter.reason.to_string()));
        Ok(())
    }
}

impl Bench {
    pub fn new() -> Self {
        Bench::default()
    }

    pub fn publisher(&self) -> Port {
        Port(Arc::clone(&self.ports))
    }

    pub fn published(&self) -> Vec<Message> {
        self.ports.lock().unwrap().published.clone()
    }

    pub fn dead_letters(&self) -> Vec<(String, String)> {
        self.ports.lock().unwrap().dead_letters.clone()
    }

    pub fn fail_next_publish(&self, error: PublishError) {
        let mut error = Some(error);
        self.fail_publishes(move || error.take());
    }

    /// Fails the publishes for which `fail` has an error.
    pub fn fail_publishes(&self, fail: impl FnMut() -> Option<PublishError> + Send + 'static) {
        self.ports.lock().unwrap().fail = Some(Box::new(fail));
    }

    pub fn refuse_dead_letters(&self) {
        self.ports.lock().unwrap().refuse_dead_letters = true;
    }

    pub async fn run(&self, consumer: Consumer, batch: Vec<RawDelivery>) -> Vec<Outcome> {
        self.run_while(consumer, batch, &|| true).await
    }

    /// The outcomes in the order of the batch; fails if an index is missing or comes twice.
    pub async fn run_while(
        &self,
        consumer: Consumer,
        batch: Vec<RawDelivery>,
        may_begin: &(dyn Fn() -> bool + Sync),
    ) -> Vec<Outcome> {
        let consumer = consumer.publisher(self.publisher());
        let count = batch.len();
        let port = self.publisher();
        let mut outcomes: Vec<_> = consumer.process(batch, 16, &port, may_begin).collect().await;
        outcomes.sort_by_key(|(index, _)| *index);
        let indices: Vec<usize> = outcomes.iter().map(|(index, _)| *index).collect();
        assert_eq!(indices, (0..count).collect::<Vec<_>>(), "each delivery has one outcome");
        outcomes.into_iter().map(|(_, outcome)| outcome).collect()
    }
}

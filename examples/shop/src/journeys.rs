//! In which order each service handled the events of each order, as it happened.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use fanfare::{EventType, Opened, Outcome, RawDelivery};

use crate::services::orders::{OrderPaid, OrderPlaced, OrderShipped};

/// What befalls every order, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Placed,
    Paid,
    Shipped,
}

impl Step {
    fn of(tag: &str) -> Option<Self> {
        match tag {
            OrderPlaced::TAG => Some(Step::Placed),
            OrderPaid::TAG => Some(Step::Paid),
            OrderShipped::TAG => Some(Step::Shipped),
            _ => None,
        }
    }
}

/// The steps of each order that each service has handled; clones are the same.
#[derive(Clone, Default)]
pub struct Journeys(Arc<Mutex<BTreeMap<OrderAndService, Vec<Step>>>>);

type OrderAndService = (String, String);

impl Journeys {
    pub fn note(&self, service: &str, delivery: &RawDelivery, outcome: &Outcome) {
        let Outcome::Handled { .. } = outcome else { return };
        let Ok(opened) = Opened::open(&delivery.body) else { return };
        let envelope = opened.envelope();
        if let (Some(step), Some(order_id)) = (Step::of(&envelope.tag), &envelope.key) {
            let mut journeys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            journeys.entry((order_id.clone(), service.into())).or_default().push(step);
        }
    }

    /// Those that are longer than one step: order, service, steps.
    pub fn all(&self) -> Vec<(String, String, Vec<Step>)> {
        let journeys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = journeys.iter().filter(|(_, steps)| steps.len() > 1);
        all.map(|((order, service), steps)| (order.clone(), service.clone(), steps.clone()))
            .collect()
    }
}

/// `placed → paid → shipped`.
pub fn told(steps: &[Step]) -> String {
    let words = steps.iter().map(|step| format!("{step:?}").to_lowercase());
    words.collect::<Vec<_>>().join(" → ")
}

//! What is published, and what is wrong with some of it.

use std::collections::{BTreeMap, HashSet};

use fanfare_core::{Event, Message, seal_event};
use fanfare_topology::Kind;
use serde::{Deserialize, Serialize};

use crate::ground::Subscription;

/// On a standard topic: events with even numbers.
#[derive(Event, Serialize, Deserialize)]
#[event(type = "shop.orders.OrderPlaced.v1", topic = "orders", key = key)]
pub struct OrderPlaced {
    pub key: String,
    pub number: usize,
}

/// On a FIFO topic: events with odd numbers.
#[derive(Event, Serialize, Deserialize)]
#[event(type = "shop.payments.PaymentTaken.v1", topic = "payments", key = key)]
pub struct PaymentTaken {
    pub key: String,
    pub number: usize,
}

/// Keys of so many events; then come others, so that few of many events wait for a poisoned one.
const KEYS: usize = 60;
const EVENTS_OF_KEYS: usize = 10_000;

/// What becomes of an event in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is handled, sooner or later.
    Handled,
    /// Its handler rejects it.
    Rejected,
    /// Its handler fails or panics at each try.
    Exhausted,
    /// It takes the worker's process down, until SQS itself takes it away.
    Deadly,
    /// Its version is unknown.
    Unknown,
    /// Its data does not fit.
    Garbled,
    /// Nothing is wrong with it, but with one before it in its group.
    Parked,
}

impl Fate {
    pub fn of(number: usize) -> Fate {
        let place = number / 2;
        match () {
            () if place == 600 => Fate::Deadly,
            () if place % 131 == 7 => Fate::Rejected,
            () if place % 1009 == 11 => Fate::Exhausted,
            () if place % 401 == 13 => Fate::Unknown,
            () if place % 409 == 17 => Fate::Garbled,
            () => Fate::Handled,
        }
    }

    /// The reason that its dead letter gives; none if SQS moved it.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Fate::Handled | Fate::Deadly => None,
            Fate::Rejected => Some("rejected: poison"),
            Fate::Exhausted => Some("failed for good at attempt "),
            Fate::Unknown => Some("unknown type tag "),
            Fate::Garbled => Some("undecodable: "),
            Fate::Parked => Some("parked: "),
        }
    }

    /// The same after its handler has been mended.
    fn mended(self) -> Fate {
        match self {
            Fate::Unknown | Fate::Garbled => self,
            _ => Fate::Handled,
        }
    }
}

/// What becomes of the events of a subscription, by number. A FIFO queue's may `park` their groups,
/// and be back from the dead-letter queue after their handlers have been `mended`.
pub fn fates(of: Subscription, events: usize, parks: bool, mended: bool) -> BTreeMap<usize, Fate> {
    let mut parked = HashSet::new();
    let fate = |number| {
        let fate = Fate::of(number);
        if of.kind == Kind::Standard {
            return (number, fate);
        }
        let fate = if mended { fate.mended() } else { fate };
        if !parks {
            return (number, fate);
        }
        if parked.contains(&key(number)) {
            return (number, Fate::Parked);
        }
        if fate.reason().is_some() {
            parked.insert(key(number));
        }
        (number, fate)
    };
    of.numbers(events).map(fate).collect()
}

/// The place of an event's key among the keys, which decides who publishes it.
pub fn line(number: usize) -> usize {
    number / EVENTS_OF_KEYS * KEYS + number / 2 * 7 % KEYS
}

/// The event's key. What comes again and again has one of its own: whatever is behind it in a FIFO
/// group is received as often.
pub fn key(number: usize) -> String {
    match Fate::of(number) {
        Fate::Exhausted | Fate::Deadly => format!("alone-{number}"),
        _ => format!("key-{}", line(number)),
    }
}

/// The event of that number, as it goes out.
pub fn message(number: usize) -> Message {
    let key = key(number);
    let mut message = match number % 2 {
        0 => seal_event("shop", &OrderPlaced { key, number }),
        _ => seal_event("shop", &PaymentTaken { key, number }),
    }
    .unwrap();
    match Fate::of(number) {
        Fate::Unknown => {
            let tag = message.tag.replace(".v1", ".v2");
            message.body = message.body.replace(&message.tag, &tag);
            message.attributes.iter_mut().for_each(|(_, value)| *value = tag.clone());
            message.tag = tag;
        }
        Fate::Garbled => {
            let (number, text) =
                (format!("\"number\":{number}"), format!("\"number\":\"{number}\""));
            message.body = message.body.replace(&number, &text);
        }
        _ => {}
    }
    message
}

/// The number of the event in a message's body.
pub fn number(body: &str) -> usize {
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let number = &body["data"]["number"];
    number.as_u64().map_or_else(|| number.as_str().unwrap().parse().unwrap(), |n| n as usize)
}

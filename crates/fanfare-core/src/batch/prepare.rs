//! What comes before a delivery is opened, at its turn in its group: where its body is not the event
//! itself, that is put in its place.
//!
//! A consumer with nothing to prepare with ([`Consumer::prepares`](crate::Consumer)) never comes here.

use std::mem::replace;

use super::{Host, Item};
use crate::{Outcome, RawDelivery};

/// What became of a delivery that was to be prepared.
pub(super) enum Prepared {
    /// It can be opened.
    Ready(Item),
    /// It goes no further.
    Settled(Item, Outcome),
}

pub(super) async fn prepare(host: Host<'_>, mut item: Item) -> Prepared {
    if let Some(outcome) = parked(host, &mut item).await {
        return Prepared::Settled(item, outcome);
    }
    if let Some(outcome) = claim(host, &mut item).await {
        return Prepared::Settled(item, outcome);
    }
    if let Some(outcome) = translate(host, &mut item) {
        return Prepared::Settled(item, outcome);
    }
    item.prepared = true;
    Prepared::Ready(item)
}

/// An event of a parked group follows it to the dead-letter queue; an outcome if it did.
async fn parked(_host: Host<'_>, _item: &mut Item) -> Option<Outcome> {
    None
}

/// Fetches the body that a pointer stands for; an outcome if it cannot be had.
async fn claim(_host: Host<'_>, _item: &mut Item) -> Option<Outcome> {
    None
}

/// Puts our envelope in the place of a foreign body; an outcome if that is impossible.
fn translate(_host: Host<'_>, _item: &mut Item) -> Option<Outcome> {
    None
}

impl Item {
    /// Puts `body` in the place of what was brought: handler, stores and observer see it, and the
    /// dead-letter queue gets what was brought.
    #[expect(dead_code, reason = "what replaces bodies uses it")]
    pub(super) fn replace_body(&mut self, body: String) {
        let brought = replace(&mut self.delivery.body, body);
        if self.original.is_none() {
            let original = RawDelivery { body: brought, ..self.delivery.clone() };
            self.original = Some(Box::new(original));
        }
    }

    /// As the transport brought it.
    pub(super) fn as_brought(&self) -> &RawDelivery {
        self.original.as_deref().unwrap_or(&self.delivery)
    }
}

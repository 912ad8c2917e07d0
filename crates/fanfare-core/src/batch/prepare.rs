//! What comes before a delivery is opened, at its turn in its group: where its body is not the event
//! itself, that is put in its place.
//!
//! A consumer with nothing to prepare with ([`Consumer::prepares`](crate::Consumer)) never comes here.

use std::mem::take;

use super::{
    Content, Host, Item,
    step::{STORE, Step},
    translate::translate,
};
use crate::{Outcome, RawDelivery, Reason, Turn, claim_check};

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
    if let Some(outcome) = translate(host, &mut item).await {
        return Prepared::Settled(item, outcome);
    }
    item.prepared = true;
    Prepared::Ready(item)
}

/// An event of a parked group follows it to the dead-letter queue, unless it is its turn; an outcome if
/// it did. This comes first: what has to wait need not be fetched, and cannot fail, before its turn.
async fn parked(host: Host<'_>, item: &mut Item) -> Option<Outcome> {
    let step = Step { host, item };
    let (store, group) = step.parking()?;
    let event = step.identity();
    let behind = match store.turn_boxed(group, &event).await {
        Ok(Turn::Free) => return None,
        Ok(Turn::Next) => {
            item.parked = true;
            return None;
        }
        Ok(Turn::Past) => {
            tracing::debug!(event.id = %event.id, "a duplicate: it was parked and has been handled");
            return Some(Outcome::Duplicate);
        }
        Ok(Turn::Behind(first)) => first.id,
        Err(error) => return Some(step.later(None, STORE, error.to_string())),
    };
    if let Some(reason) = host.consumer.unrelated(&item.delivery.body) {
        // It was never to be handled here.
        return Some(step.run(Content::Unrelated(reason)).await);
    }
    let id = Some(&*event.id).filter(|_| !event.source.is_empty());
    Some(step.dead_letter(Reason::Parked { behind }, id).await)
}

/// Fetches the body that a pointer stands for; an outcome if it cannot be had.
async fn claim(host: Host<'_>, item: &mut Item) -> Option<Outcome> {
    let store = host.consumer.claim_check.as_deref()?;
    let fetched = claim_check::fetch(store, &item.delivery).await?;
    let error = match fetched {
        Ok(body) => {
            item.replace_body(body);
            claim_check::forget_size(&mut item.delivery.attributes);
            return None;
        }
        Err(error) => error,
    };
    let step = Step { host, item };
    Some(match error.is_retryable() {
        true => step.failed(None, STORE, error.to_string(), "").await,
        false => step.dead_letter(Reason::Unclaimed(error), None).await,
    })
}

impl Item {
    /// Puts `body` in the place of what was brought: handler, stores and observer see it, and the
    /// dead-letter queue gets what was brought.
    pub(super) fn replace_body(&mut self, body: String) {
        let brought = take(&mut self.delivery.body);
        if self.original.is_none() {
            let original = RawDelivery { body: brought, ..self.delivery.clone() };
            self.original = Some(Box::new(original));
        }
        self.delivery.body = body;
    }

    /// As the transport brought it.
    pub(super) fn as_brought(&self) -> &RawDelivery {
        self.original.as_deref().unwrap_or(&self.delivery)
    }
}

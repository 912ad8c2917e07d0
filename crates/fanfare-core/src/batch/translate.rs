//! The part of preparation that puts our envelope in the place of a foreign body.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Content, Host, Item, step::Step};
use crate::{
    Consumer, Outcome, RawDelivery, Reason,
    envelope::encode,
    translate::{Inward, TranslateError},
};

/// Puts our envelope in the place of a foreign body; an outcome if that is impossible.
pub(super) async fn translate(host: Host<'_>, item: &mut Item) -> Option<Outcome> {
    let translated = catch_unwind(AssertUnwindSafe(|| host.consumer.translated(&item.delivery)));
    match translated.unwrap_or(Err(TranslateError::Panicked)) {
        Ok(None) => None,
        Ok(Some(body)) => {
            item.replace_body(body);
            None
        }
        Err(error) => {
            let refused = host.consumer.refused(error);
            Some(Step { host, item }.run(refused).await)
        }
    }
}

impl Consumer {
    /// The body that our envelope has, or that was inside; none if it is ours as it is.
    fn translated(&self, delivery: &RawDelivery) -> Result<Option<String>, TranslateError> {
        let mut inside: Option<RawDelivery> = None;
        for translator in &self.translators {
            match translator.inward(inside.as_ref().unwrap_or(delivery))? {
                None => {}
                Some(Inward::Unwrapped(unwrapped)) => inside = Some(unwrapped),
                Some(Inward::Event(event)) => {
                    let body = encode(&event.envelope, &event.data);
                    let unwritable = |error: serde_json::Error| {
                        TranslateError::malformed("event", ".", error.to_string())
                    };
                    return body.map(Some).map_err(unwritable);
                }
            }
        }
        Ok(inside.map(|inside| inside.body))
    }

    /// What becomes of a foreign message that is no event here.
    fn refused(&self, error: TranslateError) -> Content {
        match error {
            TranslateError::UnknownTag { tag, .. } => {
                let reason = Reason::UnknownTag { tag, handled: None };
                if self.unfiltered {
                    Content::Unrelated(reason)
                } else {
                    Content::Refused(self.policies.unknown_tags, reason)
                }
            }
            error => Content::Refused(self.policies.undecodable, Reason::Undecodable(error.into())),
        }
    }
}

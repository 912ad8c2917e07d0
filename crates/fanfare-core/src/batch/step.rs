//! One delivery on its way. The steps in their order: ask the idempotency store; run the handler,
//! with its context in force; record in the store; publish what follows. The host then settles.

use std::{panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tower::ServiceExt;

use super::{Content, Host, Item};
use crate::{
    Admission, Call, Claim, Context, DeadLetter, DynParkedGroups, Envelope, HandlerError, InboxKey,
    Message, Metadata, Opened, Outcome, PendingEvent, Policy, PublishError, Reason, Retry,
    handler_error::Verdict, into_events::DerivedIds, parked, telemetry::Processing,
};

/// What telemetry calls it if a store fails, and if what follows does not go out.
pub(super) const STORE: &str = "store";
const PUBLISH: &str = "publish";

/// The context of what follows from a delivery. Its trace is that of the span in which it is handled,
/// or else the one that the delivery comes from.
fn following(cause: &Envelope, metadata: &Metadata) -> Context {
    let mut context = Context::following(cause);
    if context.traceparent.is_none() && metadata.traceparent.is_some() {
        // A trace state belongs to a trace, and this is another one.
        (context.traceparent, context.tracestate) = (metadata.traceparent.clone(), None);
    }
    context.traced()
}

pub(super) struct Step<'a> {
    pub(super) host: Host<'a>,
    pub(super) item: &'a Item,
}

impl<'a> Step<'a> {
    /// Begins to process it: its span is open, and its time runs.
    pub(super) fn process(&self, content: &Content) -> Processing<'a> {
        let (telemetry, delivery) = (&self.host.consumer.telemetry, &self.item.delivery);
        match content {
            Content::Call(call) => telemetry.process(delivery, Some(call.envelope())),
            Content::Refused(..) => {
                let opened = Opened::open(&delivery.body).ok();
                telemetry.process(delivery, opened.as_ref().map(Opened::envelope))
            }
            Content::Unrelated(_) => Processing::none(),
        }
    }

    /// Tells of one that got no further than its preparation: what was to be its body is not there, or
    /// is not looked into.
    pub(super) fn settled_unopened(&self, outcome: &Outcome) {
        if !matches!(outcome, Outcome::Ignored(_)) {
            let telemetry = &self.host.consumer.telemetry;
            telemetry.process(&self.item.delivery, None).end(outcome);
        }
    }

    /// What became of it: whatever that is, if its lease is lost another may have it.
    pub(super) fn unless_lost(&self, outcome: Outcome) -> Outcome {
        if self.item.delivery.cancellation.is_cancelled() { Outcome::Lost } else { outcome }
    }
}

impl Step<'_> {
    /// Handles it, if it is for a plain handler.
    pub(super) async fn run(&self, content: Content) -> Outcome {
        match content {
            Content::Call(call) => self.admit(call).await,
            Content::Refused(policy, reason) => {
                // Read again: only what is refused pays for it.
                let opened = Opened::open(&self.item.delivery.body).ok();
                let id = opened.as_ref().map(|opened| &*opened.envelope().id);
                self.apply(policy, reason, id).await
            }
            Content::Unrelated(reason) => {
                tracing::debug!(message_id = %self.item.delivery.metadata.message_id, %reason, "not for us");
                Outcome::Ignored(reason)
            }
        }
    }

    async fn admit(&self, call: Call) -> Outcome {
        let consumer = self.host.consumer;
        let Some(store) = &consumer.idempotency else { return self.handle(call, None).await };
        let Envelope { source, id, .. } = call.envelope();
        let key = InboxKey::new(Arc::clone(&consumer.name), source, id);
        match store.begin_boxed(key, call.payload(&self.item.delivery.body)).await {
            Ok(Admission::New(claim)) => self.handle(call, Some(claim)).await,
            Ok(Admission::Duplicate(followed)) => {
                tracing::debug!("a duplicate: its effect is there already");
                let unpublished = self.publish(&call.envelope().id, followed).await;
                unpublished.unwrap_or(Outcome::Duplicate)
            }
            Ok(Admission::InProgress) => {
                self.later(None, "in_progress", "another delivery of it is being handled".into())
            }
            Ok(Admission::OtherPayload) => {
                self.dead_letter(Reason::OtherPayload, Some(&call.envelope().id)).await
            }
            Err(error) => self.later(None, STORE, error.to_string()),
        }
    }

    async fn handle(&self, call: Call, claim: Option<Claim>) -> Outcome {
        let id = call.envelope().id.clone();
        let followed = match self.call(call).await {
            Ok(followed) => followed,
            // The claim is dropped with this function: a redriven dead letter is handled anew.
            Err(error) => return self.refused(error, &id).await,
        };
        if let (Some(store), Some(claim)) = (&self.host.consumer.idempotency, claim)
            && let Err(error) = store.complete_boxed(claim, &followed).await
        {
            return self.later(None, STORE, error.to_string());
        }
        let published = followed.len();
        let unpublished = self.publish(&id, followed).await;
        unpublished.unwrap_or(Outcome::Handled { published })
    }

    /// Runs the handler, and seals what follows.
    pub(super) async fn call(&self, call: Call) -> Result<Vec<Message>, HandlerError> {
        let source = call.envelope().source.clone();
        let context = following(call.envelope(), call.metadata());
        let handling = context.scope(self.host.consumer.service.clone().oneshot(call));
        let mut handling = pin!(handling);
        let handled = AssertUnwindSafe(handling.as_mut()).catch_unwind().await;
        let pending = match handled {
            Ok(handled) => handled.map_err(HandlerError::from_layer)?,
            Err(_) => return Err(HandlerError::panicked()),
        };
        if pending.is_empty() {
            return Ok(Vec::new());
        }
        self.seal(pending, &source, &handling.take_context())
    }

    /// Seals what follows from an event of `source`, in its context.
    fn seal(
        &self,
        pending: Vec<PendingEvent>,
        source: &str,
        context: &Context,
    ) -> Result<Vec<Message>, HandlerError> {
        let name = &self.host.consumer.name;
        let id = context.causation_id.as_deref().unwrap_or_default();
        let ids = DerivedIds::new((source, id), name);
        let sealed = pending.into_iter().scan(ids, |ids, event| {
            let id = ids.next(&event);
            Some(event.seal(id, name, context.clone()))
        });
        sealed.collect::<Result<_, _>>().map_err(HandlerError::reject)
    }

    pub(super) async fn refused(&self, error: HandlerError, id: &str) -> Outcome {
        match error.verdict {
            Verdict::Retry(after) => {
                self.failed(after, error.error_type(), error.to_string(), id).await
            }
            Verdict::Reject => {
                let reason = Reason::Rejected(error.to_string());
                self.apply(self.host.consumer.policies.rejected, reason, Some(id)).await
            }
        }
    }

    /// Publishes what followed; an outcome if it did not go out.
    async fn publish(&self, id: &str, followed: Vec<Message>) -> Option<Outcome> {
        if followed.is_empty() {
            return None;
        }
        let Some(publisher) = &self.host.consumer.publisher else {
            return Some(self.no_publisher());
        };
        let published = publisher.publish_boxed(&followed).await.into_result();
        Some(self.unpublished(published.err()?, id).await)
    }

    pub(super) fn no_publisher(&self) -> Outcome {
        self.later(None, PUBLISH, "there is no publisher for what follows".into())
    }

    pub(super) async fn unpublished(&self, error: PublishError, id: &str) -> Outcome {
        if error.is_retryable() {
            return self.failed(None, PUBLISH, error.to_string(), id).await;
        }
        self.dead_letter(Reason::Unpublishable(error.to_string()), Some(id)).await
    }

    async fn apply(&self, policy: Policy, reason: Reason, id: Option<&str>) -> Outcome {
        match policy {
            Policy::DeadLetter => self.dead_letter(reason, id).await,
            Policy::Keep => {
                let id = id.unwrap_or_default();
                self.failed(None, reason.error_type(), reason.to_string(), id).await
            }
            Policy::Acknowledge => {
                tracing::warn!(message_id = %self.item.delivery.metadata.message_id, %reason, "ignored");
                Outcome::Ignored(reason)
            }
        }
    }

    pub(super) async fn dead_letter(&self, reason: Reason, id: Option<&str>) -> Outcome {
        if self.item.delivery.cancellation.is_cancelled() {
            // Who has it now decides.
            return Outcome::Lost;
        }
        // First, so that nothing in the dead-letter queue is unknown to the group that follows it.
        if let Some((store, group)) = self.parking()
            && let Err(error) = store.park_boxed(group, &self.identity()).await
        {
            return self.later(None, STORE, error.to_string());
        }
        let letter = DeadLetter::new(self.item.as_brought(), &reason, id);
        match self.host.dead_letters.put_boxed(letter).await {
            Ok(()) => {
                let message_id = &self.item.delivery.metadata.message_id;
                tracing::warn!(%message_id, %reason, "dead-lettered");
                Outcome::DeadLettered(reason)
            }
            Err(error) => self.later(None, "dead_letters", error.to_string()),
        }
    }

    /// After the outcome of what was parked: is it handled, it is the next one's turn.
    pub(super) async fn move_on(&self, outcome: Outcome) -> Outcome {
        let handled =
            matches!(outcome, Outcome::Handled { .. } | Outcome::Duplicate | Outcome::Ignored(_));
        if self.item.parked
            && handled
            && !self.item.delivery.cancellation.is_cancelled()
            && let Some((store, group)) = self.parking()
            && let Err(error) = store.handled_boxed(group, &self.identity()).await
        {
            return self.later(None, STORE, error.to_string());
        }
        outcome
    }

    /// Where its group may be parked.
    pub(super) fn parking(&self) -> Option<(&dyn DynParkedGroups, &str)> {
        let store = self.host.consumer.parked.as_deref()?;
        Some((store, self.item.delivery.metadata.group.as_deref()?))
    }

    /// What it is parked by.
    pub(super) fn identity(&self) -> InboxKey {
        parked::identity(&self.host.consumer.name, &self.item.as_brought().body)
    }

    /// It did not work: again later, unless its attempts are used up.
    pub(super) async fn failed(
        &self,
        after: Option<Duration>,
        class: &'static str,
        error: String,
        id: &str,
    ) -> Outcome {
        let attempts = self.item.delivery.metadata.attempt;
        if !self.retry().ends_at(attempts) {
            return self.later(after, class, error);
        }
        let id = Some(id).filter(|id| !id.is_empty());
        self.dead_letter(Reason::Exhausted { attempts, error }, id).await
    }

    /// Read from the body again: only what fails pays for it.
    fn retry(&self) -> Retry {
        self.host.consumer.retry_of(&self.item.delivery.body)
    }

    /// Again later; `class` is what telemetry calls the error.
    pub(super) fn later(
        &self,
        after: Option<Duration>,
        class: &'static str,
        error: String,
    ) -> Outcome {
        let metadata = &self.item.delivery.metadata;
        let after = after.unwrap_or_else(|| self.retry().delay(metadata.attempt));
        tracing::warn!(message_id = %metadata.message_id, ?after, %error, "failed, will be retried");
        Outcome::Failed { after, error, class }
    }
}

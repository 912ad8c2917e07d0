//! A batch of deliveries to their outcomes: the one function that every host calls.
//!
//! Its only I/O is through ports, and all of it happens within a group's step: the next delivery
//! of a group starts when the last is wholly done. The steps of one delivery, in their order:
//! decode; ask the inbox; run the handler, with its context in force; record in the inbox;
//! publish what follows. The host then settles.

use std::{
    collections::{HashMap, VecDeque},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt, Stream, StreamExt, stream};
use tower::ServiceExt;
use tracing::Instrument;

use crate::{
    Admission, Call, Claim, Consumer, Context, DeadLetter, DynDeadLetters, Envelope, HandlerError,
    InboxKey, Message, Opened, Outcome, PendingEvent, Policy, RawDelivery, Reason,
    handler::Verdict, into_events::DerivedIds,
};

/// The longest chain of events that cause each other: what is behind it is a loop, and goes to
/// the dead-letter queue. AWS stops loops through its own services after about 16, but not those
/// through streams.
const MAX_HOPS: u32 = 64;

/// What is left of a group, and whether it has failed.
struct Group {
    waiting: VecDeque<(usize, RawDelivery)>,
    failed: Option<Duration>,
}

impl Consumer {
    /// Handles `batch` and yields each delivery's index and outcome as soon as it is known, every
    /// index once.
    ///
    /// Deliveries of one group are handled one after another in the order of the batch; at the
    /// first that fails the group stops, and the rest of it is [`Outcome::Blocked`]. Groups, and
    /// deliveries without one, run side by side, at most `concurrency` of them.
    ///
    /// `may_begin` is asked before each delivery; from its first `false` on nothing new is begun,
    /// and the rest is [`Outcome::Released`]: because the host is asked to stop, or because what
    /// is begun now would outlive the lease on its message.
    ///
    /// Dropping the stream abandons the handlers that run; their deliveries have no outcome.
    pub fn process<'a>(
        &'a self,
        batch: Vec<RawDelivery>,
        concurrency: usize,
        dead_letters: &'a dyn DynDeadLetters,
        may_begin: &'a (dyn Fn() -> bool + Sync),
    ) -> impl Stream<Item = (usize, Outcome)> + Send + 'a {
        let groups = groups(batch).into_iter().map(move |group| {
            stream::unfold(group, move |mut group| async move {
                let (index, delivery) = group.waiting.pop_front()?;
                let outcome = match group.failed {
                    Some(after) => Outcome::Blocked { after },
                    None if !may_begin() => Outcome::Released,
                    None => self.handle(&delivery, dead_letters).await,
                };
                if let Outcome::Failed { after, .. } = outcome {
                    group.failed = Some(after);
                }
                if let Some(observer) = &self.observer {
                    observer(&delivery, &outcome);
                }
                Some(((index, outcome), group))
            })
            .boxed()
        });
        stream::iter(groups.collect::<Vec<_>>()).flatten_unordered(concurrency.max(1))
    }

    async fn handle(&self, delivery: &RawDelivery, dead_letters: &dyn DynDeadLetters) -> Outcome {
        let step = Step { consumer: self, delivery, dead_letters };
        let opened = match Opened::open(&delivery.body) {
            Ok(opened) => opened,
            Err(error) => {
                return step.apply(self.undecodable, Reason::Undecodable(error), None).await;
            }
        };
        let envelope = opened.envelope();
        let span = tracing::info_span!(
            "handle",
            consumer = &*self.name,
            event.tag = %envelope.tag,
            event.id = %envelope.id,
            correlation_id = envelope.context.correlation_id.as_deref(),
            attempt = delivery.metadata.attempt,
        );
        step.opened(opened).instrument(span).await
    }
}

/// Splits a batch into its groups; a delivery without a group is one of its own.
fn groups(batch: Vec<RawDelivery>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut by_name: HashMap<String, usize> = HashMap::new();
    for (index, delivery) in batch.into_iter().enumerate() {
        let at = match &delivery.metadata.group {
            Some(name) => *by_name.entry(name.clone()).or_insert(groups.len()),
            None => groups.len(),
        };
        if at == groups.len() {
            groups.push(Group { waiting: VecDeque::new(), failed: None });
        }
        groups[at].waiting.push_back((index, delivery));
    }
    groups
}

/// One delivery on its way.
struct Step<'a> {
    consumer: &'a Consumer,
    delivery: &'a RawDelivery,
    dead_letters: &'a dyn DynDeadLetters,
}

impl Step<'_> {
    async fn opened(&self, opened: Opened<'_>) -> Outcome {
        let id = opened.envelope().id.clone();
        let decode = match self.consumer.decoder(&opened.envelope().tag) {
            Ok(decode) => decode,
            Err(reason) => return self.apply(self.consumer.unknown_tags, reason, Some(&id)).await,
        };
        match decode(opened, self.delivery.metadata.clone()) {
            Ok(call) if call.envelope().context.hops > MAX_HOPS => {
                let reason = Reason::TooManyHops(call.envelope().context.hops);
                self.dead_letter(reason, Some(&id)).await
            }
            Ok(call) => self.admit(call).await,
            Err(error) => {
                let reason = Reason::Undecodable(error);
                self.apply(self.consumer.undecodable, reason, Some(&id)).await
            }
        }
    }

    async fn admit(&self, call: Call) -> Outcome {
        let Some(inbox) = &self.consumer.inbox else { return self.run(call, None).await };
        let Envelope { source, id, .. } = call.envelope();
        let key = InboxKey::new(Arc::clone(&self.consumer.name), source, id);
        match inbox.begin_boxed(key).await {
            Ok(Admission::New(claim)) => self.run(call, Some(claim)).await,
            Ok(Admission::Duplicate(followed)) => {
                tracing::debug!("a duplicate: its effect is there already");
                let id = call.envelope().id.clone();
                self.publish(&id, followed).await.unwrap_or(Outcome::Duplicate)
            }
            Ok(Admission::InProgress) => {
                self.later(None, "another delivery of it is being handled".into())
            }
            Err(error) => self.later(None, error.to_string()),
        }
    }

    async fn run(&self, call: Call, claim: Option<Claim>) -> Outcome {
        let cause = call.envelope().clone();
        let context = Context::following(&cause);
        let handling = self.consumer.service.clone().oneshot(call);
        let handled = AssertUnwindSafe(context.clone().scope(handling)).catch_unwind().await;
        let pending = match handled {
            Ok(Ok(pending)) => pending,
            // The claim is dropped with this function: a redriven dead letter is handled anew.
            Ok(Err(error)) => {
                return self.refused(HandlerError::from_layer(error), &cause.id).await;
            }
            Err(_) => {
                return self.failed(None, "its handler panicked".into(), &cause.id).await;
            }
        };
        let followed = match self.seal(pending, &cause, &context) {
            Ok(followed) => followed,
            Err(error) => return self.refused(error, &cause.id).await,
        };
        if let (Some(inbox), Some(claim)) = (&self.consumer.inbox, claim)
            && let Err(error) = inbox.complete_boxed(claim, &followed).await
        {
            return self.later(None, error.to_string());
        }
        let published = followed.len();
        let unpublished = self.publish(&cause.id, followed).await;
        unpublished.unwrap_or(Outcome::Handled { published })
    }

    async fn refused(&self, error: HandlerError, id: &str) -> Outcome {
        match error.verdict {
            Verdict::Retry(after) => self.failed(after, error.to_string(), id).await,
            Verdict::Reject => {
                self.dead_letter(Reason::Rejected(error.to_string()), Some(id)).await
            }
        }
    }

    fn seal(
        &self,
        pending: Vec<PendingEvent>,
        cause: &Envelope,
        context: &Context,
    ) -> Result<Vec<Message>, HandlerError> {
        let name = &self.consumer.name;
        let ids = DerivedIds::new(cause, name);
        let sealed = pending.into_iter().scan(ids, |ids, event| {
            let id = ids.next(&event);
            Some(event.seal(id, name, context.clone()))
        });
        sealed.collect::<Result<_, _>>().map_err(HandlerError::reject)
    }

    /// Publishes what followed; an outcome if it did not go out.
    async fn publish(&self, id: &str, followed: Vec<Message>) -> Option<Outcome> {
        if followed.is_empty() {
            return None;
        }
        let Some(publisher) = &self.consumer.publisher else {
            return Some(self.later(None, "there is no publisher for what follows".into()));
        };
        match publisher.publish_boxed(&followed).await.into_result() {
            Ok(()) => None,
            Err(error) if error.is_retryable() => {
                Some(self.failed(None, error.to_string(), id).await)
            }
            Err(error) => {
                Some(self.dead_letter(Reason::Unpublishable(error.to_string()), Some(id)).await)
            }
        }
    }

    async fn apply(&self, policy: Policy, reason: Reason, id: Option<&str>) -> Outcome {
        match policy {
            Policy::DeadLetter => self.dead_letter(reason, id).await,
            Policy::Keep => self.failed(None, reason.to_string(), id.unwrap_or_default()).await,
            Policy::Acknowledge => {
                tracing::warn!(message_id = %self.delivery.metadata.message_id, %reason, "ignored");
                Outcome::Ignored(reason)
            }
        }
    }

    async fn dead_letter(&self, reason: Reason, id: Option<&str>) -> Outcome {
        let letter = DeadLetter::new(self.delivery, &reason, id);
        match self.dead_letters.put_boxed(letter).await {
            Ok(()) => {
                let message_id = &self.delivery.metadata.message_id;
                tracing::warn!(%message_id, %reason, "dead-lettered");
                Outcome::DeadLettered(reason)
            }
            Err(error) => self.later(None, error.to_string()),
        }
    }

    /// It did not work: again later, unless its attempts are used up.
    async fn failed(&self, after: Option<Duration>, error: String, id: &str) -> Outcome {
        let attempts = self.delivery.metadata.attempt;
        if attempts < self.consumer.max_attempts {
            return self.later(after, error);
        }
        let id = Some(id).filter(|id| !id.is_empty());
        self.dead_letter(Reason::Exhausted { attempts, error }, id).await
    }

    fn later(&self, after: Option<Duration>, error: String) -> Outcome {
        let metadata = &self.delivery.metadata;
        let after = after.unwrap_or_else(|| self.consumer.retry.delay(metadata.attempt));
        tracing::warn!(message_id = %metadata.message_id, ?after, %error, "failed, will be retried");
        Outcome::Failed { after, error }
    }
}

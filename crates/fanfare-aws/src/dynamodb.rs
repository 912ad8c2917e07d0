//! An idempotency store on DynamoDB.

mod error;
mod item;

use std::{sync::Arc, time::Duration};

use aws_sdk_dynamodb::{
    Client,
    operation::{put_item::PutItemError, update_item::UpdateItemError},
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure::AllOld},
};
use fanfare_core::{
    Admission, Backoff, BoxError, Claim, IdempotencyError, IdempotencyStore, InboxKey, Message,
    PayloadHash,
};
use jiff::{SignedDuration, Timestamp};
use tokio::{runtime::Handle, time::sleep};
use uuid::Uuid;

pub use self::error::DynamoError;
use self::item::{CLAIM, EXPIRES_AT, FOLLOWED, ID, Item, PAYLOAD, Stored, UNTIL, number, text};
use crate::{
    Aws,
    failure::{Class, Failure},
};

/// How long a claim lasts that nobody gives up.
const LASTS: Duration = Duration::from_secs(5 * 60);

/// How long a handled event is remembered: what a queue keeps at most, and a day.
const RETENTION: Duration = Duration::from_secs(15 * 24 * 60 * 60);

/// By how much the clocks of two processes may differ, at most.
const CLOCKS: Duration = Duration::from_secs(5);

/// How often a request is tried that fails for a while.
const ATTEMPTS: u32 = 4;

/// Between its tries.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));

/// Remembers in a DynamoDB table what has been handled, for handlers whose effect is not in an SQL
/// database: see [`IdempotencyStore`] for what that can do and what not. Cheap to clone. With the
/// feature `dynamodb`.
///
/// ```no_run
/// # use fanfare_aws::{Aws, DynamoIdempotencyStore};
/// # use fanfare_core::{Consumer, Router};
/// # use fanfare_topology::Bindings;
/// # fn example(router: Router, aws: &Aws, bindings: &Bindings) -> Consumer {
/// let store = DynamoIdempotencyStore::new(aws, bindings.idempotency_table_name());
/// Consumer::from(router).idempotency(store)
/// # }
/// ```
///
/// A message costs two requests: a put that claims it, and an update when it has been handled; a
/// duplicate costs one. What fails for a while (throttled, no answer) is tried four times within a
/// second or so, and then the delivery is tried again.
///
/// A claim lasts 5 minutes; it is given up at once, by a task in the background, when its handler
/// fails. A function on AWS Lambda may be frozen before that task has run: then the claim ends by
/// itself. What was handled is remembered for 15 days.
///
/// # The table
/// - Partition key `id`, a string; no sort key. All consumers may share one table.
/// - Time to live on the attribute `expires_at`, else items stay for ever. DynamoDB deletes what has
///   expired days late, and nothing here waits for that.
/// - Billed on demand, or with two writes for a message.
/// - The rights `dynamodb:PutItem`, `dynamodb:UpdateItem` and `dynamodb:DeleteItem` on it.
///
/// # Clocks
/// Each process judges by its own clock whether another's claim has ended, and allows for a
/// difference of a tenth of the claim, at most 5 seconds. AWS keeps the clocks of its machines within
/// milliseconds of each other. Where one goes wrong by more, an event may be handled by two at once,
/// and only one of them can complete it: a store like this one never promises more than that.
///
/// # Limits
/// An item has at most 400 KB (409,600 bytes), and so has what followed from one event, as JSON;
/// [`DynamoError::TooLarge`] if it is more.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
#[derive(Clone, Debug)]
pub struct DynamoIdempotencyStore {
    aws: Aws,
    client: Client,
    table: Arc<str>,
    claim: Duration,
    retention: Duration,
}

impl DynamoIdempotencyStore {
    /// A store in `table`. No request is made.
    #[must_use]
    pub fn new(aws: &Aws, table: impl Into<Arc<str>>) -> Self {
        let (aws, client) = (aws.clone(), aws.dynamodb());
        DynamoIdempotencyStore {
            aws,
            client,
            table: table.into(),
            claim: LASTS,
            retention: RETENTION,
        }
    }

    /// How long a claim lasts, 5 minutes by default: longer than any handler takes, so on AWS Lambda
    /// not shorter than the function's time-out. Rounded to milliseconds.
    #[must_use]
    pub fn claims_last(self, time: Duration) -> Self {
        DynamoIdempotencyStore { claim: time, ..self }
    }

    /// How long a handled event is remembered, 15 days by default: longer than its message can come
    /// again. Rounded to milliseconds.
    #[must_use]
    pub fn retention(self, time: Duration) -> Self {
        DynamoIdempotencyStore { retention: time, ..self }
    }

    /// Sends a request as often as it takes.
    async fn tried<A>(&self, send: impl Fn() -> A + Send + Sync) -> Result<Answer, DynamoError>
    where
        A: Future<Output = Result<Answer, Failure>> + Send,
    {
        let mut attempt = 1;
        loop {
            match send().await {
                Ok(answer) => return Ok(answer),
                Err(failure) if failure.class == Class::Transient && attempt < ATTEMPTS => {
                    sleep(BACKOFF.delay(attempt)).await;
                    attempt += 1;
                }
                Err(failure) => return Err(DynamoError::of(&self.table, &failure)),
            }
        }
    }
}

/// What became of a conditional request.
enum Answer {
    Done,
    /// The condition does not hold, for this item; none: there is no item.
    Not(Option<Item>),
}

impl IdempotencyStore for DynamoIdempotencyStore {
    async fn begin(
        &self,
        key: InboxKey,
        payload: PayloadHash,
    ) -> Result<Admission, IdempotencyError> {
        let (id, claim, payload) =
            (item::id(&key), Uuid::new_v4().to_string(), payload.to_string());
        let now = self.aws.now();
        let ends = after(now, self.claim);
        // Another takes it over that much later, if its clock is right.
        let until = after(ends, CLOCKS.min(self.claim / 10));
        let put = self
            .client
            .put_item()
            .table_name(&*self.table)
            .item(ID, text(&id))
            .item(PAYLOAD, text(&payload))
            .item(CLAIM, text(&claim))
            .item(UNTIL, milliseconds(until))
            .item(EXPIRES_AT, seconds(until))
            .condition_expression("attribute_not_exists(#id) or #until <= :now")
            .expression_attribute_names("#id", ID)
            .expression_attribute_names("#until", UNTIL)
            .expression_attribute_values(":now", milliseconds(now))
            .return_values_on_condition_check_failure(AllOld);
        let answer = self.tried(|| async {
            match put.clone().send().await {
                Ok(_) => Ok(Answer::Done),
                Err(error) => match error.as_service_error() {
                    Some(PutItemError::ConditionalCheckFailedException(not)) => {
                        Ok(Answer::Not(not.item().cloned()))
                    }
                    _ => Err(Failure::of(&error)),
                },
            }
        });
        let stored = match answer.await.map_err(failed)? {
            Answer::Done => None,
            Answer::Not(None) => return Ok(Admission::InProgress),
            Answer::Not(Some(item)) => {
                let stored = Stored::read(&item);
                Some(stored.ok_or_else(|| failed(DynamoError::foreign(&self.table)))?)
            }
        };
        Ok(match stored {
            Some(stored) if stored.payload != payload => Admission::OtherPayload,
            Some(Stored { followed: Some(followed), .. }) => {
                let followed = serde_json::from_str(&followed);
                let read = followed.map_err(|_| failed(DynamoError::foreign(&self.table)));
                Admission::Duplicate(read?)
            }
            Some(stored) if stored.claim != claim => Admission::InProgress,
            // An earlier try had come through, and its answer was lost.
            Some(_) | None => {
                let held = Held { store: self.clone(), id, claim: Some(claim), ends };
                Admission::New(Claim::new(key, held))
            }
        })
    }

    async fn complete(
        &self,
        mut claim: Claim,
        followed: &[Message],
    ) -> Result<(), IdempotencyError> {
        let Some(held) = claim.guard::<Held>() else { return Err(IdempotencyError::ClaimExpired) };
        let now = self.aws.now();
        let Some(mine) = held.claim.clone().filter(|_| now < held.ends) else {
            return Err(IdempotencyError::ClaimExpired);
        };
        let followed = serde_json::to_string(followed).map_err(BoxError::from)?;
        item::check_size(&held.id, &followed).map_err(failed)?;
        let until = after(now, self.retention);
        let update = self
            .client
            .update_item()
            .table_name(&*self.table)
            .key(ID, text(&held.id))
            .update_expression(
                "set #followed = :followed, #until = :until, #expires_at = :expires_at",
            )
            .condition_expression("#claim = :claim and attribute_not_exists(#followed)")
            .expression_attribute_names("#claim", CLAIM)
            .expression_attribute_names("#followed", FOLLOWED)
            .expression_attribute_names("#until", UNTIL)
            .expression_attribute_names("#expires_at", EXPIRES_AT)
            .expression_attribute_values(":claim", text(&mine))
            .expression_attribute_values(":followed", text(&followed))
            .expression_attribute_values(":until", milliseconds(until))
            .expression_attribute_values(":expires_at", seconds(until))
            .return_values_on_condition_check_failure(AllOld);
        let answer = self.tried(|| async {
            match update.clone().send().await {
                Ok(_) => Ok(Answer::Done),
                Err(error) => match error.as_service_error() {
                    Some(UpdateItemError::ConditionalCheckFailedException(not)) => {
                        Ok(Answer::Not(not.item().cloned()))
                    }
                    _ => Err(Failure::of(&error)),
                },
            }
        });
        let answer = answer.await.map_err(failed)?;
        // From here on there is nothing to give up.
        held.claim = None;
        let is_mine = |item: &Item| Stored::read(item).is_some_and(|stored| stored.claim == mine);
        match answer {
            Answer::Done => Ok(()),
            // An earlier try had come through, and its answer was lost.
            Answer::Not(Some(item)) if is_mine(&item) => Ok(()),
            Answer::Not(_) => Err(IdempotencyError::ClaimExpired),
        }
    }
}

/// Gives a claim up when it is dropped.
struct Held {
    store: DynamoIdempotencyStore,
    id: String,
    claim: Option<String>,
    /// When it ends, by this process's clock.
    ends: Timestamp,
}

impl Drop for Held {
    fn drop(&mut self) {
        let (Some(claim), Ok(runtime)) = (self.claim.take(), Handle::try_current()) else { return };
        let give_up = self
            .store
            .client
            .delete_item()
            .table_name(&*self.store.table)
            .key(ID, text(&self.id))
            .condition_expression("#claim = :claim and attribute_not_exists(#followed)")
            .expression_attribute_names("#claim", CLAIM)
            .expression_attribute_names("#followed", FOLLOWED)
            .expression_attribute_values(":claim", text(&claim));
        runtime.spawn(async move {
            if let Err(error) = give_up.send().await {
                let error = Failure::of(&error);
                tracing::debug!(%error, "a claim was not given up: it ends by itself");
            }
        });
    }
}

fn failed(error: DynamoError) -> IdempotencyError {
    BoxError::from(error).into()
}

/// At the end of time, if it would be later.
fn after(time: Timestamp, duration: Duration) -> Timestamp {
    let duration = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}

fn milliseconds(time: Timestamp) -> AttributeValue {
    number(time.as_millisecond())
}

/// Whole seconds for DynamoDB's time to live, which must not be early.
fn seconds(time: Timestamp) -> AttributeValue {
    number(time.as_second() + 1)
}

//! Faults: what a caller of AWS meets sooner or later, on demand or drawn from a seed.

use std::collections::{HashMap, VecDeque};

use crate::error::AwsError;
use crate::wire::Service;

/// What is to go wrong with one call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The call is refused as throttled and has no effect.
    Throttle,
    /// The service fails with status 500 and the call has no effect.
    ServerError,
    /// The call takes effect, but the connection breaks before its answer arrives.
    LoseAnswer,
    /// The connection breaks and the call has no effect.
    BreakConnection,
    /// No effect and no answer, ever: the client's time-out decides.
    Hang,
    /// Entry k (from 0) of a batch call is reported in `Failed` as `InternalError` with
    /// `SenderFault` false and has no effect; the others go through. Of a `PutRecords` call: record
    /// k is answered with `InternalFailure` and is not stored, while later ones of its key are.
    FailEntry(usize),
    /// For `ReceiveMessage`: the next receive from a standard queue that hands anything out gives
    /// its first message to the caller *and* leaves it visible, so that it is delivered again even
    /// if the caller deletes it: the handle of this delivery is that of a lost copy. Waits for such
    /// a receive; FIFO queues do not duplicate.
    DuplicateDelivery,
    /// The receipt handles of this delete or visibility change count as expired: on a standard
    /// queue a delete succeeds without deleting, on a FIFO queue and for visibility changes it is
    /// refused.
    ExpireReceipts,
    /// The shard iterator of this `GetRecords` counts as expired: `ExpiredIteratorException`.
    ExpireIterator,
    /// The call is refused with any error of AWS (`AccessDenied`, for example), without effect.
    Refuse {
        /// HTTP status, 400 to 599 (anything else is sent as 500).
        status: u16,
        /// The error's code.
        code: String,
        /// The error's text.
        message: String,
    },
}

/// Faults drawn at random: the same seed and the same calls give the same faults. All
/// probabilities are between 0 and 1 and default to 0.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RandomFaults {
    /// Where the random numbers start.
    pub seed: u64,
    /// Per call: [`Fault::Throttle`].
    pub throttle: f64,
    /// Per call: [`Fault::ServerError`].
    pub server_error: f64,
    /// Per call: [`Fault::LoseAnswer`].
    pub lose_answer: f64,
    /// Per entry of a batch call, records of `PutRecords` included: [`Fault::FailEntry`].
    pub fail_entry: f64,
    /// Per receive from a standard queue that hands anything out: [`Fault::DuplicateDelivery`].
    pub duplicate: f64,
    /// Per delete or visibility change: [`Fault::ExpireReceipts`].
    pub expire_receipt: f64,
    /// Per `GetRecords`: [`Fault::ExpireIterator`].
    pub expire_iterator: f64,
    /// Per message received from a standard queue: one of the next twenty is taken instead of the
    /// oldest.
    pub reorder: f64,
}

/// The faults that wait to happen.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    injected: HashMap<String, VecDeque<Fault>>,
    random: Option<(RandomFaults, fastrand::Rng)>,
}

impl Faults {
    pub(crate) fn inject(&mut self, action: &str, fault: Fault) {
        self.injected.entry(action.to_owned()).or_default().push_back(fault);
    }

    pub(crate) fn set_random(&mut self, faults: Option<RandomFaults>) {
        self.random = faults.map(|faults| {
            let rng = fastrand::Rng::with_seed(faults.seed);
            (faults, rng)
        });
    }

    /// What befalls the call of `action` that arrives now.
    pub(crate) fn next(&mut self, action: &str) -> Option<Fault> {
        let waits_for_message = self.front(action) == Some(&Fault::DuplicateDelivery);
        if !waits_for_message && let Some(fault) = self.pop(action) {
            return Some(fault);
        }
        let (faults, rng) = self.random.as_mut()?;
        let settles = action.starts_with("DeleteMessage") || action.starts_with("ChangeMessage");
        let reads = action == "GetRecords";
        [
            (faults.throttle, Fault::Throttle),
            (faults.server_error, Fault::ServerError),
            (faults.lose_answer, Fault::LoseAnswer),
            (if settles { faults.expire_receipt } else { 0.0 }, Fault::ExpireReceipts),
            (if reads { faults.expire_iterator } else { 0.0 }, Fault::ExpireIterator),
        ]
        .into_iter()
        .find_map(|(probability, fault)| chance(rng, probability).then_some(fault))
    }

    /// Whether this entry of a batch call fails by chance.
    pub(crate) fn entry_fails(&mut self) -> bool {
        self.random.as_mut().is_some_and(|(faults, rng)| chance(rng, faults.fail_entry))
    }

    /// Whether the receive that is about to hand messages out duplicates one.
    pub(crate) fn duplicates(&mut self) -> bool {
        if self.front("ReceiveMessage") == Some(&Fault::DuplicateDelivery) {
            return self.pop("ReceiveMessage").is_some();
        }
        self.random.as_mut().is_some_and(|(faults, rng)| chance(rng, faults.duplicate))
    }

    /// How many messages the receive passes over before it takes the next one.
    pub(crate) fn reorder(&mut self) -> usize {
        /// As far as a reordered message may jump ahead.
        const WINDOW: usize = 20;
        let Some((faults, rng)) = &mut self.random else { return 0 };
        if chance(rng, faults.reorder) { rng.usize(..WINDOW) } else { 0 }
    }

    fn front(&self, action: &str) -> Option<&Fault> {
        self.injected.get(action)?.front()
    }

    fn pop(&mut self, action: &str) -> Option<Fault> {
        self.injected.get_mut(action)?.pop_front()
    }
}

/// The error by which a fault refuses the whole call, if it does.
pub(crate) fn refusal(fault: &Fault, service: Service, action: &str) -> Option<AwsError> {
    Some(match (fault, service) {
        (Fault::Throttle, Service::Sqs) => {
            AwsError::sender("RequestThrottled", "Rate exceeded").with_status(403)
        }
        (Fault::Throttle, Service::Sns) => AwsError::sender("Throttling", "Rate exceeded"),
        (Fault::Throttle, Service::Kinesis) => {
            let of_a_shard = ["PutRecord", "PutRecords", "GetRecords", "GetShardIterator"];
            let code = match of_a_shard.contains(&action) {
                true => "ProvisionedThroughputExceededException",
                false => "LimitExceededException",
            };
            AwsError::sender(code, "Rate exceeded")
        }
        (Fault::ServerError, Service::Kinesis) => {
            AwsError::sender("InternalFailure", "Internal service failure.").with_status(500)
        }
        (Fault::ServerError, _) => AwsError::internal(),
        (Fault::Refuse { status, code, message }, _) => AwsError {
            status: if (400..600).contains(status) { *status } else { 500 },
            code: code.clone().into(),
            message: message.clone(),
        },
        _ => return None,
    })
}

/// True with the given probability; draws nothing when it is 0, so that an unused kind of fault
/// does not shift the others.
fn chance(rng: &mut fastrand::Rng, probability: f64) -> bool {
    probability > 0.0 && rng.f64() < probability
}

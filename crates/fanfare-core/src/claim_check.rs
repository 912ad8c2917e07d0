//! The port for payloads that are too large for a message: they are stored elsewhere, and the message
//! says where.

mod memory;
mod pointer;
mod publisher;

use crate::{Attributes, BoxFuture, RawDelivery};

pub use memory::MemoryClaimCheck;
pub use pointer::Pointer;
pub use publisher::ClaimCheckPublisher;

/// Name of the message attribute that says how many bytes the payload behind a pointer has, a
/// `Number`. The extended clients take a message for a pointer only if it has it.
pub const PAYLOAD_SIZE_ATTRIBUTE: &str = "ExtendedPayloadSize";

/// It, and what the first versions of the extended client for Java called it.
const SIZE_ATTRIBUTES: [&str; 2] = [PAYLOAD_SIZE_ATTRIBUTE, "SQSLargePayloadSize"];

/// Keeps payloads that are too large for a message.
///
/// Contract:
/// - when `put` returns `Ok` the payload is kept, and `get` finds it by the pointer that was returned;
/// - the same payload may be put under the same key again, and then is there once;
/// - what `get` returns is what was stored: a store that keeps a checksum compares it;
/// - `get` fetches from where it was told to only, and no more than it was told to: pointers come from
///   outside;
/// - nothing is removed when it has been read: other subscribers, redeliveries and dead letters point to
///   it too. Whoever runs the store lets payloads expire, later than any message that points to them.
pub trait ClaimCheck: Send + Sync {
    /// Keeps `payload` under `key`, which has only letters, digits and `/._-`, at most 300.
    fn put(
        &self,
        key: &str,
        payload: &str,
    ) -> impl Future<Output = Result<Pointer, ClaimCheckError>> + Send;

    /// The payload that `pointer` points to.
    fn get(
        &self,
        pointer: &Pointer,
    ) -> impl Future<Output = Result<String, ClaimCheckError>> + Send;
}

/// [`ClaimCheck`] as an object.
pub trait DynClaimCheck: Send + Sync {
    /// [`ClaimCheck::put`], boxed.
    fn put_boxed<'a>(
        &'a self,
        key: &'a str,
        payload: &'a str,
    ) -> BoxFuture<'a, Result<Pointer, ClaimCheckError>>;

    /// [`ClaimCheck::get`], boxed.
    fn get_boxed<'a>(
        &'a self,
        pointer: &'a Pointer,
    ) -> BoxFuture<'a, Result<String, ClaimCheckError>>;
}

impl<C: ClaimCheck> DynClaimCheck for C {
    fn put_boxed<'a>(
        &'a self,
        key: &'a str,
        payload: &'a str,
    ) -> BoxFuture<'a, Result<Pointer, ClaimCheckError>> {
        Box::pin(self.put(key, payload))
    }

    fn get_boxed<'a>(
        &'a self,
        pointer: &'a Pointer,
    ) -> BoxFuture<'a, Result<String, ClaimCheckError>> {
        Box::pin(self.get(pointer))
    }
}

/// Why a payload was not stored or fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimCheckError {
    /// A message says that it is a pointer, and is none.
    #[error("the message is a pointer to its payload, but {problem}")]
    Malformed {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// It points to where nothing is fetched from.
    #[error(
        "the payload is in bucket `{bucket}`, which is not allowed: if its publisher is to be trusted, allow the bucket where the claim check is made"
    )]
    NotAllowed {
        /// The bucket.
        bucket: String,
    },
    /// There is no such payload.
    #[error(
        "the payload {pointer} is gone: it has to be kept for longer than any message that points to it"
    )]
    Gone {
        /// Where it was to be.
        pointer: Pointer,
    },
    /// It is larger than the claim check takes.
    #[error("the payload has {bytes} bytes or more, and the claim check takes at most {limit}")]
    TooLarge {
        /// Its size, as far as it is known.
        bytes: u64,
        /// What the claim check was made for.
        limit: u64,
    },
    /// It is not what was stored.
    #[error("the payload {pointer} is not what was stored: {problem}")]
    Corrupt {
        /// Where it is.
        pointer: Pointer,
        /// How that shows.
        problem: String,
    },
    /// The store refuses for good.
    #[error("the payload is refused: {0}")]
    Refused(String),
    /// The store cannot be used now: it cannot be reached, or a bucket or right is missing that somebody
    /// can give.
    #[error("the payload's store cannot be used: {0}")]
    Unavailable(String),
}

impl ClaimCheckError {
    /// Whether the same may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, ClaimCheckError::Unavailable(_))
    }
}

/// The payload that a delivery points to; none if it has its own.
pub(crate) async fn fetch(
    store: &dyn DynClaimCheck,
    delivery: &RawDelivery,
) -> Option<Result<String, ClaimCheckError>> {
    match Pointer::parse(&delivery.body)? {
        Ok(pointer) => Some(fetch_by(pointer, store, &delivery.attributes).await),
        Err(error) => Some(Err(error)),
    }
}

async fn fetch_by(
    pointer: Pointer,
    store: &dyn DynClaimCheck,
    attributes: &Attributes,
) -> Result<String, ClaimCheckError> {
    let stated = SIZE_ATTRIBUTES.iter().filter_map(|name| attributes.get(*name));
    let stated = stated.map(|size| size.as_str()?.parse::<usize>().ok());
    let Some(stated) = stated.collect::<Option<Vec<_>>>() else {
        return Err(ClaimCheckError::Malformed { problem: "the size beside it is no number" });
    };
    let payload = store.get_boxed(&pointer).await?;
    if let Some(size) = stated.into_iter().find(|size| *size != payload.len()) {
        let problem = format!("it has {} bytes, and its message says {size}", payload.len());
        return Err(ClaimCheckError::Corrupt { pointer, problem });
    }
    Ok(payload)
}

/// Removes what says the size of a payload that is there now.
pub(crate) fn forget_size(attributes: &mut Attributes) {
    SIZE_ATTRIBUTES.iter().for_each(|name| drop(attributes.remove(*name)));
}

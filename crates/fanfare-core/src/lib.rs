//! The hexagon of fanfare: what an event is, how it travels, and who handles it. No runtime, no
//! AWS, no SQL: those are adapters, and they plug into the ports that this crate declares.
//!
//! | to … | see |
//! |---|---|
//! | declare an event | [`Event`], [`EventType`] and their derives |
//! | publish one | [`Emitter`], over the port [`Publisher`] |
//! | handle one | [`Router`], [`Delivery`], [`HandlerError`] |
//! | answer with further events | [`IntoEvents`], [`Task`] |
//! | write a host (a worker, a Lambda) | [`Consumer::process`], [`Outcome`], [`Disposition`] |
//! | handle one within a database transaction | [`Router::on_tx`], [`Inbox`] |
//! | see what it does | [`telemetry`]: its spans and metrics, in one table |
//! | keep large payloads elsewhere | [`ClaimCheckPublisher`], [`Consumer::claim_check`] |
//! | read and write other systems' messages | [`translate`], [`Consumer::translator`] |
//! | write an adapter | [`Publisher`], [`DeadLetters`], [`Redelivery`], [`Inbox`], [`IdempotencyStore`], [`ParkedGroups`], [`LeaseStore`], [`ClaimCheck`] |

mod backoff;
mod batch;
mod call;
mod cancellation;
mod claim_check;
mod connection;
mod consumer;
mod context;
mod dead_letters;
mod delivery;
mod emitter;
mod envelope;
mod event;
mod handler;
mod handler_error;
mod idempotency;
mod inbox;
mod into_events;
mod lease;
mod message;
mod outcome;
mod parked;
mod publisher;
mod redelivery;
mod retry;
mod router;
pub mod tag;
pub mod telemetry;
pub mod translate;
mod tx_handler;

pub use backoff::Backoff;
pub use call::Call;
pub use cancellation::Cancellation;
pub use claim_check::{
    ClaimCheck, ClaimCheckError, ClaimCheckPublisher, DynClaimCheck, MemoryClaimCheck,
    PAYLOAD_SIZE_ATTRIBUTE, Pointer,
};
pub use connection::{ConnectionType, Loan, Slot};
pub use consumer::{Consumer, ConsumerError};
pub use context::{Context, Scoped};
pub use dead_letters::{DeadLetter, DeadLetterError, DeadLetters, DynDeadLetters, GROUP_ATTRIBUTE};
pub use delivery::{Attribute, Attributes, Delivery, Metadata, RawDelivery};
pub use emitter::{EmitError, Emitter, seal, seal_event};
pub use envelope::{DecodeError, Envelope, Opened};
pub use event::{Event, EventType};
pub use fanfare_macros::{Event, EventType};
pub use handler::{For, Handle, Handler};
pub use handler_error::HandlerError;
pub use idempotency::{
    Admission, Claim, DynIdempotencyStore, IdempotencyError, IdempotencyStore,
    MemoryIdempotencyStore, PayloadHash,
};
pub use inbox::{Admitted, Followed, Inbox, InboxError, InboxKey, UnitOfWork};
pub use into_events::{EncodeError, IntoEvents, PendingEvent, Task};
pub use lease::{
    Checkpoint, Lease, LeaseError, LeaseGroup, LeaseStore, MemoryLeaseStore, NewLease, Renewal,
    Renewed,
};
pub use message::{Destination, Message, TYPE_ATTRIBUTE};
pub use outcome::{Disposition, Outcome, Reason};
pub use parked::{DynParkedGroups, MemoryParkedGroups, ParkedGroups, ParkedGroupsError, Turn};
pub use publisher::{DynPublisher, PublishError, PublishReport, Publisher, RequestLimits};
pub use redelivery::{DynRedelivery, GivenBack, Redelivery};
pub use retry::Retry;
pub use router::{HandledType, HandlerService, Policy, Router};
pub use tx_handler::TxHandler;

/// The time of day, as envelopes and metadata have it.
pub use jiff::Timestamp;

/// Any error that can cross threads: what handlers and layers may fail with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A boxed future, as the object-safe twins of the ports return it.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

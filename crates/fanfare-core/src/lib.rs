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
//! | write an adapter | [`Publisher`], [`DeadLetters`], [`Inbox`] |

mod backoff;
mod batch;
mod consumer;
mod context;
mod dead_letters;
mod delivery;
mod emitter;
mod envelope;
mod event;
mod handler;
mod inbox;
mod into_events;
mod message;
mod outcome;
mod publisher;
mod router;
pub mod tag;

pub use backoff::Backoff;
pub use consumer::{Consumer, ConsumerError};
pub use context::{Context, Scoped};
pub use dead_letters::{DeadLetter, DeadLetterError, DeadLetters, DynDeadLetters};
pub use delivery::{Attribute, Attributes, Delivery, Metadata, RawDelivery};
pub use emitter::{EmitError, Emitter, seal, seal_event};
pub use envelope::{DecodeError, Envelope, Opened};
pub use event::{Event, EventType};
pub use fanfare_macros::{Event, EventType};
pub use handler::{For, Handle, Handler, HandlerError};
pub use inbox::{Admission, Claim, DynInbox, Inbox, InboxError, InboxKey, MemoryInbox};
pub use into_events::{EncodeError, IntoEvents, PendingEvent, Task};
pub use message::{Destination, Message, TYPE_ATTRIBUTE};
pub use outcome::{Disposition, Outcome, Reason};
pub use publisher::{DynPublisher, PublishError, PublishReport, Publisher};
pub use router::{Call, HandledType, HandlerService, Policy, Router};

/// Any error that can cross threads: what handlers and layers may fail with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A boxed future, as the object-safe twins of the ports return it.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

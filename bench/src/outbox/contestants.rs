//! The outboxes that are compared.

mod fanfare;
mod naive;
mod outbox_core;
mod ruststream;

use crate::outbox::contestant::Entry;

/// All of them; what the others are compared with comes first.
pub(crate) const ALL: [Entry; 5] =
    [naive::ENTRY, fanfare::ENTRY, outbox_core::ENTRY, ruststream::NOTIFIED, ruststream::POLLING];

//! The outboxes that are compared.

mod naive;
mod outbox_core;
mod ruststream;

use crate::contestant::Entry;

/// All of them; what the others are compared with comes first.
pub(crate) const ALL: [Entry; 4] =
    [naive::ENTRY, outbox_core::ENTRY, ruststream::NOTIFIED, ruststream::POLLING];

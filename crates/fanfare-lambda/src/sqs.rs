//! Messages of a queue.

use fanfare_core::{Attribute, Metadata, RawDelivery};
use jiff::Timestamp;

use crate::{
    error::InvocationError,
    event::{Record, SqsAttribute},
    source::{Batch, attribute, identifier},
    trace::traceparent,
};

pub(crate) fn read(place: usize, record: Record, batch: &mut Batch) -> Result<(), InvocationError> {
    let message_id = identifier(place, "messageId", record.message_id)?;
    let system = record.attributes.unwrap_or_default();
    let attempt = system.approximate_receive_count.and_then(|count| count.parse().ok());
    let mut metadata = Metadata::new(&*message_id, attempt.unwrap_or(1));
    let sent_at = system.sent_timestamp.and_then(|ms| ms.parse().ok());
    metadata.sent_at = sent_at.and_then(|ms| Timestamp::from_millisecond(ms).ok());
    metadata.traceparent = system.trace_header.as_deref().and_then(traceparent);
    // On a standard queue a group marks a tenant, and promises no order.
    if record.event_source_arn.is_some_and(|arn| arn.ends_with(".fifo")) {
        metadata.group = Some(system.message_group_id.unwrap_or_default());
    }
    let mut delivery = RawDelivery::new(record.body.unwrap_or_default(), metadata);
    delivery.attributes = record.message_attributes;
    batch.deliveries.push(delivery);
    batch.identifiers.push(message_id);
    batch.receipts.push(record.receipt_handle);
    Ok(())
}

impl From<SqsAttribute> for Attribute {
    fn from(came: SqsAttribute) -> Self {
        let binary = came.binary_value.is_some();
        let value = came.binary_value.or(came.string_value).unwrap_or_default();
        attribute(came.data_type.unwrap_or_default(), value, binary)
    }
}

//! Messages of a topic.

use fanfare_core::{Attribute, Metadata, RawDelivery};

use crate::{
    error::InvocationError,
    event::{Record, SnsAttribute},
    source::{Batch, attribute, identifier},
};

pub(crate) fn read(place: usize, record: Record, batch: &mut Batch) -> Result<(), InvocationError> {
    let missing = InvocationError::NoIdentifier { record: place, field: "Sns" };
    let message = record.sns.ok_or(missing)?;
    let message_id = identifier(place, "Sns.MessageId", message.message_id)?;
    // Lambda does not say how often it has tried.
    let mut metadata = Metadata::new(&*message_id, 1);
    metadata.sent_at = message.timestamp.and_then(|time| time.parse().ok());
    let mut delivery = RawDelivery::new(message.message.unwrap_or_default(), metadata);
    delivery.attributes = message.message_attributes;
    batch.deliveries.push(delivery);
    batch.identifiers.push(message_id);
    batch.receipts.push(None);
    Ok(())
}

impl From<SnsAttribute> for Attribute {
    fn from(came: SnsAttribute) -> Self {
        let data_type = came.data_type.unwrap_or_default();
        let binary = data_type.starts_with("Binary");
        attribute(data_type, came.value.unwrap_or_default(), binary)
    }
}

//! Where events come from.

use fanfare_core::{Attribute, RawDelivery};

use crate::{
    base64,
    error::InvocationError,
    event::{Event, Record},
    kinesis, sns, sqs,
};

/// What a function takes: [`Sqs`], [`Kinesis`], [`Sns`] or [`Any`] of them.
pub trait Source: sealed::Taken + 'static {}

impl<S: sealed::Taken + 'static> Source for S {}

/// Queues.
#[derive(Debug)]
pub enum Sqs {}

/// Streams.
#[derive(Debug)]
pub enum Kinesis {}

/// Topics.
#[derive(Debug)]
pub enum Sns {}

/// Queues, streams and topics: what an event is from is told by its records.
#[derive(Debug)]
pub enum Any {}

mod sealed {
    use super::Origin;

    pub trait Taken {
        const ORIGINS: &'static [Origin];
        /// In a text.
        const NAMES: &'static str;
    }

    impl Taken for super::Sqs {
        const ORIGINS: &'static [Origin] = &[Origin::Sqs];
        const NAMES: &'static str = "aws:sqs";
    }

    impl Taken for super::Kinesis {
        const ORIGINS: &'static [Origin] = &[Origin::Kinesis];
        const NAMES: &'static str = "aws:kinesis";
    }

    impl Taken for super::Sns {
        const ORIGINS: &'static [Origin] = &[Origin::Sns];
        const NAMES: &'static str = "aws:sns";
    }

    impl Taken for super::Any {
        const ORIGINS: &'static [Origin] = &[Origin::Sqs, Origin::Kinesis, Origin::Sns];
        const NAMES: &'static str = "aws:sqs, aws:kinesis and aws:sns";
    }
}

/// What the records of one event are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Sqs,
    Kinesis,
    Sns,
}

/// What came in one event.
pub(crate) struct Batch {
    pub(crate) origin: Origin,
    /// The queue, stream or topic; an event brings one.
    pub(crate) arn: Option<String>,
    pub(crate) deliveries: Vec<RawDelivery>,
    /// For each delivery what its failure is reported by.
    pub(crate) identifiers: Vec<String>,
    /// For each delivery what its queue knows it by; empty for other sources.
    pub(crate) receipts: Vec<Option<String>>,
}

impl Batch {
    fn with_capacity(origin: Origin, arn: Option<String>, records: usize) -> Self {
        Batch {
            origin,
            arn,
            deliveries: Vec::with_capacity(records),
            identifiers: Vec::with_capacity(records),
            receipts: Vec::with_capacity(records),
        }
    }
}

impl Origin {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Origin::Sqs => "aws:sqs",
            Origin::Kinesis => "aws:kinesis",
            Origin::Sns => "aws:sns",
        }
    }
}

/// Reads an event for a function that takes `S`; none if there is nothing in it.
pub(crate) fn read<S: Source>(event: Event) -> Result<Option<Batch>, InvocationError> {
    let unknown = |from: Option<&str>| {
        let from = from.map_or_else(|| "an unnamed source".into(), |from| format!("`{from}`"));
        InvocationError::UnknownSource { from, taken: S::NAMES }
    };
    let Some(records) = &event.records else { return Err(unknown(event.source())) };
    let Some(first) = records.first() else { return Ok(None) };
    let taken = S::ORIGINS.iter().find(|taken| first.event_source.as_deref() == Some(taken.name()));
    let Some(origin) = taken else { return Err(unknown(first.event_source.as_deref())) };
    let read: fn(usize, Record, &mut Batch) -> Result<(), InvocationError> = match origin {
        Origin::Sqs => sqs::read,
        Origin::Kinesis => kinesis::read,
        Origin::Sns => sns::read,
    };
    let topic = || first.sns.as_ref().and_then(|message| message.topic_arn.clone());
    let arn = first.event_source_arn.clone().or_else(topic);
    let mut batch = Batch::with_capacity(*origin, arn, records.len());
    for (place, record) in event.records.into_iter().flatten().enumerate() {
        read(place, record, &mut batch)?;
    }
    Ok(Some(batch))
}

/// The value of `field` in the record at `record`, which nothing works without.
pub(crate) fn identifier(
    record: usize,
    field: &'static str,
    value: Option<String>,
) -> Result<String, InvocationError> {
    let value = value.filter(|value| !value.is_empty());
    value.ok_or(InvocationError::NoIdentifier { record, field })
}

/// A message attribute; bytes come in base64, and stay so if they cannot be read.
pub(crate) fn attribute(data_type: String, text: String, binary: bool) -> Attribute {
    match binary.then(|| base64::decode(&text)).flatten() {
        Some(value) => Attribute::Binary { data_type, value },
        None => Attribute::Text { data_type, value: text },
    }
}

//! The consumer as it reads each queue, stream or topic that a function is invoked for.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use fanfare_core::{
    Consumer,
    telemetry::{AWS_KINESIS, AWS_SNS, AWS_SQS},
};

use crate::source::{Batch, Origin};

/// A function has a few sources; beyond this all are forgotten, and made anew.
const MOST: usize = 100;

/// By ARN: each measures under the name of its source.
#[derive(Debug, Default)]
pub(crate) struct Readers(Mutex<HashMap<String, Arc<Consumer>>>);

impl Readers {
    /// `consumer` for what came in `batch`.
    pub(crate) fn reader(&self, consumer: &Consumer, batch: &Batch) -> Arc<Consumer> {
        let arn = batch.arn.as_deref().unwrap_or_default();
        let mut readers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reader) = readers.get(arn) {
            return Arc::clone(reader);
        }
        if readers.len() >= MOST {
            readers.clear();
        }
        let name = arn.rsplit(':').next().unwrap_or_default();
        let consumer = consumer.clone();
        let reader = Arc::new(match batch.origin {
            Origin::Sqs => consumer.receives_from(AWS_SQS, name),
            // A stream brings every event of its topic.
            Origin::Kinesis => {
                consumer.receives_from(AWS_KINESIS, name.trim_start_matches("stream/")).unfiltered()
            }
            Origin::Sns => consumer.receives_from(AWS_SNS, name),
        });
        readers.insert(arn.into(), Arc::clone(&reader));
        reader
    }
}

//! The consumer as it reads each queue, stream or topic that a function is invoked for.

use std::sync::{Arc, Mutex, PoisonError};

use fanfare_core::{
    Consumer,
    telemetry::{AWS_KINESIS, AWS_SNS, AWS_SQS},
};

use crate::source::{Batch, Origin};

/// A function has a few sources; beyond this all are forgotten, and made anew.
const MOST: usize = 100;

/// Each measures under the name of its source.
#[derive(Debug, Default)]
pub(crate) struct Readers(Mutex<Vec<Reader>>);

#[derive(Debug)]
struct Reader {
    origin: Origin,
    arn: Option<String>,
    consumer: Arc<Consumer>,
}

impl Readers {
    /// `consumer` for what came in `batch`.
    pub(crate) fn reader(&self, consumer: &Consumer, batch: &Batch) -> Arc<Consumer> {
        let mut readers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is = |reader: &&Reader| reader.origin == batch.origin && reader.arn == batch.arn;
        if let Some(reader) = readers.iter().find(is) {
            return Arc::clone(&reader.consumer);
        }
        if readers.len() >= MOST {
            readers.clear();
        }
        let name = batch.arn.as_deref().and_then(|arn| arn.rsplit(':').next()).unwrap_or_default();
        let consumer = consumer.clone();
        let consumer = Arc::new(match batch.origin {
            Origin::Sqs => consumer.receives_from(AWS_SQS, name),
            // A stream brings every event of its topic.
            Origin::Kinesis => {
                consumer.receives_from(AWS_KINESIS, name.trim_start_matches("stream/")).unfiltered()
            }
            Origin::Sns => consumer.receives_from(AWS_SNS, name),
        });
        let (origin, arn) = (batch.origin, batch.arn.clone());
        readers.push(Reader { origin, arn, consumer: Arc::clone(&consumer) });
        consumer
    }
}

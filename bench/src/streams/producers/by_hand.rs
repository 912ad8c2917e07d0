//! What one writes with the SDK alone.

use std::sync::Arc;
use std::time::Duration;

use ::fanfare::Message;
use anyhow::{Result, bail};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::BuildError;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use futures_util::future::BoxFuture;

use crate::streams::producers::{Entry, Producer};
use crate::streams::stream::STREAM;

/// How often records are sent again that failed.
const TRIES: u32 = 10;

/// Before the first of that; it doubles.
const PAUSE: Duration = Duration::from_millis(50);

/// The longest.
const LONGEST: Duration = Duration::from_secs(1);

pub(crate) const PUT_RECORD: Entry = Entry {
    name: "PutRecord",
    notes: "aws-sdk-kinesis by hand, a request for each event, one after another per caller; retries \
        are the SDK's.",
    set_up: |config, _| Box::pin(async move { Ok(Arc::new(Ones(Client::new(&config))) as _) }),
};

pub(crate) const PUT_RECORDS: Entry = Entry {
    name: "PutRecords",
    notes: "aws-sdk-kinesis by hand, a request for each call. The answer's `FailedRecordCount` is \
        looked at, and what failed is sent again, after 50 ms, then 100, up to a second: so the \
        events of a key can change places.",
    set_up: |config, _| Box::pin(async move { Ok(Arc::new(Batches(Client::new(&config))) as _) }),
};

struct Ones(Client);

impl Producer for Ones {
    fn publish<'a>(&'a self, events: &'a [Message]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            for event in events {
                let request = self.0.put_record().stream_name(STREAM).partition_key(&event.key);
                request.data(Blob::new(event.body.as_bytes())).send().await?;
            }
            Ok(())
        })
    }
}

struct Batches(Client);

impl Producer for Batches {
    fn publish<'a>(&'a self, events: &'a [Message]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut left: Vec<&Message> = events.iter().collect();
            for tried in 0..TRIES {
                let entries = left.iter().map(|event| entry(event)).collect::<Result<_, _>>()?;
                let request = self.0.put_records().stream_name(STREAM);
                let answer = request.set_records(Some(entries)).send().await?;
                if answer.failed_record_count() == Some(0) {
                    return Ok(());
                }
                let results = left.iter().zip(answer.records());
                let failed = results.filter(|(_, record)| record.error_code().is_some());
                left = failed.map(|(event, _)| *event).collect();
                tokio::time::sleep((PAUSE * 2_u32.pow(tried)).min(LONGEST)).await;
            }
            bail!("{} records were refused {TRIES} times", left.len())
        })
    }
}

fn entry(event: &Message) -> Result<PutRecordsRequestEntry, BuildError> {
    PutRecordsRequestEntry::builder()
        .partition_key(&event.key)
        .data(Blob::new(event.body.as_bytes()))
        .build()
}

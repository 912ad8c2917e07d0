//! What one writes with the SDK alone: a task for each shard.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_config::SdkConfig;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::{Record, ShardIteratorType};
use fanfare::EventType;
use fanfare_kpl::Opened;
use serde::Deserialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::event::Placed;
use crate::seen::Seen;
use crate::streams::consumers::Entry;
use crate::streams::stream::STREAM;

/// From one read of a shard to the next, as it allows 5 a second.
const GAP: Duration = Duration::from_millis(200);

pub(crate) const BY_HAND: Entry = Entry {
    name: "GetRecords",
    notes: "aws-sdk-kinesis by hand: a task for each shard, `GetRecords` of up to 10,000, 200 ms from \
        one to the next, the envelope and its data read with serde_json. No leases, no checkpoints, \
        no resharding, and nothing happens to an event that cannot be handled.",
    run: |config, seen, stop| Box::pin(run(config, seen, stop, note)),
};

pub(crate) const BY_HAND_OPENING: Entry = Entry {
    name: "GetRecords, aggregates opened",
    notes: "The same, aggregates being taken apart with fanfare-kpl.",
    run: |config, seen, stop| Box::pin(run(config, seen, stop, note_aggregate)),
};

/// What it wants to know of an envelope.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    data: Placed,
}

/// What is done with a record.
type Take = fn(Record, &Seen) -> Result<()>;

fn note(record: Record, seen: &Seen) -> Result<()> {
    note_event(record.data.as_ref(), seen)
}

fn note_aggregate(record: Record, seen: &Seen) -> Result<()> {
    match fanfare_kpl::open(record.data.into_inner().into())? {
        Opened::Plain(data) => note_event(&data, seen),
        Opened::Aggregate(aggregate) => {
            aggregate.records.iter().try_for_each(|record| note_event(&record.data, seen))
        }
    }
}

fn note_event(data: &[u8], seen: &Seen) -> Result<()> {
    let envelope: Envelope<'_> = serde_json::from_slice(data).context("no envelope")?;
    ensure!(envelope.r#type == Placed::TAG, "another type of event");
    seen.note(envelope.data.event);
    Ok(())
}

async fn run(
    config: SdkConfig,
    seen: Arc<Seen>,
    stop: CancellationToken,
    take: Take,
) -> Result<()> {
    let kinesis = Client::new(&config);
    let shards = kinesis.list_shards().stream_name(STREAM).send().await?;
    let mut readers = JoinSet::new();
    for shard in shards.shards.unwrap_or_default() {
        let (kinesis, seen, stop) = (kinesis.clone(), Arc::clone(&seen), stop.clone());
        readers.spawn(async move {
            tokio::select! {
                read = read(&kinesis, shard.shard_id, &seen, take) => read,
                () = stop.cancelled() => Ok(()),
            }
        });
    }
    while let Some(reader) = readers.join_next().await {
        reader??;
    }
    Ok(())
}

async fn read(kinesis: &Client, shard: String, seen: &Seen, take: Take) -> Result<()> {
    let request = kinesis.get_shard_iterator().stream_name(STREAM).shard_id(shard);
    let request = request.shard_iterator_type(ShardIteratorType::TrimHorizon);
    let mut iterator = request.send().await?.shard_iterator;
    while let Some(from) = iterator {
        let next = Instant::now() + GAP;
        let answer = kinesis.get_records().shard_iterator(from).limit(10_000).send().await?;
        answer.records.into_iter().try_for_each(|record| take(record, seen))?;
        iterator = answer.next_shard_iterator;
        sleep_until(next).await;
    }
    Ok(())
}

//! A mapping of a stream. How far it has come stands in leases, as with a worker, so that a service can
//! be stopped and started.

use std::pin::pin;

use aws_sdk_kinesis::{
    Client, Error,
    types::{Record, Shard, ShardIteratorType},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use fanfare_aws::Stream;
use fanfare_core::{
    Checkpoint, Consumer, Lease, LeaseError, LeaseGroup, LeaseStore, MemoryLeaseStore, NewLease,
    Renewal,
};
use fanfare_sim::Sim;
use serde_json::{Value, json};

use super::{Invoked, PAUSE};

/// The owner of the leases while a batch is handled.
const OWNER: &str = "mapping";

/// Records in one event: Lambda's default.
const BATCH: i32 = 100;

/// What a shard gave.
struct Page {
    records: Vec<Record>,
    /// It is closed, and nothing is behind these.
    ended: bool,
}

/// Reads a stream from its oldest record until `stop` resolves: each shard when those that it was made
/// from have ended, and again from the first record that the function reports.
pub(in super::super) async fn poll(
    sim: Sim,
    stream: Stream,
    leases: MemoryLeaseStore,
    consumer: Consumer,
    stop: impl Future<Output = ()>,
) -> Result<(), String> {
    let client = Client::new(&sim.sdk_config());
    let group = stream.lease_group().clone();
    let mut function = Invoked::new(fanfare_lambda::any(consumer).dead_letters(stream)).await?;
    let mut stop = pin!(stop);
    loop {
        match round(&client, &group, &leases, &mut function).await {
            Ok(()) => {}
            Err(Failure::Reading(error)) => {
                tracing::debug!(%error, stream = %group.stream, "reading failed");
            }
            Err(Failure::Leases(error)) => return Err(error.to_string()),
        }
        tokio::select! {
            biased;
            () = &mut stop => return Ok(()),
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

enum Failure {
    Reading(Box<Error>),
    Leases(LeaseError),
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Reading(Box::new(error.into()))
    }
}

/// One batch of each shard that can be read.
async fn round(
    client: &Client,
    group: &LeaseGroup,
    leases: &MemoryLeaseStore,
    function: &mut Invoked,
) -> Result<(), Failure> {
    let listed = client.list_shards().stream_name(&*group.stream).send().await?;
    let new: Vec<NewLease> = listed.shards.unwrap_or_default().into_iter().map(lease).collect();
    if !leases.begin(group, &new).await.map_err(Failure::Leases)? {
        leases.add(group, &new).await.map_err(Failure::Leases)?;
    }
    let all = leases.leases(group).await.map_err(Failure::Leases)?;
    let has_ended = |lease: &&Lease| lease.checkpoint == Checkpoint::End;
    let ended: Vec<&str> = all.iter().filter(has_ended).map(|lease| &*lease.key).collect();
    for lease in &all {
        let begins = lease.parents.iter().all(|parent| ended.contains(&&**parent));
        if !begins || ended.contains(&&*lease.key) {
            continue;
        }
        let page = read(client, group, lease).await?;
        let Some(checkpoint) = handle(page, group, lease, function).await else { continue };
        let taken = leases.take(group, lease, OWNER).await.map_err(Failure::Leases)?;
        if let Some(Lease { epoch, counter, .. }) = taken {
            let renewal = Renewal::new(&*lease.key, epoch, counter + 1, Some(checkpoint));
            leases.release(group, OWNER, &[renewal]).await.map_err(Failure::Leases)?;
        }
    }
    Ok(())
}

fn lease(shard: Shard) -> NewLease {
    let parents = shard.parent_shard_id.into_iter().chain(shard.adjacent_parent_shard_id);
    NewLease::new(shard.shard_id, Checkpoint::Oldest, parents.collect())
}

async fn read(client: &Client, group: &LeaseGroup, lease: &Lease) -> Result<Page, Failure> {
    let request = client.get_shard_iterator().stream_name(&*group.stream).shard_id(&lease.key);
    let request = match &lease.checkpoint {
        Checkpoint::After { sequence_number, .. } => request
            .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
            .starting_sequence_number(sequence_number),
        _ => request.shard_iterator_type(ShardIteratorType::TrimHorizon),
    };
    let iterator = request.send().await?.shard_iterator;
    let got = client.get_records().set_shard_iterator(iterator).limit(BATCH).send().await?;
    Ok(Page { records: got.records, ended: got.next_shard_iterator.is_none() })
}

/// Invokes the function, and gives how far the shard is done then; none if no further than before.
async fn handle(
    page: Page,
    group: &LeaseGroup,
    lease: &Lease,
    function: &mut Invoked,
) -> Option<Checkpoint> {
    let Page { records, ended } = page;
    let reported = if records.is_empty() {
        Vec::new()
    } else {
        let events = records.iter().map(|came| record(&group.stream, &lease.key, came)).collect();
        function.invoke(events).await?
    };
    // Lambda goes on from the lowest; numbers of one length compare as texts.
    let first = reported.iter().min();
    if first.is_none() && ended {
        return Some(Checkpoint::End);
    }
    let is_done = |record: &&Record| first.is_none_or(|first| record.sequence_number < *first);
    let sequence_number = records.iter().rfind(is_done)?.sequence_number.clone();
    Some(Checkpoint::After { sequence_number, sub_sequence_number: None })
}

/// A record as Lambda writes it.
fn record(stream: &str, shard: &str, record: &Record) -> Value {
    let sequence_number = &record.sequence_number;
    let arrival = record.approximate_arrival_timestamp.map(|time| time.as_secs_f64());
    json!({
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": record.partition_key,
            "sequenceNumber": sequence_number,
            "data": STANDARD.encode(&record.data),
            "approximateArrivalTimestamp": arrival,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": format!("{shard}:{sequence_number}"),
        "eventName": "aws:kinesis:record",
        "eventSourceARN": format!("arn:aws:kinesis:us-east-1:{}:stream/{stream}", super::super::ACCOUNT),
    })
}

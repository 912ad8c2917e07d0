//! fanfare-aws.

use std::sync::Arc;

use ::fanfare::aws::{Aws, StartAt, StreamWorker};
use ::fanfare::{Delivery, HandlerError, MemoryLeaseStore, Router};
use anyhow::Result;
use aws_config::SdkConfig;
use tokio_util::sync::CancellationToken;

use crate::event::Placed;
use crate::seen::Seen;
use crate::streams::consume::SHARDS;
use crate::streams::consumers::Entry;
use crate::streams::stream::{ACCOUNT, TOPIC, bindings};

pub(crate) const FANFARE: Entry = Entry {
    name: "fanfare",
    notes: "`StreamWorker` with its defaults but for 1,000 deliveries at once: leases and checkpoints \
        in its `MemoryLeaseStore`, the events of a key one after another, different keys side by \
        side. Aggregates are taken apart.",
    run: |config, seen, stop| Box::pin(run(config, seen, stop)),
};

async fn note(seen: Arc<Seen>, order: Delivery<Placed>) -> Result<(), HandlerError> {
    seen.note(order.event.event);
    Ok(())
}

async fn run(config: SdkConfig, seen: Arc<Seen>, stop: CancellationToken) -> Result<()> {
    let router = Router::new("bench-consumer").on(note).with_state(seen);
    let stream =
        Aws::new(&config, ACCOUNT)?.stream(&bindings(SHARDS, false), "bench-consumer", TOPIC);
    StreamWorker::new(stream, MemoryLeaseStore::default())
        .concurrency(1_000)
        .start_at(StartAt::Oldest)
        .run(router, stop.cancelled_owned())
        .await?;
    Ok(())
}

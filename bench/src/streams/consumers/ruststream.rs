//! The crate ruststream-kinesis.

use std::convert::Infallible;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use aws_config::SdkConfig;
use ruststream::prelude::State;
use ruststream_kinesis::prelude::*;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::event::Placed;
use crate::seen::Seen;
use crate::streams::consumers::Entry;

/// Events that its handler is given at once, where it is given several.
const BATCH: std::num::NonZeroUsize = nonzero!(1_000);

pub(crate) const RUSTSTREAM: Entry = Entry {
    name: "ruststream-kinesis",
    notes: "ruststream-kinesis 0.7 with its defaults: reads of up to 1,000, a channel of 64 events \
        between all shards' readers and one handler at a time, checkpoints in its `MemoryLeaseStore`. \
        The JSON codec reads envelope and data. It starts with `start_at(KinesisPosition::horizon())`.",
    run: |config, seen, stop| Box::pin(run(config, seen, stop, false)),
};

pub(crate) const RUSTSTREAM_BATCHES: Entry = Entry {
    name: "ruststream-kinesis, batches",
    notes: "The same, its handler being given up to 1,000 events at once (`batch`).",
    run: |config, seen, stop| Box::pin(run(config, seen, stop, true)),
};

/// What the handlers want to know of an envelope.
#[derive(Deserialize)]
struct Envelope {
    data: Placed,
}

#[subscriber(KinesisStream::new("bench-orders"), start_at(KinesisPosition::horizon()))]
async fn note(event: &Envelope, State(seen): State<Arc<Seen>>) -> HandlerOutcome {
    seen.note(event.data.event);
    HandlerOutcome::ack()
}

#[subscriber(KinesisStream::new("bench-orders"), start_at(KinesisPosition::horizon()))]
async fn note_all(events: &[Envelope], State(seen): State<Arc<Seen>>) -> HandlerOutcome {
    for event in events {
        seen.note(event.data.event);
    }
    HandlerOutcome::ack()
}

/// The handlers' state.
#[derive(FromRef)]
struct Noting {
    seen: Arc<Seen>,
}

async fn run(
    config: SdkConfig,
    seen: Arc<Seen>,
    stop: CancellationToken,
    batches: bool,
) -> Result<()> {
    RustStream::new(AppInfo::new("bench", "0.1.0"))
        .on_startup(async move |()| Ok::<_, Infallible>(Noting { seen }))
        .with_broker(KinesisBroker::from_config(config), |b| {
            if batches {
                b.include(note_all.batch(BATCH));
            } else {
                b.include(note);
            }
        })
        .run_until(stop.cancelled_owned())
        .await
        .map_err(|error| anyhow!("ruststream: {error}"))
}

//! The crate ruststream-sqs-sns.

use std::convert::Infallible;
use std::time::Duration;

use ::ruststream::prelude::State;
use anyhow::{Result, anyhow};
use fanfare::EventType;
use futures_util::future::join_all;
use ruststream_sqs_sns::prelude::*;

use crate::event::Placed;
use crate::messages::consumers::{Entry, Envelope, Handler as Handling, Work};

pub(crate) const RUSTSTREAM: Entry = Entry {
    name: "ruststream-sqs-sns",
    notes: "ruststream-sqs-sns 0.7 with `workers(40)` and a visibility of 60 s. The JSON codec reads envelope \
        and data; each message is deleted by a request.",
    run: |work| Box::pin(run(work, false)),
};

pub(crate) const BATCHES: Entry = Entry {
    name: "ruststream-sqs-sns, batches",
    notes: "The same with `batch(10)` and `workers(4)`: its handler is given what a receive brought and \
        handles it side by side; each message is deleted by a request all the same.",
    run: |work| Box::pin(run(work, true)),
};

const VISIBILITY: Duration = Duration::from_secs(60);

#[subscriber(SqsQueue::new("bench-reader").visibility(VISIBILITY), workers(40))]
async fn one(event: &Envelope, State(handler): State<Handling>) -> HandlerOutcome {
    handle(event, &handler).await
}

#[subscriber(SqsQueue::new("bench-reader").visibility(VISIBILITY), workers(4))]
async fn all(events: &[Envelope], State(handler): State<Handling>) -> Vec<HandlerOutcome> {
    join_all(events.iter().map(|event| handle(event, &handler))).await
}

async fn handle(event: &Envelope, handler: &Handling) -> HandlerOutcome {
    if event.r#type != Placed::TAG {
        return HandlerOutcome::drop();
    }
    handler.handle(&event.data).await;
    HandlerOutcome::ack()
}

/// The handlers' state.
#[derive(FromRef)]
struct Noting {
    handler: Handling,
}

async fn run(work: Work, batches: bool) -> Result<()> {
    let Work { config, handler, stop, .. } = work;
    RustStream::new(AppInfo::new("bench", "0.1.0"))
        .on_startup(async move |()| Ok::<_, Infallible>(Noting { handler }))
        .with_broker(SqsBroker::from_config(config), |b| {
            if batches {
                b.include(all.batch(nonzero!(10)));
            } else {
                b.include(one);
            }
        })
        .run_until(stop.cancelled_owned())
        .await
        .map_err(|error| anyhow!("ruststream: {error}"))
}

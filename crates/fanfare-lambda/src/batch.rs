//! One invocation: its batch to its response.

use std::{pin::pin, sync::Arc, time::Duration};

use fanfare_core::{Cancellation, Consumer, Disposition, GivenBack, Outcome, RawDelivery};
use futures_util::{StreamExt, future};
use lambda_runtime::Context;

use crate::{
    Deadline, InvocationError, Response,
    function::Host,
    kinesis,
    source::{Batch, Origin},
    trace::traceparent,
};

/// Handles a batch within the time that the invocation has.
pub(crate) async fn handle(
    host: &Host,
    consumer: &Consumer,
    mut batch: Batch,
    context: &Context,
    deadline: Deadline,
) -> Result<Response, InvocationError> {
    let came = (batch.origin == Origin::Kinesis).then(|| host.memory.recall(&mut batch));
    let Batch { origin, mut deliveries, identifiers, receipts, .. } = batch;
    let trace = context.xray_trace_id.as_deref().and_then(traceparent);
    for RawDelivery { metadata, .. } in &mut deliveries {
        metadata.request_id = Some(context.request_id.clone());
        metadata.traceparent = metadata.traceparent.take().or_else(|| trace.clone());
    }
    consumer.channel().consumed(deliveries.len());
    let outcomes = process(host, consumer, deliveries, deadline).await;
    // What has no outcome is given back at once, as a worker does.
    let failed = outcomes.iter().enumerate().filter_map(|(place, outcome)| {
        match outcome.as_ref().map(Outcome::disposition) {
            Some(Disposition::Acknowledge) => None,
            Some(Disposition::GiveBack { after }) => Some((place, after)),
            Some(Disposition::Leave) | None => Some((place, Duration::ZERO)),
        }
    });
    let failed: Vec<(usize, Duration)> = failed.collect();
    let given_back = failed.iter().filter_map(|&(place, after)| {
        Some(GivenBack::new(receipts.get(place)?.as_deref()?, after))
    });
    finish(host, given_back.collect(), deadline).await;
    let mut identifiers = failed.iter().filter_map(|&(place, _)| identifiers.get(place));
    match origin {
        Origin::Sqs => Ok(Response::failed(identifiers.cloned())),
        Origin::Kinesis => {
            let lowest = kinesis::lowest(identifiers);
            came.iter().for_each(|came| host.memory.settle(came, &outcomes, lowest));
            Ok(Response::failed(lowest.cloned()))
        }
        Origin::Sns if identifiers.next().is_none() => Ok(Response::default()),
        Origin::Sns => {
            Err(InvocationError::NotHandled { failed: failed.len(), total: outcomes.len() })
        }
    }
}

/// The outcome of each delivery that has one in time.
async fn process(
    host: &Host,
    consumer: &Consumer,
    deliveries: Vec<RawDelivery>,
    deadline: Deadline,
) -> Vec<Option<Outcome>> {
    let mut outcomes: Vec<Option<Outcome>> = vec![None; deliveries.len()];
    let cancellations: Vec<Cancellation> =
        deliveries.iter().map(|delivery| delivery.cancellation.clone()).collect();
    let may_begin = || deadline.may_begin();
    let dead_letters = host.dead_letters.as_ref();
    let mut settled =
        pin!(consumer.process(deliveries, host.concurrency, dead_letters, &may_begin));
    let mut reached = pin!(deadline.reached());
    loop {
        tokio::select! {
            // What is done counts, also at the last moment.
            biased;
            next = settled.next() => match next {
                Some((place, outcome)) => outcomes[place] = Some(outcome),
                None => return outcomes,
            },
            () = &mut reached => {
                let unsettled = outcomes.iter().filter(|outcome| outcome.is_none()).count();
                tracing::warn!(unsettled, "the time is up: handlers that still run are abandoned");
                // What they have begun beside themselves hears of it, too.
                let unsettled = cancellations.iter().zip(&outcomes);
                let unsettled = unsettled.filter(|(_, outcome)| outcome.is_none());
                unsettled.for_each(|(cancellation, _)| cancellation.cancel());
                return outcomes;
            }
        }
    }
}

/// What is left to do when the outcomes are known.
async fn finish(host: &Host, given_back: Vec<GivenBack>, deadline: Deadline) {
    let redeliver = async {
        if let Some(redelivery) = &host.redelivery
            && !given_back.is_empty()
        {
            redelivery.give_back_boxed(given_back).await;
        }
    };
    let after = async {
        if let Some(after) = &host.after
            && let Err(error) = Arc::clone(after)(deadline).await
        {
            tracing::error!(%error, "what runs after a batch has failed; the batch has not");
        }
    };
    tokio::select! {
        biased;
        _ = future::join(redeliver, after) => {}
        () = deadline.over() => {
            tracing::warn!("the time is up: what runs after a batch is abandoned");
        }
    }
}

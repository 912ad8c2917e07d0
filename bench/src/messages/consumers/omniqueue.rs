//! The crate omniqueue.

use std::time::Duration;

use ::omniqueue::Delivery;
use ::omniqueue::backends::SqsBackend;
use anyhow::{Context, Result, anyhow, ensure};
use fanfare::EventType;
use futures_util::future::try_join_all;

use crate::event::Placed;
use crate::messages::consumers::{Entry, Envelope, Handler, TASKS, Work};

pub(crate) const OMNIQUEUE: Entry = Entry {
    name: "omniqueue",
    notes: "omniqueue 0.3, feature `sqs`: four tasks, each with `receive_all` of ten (`receive`, as in its \
        README, brings one message by a request), which are read with `payload_serde_json`, handled side \
        by side and acknowledged each as it is done. It has no acknowledgement of several.",
    run: |work| Box::pin(run(work)),
};

async fn run(work: Work) -> Result<()> {
    let config = aws_sdk_sqs::Config::from(&work.config);
    let tasks = (0..TASKS).map(|_| {
        let (config, work) = (config.clone(), work.clone());
        tokio::spawn(async move {
            let queue = SqsBackend::builder(work.queue_url).sqs_config(config);
            let queue = queue.build_consumer().await?;
            loop {
                let received = tokio::select! {
                    received = queue.receive_all(10, Duration::from_secs(20)) => received?,
                    () = work.stop.cancelled() => return anyhow::Ok(()),
                };
                try_join_all(received.into_iter().map(|delivery| handle(&work.handler, delivery)))
                    .await?;
            }
        })
    });
    for task in try_join_all(tasks).await? {
        task?;
    }
    Ok(())
}

async fn handle(handler: &Handler, delivery: Delivery) -> Result<()> {
    let envelope: Envelope = delivery.payload_serde_json()?.context("no payload")?;
    ensure!(envelope.r#type == Placed::TAG, "another type of event");
    handler.handle(&envelope.data).await;
    delivery.ack().await.map_err(|(error, _)| anyhow!(error))
}

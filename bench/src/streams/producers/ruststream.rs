//! The crate ruststream-kinesis.

use std::sync::Arc;

use ::fanfare::Message;
use ::ruststream::{Broker, OutgoingMessage, Publisher};
use anyhow::Result;
use aws_config::SdkConfig;
use futures_util::future::BoxFuture;
use ruststream_kinesis::{KinesisBroker, KinesisPublishOptions, KinesisPublisher};

use crate::streams::producers::{Entry, Producer};
use crate::streams::stream::STREAM;

pub(crate) const RUSTSTREAM: Entry = Entry {
    name: "ruststream-kinesis",
    notes: "ruststream-kinesis 0.7, its `KinesisPublisher` with the event's key as the record's \
        partition key. Each publish is one `PutRecord`: it has no batches. It is given the ready \
        bytes, so it encodes nothing either.",
    set_up: |config, _| Box::pin(set_up(config)),
};

async fn set_up(config: SdkConfig) -> Result<Arc<dyn Producer>> {
    let connected = KinesisBroker::from_config(config).connect().await?;
    Ok(Arc::new(RustStreamKinesis(connected.publisher())))
}

struct RustStreamKinesis(KinesisPublisher);

impl Producer for RustStreamKinesis {
    fn publish<'a>(&'a self, events: &'a [Message]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            for event in events {
                let message = OutgoingMessage::new(STREAM, event.body.as_bytes());
                let options = KinesisPublishOptions { partition_key: Some(event.key.clone()) };
                self.0.publish(message, Some(&options)).await?;
            }
            Ok(())
        })
    }
}

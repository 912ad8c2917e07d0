//! The crate ruststream-sqs-sns.

use std::sync::Arc;

use ::fanfare::Message;
use ::ruststream::{Broker, HeaderMap, OutgoingMessage, Publisher};
use anyhow::Result;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use ruststream_sqs_sns::{SnsPublisher, SqsBroker};

use crate::messages::place::TOPIC_NAME;
use crate::messages::publishers::{Entry, Publishes};

pub(crate) const RUSTSTREAM: Entry = Entry {
    name: "ruststream-sqs-sns",
    notes: "ruststream-sqs-sns 0.7, its `SnsPublisher`; an event's attributes are headers. Each publish is \
        one `Publish`: it has no batches. It is given the ready bytes, so it encodes nothing either.",
    callers: 40,
    call: 1,
    set_up: |config| {
        Box::pin(async move {
            let connected = SqsBroker::from_config(config).connect().await?;
            Ok(Arc::new(RustStream(connected.sns_publisher())) as _)
        })
    },
};

struct RustStream(SnsPublisher);

impl Publishes for RustStream {
    fn publish<'a>(&'a self, events: &'a [Message]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            for event in events {
                let mut headers = HeaderMap::new();
                for (name, value) in &event.attributes {
                    headers.insert(name.clone(), Bytes::copy_from_slice(value.as_bytes()));
                }
                let message = OutgoingMessage::new(TOPIC_NAME, event.body.as_bytes());
                self.0.publish(message.with_headers(headers), None).await?;
            }
            Ok(())
        })
    }
}

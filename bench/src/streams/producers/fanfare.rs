//! fanfare-aws.

use std::sync::Arc;

use ::fanfare::aws::{Aws, AwsPublisher};
use ::fanfare::{Message, Publisher};
use anyhow::Result;
use aws_config::SdkConfig;
use futures_util::future::BoxFuture;

use crate::streams::producers::{Entry, Producer};
use crate::streams::stream::{ACCOUNT, bindings};

pub(crate) const FANFARE: Entry = Entry {
    name: "fanfare",
    notes: "`AwsPublisher::publish` with its defaults: order per key is kept also where records fail, \
        and no shard is written to faster than AWS allows.",
    set_up: |config, shards| Box::pin(set_up(config, shards, false)),
};

pub(crate) const AGGREGATED: Entry = Entry {
    name: "fanfare, aggregated",
    notes: "The same with the topic bound as `aggregated()`: the events of one call that go to the \
        same shard share records of up to 50 KiB, in the format of the Kinesis Producer Library. How \
        many those are is the number of events in a call over the number of shards.",
    set_up: |config, shards| Box::pin(set_up(config, shards, true)),
};

async fn set_up(config: SdkConfig, shards: u32, aggregated: bool) -> Result<Arc<dyn Producer>> {
    let aws = Aws::new(&config, ACCOUNT)?;
    Ok(Arc::new(Fanfare(AwsPublisher::new(aws, bindings(shards, aggregated)))))
}

struct Fanfare(AwsPublisher);

impl Producer for Fanfare {
    fn publish<'a>(&'a self, events: &'a [Message]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { Ok(self.0.publish(events).await.into_result()?) })
    }
}

//! fanfare-aws.

use std::sync::Arc;

use ::fanfare::aws::{Aws, AwsPublisher, BufferedPublisher};
use ::fanfare::{Message, Publisher};
use anyhow::Result;
use futures_util::future::BoxFuture;

use crate::messages::place::{ACCOUNT, bindings};
use crate::messages::publishers::{Entry, Publishes};

pub(crate) const DIRECT: Entry = Entry {
    name: "fanfare",
    notes: "`AwsPublisher::publish` with its defaults, which makes batches of the events of a call and \
        has four of them under way at a time.",
    callers: 1,
    call: 500,
    set_up: |config| {
        Box::pin(async move {
            let aws = Aws::new(&config, ACCOUNT)?;
            Ok(Arc::new(Fanfare(AwsPublisher::new(aws, bindings()))) as _)
        })
    },
};

pub(crate) const BUFFERED: Entry = Entry {
    name: "fanfare, buffered",
    notes: "`BufferedPublisher` over it, with its defaults, which fills batches across its callers.",
    callers: 40,
    call: 1,
    set_up: |config| {
        Box::pin(async move {
            let publisher = AwsPublisher::new(Aws::new(&config, ACCOUNT)?, bindings());
            Ok(Arc::new(Fanfare(BufferedPublisher::new(publisher))) as _)
        })
    },
};

struct Fanfare<P>(P);

impl<P: Publisher> Publishes for Fanfare<P> {
    fn publish<'a>(&'a self, events: &'a [Message]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { Ok(self.0.publish(events).await.into_result()?) })
    }
}

//! fanfare-aws.

use std::time::Duration;

use ::fanfare::aws::{Aws, Worker};
use ::fanfare::topology::Kind;
use ::fanfare::{Delivery, HandlerError, Router};
use anyhow::Result;

use crate::event::Placed;
use crate::messages::consumers::{AT_ONCE, Entry, Handler, Work};
use crate::messages::place::{ACCOUNT, SERVICE, bindings};

pub(crate) const FANFARE: Entry = Entry {
    name: "fanfare",
    notes: "`Worker` with its defaults but for 40 deliveries at once, beside which it holds what these finish \
        in a quarter of a second, and long polls of a second, because it waits for the one under way when \
        it is stopped.",
    run: |work| Box::pin(run(work)),
};

async fn handle(handler: Handler, order: Delivery<Placed>) -> Result<(), HandlerError> {
    handler.handle(&order.event).await;
    Ok(())
}

async fn run(work: Work) -> Result<()> {
    let router = Router::new(SERVICE).on(handle).with_state(work.handler);
    let queue = Aws::new(&work.config, ACCOUNT)?.queue(&bindings(), SERVICE, Kind::Standard);
    Worker::new(queue)
        .concurrency(AT_ONCE)
        .wait_time(Duration::from_secs(1))
        .run(router, work.stop.cancelled_owned())
        .await?;
    Ok(())
}

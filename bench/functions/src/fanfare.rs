//! The same consumer with fanfare.

use fanfare::{
    Delivery, EventType, HandlerError, Router,
    aws::Aws,
    lambda,
    topology::{Bindings, Kind},
};
use serde::Deserialize;

#[derive(EventType, Deserialize)]
#[event(type = "bench.orders.OrderPlaced.v1", topic = "orders")]
struct Placed {
    event: u64,
    key: String,
    padding: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    let function = lambda::init(async {
        let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
        let aws = Aws::new(&config, "000000000000")?;
        let queue = aws.queue(&Bindings::new("bench"), "orders", Kind::Standard);
        Ok(lambda::sqs(Router::new("orders").on(place)).dead_letters(queue))
    });
    lambda::run(function.await?).await
}

/// What is measured is what is around it.
async fn place(placed: Delivery<Placed>) -> Result<(), HandlerError> {
    let Placed { event, key, padding } = placed.event;
    std::hint::black_box((placed.envelope.id, event, key, padding));
    Ok(())
}

//! Publisher, worker and provisioning as a service uses them, on the simulator and on the real
//! LocalStack, on standard topics, FIFO topics and streams: the adapter itself, where the conformance
//! suite speaks raw SDK.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use fanfare::{
    Delivery, EmitError, Emitter, Event, HandlerError, IntoEvents, MemoryIdempotencyStore,
    MemoryLeaseStore, Outcome, PublishError, Retry, Router,
    aws::{
        Aws, AwsPublisher, StreamWorker, StreamWorkerError, Worker, WorkerError, deprovision,
        provision,
    },
    topology::{Binding, Bindings, Kind, Kinesis, Topology},
};
use fanfare_sim::Sim;
use fanfare_testkit::localstack::{ACCOUNT, LocalStack};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long all deliveries may take; far more than they need.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Event, Serialize, Deserialize)]
#[event(type = "tests.orders.OrderPlaced.v1", topic = "orders", key = customer)]
struct OrderPlaced {
    customer: String,
    number: usize,
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "tests.delivery.Shipped.v1", topic = "deliveries", key = customer)]
struct Shipped {
    customer: String,
    number: usize,
}

/// What each service handled, in order.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<BTreeMap<&'static str, Vec<Handled>>>>);

/// Customer and number.
type Handled = (String, usize);

impl Seen {
    fn note(&self, service: &'static str, customer: &str, number: usize) {
        let mut seen = self.0.lock().unwrap();
        seen.entry(service).or_default().push((customer.into(), number));
    }

    fn of(&self, service: &'static str) -> Vec<Handled> {
        self.0.lock().unwrap().get(service).cloned().unwrap_or_default()
    }
}

/// Ships every order, some at the second attempt, and never the one with number 13.
async fn ship(seen: Seen, order: Delivery<OrderPlaced>) -> Result<impl IntoEvents, HandlerError> {
    let OrderPlaced { customer, number } = order.event;
    if number == 13 {
        return Err(HandlerError::reject("unlucky"));
    }
    if number.is_multiple_of(10) && order.metadata.attempt == 1 {
        return Err(HandlerError::retry("no driver"));
    }
    seen.note("delivery", &customer, number);
    Ok(Shipped { customer, number })
}

async fn follow(seen: Seen, shipped: Delivery<Shipped>) -> Result<(), HandlerError> {
    seen.note("orders", &shipped.event.customer, shipped.event.number);
    Ok(())
}

/// Orders are on a topic or stream, deliveries on a topic.
async fn orders_are_shipped_and_followed(
    config: &aws_config::SdkConfig,
    orders: impl Into<Binding>,
) -> Result<()> {
    let (seen, orders) = (Seen::default(), orders.into());
    let routers = [Router::new("delivery").on(ship), Router::new("orders").on(follow)];
    // What is made: two topics, queues with dead-letter queues and subscriptions; or the stream and
    // delivery's dead-letter queue in place of the first four.
    let (kind, name, resources) = match orders {
        Binding::Sns(kind) => (kind, format!("{kind:?}").to_lowercase(), 8),
        Binding::Kinesis(_) => (Kind::Standard, "kinesis".into(), 6),
    };
    let stage = format!("t{}-{name}", std::process::id());
    let topology = Topology::new(&stage).topic("orders", orders).topic("deliveries", kind);
    let topology = routers.iter().fold(topology, |topology, router| topology.service(router));
    let aws = Aws::new(config, ACCOUNT)?;
    let made = provision(&aws, &topology).await?;
    ensure!(made.changes.len() == resources, "{made}");
    let again = provision(&aws, &topology).await?;
    ensure!(again.changes.is_empty(), "a second run changed something: {again}");

    let publisher = AwsPublisher::new(aws.clone(), topology.bindings());
    let stop = CancellationToken::new();
    let done = watch::Sender::new(0);
    let mut workers = Vec::new();
    for router in routers {
        let (bindings, service) = (topology.bindings(), router.name().to_string());
        let done = done.clone();
        let consumer = router
            .with_state(seen.clone())
            .publisher(publisher.clone())
            .idempotency(MemoryIdempotencyStore::default())
            .retry(Retry::exponential(Duration::from_secs(1), Duration::from_secs(2)))
            .observe(move |_, outcome| {
                if matches!(outcome, Outcome::Handled { .. } | Outcome::DeadLettered(_)) {
                    done.send_modify(|count| *count += 1);
                }
            });
        for kind in topology.kinds(&service) {
            let worker = Worker::new(aws.queue(&bindings, &service, kind));
            let worker = worker.wait_time(Duration::from_secs(1));
            let working = worker.run(consumer.clone(), stop.clone().cancelled_owned());
            workers.push(tokio::spawn(async { anyhow::Ok(working.await?) }));
        }
        for topic in topology.streams(&service) {
            let stream = aws.stream(&bindings, &service, topic);
            let worker = StreamWorker::new(stream, MemoryLeaseStore::default());
            let working = worker.run(consumer.clone(), stop.clone().cancelled_owned());
            workers.push(tokio::spawn(async { anyhow::Ok(working.await?) }));
        }
    }
    let order = |number| OrderPlaced { customer: format!("c-{}", number % 4), number };
    let events: Vec<_> = (0..40).map(order).collect();
    Emitter::new("orders", publisher).emit_all(events).await?.into_result()?;

    // 39 shipped and followed, one rejected.
    let mut count = done.subscribe();
    let all = tokio::time::timeout(PATIENCE, count.wait_for(|count| *count == 79)).await;
    let reached = *done.borrow();
    all.map(drop).with_context(|| format!("only {reached} of 79 were settled in {PATIENCE:?}"))?;
    stop.cancel();
    for worker in workers {
        worker.await??;
    }

    for service in ["delivery", "orders"] {
        let mut numbers: Vec<_> = seen.of(service).into_iter().map(|(_, number)| number).collect();
        let on_stream = service == "delivery" && matches!(orders, Binding::Kinesis(_));
        if kind == Kind::Fifo || on_stream {
            for customer in 0..4 {
                let of_customer: Vec<_> =
                    numbers.iter().copied().filter(|number| number % 4 == customer).collect();
                ensure!(of_customer.is_sorted(), "{service}, c-{customer}: {of_customer:?}");
            }
        }
        numbers.sort_unstable();
        let expected: Vec<_> = (0..40).filter(|number| *number != 13).collect();
        ensure!(numbers == expected, "{service} handled {numbers:?}");
    }
    let letters = aws.queue(&topology.bindings(), "delivery", kind).dead_letters().await?;
    ensure!(letters.len() == 1, "{letters:?}");
    ensure!(letters[0].reason.as_deref() == Some("rejected: unlucky"), "{letters:?}");
    deprovision(&aws, &topology).await?;
    Ok(())
}

async fn what_is_missing_is_named(config: &aws_config::SdkConfig) -> Result<()> {
    let aws = Aws::new(config, ACCOUNT)?;
    let bindings = Bindings::new("nowhere");
    let worker = Worker::new(aws.queue(&bindings, "orders", Kind::Standard));
    let consumer = Router::new("orders").on(follow).with_state(Seen::default());
    let ended = worker.run(consumer, std::future::pending()).await;
    ensure!(ended == Err(WorkerError::NoQueue { queue: "nowhere-orders".into() }), "{ended:?}");
    let emitter = Emitter::new("orders", AwsPublisher::new(aws, bindings));
    let order = OrderPlaced { customer: "c-1".into(), number: 1 };
    let not_found =
        |error: EmitError| matches!(error, EmitError::Publish(PublishError::NotFound { .. }));
    ensure!(emitter.emit(&order).await.is_err_and(not_found));
    ensure!(emitter.send("delivery", &order).await.is_err_and(not_found));
    Ok(())
}

async fn a_missing_stream_is_named(config: &aws_config::SdkConfig) -> Result<()> {
    let aws = Aws::new(config, ACCOUNT)?;
    let bindings = Bindings::new("nowhere").topic("orders", Kinesis::shards(1));
    let stream = aws.stream(&bindings, "delivery", "orders");
    let worker = StreamWorker::new(stream, MemoryLeaseStore::default());
    let consumer = Router::new("delivery").on(ship).with_state(Seen::default());
    let publisher = AwsPublisher::new(aws, bindings);
    let consumer = consumer.publisher(publisher.clone());
    let ended = worker.run(consumer, std::future::pending()).await;
    let no_stream =
        matches!(&ended, Err(StreamWorkerError::NoStream { stream }) if stream == "nowhere-orders");
    ensure!(no_stream, "{ended:?}");
    let order = OrderPlaced { customer: "c-1".into(), number: 1 };
    let emitted = Emitter::new("orders", publisher).emit(&order).await;
    let not_found = matches!(emitted, Err(EmitError::Publish(PublishError::NotFound { .. })));
    ensure!(not_found, "{emitted:?}");
    Ok(())
}

/// A stream's settings follow the topology, but for the number of its shards.
async fn a_streams_settings_are_mended(config: &aws_config::SdkConfig) -> Result<()> {
    let (aws, stage) = (Aws::new(config, ACCOUNT)?, format!("t{}-settings", std::process::id()));
    let with = |orders| Topology::new(&stage).topic("orders", orders);
    let cases = [
        (Kinesis::shards(2).retention_hours(48), Some("created stream NAME")),
        (Kinesis::shards(3).retention_hours(48), None),
        (Kinesis::shards(3), Some("updated RetentionPeriodHours of stream NAME")),
        (Kinesis::on_demand(), Some("updated StreamMode of stream NAME")),
        (Kinesis::on_demand(), None),
    ];
    for (settings, expected) in cases {
        let report = provision(&aws, &with(settings)).await?;
        let changes: Vec<_> = report.changes.iter().map(ToString::to_string).collect();
        let expected = expected.map(|text| text.replace("NAME", &format!("{stage}-orders")));
        ensure!(changes == expected.into_iter().collect::<Vec<_>>(), "{settings:?}: {report}");
    }
    ensure!(deprovision(&aws, &with(Kinesis::on_demand())).await?.changes.len() == 1);
    Ok(())
}

mod sim {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_missing_is_named() -> Result<()> {
        super::what_is_missing_is_named(&Sim::new().sdk_config()).await
    }

    #[tokio::test(start_paused = true)]
    async fn orders_are_shipped_and_followed_on_standard_queues() -> Result<()> {
        orders_are_shipped_and_followed(&Sim::new().sdk_config(), Kind::Standard).await
    }

    #[tokio::test(start_paused = true)]
    async fn orders_are_shipped_and_followed_on_fifo_queues() -> Result<()> {
        orders_are_shipped_and_followed(&Sim::new().sdk_config(), Kind::Fifo).await
    }

    #[tokio::test(start_paused = true)]
    async fn orders_are_shipped_and_followed_on_a_stream() -> Result<()> {
        let stream = Kinesis::shards(2).aggregated();
        orders_are_shipped_and_followed(&Sim::new().sdk_config(), stream).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_missing_stream_is_named() -> Result<()> {
        super::a_missing_stream_is_named(&Sim::new().sdk_config()).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_streams_settings_are_mended() -> Result<()> {
        super::a_streams_settings_are_mended(&Sim::new().sdk_config()).await
    }
}

mod localstack {
    use super::*;

    #[tokio::test]
    async fn what_is_missing_is_named() -> Result<()> {
        let Some(localstack) = LocalStack::from_env()? else { return Ok(()) };
        super::what_is_missing_is_named(&localstack.sdk_config()).await
    }

    #[tokio::test]
    async fn orders_are_shipped_and_followed_on_standard_queues() -> Result<()> {
        let Some(localstack) = LocalStack::from_env()? else { return Ok(()) };
        orders_are_shipped_and_followed(&localstack.sdk_config(), Kind::Standard).await
    }

    #[tokio::test]
    async fn orders_are_shipped_and_followed_on_fifo_queues() -> Result<()> {
        let Some(localstack) = LocalStack::from_env()? else { return Ok(()) };
        orders_are_shipped_and_followed(&localstack.sdk_config(), Kind::Fifo).await
    }

    #[tokio::test]
    async fn orders_are_shipped_and_followed_on_a_stream() -> Result<()> {
        let Some(localstack) = LocalStack::from_env()? else { return Ok(()) };
        let stream = Kinesis::shards(2).aggregated();
        orders_are_shipped_and_followed(&localstack.sdk_config(), stream).await
    }

    #[tokio::test]
    async fn a_missing_stream_is_named() -> Result<()> {
        let Some(localstack) = LocalStack::from_env()? else { return Ok(()) };
        super::a_missing_stream_is_named(&localstack.sdk_config()).await
    }

    #[tokio::test]
    async fn a_streams_settings_are_mended() -> Result<()> {
        let Some(localstack) = LocalStack::from_env()? else { return Ok(()) };
        super::a_streams_settings_are_mended(&localstack.sdk_config()).await
    }
}

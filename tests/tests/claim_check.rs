//! Payloads that are too large for a message, in S3 on the real LocalStack: published and consumed by
//! services, and together with AWS's own extended client for Python.
#![allow(clippy::unwrap_used)]

use std::{
    io::Write,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::types::ChecksumMode;
use fanfare::{
    ClaimCheckPublisher, Consumer, Delivery, Emitter, Event, HandlerError, MemoryLeaseStore,
    Outcome, Router,
    aws::{Aws, AwsPublisher, S3ClaimCheck, StreamWorker, Worker, deprovision, provision},
    topology::{Binding, Bindings, Kind, Kinesis, Topology},
};
use fanfare_testkit::localstack::{ACCOUNT, LocalStack, REGION, REQUIRE_VARIABLE};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long all deliveries may take; far more than they need.
const PATIENCE: Duration = Duration::from_secs(120);

/// A Python that has the extended client.
const PYTHON_VARIABLE: &str = "FANFARE_PYTHON";

#[derive(Clone, Event, Serialize, Deserialize)]
#[event(type = "tests.orders.OrderPlaced.v1", topic = "orders", key = customer)]
struct OrderPlaced {
    customer: String,
    number: usize,
    text: String,
}

/// An order that takes more than `bytes`, in characters of two bytes each.
fn order(number: usize, bytes: usize) -> OrderPlaced {
    OrderPlaced { customer: "c".into(), number, text: "ü".repeat(bytes / 2) }
}

/// Numbers and sizes of the orders that were handled, in order.
type Seen = Arc<Mutex<Vec<(usize, usize)>>>;

/// Rejects the order with number 13.
async fn ship(seen: Seen, order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
    if order.event.number == 13 {
        return Err(HandlerError::reject("unlucky"));
    }
    seen.lock().unwrap().push((order.event.number, order.event.text.len()));
    Ok(())
}

/// A system with a bucket, and its one service.
struct Ground {
    aws: Aws,
    topology: Topology,
    bindings: Bindings,
    s3: aws_sdk_s3::Client,
    bucket: String,
    store: S3ClaimCheck,
    seen: Seen,
}

impl Ground {
    async fn new(
        localstack: &LocalStack,
        name: &str,
        orders: impl Into<Binding>,
    ) -> Result<Ground> {
        let config = localstack.sdk_config();
        let aws = Aws::new(&config, ACCOUNT)?;
        let router: Router<Seen> = Router::new("delivery").on(ship);
        let topology = Topology::new(&format!("t{}-{name}", std::process::id()));
        let topology = topology.topic("orders", orders).service(&router);
        provision(&aws, &topology).await?;
        let bindings = topology.bindings();
        let config = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
        let s3 = aws_sdk_s3::Client::from_conf(config);
        let bucket = bindings.payloads_bucket_name(ACCOUNT, REGION);
        s3.create_bucket().bucket(&bucket).send().await?;
        let store = aws.claim_check(&bindings).prefix("of/");
        Ok(Ground { aws, topology, bindings, s3, bucket, store, seen: Seen::default() })
    }

    fn emitter(&self) -> Emitter {
        let publisher = AwsPublisher::new(self.aws.clone(), self.bindings.clone());
        Emitter::new("orders", ClaimCheckPublisher::new(publisher, self.store.clone()))
    }

    /// Consumes until so many deliveries are done with.
    async fn consume(&self, deliveries: usize) -> Result<Vec<(usize, usize)>> {
        let router: Router<Seen> = Router::new("delivery").on(ship);
        let done = watch::Sender::new(0);
        let consumer: Consumer = router.with_state(Arc::clone(&self.seen));
        let consumer = consumer.claim_check(self.store.clone()).observe({
            let done = done.clone();
            move |_, outcome| {
                if matches!(outcome, Outcome::Handled { .. } | Outcome::DeadLettered(_)) {
                    done.send_modify(|count| *count += 1);
                }
            }
        });
        let stop = CancellationToken::new();
        let mut workers = Vec::new();
        for kind in self.topology.kinds("delivery") {
            let worker = Worker::new(self.aws.queue(&self.bindings, "delivery", kind));
            let worker = worker.wait_time(Duration::from_secs(1));
            let working = worker.run(consumer.clone(), stop.clone().cancelled_owned());
            workers.push(tokio::spawn(async { anyhow::Ok(working.await?) }));
        }
        for topic in self.topology.streams("delivery") {
            let stream = self.aws.stream(&self.bindings, "delivery", topic);
            let worker = StreamWorker::new(stream, MemoryLeaseStore::default());
            let working = worker.run(consumer.clone(), stop.clone().cancelled_owned());
            workers.push(tokio::spawn(async { anyhow::Ok(working.await?) }));
        }
        let mut count = done.subscribe();
        let all = tokio::time::timeout(PATIENCE, count.wait_for(|count| *count == deliveries));
        let reached = all.await.map(|_| ());
        stop.cancel();
        for worker in workers {
            worker.await??;
        }
        reached.with_context(|| format!("{} of {deliveries} in {PATIENCE:?}", *done.borrow()))?;
        Ok(std::mem::take(&mut *self.seen.lock().unwrap()))
    }

    /// The keys of all objects.
    async fn keys(&self) -> Result<Vec<String>> {
        let objects = self.s3.list_objects_v2().bucket(&self.bucket).send().await?;
        Ok(objects.contents().iter().filter_map(|o| o.key().map(String::from)).collect())
    }
}

async fn large_events_arrive(name: &str, orders: impl Into<Binding>) -> Result<()> {
    let Some(localstack) = LocalStack::from_env()? else { return Ok(()) };
    let orders = orders.into();
    let ground = Ground::new(&localstack, name, orders).await?;
    let sizes = [(1, 100), (2, 300_000), (3, 10), (4, 2_000_000), (13, 400_000)];
    let events = sizes.map(|(number, bytes)| order(number, bytes));
    ground.emitter().emit_all(events.to_vec()).await?.into_result()?;
    let mut handled = ground.consume(sizes.len()).await?;
    if let Binding::Sns(Kind::Standard) = orders {
        handled.sort_unstable();
    }
    ensure!(handled == sizes[..4], "{handled:?}");

    let keys = ground.keys().await?;
    ensure!(keys.len() == 3, "consuming removes nothing: {keys:?}");
    for key in keys {
        ensure!(key.starts_with("of/orders/"), "{key}");
        let head = ground.s3.head_object().bucket(&ground.bucket).key(&key);
        let head = head.checksum_mode(ChecksumMode::Enabled).send().await?;
        ensure!(head.checksum_crc64_nvme().is_some(), "{head:?}");
    }
    // The dead letter is the message as it came: a pointer, which can be redriven.
    let kind = match orders {
        Binding::Sns(kind) => kind,
        Binding::Kinesis(_) => Kind::Standard,
    };
    let sqs = localstack.sqs();
    let queue = ground.bindings.dead_letter_queue_name("delivery", kind);
    let url = sqs.get_queue_url().queue_name(queue).send().await?.queue_url.context("no URL")?;
    let letters = sqs.receive_message().queue_url(&url).message_attribute_names("All");
    let letters = letters.wait_time_seconds(5).send().await?.messages.unwrap_or_default();
    let [letter] = &letters[..] else { anyhow::bail!("{letters:?}") };
    let body = letter.body.as_deref().unwrap_or_default();
    ensure!(
        body.starts_with(r#"["software.amazon.payloadoffloading.PayloadS3Pointer","#),
        "{body}"
    );
    if let Binding::Sns(_) = orders {
        let attributes = letter.message_attributes.clone().unwrap_or_default();
        let size = attributes.get("ExtendedPayloadSize").context("no size")?;
        ensure!(size.data_type == "Number", "{size:?}");
        ensure!(attributes.contains_key("type"), "{attributes:?}");
    }
    deprovision(&ground.aws, &ground.topology).await?;
    Ok(())
}

#[tokio::test]
async fn large_events_arrive_on_standard_queues() -> Result<()> {
    large_events_arrive("claim-standard", Kind::Standard).await
}

#[tokio::test]
async fn large_events_arrive_on_fifo_queues() -> Result<()> {
    large_events_arrive("claim-fifo", Kind::Fifo).await
}

#[tokio::test]
async fn large_events_arrive_on_a_stream() -> Result<()> {
    large_events_arrive("claim-stream", Kinesis::shards(1).aggregated()).await
}

/// The extended client for Python, as a process of its own.
struct Python {
    interpreter: String,
    endpoint: String,
}

impl Python {
    fn from_env(localstack: &LocalStack) -> Result<Option<Python>> {
        let endpoint = localstack.url().to_string();
        match std::env::var(PYTHON_VARIABLE) {
            Ok(interpreter) => Ok(Some(Python { interpreter, endpoint })),
            Err(_) if std::env::var_os(REQUIRE_VARIABLE).is_some() => {
                anyhow::bail!("Python is needed: run `cargo xtask test`, or set {PYTHON_VARIABLE}")
            }
            Err(_) => {
                eprintln!(
                    "skipped: {PYTHON_VARIABLE} names no Python that has the extended client"
                );
                Ok(None)
            }
        }
    }

    /// Runs the client, in a thread that may wait.
    async fn run(&self, arguments: &[&str], input: String) -> Result<String> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/extended_client.py");
        let mut command = Command::new(&self.interpreter);
        command
            .arg(script)
            .args(arguments)
            .envs([("AWS_ENDPOINT_URL", &*self.endpoint), ("AWS_DEFAULT_REGION", REGION)])
            .envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let run = move || {
            let mut child = command.spawn()?;
            child.stdin.take().context("no input")?.write_all(input.as_bytes())?;
            let output = child.wait_with_output()?;
            ensure!(output.status.success(), "the extended client: {}", output.status);
            Ok(String::from_utf8(output.stdout)?)
        };
        tokio::task::spawn_blocking(run).await?
    }
}

#[tokio::test]
async fn the_extended_client_for_python_reads_ours_and_we_read_its() -> Result<()> {
    let Some(localstack) = LocalStack::from_env()? else { return Ok(()) };
    let Some(python) = Python::from_env(&localstack)? else { return Ok(()) };
    let ground = Ground::new(&localstack, "claim-python", Kind::Standard).await?;
    let queue = ground.bindings.queue_name("delivery", Kind::Standard);
    let sqs = localstack.sqs();
    let url = sqs.get_queue_url().queue_name(queue).send().await?.queue_url.context("no URL")?;

    let large = order(7, 500_000);
    ground.emitter().emit(&large).await?;
    let received = python.run(&["receive", &url], String::new()).await?;
    let event: serde_json::Value = serde_json::from_str(&received)?;
    ensure!(event["data"]["text"] == *large.text, "{} bytes", received.len());
    ensure!(ground.keys().await?.len() == 1);

    python.run(&["send", &url, &ground.bucket], received.clone()).await?;
    python.run(&["send", &url, &ground.bucket, "--legacy"], received).await?;
    ensure!(ground.keys().await?.len() == 3);
    let handled = ground.consume(2).await?;
    ensure!(handled == [(7, 500_000), (7, 500_000)], "{handled:?}");
    ensure!(ground.keys().await?.len() == 3, "consuming removes nothing");
    deprovision(&ground.aws, &ground.topology).await?;
    Ok(())
}

//! What is said of events on their way, whoever handles them: one statement on every host, in a process of
//! its own, where subscriber and recorder are there before anything happens.
#![allow(clippy::unwrap_used)]

mod telemetry {
    pub(crate) mod capture;
}

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use aws_sdk_kinesis::primitives::Blob;
use fanfare_aws::AwsPublisher;
use fanfare_core::{
    Consumer, Context, Delivery, Emitter, Event, EventType, HandlerError, MemoryIdempotencyStore,
    Retry, Router, telemetry as names,
};
use fanfare_testkit::Harness;
use fanfare_topology::{Binding, Bindings, Kind, Kinesis, Topology};
use serde::{Deserialize, Serialize};
use serde_json::json;

use telemetry::capture::{Capture, Metric, Span};

/// In every payload and key, and to be found nowhere.
const SECRET: &str = "s3cr3t";

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[derive(Clone, Event, Serialize, Deserialize)]
#[event(type = "shop.orders.OrderPlaced.v1", topic = "orders", key = customer)]
struct OrderPlaced {
    customer: String,
    what: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "shop.delivery.DeliveryStarted.v1", topic = "deliveries", key = customer)]
struct DeliveryStarted {
    customer: String,
}

fn order(what: &str) -> OrderPlaced {
    OrderPlaced { customer: format!("{SECRET}-{what}"), what: what.into() }
}

async fn deliver(order: Delivery<OrderPlaced>) -> Result<DeliveryStarted, HandlerError> {
    match &*order.event.what {
        "busy" if order.metadata.attempt < 2 => Err(HandlerError::retry("no driver")),
        "nowhere" => Err(HandlerError::reject("no address")),
        _ => Ok(DeliveryStarted { customer: order.event.customer }),
    }
}

/// Where the statement is made.
#[derive(Clone, Copy)]
struct Ground {
    /// The prefix of all names.
    prefix: &'static str,
    binding: Binding,
    on_lambda: bool,
}

impl Ground {
    fn all() -> [Ground; 6] {
        let ground = |prefix, binding, on_lambda| Ground { prefix, binding, on_lambda };
        let stream = || Kinesis::shards(2).aggregated();
        [
            ground("wq", Kind::Standard.into(), false),
            ground("wf", Kind::Fifo.into(), false),
            ground("ws", stream().into(), false),
            ground("lq", Kind::Standard.into(), true),
            ground("lf", Kind::Fifo.into(), true),
            ground("ls", stream().into(), true),
        ]
    }

    /// Has a service handle what succeeds, what fails, and what nobody can handle.
    async fn run(self) {
        let topology = Topology::new(self.prefix)
            .topic("orders", self.binding)
            .topic("deliveries", Kind::Standard)
            .service(&Router::<()>::new("delivery").on(deliver));
        let bindings = topology.bindings();
        let harness = Harness::new(topology).await.unwrap();
        let mut harness = if self.on_lambda { harness.on_lambda() } else { harness };
        let mut context = Context::default();
        context.traceparent = Some(TRACE.into());
        context.correlation_id = Some("journey-1".into());
        let orders = ["a", "busy", "nowhere"].map(order).to_vec();
        let report = context.scope(harness.emitter("orders").emit_all(orders)).await.unwrap();
        report.into_result().unwrap();
        let unknown = json!({
            "specversion": "1.0", "id": "unknown", "source": "orders",
            "type": "shop.orders.OrderPlaced.v2", "data": order("b"),
        });
        let misfit = json!({
            "specversion": "1.0", "id": "misfit", "source": "orders",
            "type": OrderPlaced::TAG, "data": { "customer": [SECRET] },
        });
        for (number, body) in
            [format!("{{\"{SECRET}"), unknown.to_string(), misfit.to_string()].iter().enumerate()
        {
            self.put(&harness, &bindings, number, body).await;
        }
        let consumer = Consumer::from(Router::<()>::new("delivery").on(deliver))
            .idempotency(MemoryIdempotencyStore::default())
            .retry(Retry::exponential(Duration::from_secs(1), Duration::from_secs(4)));
        harness.start(consumer);
        harness.quiet().await.unwrap();
        harness.stop("delivery").await.unwrap();
        // And what cannot be sent.
        let nowhere = AwsPublisher::new(harness.aws().clone(), Bindings::new("nowhere"));
        let sent = Emitter::new("orders", nowhere).emit(&order("c")).await;
        assert!(sent.unwrap_err().to_string().contains("does not exist"));
    }

    /// Puts a body into what the service reads, past all publishers and filters.
    async fn put(self, harness: &Harness, bindings: &Bindings, number: usize, body: &str) {
        let config = harness.sim().sdk_config();
        let key = format!("{SECRET}-{number}");
        let Binding::Sns(kind) = self.binding else {
            let client = aws_sdk_kinesis::Client::new(&config);
            let request = client.put_record().stream_name(bindings.topic_name("orders"));
            request.partition_key(key).data(Blob::new(body)).send().await.unwrap();
            return;
        };
        let client = aws_sdk_sqs::Client::new(&config);
        let name = bindings.queue_name("delivery", kind);
        let url = client.get_queue_url().queue_name(name).send().await.unwrap().queue_url;
        let request = client.send_message().set_queue_url(url).message_body(body);
        let request = match kind {
            Kind::Fifo => request.message_group_id(&key).message_deduplication_id(&key),
            Kind::Standard => request,
        };
        request.send().await.unwrap();
    }

    /// The requests that its host makes, by type and name: Lambda receives and deletes by itself.
    fn requests(self) -> &'static [(&'static str, &'static str)] {
        const RECEIVE: (&str, &str) = ("receive", "receive");
        const DELETE: (&str, &str) = ("settle", "delete");
        const CHANGE: (&str, &str) = ("settle", "change_visibility");
        match (self.binding, self.on_lambda) {
            (Binding::Sns(_), false) => &[RECEIVE, DELETE, CHANGE],
            (Binding::Sns(_), true) => &[CHANGE],
            (Binding::Kinesis(_), false) => &[RECEIVE],
            (Binding::Kinesis(_), true) => &[],
        }
    }

    /// What the service reads, by system and name.
    fn source(self) -> (&'static str, String) {
        match self.binding {
            Binding::Sns(Kind::Standard) => (names::AWS_SQS, format!("{}-delivery", self.prefix)),
            Binding::Sns(Kind::Fifo) => (names::AWS_SQS, format!("{}-delivery.fifo", self.prefix)),
            Binding::Kinesis(_) => (names::AWS_KINESIS, format!("{}-orders", self.prefix)),
        }
    }
}

/// Tag and error of what was processed, and its outcome.
const PROCESSED: [(&str, Option<&str>, Option<&str>); 6] = [
    ("handled", None, Some(OrderPlaced::TAG)),
    ("retried", Some("handler"), Some(OrderPlaced::TAG)),
    ("dead_lettered", Some("rejected"), Some(OrderPlaced::TAG)),
    ("dead_lettered", Some("undecodable"), None),
    ("dead_lettered", Some("undecodable"), Some(OrderPlaced::TAG)),
    ("dead_lettered", Some("unknown_tag"), Some("shop.orders.OrderPlaced.v2")),
];

fn owned(text: Option<&str>) -> Option<String> {
    text.map(Into::into)
}

#[test]
fn every_host_says_the_same_and_no_payload_is_told() {
    let capture = Capture::install();
    for ground in Ground::all() {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().start_paused(true).build().unwrap();
        runtime.block_on(ground.run());
        drop(runtime);
        let (spans, metrics, text) = capture.take();
        check_spans(ground, &spans);
        check_requests(ground, &spans);
        check_metrics(ground, &metrics);
        check_sent(ground, &spans, &metrics);
        assert!(!text.contains(SECRET), "{}: {text}", ground.prefix);
        assert!(!text.contains("receipt"), "{}: {text}", ground.prefix);
    }
}

fn check_spans(ground: Ground, spans: &[Span]) {
    let (system, destination) = ground.source();
    let process: Vec<&Span> = spans.iter().filter(|span| span.name == "process").collect();
    let found: BTreeSet<_> = process
        .iter()
        .map(|span| {
            (span.text(names::OUTCOME), span.text(names::ERROR_TYPE), span.text(names::EVENT_TAG))
        })
        .collect();
    // What was handled comes again where a function reads a stream.
    let found: BTreeSet<_> =
        found.into_iter().filter(|found| found.0.as_deref() != Some("duplicate")).collect();
    let expected: BTreeSet<_> = PROCESSED
        .iter()
        .map(|(outcome, error, tag)| (Some((*outcome).to_owned()), owned(*error), owned(*tag)))
        .collect();
    assert_eq!(found, expected, "{}", ground.prefix);
    for span in process {
        let said = |name: &str| span.text(name).unwrap_or_else(|| panic!("{name} in {span:?}"));
        assert_eq!(said(names::SYSTEM), system);
        assert_eq!(said(names::DESTINATION_NAME), destination);
        assert_eq!(said(names::CONSUMER_GROUP_NAME), "delivery");
        assert_eq!(said(names::OPERATION_NAME), "process");
        assert_eq!(said(names::OPERATION_TYPE), "process");
        assert_eq!(said(names::OTEL_NAME), format!("process {destination}"));
        assert_eq!(said(names::OTEL_KIND), "consumer");
        assert!(said(names::MESSAGE_BODY_SIZE).parse::<usize>().unwrap() > 5);
        assert!(!said(names::MESSAGE_ID).is_empty());
        assert!(said(names::ATTEMPT).parse::<u32>().unwrap() > 0);
        let failed = span.text(names::ERROR_TYPE).map(|_| "ERROR".to_owned());
        assert_eq!(span.text(names::OTEL_STATUS_CODE), failed);
        let parent = ground.on_lambda.then_some("invoke");
        assert_eq!(span.parent.as_deref(), parent, "{}", ground.prefix);
        assert_eq!(span.text(names::FAAS_INVOCATION_ID).is_some(), ground.on_lambda);
        if span.text(names::OUTCOME).as_deref() == Some("handled") {
            assert_eq!(said(names::TRACEPARENT), TRACE);
            assert_eq!(said(names::MESSAGE_CONVERSATION_ID), "journey-1");
            assert!(!said(names::EVENT_ID).is_empty());
        }
    }
}

fn check_requests(ground: Ground, spans: &[Span]) {
    let (system, destination) = ground.source();
    let mut made = BTreeSet::new();
    for span in spans.iter().filter(|span| ["receive", "settle"].contains(&span.name)) {
        let said = |name: &str| span.text(name).unwrap_or_else(|| panic!("{name} in {span:?}"));
        let operation = said(names::OPERATION_NAME);
        assert_eq!(said(names::SYSTEM), system);
        assert_eq!(said(names::DESTINATION_NAME), destination);
        assert_eq!(said(names::CONSUMER_GROUP_NAME), "delivery");
        assert_eq!(said(names::OPERATION_TYPE), span.name);
        assert_eq!(said(names::OTEL_NAME), format!("{operation} {destination}"));
        assert_eq!(said(names::OTEL_KIND), "client");
        said(names::BATCH_MESSAGE_COUNT).parse::<usize>().unwrap();
        made.insert((span.name, operation));
    }
    let expected: BTreeSet<_> =
        ground.requests().iter().map(|(kind, name)| (*kind, (*name).to_owned())).collect();
    assert_eq!(made, expected, "{}", ground.prefix);
}

fn check_metrics(ground: Ground, metrics: &[Metric]) {
    let (system, destination) = ground.source();
    let of_source = |metric: &&Metric| metric.label(names::DESTINATION_NAME) == Some(&destination);
    let sources: Vec<&Metric> = metrics.iter().filter(of_source).collect();
    let consumer = [
        (names::SYSTEM, system),
        (names::DESTINATION_NAME, &*destination),
        (names::CONSUMER_GROUP_NAME, "delivery"),
    ];
    let find = |name: &str, labels: &[(&str, &str)]| -> f64 {
        let labels: BTreeMap<&str, &str> =
            consumer.iter().chain(labels).map(|(name, value)| (*name, *value)).collect();
        let found = sources.iter().find(|metric| metric.name == name && metric.has(&labels));
        found
            .unwrap_or_else(|| panic!("{}: {name} {labels:?} in {sources:#?}", ground.prefix))
            .value
    };
    let process = (names::OPERATION_NAME, "process");
    assert!(find(names::CLIENT_CONSUMED_MESSAGES, &[(names::OPERATION_NAME, "receive")]) >= 6.0);
    assert!(find(names::DELIVERIES_IN_FLIGHT, &[process]).abs() < 1e-9);
    for (outcome, error, tag) in PROCESSED {
        let mut labels = vec![process];
        labels.extend(error.map(|error| (names::ERROR_TYPE, error)));
        labels.push((names::OUTCOME, outcome));
        assert!(find(names::DELIVERY_OUTCOMES, &labels) > 0.0);
        labels.pop();
        // Tags that come from outside are no labels.
        let handled = tag.filter(|tag| *tag == OrderPlaced::TAG);
        labels.extend(handled.map(|tag| (names::EVENT_TAG, tag)));
        assert!(find(names::PROCESS_DURATION, &labels) > 0.0);
    }
    let handled = find(names::DELIVERY_OUTCOMES, &[process, (names::OUTCOME, "handled")]);
    assert!((handled - 2.0).abs() < 1e-9, "{}: {handled}", ground.prefix);
    for (kind, operation) in ground.requests() {
        let labels = [(names::OPERATION_NAME, *operation), (names::OPERATION_TYPE, *kind)];
        assert!(find(names::CLIENT_OPERATION_DURATION, &labels) > 0.0);
    }
    for metric in metrics {
        let unit = if metric.name.ends_with("duration") { "s" } else { "" };
        assert_eq!(metric.unit, unit, "{metric:?}");
        assert!(metric.described, "{metric:?}");
    }
}

/// What the harness, the handlers and the dead letters sent.
fn check_sent(ground: Ground, spans: &[Span], metrics: &[Metric]) {
    let prefix = ground.prefix;
    let (kind, letters) = match ground.binding {
        Binding::Sns(Kind::Fifo) => ("publish", format!("{prefix}-delivery-dlq.fifo")),
        Binding::Sns(Kind::Standard) => ("publish", format!("{prefix}-delivery-dlq")),
        Binding::Kinesis(_) => ("put", format!("{prefix}-delivery-dlq")),
    };
    let orders = match ground.binding {
        Binding::Sns(Kind::Fifo) => format!("{prefix}-orders.fifo"),
        _ => format!("{prefix}-orders"),
    };
    let (sns, kinesis) = (names::AWS_SNS, names::AWS_KINESIS);
    let system = if kind == "put" { kinesis } else { sns };
    let deliveries = format!("{prefix}-deliveries");
    let sent = [
        (system, kind, &*orders, None, Some(3.0)),
        (sns, "publish", &deliveries, None, None),
        (names::AWS_SQS, "send", &letters, None, None),
        (sns, "publish", "nowhere-orders", Some("not_found"), Some(1.0)),
    ];
    for (system, operation, destination, error, count) in sent {
        let mut labels = BTreeMap::from([
            (names::SYSTEM, system),
            (names::OPERATION_NAME, operation),
            (names::DESTINATION_NAME, destination),
        ]);
        labels.extend(error.map(|error| (names::ERROR_TYPE, error)));
        let find = |name: &str, labels: &BTreeMap<&str, &str>| {
            let found = metrics.iter().find(|metric| metric.name == name && metric.has(labels));
            found.unwrap_or_else(|| panic!("{name} {labels:?} in {metrics:#?}")).value
        };
        let counted = find(names::CLIENT_SENT_MESSAGES, &labels);
        assert!(count.is_none_or(|count| (count - counted).abs() < 1e-9), "{labels:?} {counted}");
        labels.insert(names::OPERATION_TYPE, "send");
        assert!(find(names::CLIENT_OPERATION_DURATION, &labels) > 0.0);
        let is = |span: &&Span| {
            span.name == "send"
                && span.text(names::DESTINATION_NAME).as_deref() == Some(destination)
                && span.text(names::ERROR_TYPE).as_deref() == error
        };
        let span = spans.iter().find(is).unwrap_or_else(|| panic!("{labels:?} in {spans:#?}"));
        let name = format!("{operation} {destination}");
        assert_eq!(span.text(names::OTEL_NAME), Some(name));
        assert_eq!(span.text(names::OTEL_KIND).as_deref(), Some("client"));
        assert!(span.text(names::BATCH_MESSAGE_COUNT).is_some());
    }
}

//! Events of twenty types in and out of JSON: fanfare beside serde_json and what is built on it.
//!
//! Everyone reads the same bytes, which fanfare wrote, and comes to the same: the attributes that a
//! `Envelope` has, and the data as a type of its own. The comparison of messages runs this
//! and puts the ratios into docs/benchmarks.md.

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use fanfare::{Event, Opened, seal_event};
use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};
use rapidhash::RapidHashMap;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Bytes of an event's data.
const SIZES: [usize; 2] = [300, 3_000];

/// Each contestant is measured as often, and each time it is another's turn to begin.
const ROUNDS: usize = 9;

/// Processor time of the thread: what others do on the machine meanwhile is not counted.
struct ProcessorTime;

impl Measurement for ProcessorTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a clock").into()
    }

    fn end(&self, start: Duration) -> Duration {
        self.start() - start
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// A line of an order.
#[derive(Clone, Serialize, Deserialize)]
struct Line {
    article: String,
    quantity: u32,
    cents: u64,
}

/// An envelope whose data is a `D`. Of what fanfare does not keep it has nothing: `specversion` and
/// `datacontenttype` are passed over.
#[derive(Serialize, Deserialize)]
struct Known<D> {
    id: String,
    source: String,
    r#type: String,
    time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partitionkey: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlationid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    causationid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracestate: Option<String>,
    hops: u32,
    data: D,
}

/// The same where the type is told by an enum or a trait object.
#[derive(Serialize, Deserialize)]
struct Untyped<D> {
    id: String,
    source: String,
    time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partitionkey: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlationid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    causationid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracestate: Option<String>,
    hops: u32,
    data: D,
}

/// Gives an envelope what a new event has: an id, which is what its chain goes by, and the time.
macro_rules! renew {
    ($envelope:expr) => {{
        let envelope = $envelope;
        envelope.id = Uuid::now_v7().to_string();
        envelope.correlationid = Some(envelope.id.clone());
        envelope.time = Some(Timestamp::now());
    }};
}

#[typetag::serde(tag = "type")]
trait AnyEvent {
    fn renew(&mut self);
}

/// An event of some type, and what the contestants do with it.
struct Kind {
    tag: &'static str,
    /// As fanfare wrote it.
    body: String,
    handle: fn(Opened<'_>),
    read_known: fn(&str),
    seal: Box<dyn Fn() -> String>,
    write_known: Box<dyn FnMut() -> String>,
}

impl Kind {
    fn new<E: Event + Serialize + DeserializeOwned + Clone + 'static>(event: E) -> Self {
        let body = seal_event("shop-orders", &event).expect("an event").body;
        let mut known: Known<E> = serde_json::from_str(&body).expect("what was written");
        Kind {
            tag: E::TAG,
            handle: |opened| drop(black_box(opened.read::<E>().expect("what was written"))),
            read_known: |body| drop(black_box(read::<Known<E>>(body))),
            seal: Box::new(move || seal_event("shop-orders", &event).expect("an event").body),
            write_known: Box::new(move || {
                renew!(&mut known);
                write(&known)
            }),
            body,
        }
    }
}

fn read<T: DeserializeOwned>(body: &str) -> T {
    serde_json::from_str(body).expect("what was written")
}

fn write<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("an event")
}

macro_rules! events {
    ($($name:ident $tag:literal)+) => {
        $(
            #[derive(Clone, Serialize, Deserialize, fanfare::Event)]
            #[event(type = $tag, topic = "orders", key = order)]
            struct $name {
                order: String,
                customer: String,
                country: String,
                express: bool,
                lines: Vec<Line>,
                remark: String,
            }

            impl $name {
                /// Of so many bytes of JSON.
                fn of(bytes: usize) -> Self {
                    let line = |number: u32| Line {
                        article: format!("article-{number:04}"),
                        quantity: 1 + number % 7,
                        cents: 1_999 + u64::from(number),
                    };
                    let mut event = $name {
                        order: Uuid::now_v7().to_string(),
                        customer: "customer-004711".into(),
                        country: "CH".into(),
                        express: true,
                        lines: Vec::new(),
                        remark: String::new(),
                    };
                    let size = |event: &Self| write(event).len();
                    for number in 0.. {
                        event.lines.push(line(number));
                        if size(&event) > bytes {
                            event.lines.pop();
                            break;
                        }
                    }
                    event.remark = "x".repeat(bytes - size(&event));
                    event
                }
            }

            #[typetag::serde(name = $tag)]
            impl AnyEvent for Untyped<$name> {
                fn renew(&mut self) {
                    renew!(self);
                }
            }
        )+

        #[derive(Serialize, Deserialize)]
        #[serde(tag = "type")]
        enum Tagged {
            $(#[serde(rename = $tag)] $name(Untyped<$name>),)+
        }

        impl Tagged {
            fn renew(&mut self) {
                match self {
                    $(Tagged::$name(event) => renew!(event),)+
                }
            }
        }

        fn kinds(bytes: usize) -> Vec<Kind> {
            vec![$(Kind::new($name::of(bytes)),)+]
        }
    };
}

events! {
    OrderPlaced "shop.orders.OrderPlaced.v1"
    OrderConfirmed "shop.orders.OrderConfirmed.v1"
    OrderChanged "shop.orders.OrderChanged.v1"
    OrderChanged2 "shop.orders.OrderChanged.v2"
    OrderPaid "shop.orders.OrderPaid.v1"
    OrderPacked "shop.orders.OrderPacked.v1"
    OrderShipped "shop.orders.OrderShipped.v1"
    OrderDelivered "shop.orders.OrderDelivered.v1"
    OrderReturned "shop.orders.OrderReturned.v1"
    OrderCancelled "shop.orders.OrderCancelled.v1"
    StockReserved "shop.products.StockReserved.v1"
    StockReleased "shop.products.StockReleased.v1"
    StockReduced "shop.products.StockReduced.v1"
    StockCounted "shop.products.StockCounted.v1"
    PaymentRequested "shop.payments.PaymentRequested.v1"
    PaymentReceived "shop.payments.PaymentReceived.v1"
    PaymentRefused "shop.payments.PaymentRefused.v1"
    PaymentRefunded "shop.payments.PaymentRefunded.v1"
    InvoiceSent "shop.invoices.InvoiceSent.v1"
    ReminderSent "shop.invoices.ReminderSent.v1"
}

/// What a contestant does with one event of each type.
type Work<'a> = (&'static str, Box<dyn FnMut() + 'a>);

fn work<'a>(name: &'static str, work: impl FnMut() + 'a) -> Work<'a> {
    (name, Box::new(work))
}

/// Reads by tag: what a consumer does with a body before its handler has the event.
fn decoding(kinds: &[Kind]) -> Vec<Work<'_>> {
    let table: RapidHashMap<&str, fn(Opened<'_>)> =
        kinds.iter().map(|kind| (kind.tag, kind.handle)).collect();
    let each = |read: fn(&str)| move || kinds.iter().for_each(|kind| read(black_box(&kind.body)));
    let fanfare = move || {
        for kind in kinds {
            let opened = Opened::open(black_box(&kind.body)).expect("what was written");
            let handle = table[&*opened.envelope().tag];
            handle(opened);
        }
    };
    let known = || kinds.iter().for_each(|kind| (kind.read_known)(black_box(&kind.body)));
    vec![
        work("known", known),
        work("fanfare", fanfare),
        work("tagged", each(|body| drop(black_box(read::<Tagged>(body))))),
        work("typetag", each(|body| drop(black_box(read::<Box<dyn AnyEvent>>(body))))),
    ]
}

/// Writes a new event: its id and the time are new, the data is there.
fn encoding(kinds: &mut [Kind]) -> Vec<Work<'_>> {
    let mut tagged: Vec<Tagged> = kinds.iter().map(|kind| read(&kind.body)).collect();
    let mut objects: Vec<Box<dyn AnyEvent>> = kinds.iter().map(|kind| read(&kind.body)).collect();
    let (seals, mut knowns): (Vec<_>, Vec<_>) =
        kinds.iter_mut().map(|kind| (&kind.seal, &mut kind.write_known)).unzip();
    vec![
        work("known", move || knowns.iter_mut().for_each(|write| drop(black_box(write())))),
        work("fanfare", move || seals.iter().for_each(|seal| drop(black_box(seal())))),
        work("tagged", move || {
            for event in &mut tagged {
                event.renew();
                black_box(write(event));
            }
        }),
        work("typetag", move || {
            for event in &mut objects {
                event.renew();
                black_box(write(event));
            }
        }),
    ]
}

fn codec(criterion: &mut Criterion<ProcessorTime>) {
    for bytes in SIZES {
        let mut kinds = kinds(bytes);
        compare(criterion, &format!("decode {bytes}"), decoding(&kinds));
        compare(criterion, &format!("encode {bytes}"), encoding(&mut kinds));
    }
}

fn compare(criterion: &mut Criterion<ProcessorTime>, what: &str, mut contestants: Vec<Work<'_>>) {
    let mut group = criterion.benchmark_group(what);
    for round in 0..ROUNDS {
        contestants.rotate_left(1);
        for (name, work) in &mut contestants {
            group
                .bench_function(BenchmarkId::new(*name, round), |bencher| bencher.iter(&mut *work));
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .with_measurement(ProcessorTime)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400))
        .sample_size(20)
        .nresamples(2_000);
    targets = codec
}
criterion_main!(benches);

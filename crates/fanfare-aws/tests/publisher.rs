//! The publisher, on the simulator under paused time: outcomes, order, limits and each fault.
#![allow(clippy::unwrap_used)]

mod support;

use fanfare_core::{
    Destination, Emitter, Event, EventType, Message, Pointer, PublishError, PublishReport,
    Publisher,
};
use fanfare_sim::{Fault, RandomFaults};
use fanfare_topology::{Bindings, Kind};
use serde::Serialize;
use support::*;

/// The numbers in the queue's messages, in the order in which they came.
fn arrived(shop: &Shop) -> Vec<(String, usize)> {
    let messages = shop.sim.messages(shop.queue().name());
    let read = |body: &str| {
        let (_, event) = fanfare_core::Opened::open(body).unwrap().read::<OrderPlaced>().unwrap();
        (event.order_id, event.number)
    };
    messages.iter().map(|message| read(&message.body)).collect()
}

async fn emit(shop: &Shop, events: Vec<OrderPlaced>) -> PublishReport {
    shop.orders().emit_all(events).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_thousand_events_take_a_hundred_requests() {
    let shop = Shop::new(Kind::Standard).await;
    let before = shop.aws.requests();
    shop.publish(1_000).await;
    assert_eq!(shop.aws.requests() - before, 100);
    assert_eq!(shop.sim.requests().count("PublishBatch"), 100);
    assert_eq!(shop.held(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn batches_are_cut_by_bytes_too() {
    #[derive(Event, Serialize)]
    #[event(type = "shop.orders.OrderPlaced.v1", topic = "orders", key = order_id)]
    struct Bulky {
        order_id: String,
        number: usize,
        filling: String,
    }
    let shop = Shop::new(Kind::Standard).await;
    let bulky = |number| Bulky { order_id: "o".into(), number, filling: "x".repeat(100_000) };
    let report = shop.orders().emit_all((0..6).map(bulky).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(report.published(), 6);
    assert_eq!(shop.sim.requests().count("PublishBatch"), 3, "two of 100 kB fit into 256 KiB");
}

#[tokio::test(start_paused = true)]
async fn only_what_failed_is_sent_again() {
    let shop = Shop::new(Kind::Standard).await;
    shop.sim.inject("PublishBatch", Fault::FailEntry(3));
    shop.publish(10).await;
    let numbers: Vec<_> = arrived(&shop).into_iter().map(|(_, number)| number).collect();
    assert_eq!(numbers, [0, 1, 2, 4, 5, 6, 7, 8, 9, 3], "each once, the failed one last");
    assert_eq!(shop.sim.requests().count("PublishBatch"), 2);
}

#[tokio::test(start_paused = true)]
async fn throttling_errors_and_broken_connections_are_survived() {
    for fault in [Fault::Throttle, Fault::ServerError, Fault::BreakConnection, Fault::Hang] {
        let shop = Shop::new(Kind::Standard).await;
        shop.sim.inject("PublishBatch", fault.clone());
        shop.sim.inject("PublishBatch", fault.clone());
        shop.publish(5).await;
        assert_eq!(shop.held(), 5, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_made_up_for_and_deduplicated_on_fifo() {
    let standard = Shop::new(Kind::Standard).await;
    standard.sim.inject("PublishBatch", Fault::LoseAnswer);
    standard.publish(3).await;
    assert_eq!(standard.held(), 6, "at least once");

    let fifo = Shop::new(Kind::Fifo).await;
    fifo.sim.inject("PublishBatch", Fault::LoseAnswer);
    fifo.publish(3).await;
    assert_eq!(fifo.held(), 3, "once, by the event's id");
}

#[tokio::test(start_paused = true)]
async fn on_fifo_the_group_is_the_key_and_the_deduplication_id_the_events_id() {
    let shop = Shop::new(Kind::Fifo).await;
    let id = shop.orders().emit(&order("o-7", 1)).await.unwrap();
    let spaced = shop.orders().emit(&order("o 7", 1)).await.unwrap();
    let messages = shop.sim.messages(shop.queue().name());
    assert_eq!(messages[0].group_id.as_deref(), Some("o-7"));
    assert_eq!(messages[0].deduplication_id.as_deref(), Some(id.as_str()));
    assert!(messages[1].group_id.as_deref().unwrap().starts_with("sha256:"), "no legal group id");
    assert_eq!(messages[1].deduplication_id.as_deref(), Some(spaced.as_str()));
    assert!(messages[1].body.contains("\"partitionkey\":\"o 7\""), "the envelope keeps the key");
}

#[tokio::test(start_paused = true)]
async fn order_per_key_survives_failing_entries() {
    let shop = Shop::new(Kind::Fifo).await;
    for entry in [0, 1, 2, 0] {
        shop.sim.inject("PublishBatch", Fault::FailEntry(entry));
    }
    let events = (0..12).map(|i| order(["a", "b", "c"][i % 3], i)).collect();
    assert_eq!(emit(&shop, events).await.published(), 12);
    for key in ["a", "b", "c"] {
        let numbers: Vec<_> =
            arrived(&shop).into_iter().filter(|(k, _)| k == key).map(|(_, n)| n).collect();
        assert!(numbers.is_sorted() && numbers.len() == 4, "{key}: {numbers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn order_per_key_survives_random_faults() {
    for seed in 0..20 {
        let shop = Shop::new(Kind::Fifo).await;
        let faults = RandomFaults {
            seed,
            throttle: 0.1,
            server_error: 0.1,
            lose_answer: 0.1,
            fail_entry: 0.2,
            ..RandomFaults::default()
        };
        shop.sim.set_faults(Some(faults));
        let events: Vec<_> = (0..60).map(|i| order(["a", "b", "c", "d"][i % 4], i)).collect();
        let report = emit(&shop, events).await;
        let arrived = arrived(&shop);
        for key in ["a", "b", "c", "d"] {
            let numbers: Vec<_> =
                arrived.iter().filter(|(k, _)| k == key).map(|(_, n)| *n).collect();
            assert!(numbers.is_sorted(), "seed {seed}, {key}: {numbers:?}");
        }
        for (index, _) in report.failures() {
            // Gaps are only at the end of a key: what follows a failure was held back.
            let later = (index + 1..60).filter(|later| later % 4 == index % 4);
            for later in later {
                assert!(report.outcomes()[later].is_err(), "seed {seed}: {later} overtook {index}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn behind_a_refused_event_the_rest_of_its_key_is_held_back() {
    let shop = Shop::new(Kind::Fifo).await;
    let events = vec![order("a", 0), order("a", 1), order("b", 2), order("a", 3)];
    let mut messages = sealed(events).await;
    messages[1].body.push('\u{FFFF}');
    let report = shop.publisher().publish(&messages).await;
    let outcomes = report.outcomes();
    assert_eq!((&outcomes[0], &outcomes[2]), (&Ok(()), &Ok(())));
    assert!(matches!(outcomes[1], Err(PublishError::Malformed { .. })));
    assert_eq!(outcomes[3], Err(PublishError::Blocked));
}

/// Messages as an emitter makes them, not yet published.
async fn sealed(events: Vec<OrderPlaced>) -> Vec<Message> {
    #[derive(Clone, Default)]
    struct Keep(std::sync::Arc<std::sync::Mutex<Vec<Message>>>);
    impl Publisher for Keep {
        async fn publish(&self, batch: &[Message]) -> PublishReport {
            self.0.lock().unwrap().extend_from_slice(batch);
            PublishReport::new(batch.iter().map(|_| Ok(())).collect())
        }
    }
    let keep = Keep::default();
    let _ = Emitter::new("orders", keep.clone()).emit_all(events).await.unwrap();
    keep.0.lock().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn what_sns_would_refuse_or_drop_is_refused_before_it_is_sent() {
    let shop = Shop::new(Kind::Standard).await;
    let good = sealed(vec![order("a", 0)]).await.remove(0);
    let broken = |change: fn(&mut Message)| {
        let mut message = good.clone();
        change(&mut message);
        message
    };
    let cases = [
        (
            broken(|m| m.body = "x".repeat(262_145)),
            "shop.orders.OrderPlaced.v1 is not sent: its size with attributes is 262181, over the limit of 262144 bytes: give the publisher a claim check (ClaimCheckPublisher)",
        ),
        (
            broken(|m| m.attributes = (0..11).map(|i| (format!("a{i}"), "x".into())).collect()),
            "shop.orders.OrderPlaced.v1 is not sent: the number of its message attributes is 11, over the limit of 10 attributes",
        ),
        (
            broken(|m| {
                m.attributes = (0..10).map(|i| (format!("a{i}"), "x".into())).collect();
                m.offloaded = Some(1_000_000);
            }),
            "shop.orders.OrderPlaced.v1 is not sent: the number of its message attributes is 11, over the limit of 10 attributes",
        ),
        (
            broken(|m| m.body.push('\u{FFFE}')),
            "shop.orders.OrderPlaced.v1 is not sent: its body has the character U+FFFE, which SNS and SQS refuse",
        ),
        (
            broken(|m| m.attributes.push(("country".into(), String::new()))),
            "shop.orders.OrderPlaced.v1 is not sent: its attribute `country` is empty, which SNS and SQS refuse: do not filter by fields that can be empty",
        ),
        (
            broken(|m| m.attributes.push(("AWS.x".into(), "x".into()))),
            "shop.orders.OrderPlaced.v1 is not sent: `AWS.x` is no attribute name: letters, digits, `_`, `-` and single dots, at most 256",
        ),
    ];
    let before = shop.aws.requests();
    for (message, expected) in cases {
        let report = shop.publisher().publish(&[message]).await;
        assert_eq!(report.into_result().unwrap_err().to_string(), expected);
    }
    assert_eq!(shop.aws.requests(), before, "nothing was sent");
    let full = broken(|m| m.body = "x".repeat(262_144 - 36));
    assert!(shop.publisher().publish(&[full]).await.into_result().is_ok(), "the limit itself fits");
}

#[tokio::test(start_paused = true)]
async fn the_size_of_an_offloaded_payload_is_an_attribute_of_type_number() {
    for kind in [Kind::Standard, Kind::Fifo] {
        let shop = Shop::new(kind).await;
        let mut event = sealed(vec![order("a", 0)]).await.remove(0);
        event.body = Pointer::new("payloads", "k").to_body();
        event.offloaded = Some(1_000_000);
        let mut task = event.clone();
        (task.destination, task.id) = (Destination::Queue("products".into()), "task".into());
        shop.publisher().publish(&[event, task]).await.into_result().unwrap();
        let messages = shop.sim.messages(shop.queue().name());
        assert_eq!(messages.len(), 2, "{kind:?}");
        for message in messages {
            let size = &message.attributes["ExtendedPayloadSize"];
            assert_eq!(size.data_type, "Number");
            assert_eq!(message.attribute("ExtendedPayloadSize"), Some("1000000"));
            assert_eq!(message.attribute("type"), Some(OrderPlaced::TAG));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_event_does_not_fail_its_neighbours() {
    let shop = Shop::new(Kind::Standard).await;
    let refuse =
        Fault::Refuse { status: 400, code: "InvalidParameter".into(), message: "odd".into() };
    // The whole batch, and then, alone, one of its entries.
    shop.sim.inject("PublishBatch", refuse.clone());
    shop.sim.inject("PublishBatch", refuse);
    let report = emit(&shop, (0..4).map(|i| order("a", i)).collect()).await;
    assert_eq!(report.published(), 3);
    let (_, error) = report.failures().next().unwrap();
    assert!(matches!(error, PublishError::Refused { code, .. } if code == "InvalidParameter"));
    assert!(!error.is_retryable());
}

#[tokio::test(start_paused = true)]
async fn a_missing_topic_and_denied_access_are_named_and_not_retried() {
    let shop = Shop::new(Kind::Standard).await;
    let publisher = fanfare_aws::AwsPublisher::new(shop.aws.clone(), Bindings::new("elsewhere"));
    let before = shop.aws.requests();
    let error = Emitter::new("orders", publisher).emit(&order("a", 0)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "topic `orders` does not exist (as arn:aws:sns:us-east-1:000000000000:elsewhere-orders): declare it in the topology and provision it"
    );
    assert_eq!(shop.aws.requests() - before, 1);
    let denied =
        Fault::Refuse { status: 403, code: "AuthorizationError".into(), message: "no".into() };
    shop.sim.inject("PublishBatch", denied);
    let error = shop.orders().emit(&order("a", 0)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "publishing to topic `orders` is denied (AuthorizationError): check the credentials and their rights"
    );
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_never_accepted_is_reported_after_a_bounded_number_of_attempts() {
    let shop = Shop::new(Kind::Standard).await;
    for _ in 0..100 {
        shop.sim.inject("PublishBatch", Fault::Throttle);
    }
    let before = shop.aws.requests();
    let error = shop.orders().emit(&order("a", 0)).await.unwrap_err();
    assert!(error.is_retryable());
    assert!(
        error.to_string().starts_with(
            "topic `orders` did not accept shop.orders.OrderPlaced.v1 in 8 attempts, last: Thrott"
        ),
        "{error}"
    );
    assert_eq!(shop.aws.requests() - before, 8);
}

#[tokio::test(start_paused = true)]
async fn a_task_goes_to_one_services_queue_and_no_further() {
    for kind in [Kind::Standard, Kind::Fifo] {
        let shop = Shop::new(kind).await;
        shop.orders().send("products", &order("o-1", 1)).await.unwrap();
        assert_eq!(arrived(&shop), [("o-1".to_string(), 1)]);
        assert_eq!(shop.sim.requests().count("SendMessageBatch"), 1);
        assert_eq!(shop.sim.requests().count("PublishBatch"), 0);
        let error = shop.orders().send("nobody", &order("o-1", 1)).await.unwrap_err();
        assert!(error.to_string().starts_with("the queue of `nobody` does not exist"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_call_may_hold_events_for_several_destinations() {
    let shop = Shop::new(Kind::Standard).await;
    let task = fanfare_core::Task::to("products", order("t", 1));
    let report = shop.orders().emit_all((order("a", 0), task)).await.unwrap();
    assert_eq!(report.published(), 2);
    assert_eq!(shop.held(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up_before_a_lease_ends() {
    let shop = Shop::new(Kind::Standard).await;
    for _ in 0..20 {
        shop.sim.inject("PublishBatch", Fault::Hang);
    }
    let began = tokio::time::Instant::now();
    let error = shop.orders().emit(&order("a", 0)).await.unwrap_err();
    assert!(error.is_retryable());
    assert!(began.elapsed() < std::time::Duration::from_secs(40), "{:?}", began.elapsed());
}

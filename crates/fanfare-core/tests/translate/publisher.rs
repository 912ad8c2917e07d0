//! A publisher that translates for some destinations.

use fanfare_core::{
    Event, IntoEvents, PublishError, PublishReport, Publisher, Task,
    translate::{TranslatingPublisher, Translation, Translator, format::MassTransit},
};

use super::{support::Port, *};

const URN: &str = "urn:message:Company.Project:OrderPlaced";

fn legacy(service: &str) -> Destination {
    Destination::Queue(service.into())
}

fn translating<P: Publisher>(publisher: P) -> TranslatingPublisher<P> {
    TranslatingPublisher::new(publisher)
        .translate(legacy("legacy"), Translation::of(MassTransit).map::<OrderPlaced>(URN))
}

fn to(service: &str, tag: &str, id: &str, key: &str) -> Message {
    let body = ours().to_string().replace(OrderPlaced::TAG, tag);
    Message::new(legacy(service), id, tag, key, vec![], body)
}

#[tokio::test]
async fn only_what_goes_to_its_destinations_is_translated() {
    let bench = Bench::new();
    let batch = [to("other", OrderPlaced::TAG, "1", "k"), to("legacy", OrderPlaced::TAG, "2", "k")];
    let report = translating(bench.publisher()).publish(&batch).await;
    assert_eq!(report.published(), 2);
    let published = bench.published();
    assert_eq!(published[0], batch[0]);
    assert!(published[1].body.contains(URN));
    assert_eq!((&*published[1].id, &*published[1].key), ("2", "k"));
}

/// Keeps order at every destination.
struct Ordered(Port);

impl Publisher for Ordered {
    async fn publish(&self, batch: &[Message]) -> PublishReport {
        self.0.publish(batch).await
    }

    fn keeps_order(&self, _: &Destination) -> bool {
        true
    }
}

#[tokio::test]
async fn what_the_translation_does_not_know_is_not_sent_and_holds_back_its_key() {
    let unknown = "shop.orders.Other.v1";
    let batch = [
        to("legacy", OrderPlaced::TAG, "1", "a"),
        to("legacy", unknown, "2", "a"),
        to("legacy", OrderPlaced::TAG, "3", "a"),
        to("legacy", OrderPlaced::TAG, "4", "b"),
        to("other", OrderPlaced::TAG, "5", "a"),
    ];
    let ids = |bench: &Bench| -> Vec<String> {
        bench.published().into_iter().map(|message| message.id).collect()
    };

    let bench = Bench::new();
    let report = translating(Ordered(bench.publisher())).publish(&batch).await;
    assert_eq!(ids(&bench), ["1", "4", "5"]);
    let failures: Vec<_> = report.failures().collect();
    assert_eq!(failures[1], (2, &PublishError::Blocked));
    assert_eq!((failures.len(), failures[0].0), (2, 1));
    assert!(matches!(failures[0].1, PublishError::Untranslatable(_)));
    assert!(!failures[0].1.is_retryable());
    assert_eq!(
        failures[0].1.to_string(),
        "not sent: MassTransit: shop.orders.Other.v1 is mapped to no foreign type: add it to the translation"
    );

    let bench = Bench::new();
    let report = translating(bench.publisher()).publish(&batch).await;
    assert_eq!(ids(&bench), ["1", "3", "4", "5"], "where there is no order, nothing waits for it");
    assert_eq!(report.published(), 4);
}

#[tokio::test]
async fn outcomes_of_the_publisher_keep_their_places() {
    let bench = Bench::new();
    let mut count = 0;
    let refused = PublishError::Malformed { tag: "t".into(), problem: "p".into() };
    let error = refused.clone();
    bench.fail_publishes(move || {
        count += 1;
        (count == 1).then(|| error.clone())
    });
    let unknown = "shop.orders.Other.v1";
    let batch = [to("legacy", unknown, "1", "a"), to("legacy", OrderPlaced::TAG, "2", "b")];
    let report = translating(bench.publisher()).publish(&batch).await;
    let failures: Vec<_> = report.failures().collect();
    assert!(matches!(failures[0], (0, PublishError::Untranslatable(_))));
    assert_eq!(failures[1], (1, &refused));
}

#[tokio::test]
async fn a_panic_of_a_translator_is_a_failure_of_its_message() {
    let translation = Translation::of(MassTransit).map_outward(
        URN,
        |order: OrderPlaced| -> Result<OrderPlaced, String> {
            panic!("a bug with {}", order.order_id)
        },
    );
    let bench = Bench::new();
    let publisher =
        TranslatingPublisher::new(bench.publisher()).translate(legacy("legacy"), translation);
    let report = publisher.publish(&[to("legacy", OrderPlaced::TAG, "1", "a")]).await;
    assert!(matches!(report.failures().next(), Some((0, PublishError::Untranslatable(_)))));
}

/// A handler's task to one old service is in its format, and the event beside it is ours.
#[tokio::test]
async fn one_destination_gets_a_foreign_format_while_the_topic_keeps_ours() {
    #[derive(Event, Serialize)]
    #[event(type = "shop.orders.OrderPlaced.v1", topic = "copies", key = order_id)]
    struct Copied {
        order_id: String,
        quantity: u32,
    }
    async fn copy(order: Delivery<OrderPlaced>) -> Result<impl IntoEvents, HandlerError> {
        let OrderPlaced { order_id, quantity } = order.event;
        let copied = || Copied { order_id: order_id.clone(), quantity };
        Ok((copied(), Task::to("legacy", copied())))
    }
    let bench = Bench::new();
    let kept = Arc::new(bench.publisher());
    let translation = Translation::of(MassTransit).map::<Copied>(URN);
    let publisher =
        TranslatingPublisher::new(Port::clone(&kept)).translate(legacy("legacy"), translation);
    let router: Router = Router::new("shop").on(copy);
    let consumer = Consumer::from(router).publisher(publisher);
    let delivery = delivery(&ours().to_string(), &[]);
    let mut outcomes = Box::pin(consumer.process(vec![delivery], 1, &*kept, &|| true));
    let (_, outcome) = futures_util::StreamExt::next(&mut outcomes).await.unwrap();
    assert_eq!(outcome, Outcome::Handled { published: 2 });
    let published = bench.published();
    assert!(published[0].body.starts_with(r#"{"specversion""#));
    assert!(published[1].body.starts_with(r#"{"messageId""#));

    // And the other side's reader, here another translation, has the same event.
    let back = Translation::of(MassTransit).map::<OrderPlaced>(URN);
    let mut came = RawDelivery::new(&*published[1].body, Metadata::new("m", 1));
    came.metadata.attempt = 2;
    assert!(back.inward(&came).unwrap().is_some());
}

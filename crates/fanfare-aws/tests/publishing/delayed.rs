//! Tasks that are to be seen later.

use std::time::Duration;

use fanfare_aws::{Aws, AwsPublisher, BufferedPublisher, provision};
use fanfare_core::{
    Delivery, Destination, Emitter, HandlerError, Message, Publisher, Router, Task, seal,
};
use fanfare_sim::Sim;
use fanfare_topology::{Kind, Kinesis, Topology};
use tokio::time::sleep;

use crate::{message, support::*, to};

fn delayed(mut message: Message, seconds: u64) -> Message {
    message.delay = Some(Duration::from_secs(seconds));
    message
}

/// How many messages of the service's queue can be seen, and how many not yet.
fn seen(shop: &Shop) -> (usize, usize) {
    let stats = shop.sim.queue_stats(shop.queue().name()).unwrap();
    (stats.visible, stats.delayed)
}

#[tokio::test(start_paused = true)]
async fn a_task_is_seen_after_its_delay_in_whole_seconds_rounded_up() {
    let shop = Shop::new(Kind::Standard).await;
    let after = |millis| Task::to("products", order("o-1", 1)).after(Duration::from_millis(millis));
    let tasks = vec![after(0), after(90_500), after(900_000)];
    let report = shop.orders().emit_all(tasks).await.unwrap();
    assert_eq!(report.published(), 3);
    assert_eq!(shop.sim.requests().count("SendMessageBatch"), 1, "delays are the entries'");
    assert_eq!(seen(&shop), (1, 2));
    sleep(Duration::from_millis(90_900)).await;
    assert_eq!(seen(&shop), (1, 2));
    sleep(Duration::from_millis(101)).await;
    assert_eq!(seen(&shop), (2, 1));
    sleep(Duration::from_secs(810)).await;
    assert_eq!(seen(&shop), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn one_task_is_sent_by_itself_and_through_a_buffer() {
    let shop = Shop::new(Kind::Standard).await;
    let buffered = Emitter::new("orders", BufferedPublisher::new(shop.publisher()));
    for orders in [shop.orders(), buffered] {
        let delay = Duration::from_secs(5);
        let id = orders.send_after("products", &order("o-1", 1), delay).await.unwrap();
        assert!(!id.is_empty());
        assert_eq!(seen(&shop).1, 1);
        sleep(Duration::from_secs(6)).await;
        assert_eq!(seen(&shop).1, 0);
    }
    assert_eq!(seen(&shop).0, 2);
}

#[tokio::test(start_paused = true)]
async fn a_handler_answers_with_a_task_for_later() {
    async fn again(
        seen: Seen,
        order: Delivery<OrderPlaced>,
    ) -> Result<Option<Task<OrderPlaced>>, HandlerError> {
        let next = OrderPlaced { number: order.event.number + 1, ..order.event.clone() };
        seen.note(order.event);
        let later = Task::to("products", next.clone()).after(Duration::from_secs(600));
        Ok((next.number < 3).then_some(later))
    }
    let shop = Shop::new(Kind::Standard).await;
    let seen = Seen::default();
    let router = Router::new("products").on(again).with_state(seen.clone());
    let working = shop.work(router.publisher(shop.publisher()));
    let began = tokio::time::Instant::now();
    shop.orders().emit(&order("o-1", 0)).await.unwrap();
    shop.drained().await;
    working.finish().await.unwrap();
    assert_eq!(seen.numbers(), [0, 1, 2]);
    assert!(began.elapsed() >= Duration::from_secs(1_200), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_delayed_is_refused_before_it_is_sent_and_says_what_to_do() {
    let shop = Shop::new(Kind::Standard).await;
    let (orders, late) = (shop.orders(), Duration::from_secs(901));
    let error = orders.send_after("products", &order("o", 1), late).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "shop.orders.OrderPlaced.v1 is not sent: its delay is 901 s, and SQS takes at most 900: have a scheduler send it, or its handler send it on with what is left of the time"
    );
    let to_topic = shop.publisher().publish(&[delayed(message("k", 1), 1)]).await;
    let error = to_topic.into_result().unwrap_err();
    assert!(!error.is_retryable());
    assert_eq!(
        error.to_string(),
        "shop.orders.OrderPlaced.v1 is not sent: only tasks can be delayed: send it to one service, by Task::to(…).after(…)"
    );
    assert_eq!(shop.sim.requests().count("PublishBatch"), 0);
    assert_eq!(shop.sim.requests().count("SendMessageBatch"), 0);

    let fifo = Shop::new(Kind::Fifo).await;
    let products = Destination::Queue("products".into());
    // What follows it would overtake it.
    let batch = [delayed(to(products.clone(), "k", 1), 5), to(products, "k", 2)];
    let report = fifo.publisher().publish(&batch).await;
    assert_eq!(
        report.outcomes()[0].clone().unwrap_err().to_string(),
        "shop.orders.OrderPlaced.v1 is not sent: the queue of `products` is FIFO, and SQS delays single messages on standard queues only: send it without delay, or bind a topic that the service handles to Kind::Standard"
    );
    assert_eq!((report.published(), fifo.held()), (0, 0));
    let none = Task::to("products", order("o-1", 1)).after(Duration::ZERO);
    let sealed = seal("orders", none).unwrap();
    assert_eq!(fifo.publisher().publish(&sealed).await.published(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_refuses_a_delay_and_takes_the_other_keys() {
    let topology = Topology::new("shop").topic("orders", Kinesis::shards(1));
    let sim = Sim::new();
    let aws = Aws::new(&sim.sdk_config(), ACCOUNT).unwrap();
    provision(&aws, &topology).await.unwrap();
    let publisher = AwsPublisher::new(aws, topology.bindings());
    let report = publisher.publish(&[delayed(message("a", 1), 1), message("b", 2)]).await;
    assert!(report.outcomes()[0].clone().unwrap_err().to_string().contains("only tasks can be"));
    assert_eq!((report.published(), sim.stream_records("shop-orders").len()), (1, 1));
}

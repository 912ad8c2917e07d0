//! Giving messages back by their receipts alone, as a function on Lambda does.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use aws_sdk_sqs::Client;
use fanfare_aws::{Aws, Queue};
use fanfare_core::{GivenBack, Redelivery};
use fanfare_sim::Sim;
use fanfare_topology::{Bindings, Kind};
use tokio::time::Instant;

/// A queue with so many messages, all of them received; and their receipts, in order.
async fn received(sim: &Sim, messages: usize) -> (Queue, Client, String, Vec<String>) {
    let aws = Aws::new(&sim.sdk_config(), "000000000000").unwrap();
    let queue = aws.queue(&Bindings::new("shop"), "products", Kind::Standard);
    let client = Client::new(&sim.sdk_config());
    let made = client.create_queue().queue_name(queue.name()).send().await.unwrap();
    let url = made.queue_url.unwrap();
    for number in 0..messages {
        let body = number.to_string();
        client.send_message().queue_url(&url).message_body(body).send().await.unwrap();
    }
    let mut receipts = vec![String::new(); messages];
    while receipts.iter().any(String::is_empty) {
        let request = client.receive_message().queue_url(&url).visibility_timeout(43_000);
        let answer = request.max_number_of_messages(10).send().await.unwrap();
        for message in answer.messages.unwrap() {
            let number: usize = message.body.unwrap().parse().unwrap();
            receipts[number] = message.receipt_handle.unwrap();
        }
    }
    (queue, client, url, receipts)
}

/// Seconds until each message comes again, in the order in which they do.
async fn come_again(client: &Client, url: &str, messages: usize) -> Vec<u64> {
    let (start, mut seconds) = (Instant::now(), Vec::new());
    while seconds.len() < messages {
        let request = client.receive_message().queue_url(url).wait_time_seconds(20);
        let answer = request.visibility_timeout(43_000).max_number_of_messages(10).send().await;
        let came = answer.unwrap().messages.unwrap_or_default().len();
        seconds.extend(std::iter::repeat_n(start.elapsed().as_secs(), came));
    }
    seconds
}

#[tokio::test(start_paused = true)]
async fn each_message_comes_again_after_its_delay() {
    let sim = Sim::new();
    let (queue, client, url, receipts) = received(&sim, 12).await;
    let before = sim.requests().count("ChangeMessageVisibilityBatch");
    let delay = |number: usize| Duration::from_secs(if number < 11 { 0 } else { 30 });
    let messages = receipts.iter().enumerate();
    queue
        .give_back(
            messages.map(|(number, receipt)| GivenBack::new(receipt, delay(number))).collect(),
        )
        .await;
    assert_eq!(
        sim.requests().count("ChangeMessageVisibilityBatch") - before,
        2,
        "ten in a request"
    );
    let seconds = come_again(&client, &url, 12).await;
    assert_eq!(&seconds[..11], &[0; 11]);
    assert!((30..=31).contains(&seconds[11]), "{seconds:?}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_given_back_does_not_take_the_others_along() {
    let sim = Sim::new();
    let (queue, client, url, receipts) = received(&sim, 1).await;
    let nobody = GivenBack::new("no receipt", Duration::ZERO);
    queue.give_back(vec![nobody, GivenBack::new(&receipts[0], Duration::ZERO)]).await;
    assert_eq!(come_again(&client, &url, 1).await, [0]);
}

#[tokio::test(start_paused = true)]
async fn a_delay_that_no_message_can_have_is_the_longest_there_is() {
    let sim = Sim::new();
    let (queue, client, url, receipts) = received(&sim, 1).await;
    queue.give_back(vec![GivenBack::new(&receipts[0], Duration::MAX)]).await;
    tokio::time::sleep(Duration::from_secs(42_000)).await;
    let seconds = come_again(&client, &url, 1).await;
    // Twelve hours without what a function may have taken.
    assert!((240..=241).contains(&seconds[0]), "{seconds:?}");
}

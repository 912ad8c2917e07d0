//! What is in the buffer is bounded, and who waits for room gets it in order.

use std::time::Duration;

use fanfare_aws::BufferedPublisher;
use fanfare_core::Publisher;
use futures_util::{FutureExt, future::join_all};
use tokio::time::sleep;

use crate::{below::Below, message, number};

/// Publishes each of these by itself, in order, and gives what became of them so far.
async fn publish_each(
    publisher: &BufferedPublisher<Below>,
    bytes: usize,
    count: usize,
) -> Vec<tokio::task::JoinHandle<usize>> {
    let publish = |n| {
        let publisher = publisher.clone();
        tokio::spawn(async move {
            let mut message = message("k", n);
            message.body = "x".repeat(bytes);
            publisher.publish(&[message]).await.published()
        })
    };
    let tasks = (0..count).map(publish).collect();
    sleep(Duration::from_secs(1)).await;
    tasks
}

#[tokio::test(start_paused = true)]
async fn no_more_messages_are_in_the_buffer_than_it_takes() {
    let below = Below::new().silent();
    let publisher = BufferedPublisher::new(below.clone()).capacity(25, 1 << 20);
    publish_each(&publisher, 10, 200).await;
    assert_eq!(below.numbers(), (0..25).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn no_more_bytes_are_in_the_buffer_than_it_takes() {
    let below = Below::new().silent();
    let publisher = BufferedPublisher::new(below.clone()).capacity(1_000, 5_000);
    publish_each(&publisher, 900, 200).await;
    assert_eq!(below.numbers(), (0..5).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn no_more_than_sixteen_requests_are_under_way() {
    let below = Below::new().silent();
    let publisher = BufferedPublisher::new(below.clone());
    publish_each(&publisher, 10, 500).await;
    assert_eq!(below.calls().len(), 16);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_room_goes_in_by_turns_and_all_get_through() {
    let below = Below::new();
    let publisher = BufferedPublisher::new(below.clone()).capacity(7, 2_000);
    let tasks = publish_each(&publisher, 300, 100).await;
    for task in tasks {
        assert_eq!(task.await.unwrap(), 1);
    }
    assert!(below.numbers().is_sorted(), "{:?}", below.numbers());
}

#[tokio::test(start_paused = true)]
async fn a_call_of_more_than_the_buffer_takes_gets_through_before_those_behind_it() {
    let below = Below::new().ordered();
    let publisher = BufferedPublisher::new(below.clone()).capacity(20, 1 << 20);
    let batch: Vec<_> = (0..90).map(|n| message(&format!("k-{}", n % 3), n)).collect();
    let single = [message("k-0", 90)];
    let reports = join_all([publisher.publish(&batch), publisher.publish(&single)]).await;
    assert_eq!((reports[0].published(), reports[1].published()), (90, 1));
    for key in 0..3 {
        let of_key = |n: &usize| n % 3 == key;
        assert!(below.numbers().into_iter().filter(of_key).is_sorted());
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_larger_than_the_buffer_has_it_to_itself() {
    let below = Below::new();
    let publisher = BufferedPublisher::new(below.clone()).capacity(10, 100);
    let tasks = publish_each(&publisher, 5_000, 5).await;
    assert_eq!(join_all(tasks).await.len(), 5);
    assert_eq!(below.calls(), [[0], [1], [2], [3], [4]]);
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_dropped_leave_their_room_and_the_others_outcomes_alone() {
    let below = Below::new().judge(|message| match number(message) % 2 {
        0 => Ok(()),
        _ => Err(crate::below::refused(message)),
    });
    let publisher = BufferedPublisher::new(below.clone()).capacity(15, 1 << 20);
    for round in 0..20 {
        let publish = |n| {
            let publisher = publisher.clone();
            async move {
                let batch = [message("k", n), message("k", n + 1)];
                publisher.publish(&batch).await
            }
        };
        let mut calls: Vec<_> = (0..20).map(|n| Box::pin(publish(2 * n))).collect();
        for call in &mut calls {
            assert!(call.as_mut().now_or_never().is_none());
        }
        // Some have all they have in the buffer, one a part of it, the others wait for room.
        let dropped = |(n, call)| ((n + round) % 3 > 0).then_some((n, call));
        let kept: Vec<_> = calls.into_iter().enumerate().filter_map(dropped).collect();
        for (n, call) in kept {
            let expected = [Ok(()), Err(crate::below::refused(&message("k", 2 * n + 1)))];
            assert_eq!(call.await.outcomes(), expected);
        }
    }
    // All room is there again.
    publisher.flush().await;
    let begun = below.calls().len();
    let publisher = publisher.clone();
    let batch: Vec<_> = (0..15).map(|n| message("k", 2 * n)).collect();
    assert_eq!(publisher.publish(&batch).await.published(), 15);
    assert_eq!(below.calls()[begun..].iter().map(Vec::len).sum::<usize>(), 15);
}

//! Time, under tokio's paused clock: every duration here is virtual and exact to the millisecond.

use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use tokio::time::{Instant, sleep};

use crate::common::{Aws, arn, bodies, code, receive_count, redrive_policy, seconds};

/// Durations are compared after tokio's clock has rounded timers up to whole milliseconds.
fn lasted(since: Instant) -> u64 {
    since.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn a_message_comes_back_when_its_visibility_timeout_ends() {
    let aws = Aws::new();
    let url = aws.queue("q").await; // visibility 30 s
    aws.send(&url, "m").await;
    assert_eq!(receive_count(&aws.receive(&url, 0).await[0]), "1");
    sleep(seconds(29)).await;
    assert!(aws.receive(&url, 0).await.is_empty());
    sleep(seconds(1)).await;
    assert_eq!(receive_count(&aws.receive(&url, 0).await[0]), "2");
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_without_messages_lasts_as_long_as_asked() {
    let aws = Aws::new();
    let url = aws.queue("q").await;
    let start = Instant::now();
    assert!(aws.receive(&url, 20).await.is_empty());
    assert_eq!(lasted(start), 20);
}

#[tokio::test(start_paused = true)]
async fn the_queue_says_how_long_a_poll_lasts_if_the_call_does_not() {
    let aws = Aws::new();
    let url =
        aws.queue_with("q", &[(QueueAttributeName::ReceiveMessageWaitTimeSeconds, "7")]).await;
    let start = Instant::now();
    let received = aws.sqs.receive_message().queue_url(&url).send().await.unwrap();
    assert!(received.messages.is_none());
    assert_eq!(lasted(start), 7);
}

/// Lets a long poll of 20 s start, does something after 3 s, and checks that the poll ends
/// `after` seconds with `body`.
async fn wakes(aws: &Aws, url: &str, act: impl Future<Output = ()>, after: u64, body: &str) {
    let start = Instant::now();
    let poll = async {
        let messages = aws.receive(url, 20).await;
        (lasted(start), bodies(&messages).join(" "))
    };
    let later = async {
        sleep(seconds(3)).await;
        act.await;
    };
    let ((elapsed, received), ()) = tokio::join!(poll, later);
    assert_eq!((elapsed, received.as_str()), (after, body));
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_wakes_on_arrival() {
    let aws = Aws::new();
    let url = aws.queue("q").await;
    let send = async {
        aws.send(&url, "m").await;
    };
    wakes(&aws, &url, send, 3, "m").await;
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_wakes_when_a_delay_ends() {
    let aws = Aws::new();
    let url = aws.queue_with("q", &[(QueueAttributeName::DelaySeconds, "5")]).await;
    let send = async {
        aws.send(&url, "m").await;
    };
    wakes(&aws, &url, send, 8, "m").await;
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_wakes_when_a_visibility_timeout_ends_that_began_after_it() {
    let aws = Aws::new();
    let url = aws.queue_with("q", &[(QueueAttributeName::VisibilityTimeout, "4")]).await;
    let start = Instant::now();
    let poll = || async {
        assert_eq!(bodies(&aws.receive(&url, 20).await), ["m"]);
        lasted(start)
    };
    let send = async {
        sleep(seconds(3)).await;
        aws.send(&url, "m").await;
    };
    let (first, second, ()) = tokio::join!(poll(), poll(), send);
    // One of the two gets the message; the other when it comes back.
    assert_eq!((first.min(second), first.max(second)), (3, 7));
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_wakes_when_another_consumer_gives_its_message_back() {
    let aws = Aws::new();
    let url = aws.queue("q").await;
    aws.send(&url, "m").await;
    let held = aws.receive(&url, 0).await.remove(0);
    let give_back = async {
        let change = aws.sqs.change_message_visibility().queue_url(&url);
        let change = change.receipt_handle(held.receipt_handle().unwrap()).visibility_timeout(0);
        change.send().await.unwrap();
    };
    wakes(&aws, &url, give_back, 3, "m").await;
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_wakes_when_another_consumer_shortens_a_visibility_timeout() {
    let aws = Aws::new();
    let url = aws.queue("q").await;
    aws.send(&url, "m").await;
    let held = aws.receive(&url, 0).await.remove(0);
    let shorten = async {
        let change = aws.sqs.change_message_visibility().queue_url(&url);
        let change = change.receipt_handle(held.receipt_handle().unwrap()).visibility_timeout(2);
        change.send().await.unwrap();
    };
    wakes(&aws, &url, shorten, 5, "m").await;
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_wakes_when_a_delete_unblocks_a_group() {
    let aws = Aws::new();
    let url = aws.queue("q.fifo").await;
    aws.send_fifo(&url, "1", "g", "1").await;
    let held = aws.receive(&url, 0).await.remove(0);
    aws.send_fifo(&url, "2", "g", "2").await;
    wakes(&aws, &url, aws.delete(&url, &held), 3, "2").await;
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_on_a_queue_that_is_deleted_ends_with_an_error() {
    let aws = Aws::new();
    let url = aws.queue("q").await;
    let start = Instant::now();
    let poll = aws.sqs.receive_message().queue_url(&url).wait_time_seconds(20).send();
    let delete = async {
        sleep(seconds(3)).await;
        aws.sqs.delete_queue().queue_url(&url).send().await.unwrap();
    };
    let (polled, ()) = tokio::join!(poll, delete);
    assert_eq!(code(polled), "AWS.SimpleQueueService.NonExistentQueue");
    assert_eq!(lasted(start), 3);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_long_poll_takes_nothing() {
    let aws = Aws::new();
    let url = aws.queue("q").await;
    tokio::time::timeout(seconds(1), aws.receive(&url, 20)).await.unwrap_err();
    aws.send(&url, "m").await;
    assert_eq!(aws.sim.queue_stats("q").unwrap().visible, 1);
}

#[tokio::test(start_paused = true)]
async fn one_arrival_ends_one_of_several_long_polls() {
    let aws = Aws::new();
    let url = aws.queue("q").await;
    let send = async {
        sleep(seconds(1)).await;
        aws.send(&url, "m").await;
    };
    let (first, second, ()) = tokio::join!(aws.receive(&url, 5), aws.receive(&url, 5), send);
    assert_eq!(first.len() + second.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_is_swallowed_for_five_minutes_from_the_first() {
    let aws = Aws::new();
    let url = aws.queue("q.fifo").await;
    aws.send_fifo(&url, "first", "g", "id").await;
    let first = aws.receive(&url, 0).await.remove(0);
    aws.delete(&url, &first).await;
    sleep(seconds(299)).await;
    aws.send_fifo(&url, "swallowed", "g", "id").await;
    assert!(aws.receive(&url, 0).await.is_empty());
    sleep(seconds(1)).await;
    aws.send_fifo(&url, "second", "g", "id").await;
    assert_eq!(bodies(&aws.receive(&url, 0).await), ["second"]);
}

#[tokio::test(start_paused = true)]
async fn a_fifo_topic_swallows_duplicates_for_five_minutes_too() {
    let aws = Aws::new();
    let topic = aws.topic("t.fifo").await;
    aws.queue("q").await; // a standard queue: only the topic deduplicates
    aws.subscribe(&topic, "q", &[]).await;
    let publish = || async {
        let publish = aws.sns.publish().topic_arn(&topic).message("m").message_group_id("g");
        publish.message_deduplication_id("id").send().await.unwrap()
    };
    let first = publish().await;
    sleep(seconds(299)).await;
    let duplicate = publish().await;
    assert_eq!(first.message_id(), duplicate.message_id());
    assert_eq!(aws.sim.messages("q").len(), 1);
    sleep(seconds(1)).await;
    assert_ne!(publish().await.message_id(), first.message_id());
    assert_eq!(aws.sim.messages("q").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_message_is_dropped_when_its_retention_ends_even_in_flight() {
    let aws = Aws::new();
    let url = aws.queue_with("q", &[(QueueAttributeName::MessageRetentionPeriod, "60")]).await;
    aws.send(&url, "old").await;
    aws.send(&url, "held").await;
    sleep(seconds(50)).await;
    aws.send(&url, "new").await;
    let received = aws.receive(&url, 0).await;
    assert_eq!(bodies(&received), ["old", "held", "new"]);
    sleep(seconds(10)).await;
    let left = aws.sim.messages("q");
    assert_eq!(left.iter().map(|m| m.body.as_str()).collect::<Vec<_>>(), ["new"]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_keeps_its_age_and_its_id() {
    let aws = Aws::new();
    aws.queue("dead").await; // retention four days
    let policy = redrive_policy("dead", 1);
    let url = aws.queue_with("q", &[(QueueAttributeName::RedrivePolicy, policy.as_str())]).await;
    let id = aws.send(&url, "m").await;
    aws.receive(&url, 0).await;
    sleep(seconds(3 * 86_400)).await;
    assert!(aws.receive(&url, 0).await.is_empty()); // moves it
    let [dead] = &aws.sim.messages("dead")[..] else { panic!("one dead letter") };
    assert_eq!(dead.message_id, id);
    assert_eq!(dead.dead_letter_source, Some(arn("q")));
    sleep(seconds(86_400)).await;
    assert!(aws.sim.messages("dead").is_empty());
}

#[tokio::test(start_paused = true)]
async fn visibility_ends_twelve_hours_after_the_receive_at_the_latest() {
    let aws = Aws::new();
    let url = aws.queue("q").await;
    aws.send(&url, "m").await;
    let message = aws.receive(&url, 0).await.remove(0);
    let change = |timeout| {
        let change = aws.sqs.change_message_visibility().queue_url(&url);
        let change = change.receipt_handle(message.receipt_handle().unwrap());
        change.visibility_timeout(timeout).send()
    };
    change(43_200).await.unwrap();
    sleep(seconds(3_200)).await;
    assert_eq!(code(change(40_001).await), "InvalidParameterValue");
    change(40_000).await.unwrap();
    sleep(seconds(40_000)).await;
    assert_eq!(aws.receive(&url, 0).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn visibility_can_be_changed_in_flight_only() {
    let aws = Aws::new();
    let url = aws.queue("q").await;
    aws.send(&url, "m").await;
    let first = aws.receive(&url, 0).await.remove(0);
    let change = || {
        let change = aws.sqs.change_message_visibility().queue_url(&url).visibility_timeout(60);
        change.receipt_handle(first.receipt_handle().unwrap()).send()
    };
    sleep(seconds(30)).await;
    assert_eq!(code(change().await), "AWS.SimpleQueueService.MessageNotInflight");
    // In flight again, but not for this handle.
    let second = aws.receive(&url, 0).await.remove(0);
    assert_eq!(code(change().await), "InvalidParameterValue");
    aws.delete(&url, &second).await;
    assert_eq!(code(change().await), "InvalidParameterValue");
}

#[tokio::test(start_paused = true)]
async fn a_lapsed_handle_is_worth_nothing_once_the_message_was_received_again() {
    let aws = Aws::new();
    let standard = aws.queue("q").await;
    aws.send(&standard, "m").await;
    let first = aws.receive(&standard, 0).await.remove(0);
    sleep(seconds(30)).await;
    let second = aws.receive(&standard, 0).await.remove(0);
    aws.delete(&standard, &first).await; // "succeeds" and deletes nothing
    assert_eq!(aws.sim.messages("q").len(), 1);
    aws.delete(&standard, &second).await;
    assert!(aws.sim.messages("q").is_empty());

    let fifo = aws.queue("q.fifo").await;
    aws.send_fifo(&fifo, "m", "g", "1").await;
    let message = aws.receive(&fifo, 0).await.remove(0);
    sleep(seconds(30)).await;
    let delete = aws.sqs.delete_message().queue_url(&fifo);
    let late = delete.receipt_handle(message.receipt_handle().unwrap()).send().await;
    assert_eq!(code(late), "InvalidParameterValue");
}

#[tokio::test(start_paused = true)]
async fn a_group_waits_until_each_of_its_messages_is_deleted_or_visible_again() {
    let aws = Aws::new();
    let url = aws.queue("q.fifo").await;
    for n in ["1", "2", "3"] {
        aws.send_fifo(&url, n, "g", n).await;
    }
    let held = aws.sqs.receive_message().queue_url(&url).max_number_of_messages(2).send().await;
    let held = held.unwrap().messages.unwrap();
    assert_eq!(bodies(&held), ["1", "2"]);
    sleep(seconds(20)).await;
    let change = aws.sqs.change_message_visibility().queue_url(&url);
    let handle = held[1].receipt_handle().unwrap();
    change.receipt_handle(handle).visibility_timeout(30).send().await.unwrap();
    sleep(seconds(10)).await; // 1 has lapsed, 2 is held until second 50
    assert!(aws.receive(&url, 0).await.is_empty());
    aws.delete(&url, &held[1]).await;
    assert_eq!(bodies(&aws.receive(&url, 0).await), ["1", "3"]);
}

#[tokio::test(start_paused = true)]
async fn a_queue_is_purged_and_recreated_once_a_minute_at_most() {
    let aws = Aws::new();
    let url = aws.queue("q").await;
    aws.sqs.purge_queue().queue_url(&url).send().await.unwrap();
    sleep(seconds(59)).await;
    let purge = || aws.sqs.purge_queue().queue_url(&url).send();
    assert_eq!(code(purge().await), "AWS.SimpleQueueService.PurgeQueueInProgress");
    sleep(seconds(1)).await;
    purge().await.unwrap();

    aws.sqs.delete_queue().queue_url(&url).send().await.unwrap();
    let create = || aws.sqs.create_queue().queue_name("q").send();
    sleep(seconds(59)).await;
    assert_eq!(code(create().await), "AWS.SimpleQueueService.QueueDeletedRecently");
    sleep(seconds(1)).await;
    create().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_move_task_keeps_its_rate_and_can_be_cancelled() {
    let aws = Aws::new();
    let dead = aws.queue("dead").await;
    let policy = redrive_policy("dead", 1);
    aws.queue_with("q", &[(QueueAttributeName::RedrivePolicy, policy.as_str())]).await;
    for n in 0..10 {
        aws.send(&dead, &n.to_string()).await;
    }
    let start = aws.sqs.start_message_move_task().source_arn(arn("dead"));
    let start = start.destination_arn(arn("q")).max_number_of_messages_per_second(2);
    let task = start.send().await.unwrap().task_handle.unwrap();
    let again = aws.sqs.start_message_move_task().source_arn(arn("dead")).send().await;
    assert_eq!(code(again), "InvalidParameterValue");
    sleep(seconds(2)).await;
    let cancelled = aws.sqs.cancel_message_move_task().task_handle(task).send().await.unwrap();
    let moved = aws.sim.messages("q").len();
    assert_eq!(cancelled.approximate_number_of_messages_moved(), moved as i64);
    assert!((4..=5).contains(&moved), "{moved} moved in 2 s at 2 per second");
    sleep(seconds(60)).await;
    assert_eq!(aws.sim.messages("q").len(), moved);
    let listed = aws.sqs.list_message_move_tasks().source_arn(arn("dead")).send().await.unwrap();
    assert_eq!(listed.results()[0].status(), Some("CANCELLED"));
}

#[tokio::test(start_paused = true)]
async fn a_move_task_takes_dead_letters_home_as_new_messages() {
    let aws = Aws::new();
    let dead = aws.queue("dead").await;
    let policy = redrive_policy("dead", 1);
    let url = aws.queue_with("q", &[(QueueAttributeName::RedrivePolicy, policy.as_str())]).await;
    let id = aws.send(&url, "m").await;
    aws.receive(&url, 0).await;
    sleep(seconds(30)).await;
    aws.receive(&url, 0).await;
    aws.sqs.start_message_move_task().source_arn(arn("dead")).send().await.unwrap();
    let back = aws.receive(&url, 20).await.remove(0);
    assert_ne!(back.message_id(), Some(id.as_str()));
    assert_eq!(receive_count(&back), "1");
    let attributes = back.attributes().unwrap();
    assert!(!attributes.contains_key(&MessageSystemAttributeName::DeadLetterQueueSourceArn));

    // What was sent to the dead-letter queue directly has no home.
    sleep(seconds(1)).await;
    aws.send(&dead, "homeless").await;
    aws.sqs.start_message_move_task().source_arn(arn("dead")).send().await.unwrap();
    sleep(seconds(1)).await;
    let listed = aws.sqs.list_message_move_tasks().source_arn(arn("dead")).send().await.unwrap();
    assert_eq!(listed.results()[0].status(), Some("FAILED"));
    assert_eq!(listed.results()[0].failure_reason(), Some("CouldNotDetermineMessageSource"));
    assert_eq!(aws.sim.messages("dead").len(), 1);
}

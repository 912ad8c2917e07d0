//! Every fault does what it says, once, and nothing else.

use aws_sdk_sns::types::PublishBatchRequestEntry;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
    SendMessageBatchRequestEntry,
};
use fanfare_sim::{Fault, RandomFaults, Sim};
use tokio::time::{Instant, sleep};

use crate::common::{Aws, bodies, code, receive_count, seconds};

fn entries(count: usize) -> Vec<SendMessageBatchRequestEntry> {
    let entry = |n: usize| {
        let entry = SendMessageBatchRequestEntry::builder().id(n.to_string());
        entry.message_body(n.to_string()).build().unwrap()
    };
    (0..count).map(entry).collect()
}

#[tokio::test(start_paused = true)]
async fn refusals_have_no_effect_and_befall_one_call_each() {
    let aws = Aws::new();
    let url = aws.queue("q").await;
    aws.sim.inject("SendMessage", Fault::Throttle);
    aws.sim.inject("SendMessage", Fault::ServerError);
    aws.sim.inject(
        "SendMessage",
        Fault::Refuse { status: 403, code: "AccessDenied".into(), message: "no".into() },
    );
    aws.sim.inject("SendMessage", Fault::BreakConnection);
    for expected in ["RequestThrottled", "InternalError", "AccessDenied", "dispatch failure"] {
        let send = aws.sqs.send_message().queue_url(&url).message_body("m").send().await;
        assert_eq!(code(send), expected);
    }
    assert!(aws.sim.messages("q").is_empty());
    aws.send(&url, "m").await;
    assert_eq!(aws.sim.messages("q").len(), 1);
    assert_eq!(aws.sim.requests().count("SendMessage"), 5);
}

#[tokio::test(start_paused = true)]
async fn sns_refuses_in_its_own_words() {
    let aws = Aws::new();
    let topic = aws.topic("t").await;
    aws.sim.inject("Publish", Fault::Throttle);
    aws.sim.inject("Publish", Fault::ServerError);
    for expected in ["Throttling", "InternalError"] {
        let publish = aws.sns.publish().topic_arn(&topic).message("m").send().await;
        assert_eq!(code(publish), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn the_sdks_retries_see_through_throttling_and_lost_answers() {
    let sim = Sim::new();
    let sqs = aws_sdk_sqs::Client::new(&sim.sdk_config());
    let url = sqs.create_queue().queue_name("q").send().await.unwrap().queue_url.unwrap();
    sim.inject("SendMessage", Fault::Throttle);
    sim.inject("SendMessage", Fault::LoseAnswer);
    sqs.send_message().queue_url(&url).message_body("m").send().await.unwrap();
    // The lost answer's message is there, and so is the retry's.
    assert_eq!(sim.messages("q").len(), 2);
    assert_eq!(sim.requests().count("SendMessage"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_leaves_the_effect() {
    let aws = Aws::new();
    let url = aws.queue("q").await;
    aws.sim.inject("SendMessage", Fault::LoseAnswer);
    let send = aws.sqs.send_message().queue_url(&url).message_body("m").send().await;
    assert_eq!(code(send), "dispatch failure");
    assert_eq!(aws.sim.messages("q").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_call_is_ended_by_the_clients_time_out() {
    let aws = Aws::new();
    let url = aws.queue("q").await;
    for timeouts in [
        TimeoutConfig::builder().operation_timeout(seconds(9)).build(),
        TimeoutConfig::builder().read_timeout(seconds(9)).build(),
    ] {
        aws.sim.inject("SendMessage", Fault::Hang);
        let start = Instant::now();
        let send = aws.sqs.send_message().queue_url(&url).message_body("m").customize();
        let patience = aws_sdk_sqs::Config::builder().timeout_config(timeouts);
        assert!(send.config_override(patience).send().await.is_err());
        assert_eq!(start.elapsed().as_secs(), 9);
    }
    assert!(aws.sim.messages("q").is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_entry_of_each_kind_of_batch_fails_and_the_others_go_through() {
    let aws = Aws::new();
    let url = aws.queue("q").await;
    aws.sim.inject("SendMessageBatch", Fault::FailEntry(1));
    let send = aws.sqs.send_message_batch().queue_url(&url).set_entries(Some(entries(3)));
    let sent = send.send().await.unwrap();
    let ids: Vec<&str> = sent.successful().iter().map(|entry| entry.id()).collect();
    assert_eq!(ids, ["0", "2"]);
    let failed = &sent.failed()[0];
    assert_eq!((failed.id(), failed.code(), failed.sender_fault()), ("1", "InternalError", false));

    let held = aws.receive(&url, 0).await;
    assert_eq!(bodies(&held), ["0", "2"]);
    aws.sim.inject("ChangeMessageVisibilityBatch", Fault::FailEntry(0));
    let mut change = aws.sqs.change_message_visibility_batch().queue_url(&url);
    let mut delete = aws.sqs.delete_message_batch().queue_url(&url);
    for message in &held {
        let (id, handle) = (message.body().unwrap(), message.receipt_handle().unwrap());
        let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(id);
        change =
            change.entries(entry.receipt_handle(handle).visibility_timeout(600).build().unwrap());
        let entry = DeleteMessageBatchRequestEntry::builder().id(id);
        delete = delete.entries(entry.receipt_handle(handle).build().unwrap());
    }
    let changed = change.send().await.unwrap();
    assert_eq!((changed.successful()[0].id(), changed.failed()[0].id()), ("2", "0"));
    aws.sim.inject("DeleteMessageBatch", Fault::FailEntry(1));
    let deleted = delete.send().await.unwrap();
    assert_eq!((deleted.successful()[0].id(), deleted.failed()[0].id()), ("0", "2"));
    assert_eq!(aws.sim.messages("q")[0].body, "2");
}

#[tokio::test(start_paused = true)]
async fn an_entry_of_a_publish_batch_fails() {
    let aws = Aws::new();
    let (topic, _) = (aws.topic("t").await, aws.queue("q").await);
    aws.subscribe(&topic, "q", &[("RawMessageDelivery", "true")]).await;
    let mut publish = aws.sns.publish_batch().topic_arn(&topic);
    for n in ["0", "1"] {
        let entry = PublishBatchRequestEntry::builder().id(n).message(n).build().unwrap();
        publish = publish.publish_batch_request_entries(entry);
    }
    aws.sim.inject("PublishBatch", Fault::FailEntry(0));
    let published = publish.send().await.unwrap();
    let failed = &published.failed()[0];
    assert_eq!((failed.id(), failed.code(), failed.sender_fault()), ("0", "InternalError", false));
    assert_eq!(published.successful()[0].id(), Some("1"));
    assert_eq!(aws.sim.messages("q")[0].body, "1");
    assert_eq!(aws.sim.messages("q").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_duplicated_message_is_delivered_again_even_after_its_delete() {
    let aws = Aws::new();
    let url = aws.queue("q").await;
    aws.sim.inject("ReceiveMessage", Fault::DuplicateDelivery);
    // A receive that finds nothing does not use the fault up.
    assert!(aws.receive(&url, 1).await.is_empty());
    let id = aws.send(&url, "m").await;
    let first = aws.receive(&url, 0).await.remove(0);
    aws.delete(&url, &first).await;
    let second = aws.receive(&url, 0).await.remove(0);
    assert_eq!(second.message_id(), Some(id.as_str()));
    assert_eq!(receive_count(&second), "2");
    aws.delete(&url, &second).await;
    assert!(aws.sim.messages("q").is_empty());
}

#[tokio::test(start_paused = true)]
async fn expired_receipts_delete_nothing_and_change_nothing() {
    let aws = Aws::new();
    let (standard, fifo) = (aws.queue("q").await, aws.queue("q.fifo").await);
    aws.send(&standard, "m").await;
    aws.send_fifo(&fifo, "m", "g", "1").await;
    for (url, name, outcome) in
        [(&standard, "q", "deleted"), (&fifo, "q.fifo", "InvalidParameterValue")]
    {
        let message = aws.receive(url, 0).await.remove(0);
        let handle = message.receipt_handle().unwrap();
        aws.sim.inject("ChangeMessageVisibility", Fault::ExpireReceipts);
        let change = aws.sqs.change_message_visibility().queue_url(url).receipt_handle(handle);
        assert_eq!(code(change.visibility_timeout(600).send().await), "InvalidParameterValue");
        aws.sim.inject("DeleteMessage", Fault::ExpireReceipts);
        let delete = aws.sqs.delete_message().queue_url(url).receipt_handle(handle).send().await;
        let deleted = delete.map_or_else(|error| code::<(), _>(Err(error)), |_| "deleted".into());
        assert_eq!(deleted, outcome);
        assert_eq!(aws.sim.queue_stats(name).unwrap().in_flight, 1);
        aws.delete(url, &message).await;
        assert_eq!(aws.sim.queue_stats(name).unwrap().total(), 0);
    }
}

/// Sends, receives and deletes with faults of every kind, and tells what happened.
async fn history(seed: u64) -> Vec<String> {
    let aws = Aws::new();
    let url = aws.queue("q").await;
    let probability = 0.2;
    aws.sim.set_faults(Some(RandomFaults {
        seed,
        throttle: probability,
        server_error: probability,
        lose_answer: probability,
        fail_entry: probability,
        duplicate: probability,
        expire_receipt: probability,
        expire_iterator: probability,
        reorder: probability,
    }));
    let mut history = Vec::new();
    for _ in 0..20 {
        let send = aws.sqs.send_message_batch().queue_url(&url).set_entries(Some(entries(5)));
        history.push(match send.send().await {
            Ok(sent) => format!("sent, failed: {}", sent.failed().len()),
            Err(error) => code::<(), _>(Err(error)),
        });
        let receive = aws.sqs.receive_message().queue_url(&url).max_number_of_messages(3);
        history.push(match receive.send().await {
            Ok(received) => bodies(received.messages()).join(" "),
            Err(error) => code::<(), _>(Err(error)),
        });
    }
    history
}

#[tokio::test(start_paused = true)]
async fn random_faults_are_the_same_for_the_same_seed() {
    let first = history(7).await;
    assert_eq!(first, history(7).await);
    assert_ne!(first, history(8).await);
    for kind in ["RequestThrottled", "InternalError", "dispatch failure", "sent, failed: 1"] {
        assert!(first.iter().any(|event| event == kind), "{kind} does not occur in {first:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn reordering_loses_nothing_and_duplicates_nothing() {
    let aws = Aws::new();
    let url = aws.queue("q").await;
    aws.sim.set_faults(Some(RandomFaults { seed: 1, reorder: 0.5, ..RandomFaults::default() }));
    for n in 0..50 {
        aws.send(&url, &format!("{n:02}")).await;
    }
    let mut received = Vec::new();
    for _ in 0..5 {
        received.extend(aws.receive(&url, 0).await.into_iter().filter_map(|m| m.body));
    }
    let mut sorted = received.clone();
    sorted.sort();
    assert_ne!(received, sorted);
    let all: Vec<String> = (0..50).map(|n| format!("{n:02}")).collect();
    assert_eq!(sorted, all);
}

#[tokio::test(start_paused = true)]
async fn changes_are_announced_and_nothing_is_missed() {
    let aws = Aws::new();
    let url = aws.queue("q").await;
    let mut changes = aws.sim.changes();
    aws.send(&url, "m").await; // before anybody waits
    changes.changed().await.unwrap();
    let receive = async {
        sleep(seconds(1)).await;
        aws.receive(&url, 0).await
    };
    let (changed, _) = tokio::join!(changes.changed(), receive);
    changed.unwrap();
}

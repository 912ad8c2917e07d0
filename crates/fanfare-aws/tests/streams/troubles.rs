//! What cannot be published, and what is said of it.

use std::time::Duration;

use fanfare_core::PublishError;
use fanfare_sim::Fault;
use tokio::time::Instant;

use super::*;

fn denied() -> Fault {
    Fault::Refuse { status: 400, code: "AccessDeniedException".into(), message: "no".into() }
}

fn invalid() -> Fault {
    Fault::Refuse { status: 400, code: "ValidationException".into(), message: "odd".into() }
}

#[tokio::test(start_paused = true)]
async fn a_missing_stream_is_named_and_not_tried_again() {
    let ground = Ground::new(Kinesis::shards(1)).await;
    let bindings = fanfare_topology::Bindings::new("elsewhere").topic("orders", Kinesis::shards(1));
    let publisher = fanfare_aws::AwsPublisher::new(ground.aws.clone(), bindings);
    let before = ground.aws.requests();
    let report = publisher.publish(&[message("a", 0, 20), message("a", 1, 20)]).await;
    assert_eq!(report.outcomes()[1], Err(PublishError::Blocked));
    assert_eq!(
        report.into_result().unwrap_err().to_string(),
        "topic `orders` does not exist (as arn:aws:kinesis:us-east-1:000000000000:stream/elsewhere-orders): declare it in the topology and provision it"
    );
    assert_eq!(ground.aws.requests() - before, 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_deleted_later_is_missing_too() {
    let ground = Ground::new(Kinesis::shards(1)).await;
    ground.publisher.publish(&[message("a", 0, 20)]).await.into_result().unwrap();
    ground.kinesis.delete_stream().stream_name(ground::STREAM).send().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let error = ground.publisher.publish(&[message("a", 1, 20)]).await.into_result().unwrap_err();
    assert!(matches!(error, PublishError::NotFound { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn denied_access_says_to_what() {
    let ground = Ground::new(Kinesis::shards(1)).await;
    ground.sim.inject("ListShards", denied());
    let error = ground.publisher.publish(&[message("a", 0, 20)]).await.into_result().unwrap_err();
    assert_eq!(
        error.to_string(),
        "publishing to topic `orders` is denied (AccessDeniedException, on kinesis:ListShards): check the credentials and their rights"
    );
    ground.sim.inject("PutRecords", denied());
    let error = ground.publisher.publish(&[message("a", 0, 20)]).await.into_result().unwrap_err();
    assert!(matches!(error, PublishError::Denied { code, .. } if code == "AccessDeniedException"));
}

#[tokio::test(start_paused = true)]
async fn throttling_errors_and_broken_connections_are_survived() {
    for action in ["ListShards", "PutRecords"] {
        for fault in [Fault::Throttle, Fault::ServerError, Fault::BreakConnection, Fault::Hang] {
            let ground = Ground::new(Kinesis::shards(2)).await;
            ground.sim.inject(action, fault.clone());
            let messages: Vec<_> = (0..5).map(|i| message("a", i, 20)).collect();
            let published = ground.publisher.publish(&messages).await.published();
            assert_eq!((published, ground.records()), (5, 5), "{action} {fault:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_repeats_and_keeps_the_order() {
    let ground = Ground::new(Kinesis::shards(2)).await;
    ground.sim.inject("PutRecords", Fault::LoseAnswer);
    let messages: Vec<_> = (0..3).map(|i| message("a", i, 20)).collect();
    ground.publisher.publish(&messages).await.into_result().unwrap();
    let numbers: Vec<_> = ground.landed().await.into_iter().map(|event| event.number).collect();
    assert_eq!(numbers, [0, 0, 1, 2], "at least once");
}

#[tokio::test(start_paused = true)]
async fn what_is_never_accepted_is_reported_after_a_bounded_number_of_attempts() {
    for action in ["ListShards", "PutRecords"] {
        let ground = Ground::new(Kinesis::shards(1)).await;
        for _ in 0..100 {
            ground.sim.inject(action, Fault::ServerError);
        }
        let before = ground.count(action);
        let report = ground.publisher.publish(&[message("a", 0, 20), message("a", 1, 20)]).await;
        assert_eq!(report.outcomes()[1], Err(PublishError::Blocked));
        let error = report.into_result().unwrap_err();
        assert!(error.is_retryable());
        assert!(error.to_string().contains("in 8 attempts, last: "), "{error}");
        assert_eq!(ground.count(action) - before, 8);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up_before_a_lease_ends() {
    for action in ["ListShards", "PutRecords"] {
        let ground = Ground::new(Kinesis::shards(1)).await;
        for _ in 0..20 {
            ground.sim.inject(action, Fault::Hang);
        }
        let began = Instant::now();
        let report = ground.publisher.publish(&[message("a", 0, 20)]).await;
        assert!(report.into_result().unwrap_err().is_retryable());
        assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_event_does_not_fail_its_neighbours() {
    for stream in [Kinesis::shards(1), Kinesis::shards(1).aggregated()] {
        let ground = Ground::new(stream).await;
        // The whole request, and then, alone, one of its events.
        ground.sim.inject("PutRecords", invalid());
        ground.sim.inject("PutRecords", invalid());
        let messages: Vec<_> = (0..4).map(|i| message(&format!("k{i}"), i, 20)).collect();
        let report = ground.publisher.publish(&messages).await;
        assert_eq!(report.published(), 3);
        let (_, error) = report.failures().next().unwrap();
        assert!(
            matches!(error, PublishError::Refused { code, .. } if code == "ValidationException")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_aggregate_in_a_wrong_shard_is_not_accepted_while_shards_cannot_be_listed() {
    let ground = Ground::new(Kinesis::shards(1).aggregated()).await;
    let messages: Vec<_> = (0..40).map(|i| message(&format!("k{}", i % 20), i, 300)).collect();
    ground.publisher.publish(&messages).await.into_result().unwrap();
    ground.split(0).await;
    for _ in 0..3 {
        ground.sim.inject("ListShards", denied());
    }
    let later: Vec<_> = (40..80).map(|i| message(&format!("k{}", i % 20), i, 300)).collect();
    ground.publisher.publish(&later).await.into_result().unwrap();
    let by_key = ground.by_key().await;
    assert!(by_key.values().all(|numbers| numbers.is_sorted() && numbers.len() == 4), "{by_key:?}");
}

#[tokio::test(start_paused = true)]
async fn a_crowd_waits_for_one_look_at_the_shards() {
    let ground = Ground::new(Kinesis::shards(2)).await;
    for _ in 0..100 {
        ground.sim.inject("ListShards", Fault::Hang);
    }
    let calls = (0..30).map(|call| {
        let publisher = ground.publisher.clone();
        async move { publisher.publish(&[message("a", call, 20)]).await.published() }
    });
    let published: usize = futures_util::future::join_all(calls).await.iter().sum();
    assert_eq!((published, ground.count("ListShards")), (0, 3), "each waited for all of them");
}

#[tokio::test(start_paused = true)]
async fn shards_that_cannot_be_listed_are_not_asked_for_with_each_answer() {
    let ground = Ground::new(Kinesis::shards(1)).await;
    ground.publisher.publish(&[message("a", 0, 20)]).await.into_result().unwrap();
    ground.split(0).await;
    let before = ground.count("ListShards");
    for number in 1..100 {
        ground.sim.inject("ListShards", denied());
        ground.publisher.publish(&[message("a", number, 20)]).await.into_result().unwrap();
    }
    assert_eq!(ground.count("ListShards") - before, 1, "no time has passed");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up_leaves_nothing_behind() {
    let ground = Ground::new(Kinesis::shards(1)).await;
    ground.sim.inject("ListShards", Fault::Hang);
    let messages = [message("a", 0, 20)];
    let given_up = ground.publisher.publish(&messages);
    assert!(tokio::time::timeout(Duration::from_secs(1), given_up).await.is_err());
    let began = Instant::now();
    ground.publisher.publish(&messages).await.into_result().unwrap();
    assert!(began.elapsed() < Duration::from_millis(10), "{:?}", began.elapsed());
}

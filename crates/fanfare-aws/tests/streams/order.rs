//! Order per key, whatever fails.

use std::collections::BTreeMap;

use fanfare_sim::{Fault, RandomFaults};

use super::*;

/// Of each key, the numbers that were accepted must be there, in order, and nothing that was reported
/// as failed may be before them.
fn check(report: &PublishReport, messages: &[Message], by_key: &BTreeMap<String, Vec<usize>>) {
    let mut expected: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, message) in messages.iter().enumerate() {
        if report.outcomes()[index].is_ok() {
            expected.entry(&message.key).or_default().push(index);
        } else {
            let later = messages[index..].iter().zip(&report.outcomes()[index..]);
            for (later, outcome) in later.filter(|(later, _)| later.key == message.key) {
                assert!(outcome.is_err(), "{} overtook {index} of {}", later.id, message.key);
            }
        }
    }
    for (key, accepted) in expected {
        let arrived = &by_key[key];
        assert!(arrived.is_sorted(), "{key}: {arrived:?}");
        // What was not answered may be there beside what was accepted.
        assert_eq!(arrived[..accepted.len()], accepted[..], "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn order_per_key_survives_failing_records() {
    for stream in [Kinesis::shards(2), Kinesis::shards(2).aggregated()] {
        let ground = Ground::new(stream).await;
        for entry in [0, 1, 2, 0] {
            ground.sim.inject("PutRecords", Fault::FailEntry(entry));
        }
        let messages: Vec<_> = (0..12).map(|i| message(["a", "b", "c"][i % 3], i, 300)).collect();
        let report = ground.publisher.publish(&messages).await;
        assert_eq!(report.published(), 12);
        check(&report, &messages, &ground.by_key().await);
        assert_eq!(ground.landed().await.len(), 12, "only what failed was sent again");
    }
}

#[tokio::test(start_paused = true)]
async fn order_per_key_survives_random_faults() {
    let mut retried = 0;
    for seed in 0..20 {
        let stream = Kinesis::shards(3);
        let ground = Ground::new(if seed % 2 == 0 { stream } else { stream.aggregated() }).await;
        let faults = RandomFaults {
            seed,
            throttle: 0.1,
            server_error: 0.1,
            lose_answer: 0.1,
            fail_entry: 0.2,
            ..RandomFaults::default()
        };
        ground.sim.set_faults(Some(faults));
        let mut random = fastrand::Rng::with_seed(seed);
        let messages: Vec<_> = (0..600)
            .map(|i| message(&format!("k{}", random.u32(..40)), i, random.usize(20..4_000)))
            .collect();
        let report = ground.publisher.publish(&messages).await;
        ground.sim.set_faults(None);
        eprintln!("seed {seed}: {} of 600 accepted", report.published());
        check(&report, &messages, &ground.by_key().await);
        retried += ground.landed().await.len() - 600.min(report.published());
    }
    assert!(retried > 0, "no answer was lost");
}

#[tokio::test(start_paused = true)]
async fn behind_a_refused_event_the_rest_of_its_key_is_held_back() {
    for stream in [Kinesis::shards(2), Kinesis::shards(2).aggregated()] {
        let ground = Ground::new(stream).await;
        let messages = [
            message("a", 0, 300),
            message("a", 1, 1_048_576),
            message("b", 2, 300),
            message("a", 3, 300),
        ];
        let report = ground.publisher.publish(&messages).await;
        let outcomes = report.outcomes();
        assert_eq!((&outcomes[0], &outcomes[2]), (&Ok(()), &Ok(())));
        assert!(matches!(outcomes[1], Err(fanfare_core::PublishError::OverLimit { .. })));
        assert_eq!(outcomes[3], Err(fanfare_core::PublishError::Blocked));
    }
}

#[tokio::test(start_paused = true)]
async fn many_calls_at_once_report_each_event_in_its_place() {
    let ground = Ground::new(Kinesis::shards(4).aggregated()).await;
    ground.sim.set_faults(Some(RandomFaults { seed: 7, fail_entry: 0.2, ..Default::default() }));
    let calls = (0..20).map(|call| {
        let messages: Vec<_> =
            (0..50).map(|i| message(&format!("c{call}k{}", i % 5), i, 500)).collect();
        let publisher = ground.publisher.clone();
        async move { (publisher.publish(&messages).await, messages) }
    });
    let reports = futures_util::future::join_all(calls).await;
    assert_eq!(ground.count("ListShards"), 1, "once, by all calls");
    ground.sim.set_faults(None);
    let by_key = ground.by_key().await;
    for (report, messages) in reports {
        assert_eq!(report.published(), 50);
        check(&report, &messages, &by_key);
    }
}

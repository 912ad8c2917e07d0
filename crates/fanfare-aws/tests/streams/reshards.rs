//! Shards that are split and merged under way.

use std::time::Duration;

use fanfare_sim::RandomFaults;
use tokio::time::sleep;

use super::*;

fn batch(from: usize, count: usize) -> Vec<Message> {
    (from..from + count).map(|i| message(&format!("k{}", i % 50), i, 400)).collect()
}

#[tokio::test(start_paused = true)]
async fn between_two_calls_the_shards_may_change() {
    for stream in [Kinesis::shards(2), Kinesis::shards(2).aggregated()] {
        for splits in [true, false] {
            let ground = Ground::new(stream).await;
            ground.publisher.publish(&batch(0, 200)).await.into_result().unwrap();
            match splits {
                true => ground.split(0).await,
                false => ground.merge(0).await,
            }
            ground.publisher.publish(&batch(200, 200)).await.into_result().unwrap();
            for (key, numbers) in ground.by_key().await {
                assert!(numbers.is_sorted() && numbers.len() == 8, "{key}: {numbers:?}");
            }
            let landed = ground.landed().await.len();
            let listed = ground.count("ListShards");
            ground.publisher.publish(&batch(400, 200)).await.into_result().unwrap();
            assert_eq!(ground.count("ListShards"), listed, "the new shards are known");
            assert_eq!(ground.landed().await.len() - landed, 200, "nothing was sent twice");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_aggregate_in_a_merged_shard_is_accepted_as_it_is() {
    let ground = Ground::new(Kinesis::shards(2).aggregated()).await;
    ground.publisher.publish(&batch(0, 100)).await.into_result().unwrap();
    let before = ground.records();
    ground.merge(0).await;
    ground.publisher.publish(&batch(100, 100)).await.into_result().unwrap();
    assert_eq!(ground.records() - before, 2, "one for each of the shards that were");
}

#[tokio::test(start_paused = true)]
async fn a_crowd_that_meets_new_shards_asks_once() {
    let ground = Ground::new(Kinesis::shards(2)).await;
    ground.publisher.publish(&batch(0, 50)).await.into_result().unwrap();
    ground.split(0).await;
    let before = ground.count("ListShards");
    let calls = (0..30).map(|call| {
        let publisher = ground.publisher.clone();
        async move { publisher.publish(&batch(call * 50, 50)).await.published() }
    });
    let published: usize = futures_util::future::join_all(calls).await.iter().sum();
    assert_eq!((published, ground.count("ListShards") - before), (1_500, 1));
}

#[tokio::test(start_paused = true)]
async fn while_events_are_published_the_shards_may_change() {
    for seed in 0..12u64 {
        let stream = Kinesis::shards(2);
        let ground = Ground::new(if seed % 3 == 0 { stream } else { stream.aggregated() }).await;
        let faults = RandomFaults {
            seed,
            throttle: 0.02,
            lose_answer: 0.05,
            fail_entry: 0.05,
            ..RandomFaults::default()
        };
        let mut random = fastrand::Rng::with_seed(seed);
        // Rather large ones, so that publishing takes seconds.
        let messages: Vec<_> = (0..1_500)
            .map(|i| message(&format!("k{}", random.u32(..120)), i, random.usize(100..8_000)))
            .collect();
        let reshard = async {
            for _ in 0..3 {
                sleep(Duration::from_millis(random.u64(..600))).await;
                let open = {
                    ground.sim.set_faults(None);
                    ground.open_shards().await.len()
                };
                match random.bool() && open > 1 {
                    true => ground.merge(random.usize(..open - 1)).await,
                    false => ground.split(random.usize(..open)).await,
                }
                ground.sim.set_faults(Some(faults.clone()));
            }
        };
        let publish = async {
            let mut reports = Vec::new();
            for part in messages.chunks(500) {
                reports.push(ground.publisher.publish(part).await);
            }
            reports
        };
        ground.sim.set_faults(Some(faults.clone()));
        let (reports, ()) = tokio::join!(publish, reshard);
        ground.sim.set_faults(None);
        let published: usize = reports.iter().map(PublishReport::published).sum();
        assert_eq!(published, 1_500, "seed {seed}");
        let by_key = ground.by_key().await;
        for (key, numbers) in &by_key {
            assert!(numbers.is_sorted(), "seed {seed}, {key}: {numbers:?}");
        }
        let arrived: usize = by_key.values().map(Vec::len).sum();
        assert_eq!(arrived, 1_500, "seed {seed}");
    }
}

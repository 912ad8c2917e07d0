//! Splits and merges while events come.

use std::time::Duration;

use fanfare_core::Checkpoint;
use fanfare_topology::Kinesis;
use tokio::time::sleep;

use crate::support::*;

const KEYS: usize = 40;

/// Publishes as many events as there are keys, one of each.
async fn round(shop: &Shop, number: usize) {
    let keys: Vec<_> = (0..KEYS).map(|i| format!("key-{i}")).collect();
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    shop.publish(number * KEYS, &keys).await;
}

#[tokio::test(start_paused = true)]
async fn the_order_of_each_key_holds_over_a_split_and_a_merge() {
    for aggregated in [false, true] {
        let binding = Kinesis::shards(2);
        let shop = Shop::new(if aggregated { binding.aggregated() } else { binding }).await;
        let seen = Seen::default();
        // Parents are slower to handle than it takes to write to their children.
        let consumer = || scripted(&seen, |_| Act::Take(Duration::from_millis(700)));
        let workers = [shop.work(consumer()), shop.work(consumer())];
        for number in 0..30 {
            round(&shop, number).await;
            match number {
                5 => shop.split(0).await,
                15 => shop.merge(3, 1).await,
                22 => shop.split(4).await,
                _ => sleep(Duration::from_millis(200)).await,
            }
        }
        until(|| seen.first_by_key().values().map(Vec::len).sum::<usize>() == 30 * KEYS).await;
        sleep(seconds(60)).await;
        for working in workers {
            working.finish().await.unwrap();
        }
        seen.assert_in_order();
        assert_eq!(seen.len(), 30 * KEYS, "nothing came twice");
        let shards = shop.kinesis.list_shards().stream_name(STREAM).send().await.unwrap();
        assert_eq!(shards.shards().len(), 7);
        for ended in [0, 1, 3, 4] {
            assert_eq!(shop.checkpoint(ended).await, Checkpoint::End, "shard {ended}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn children_wait_until_their_parents_are_handled_to_their_ends() {
    let shop = Shop::new(Kinesis::shards(1)).await;
    round(&shop, 0).await;
    let seen = Seen::default();
    let consumer = scripted(&seen, |order| match order.event.number {
        7 => Act::Take(seconds(900)),
        _ => Act::Succeed,
    });
    let working = shop.work(consumer);
    shop.split(0).await;
    sleep(seconds(30)).await;
    round(&shop, 1).await;
    let reads = shop.sim.requests().count("GetRecords");
    sleep(seconds(600)).await;
    assert_eq!(seen.len(), KEYS, "the children wait");
    assert_eq!(shop.sim.requests().count("GetRecords"), reads, "nothing comes of the parent");
    until(|| seen.len() == 2 * KEYS).await;
    working.finish().await.unwrap();
    seen.assert_in_order();
}

//! What holds for handlers in transactions, whatever fails: effects once, order per group, and
//! nothing acknowledged before its commit.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use fanfare_core::{
    Consumer, Delivery, Disposition, HandlerError, InboxError, IntoEvents, Metadata, Outcome,
    PublishError, RawDelivery, Retry, Router,
};
use futures_util::StreamExt;
use proptest::prelude::*;
use support::{
    ledger::{At, Connection, Ledger},
    *,
};

/// One message of a queue.
#[derive(Debug, Clone)]
struct Sent {
    group: Option<u8>,
    /// For a plain handler, which has its effect outside of the transaction.
    plain: bool,
    fate: Fate,
    /// Whether it is there twice.
    twice: bool,
}

/// What its handler does.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Succeed,
    /// Fails so many times.
    Fail(u32),
    Panic(u32),
    Reject,
}

#[derive(Debug, Clone)]
struct Story {
    queue: Vec<Sent>,
    outbox: bool,
    /// Which of the calls to the inbox fail, by their numbers, and how.
    faults: BTreeMap<usize, bool>,
    /// Which publishes fail.
    unpublished: HashSet<usize>,
    concurrency: usize,
    batch: usize,
}

fn stories() -> impl Strategy<Value = Story> {
    let fate = prop_oneof![
        6 => Just(Fate::Succeed),
        1 => (1u32..4).prop_map(Fate::Fail),
        1 => (1u32..3).prop_map(Fate::Panic),
        1 => Just(Fate::Reject),
    ];
    let plain = prop::bool::weighted(0.2);
    let sent = (prop::option::of(0u8..3), plain, fate, prop::bool::weighted(0.2)).prop_map(
        |(group, plain, fate, twice)| Sent { group, plain, fate, twice: twice && !plain },
    );
    (
        prop::collection::vec(sent, 1..25),
        any::<bool>(),
        prop::collection::btree_map(0usize..80, prop::bool::weighted(0.7), 0..8),
        prop::collection::hash_set(0usize..10, 0..4),
        1usize..6,
        1usize..12,
    )
        .prop_map(|(queue, outbox, faults, unpublished, concurrency, batch)| Story {
            queue,
            outbox,
            faults,
            unpublished,
            concurrency,
            batch,
        })
}

/// What handlers know of the story, and how often each was called.
#[derive(Clone)]
struct Script {
    ledger: Ledger,
    fates: Arc<Vec<Fate>>,
    calls: Arc<Mutex<BTreeMap<usize, u32>>>,
}

impl Script {
    async fn act(&self, index: usize) -> Result<(), HandlerError> {
        let calls = {
            let mut calls = self.calls.lock().unwrap();
            let calls = calls.entry(index).or_default();
            *calls += 1;
            *calls
        };
        tokio::task::yield_now().await;
        match self.fates[index] {
            Fate::Fail(times) if calls <= times => Err(HandlerError::retry("not yet")),
            Fate::Panic(times) if calls <= times => panic!("a handler's bug"),
            Fate::Reject => Err(HandlerError::reject("never")),
            _ => Ok(()),
        }
    }
}

async fn place(
    script: Script,
    tx: &mut Connection,
    order: Delivery<OrderPlaced>,
) -> Result<impl IntoEvents, HandlerError> {
    let order_id = order.event.order_id;
    let index = order_id.parse()?;
    tx.effects.push(order_id.clone());
    script.act(index).await?;
    Ok((index % 2 == 0).then_some(Shipped { order_id }))
}

async fn ship(script: Script, shipped: Delivery<Shipped>) -> Result<(), HandlerError> {
    script.act(shipped.event.order_id.parse()?).await?;
    script.ledger.note(shipped.event.order_id);
    Ok(())
}

fn raw(index: usize, sent: &Sent, attempt: u32) -> RawDelivery {
    let mut delivery = placed(&index.to_string()).attempt(attempt).raw();
    if sent.plain {
        delivery.body = delivery.body.replace("shop.orders.OrderPlaced", "shop.delivery.Shipped");
    }
    let metadata = Metadata::new(index.to_string(), attempt);
    delivery.metadata = match sent.group {
        Some(group) => metadata.in_group(format!("g{group}")),
        None => metadata,
    };
    delivery
}

/// Delivers the queue, batch by batch, until it is empty; what came of each, by index.
async fn tell(
    story: &Story,
    bench: &Bench,
    consumer: &Consumer,
    ledger: &Ledger,
) -> Vec<Vec<Outcome>> {
    let mut queue: Vec<(usize, u32)> = Vec::new();
    for (index, sent) in story.queue.iter().enumerate() {
        queue.extend(std::iter::repeat_n((index, 0), 1 + usize::from(sent.twice)));
    }
    let mut ends = vec![Vec::new(); story.queue.len()];
    let port = bench.publisher();
    for _ in 0..500 {
        if queue.is_empty() {
            return ends;
        }
        let size = story.batch.min(queue.len());
        let taken: Vec<_> =
            queue.drain(..size).map(|(index, attempt)| (index, attempt + 1)).collect();
        let batch = taken.iter().map(|&(index, n)| raw(index, &story.queue[index], n)).collect();
        let mut outcomes: Vec<Option<Outcome>> = vec![None; taken.len()];
        let mut stream =
            std::pin::pin!(consumer.process(batch, story.concurrency, &port, &|| true));
        while let Some((at, outcome)) = stream.next().await {
            let index = taken[at].0;
            if matches!(outcome, Outcome::Handled { .. } | Outcome::Duplicate) {
                // Known to be committed at the moment of being acknowledged.
                assert!(ledger.effects().contains(&index.to_string()), "{index}: {outcome:?}");
            }
            assert!(outcomes[at].replace(outcome).is_none(), "two outcomes");
        }
        // What is given back comes again before what is behind it, as in a FIFO queue.
        let mut back = Vec::new();
        for ((index, attempt), outcome) in taken.into_iter().zip(outcomes) {
            let outcome = outcome.expect("each has an outcome");
            match outcome.disposition() {
                Disposition::Acknowledge => ends[index].push(outcome),
                Disposition::GiveBack { .. } => back.push((index, attempt)),
                Disposition::Leave => panic!("no lease was lost"),
            }
        }
        queue.splice(0..0, back);
    }
    panic!("the queue is never empty: {queue:?}");
}

fn check(story: &Story) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let bench = Bench::new();
        let ledger = Ledger::default().recording(story.outbox);
        let calls = AtomicUsize::new(0);
        let faults = story.faults.clone();
        ledger.fail(move |at| {
            let transient = *faults.get(&calls.fetch_add(1, Ordering::SeqCst))?;
            let error = format!("{at:?}");
            // A permanent one in a unit of one delivery counts its attempts, of which there are
            // plenty here.
            let transient = transient || at == At::Committed;
            Some(if transient {
                InboxError::retryable(error)
            } else {
                InboxError::permanent(error)
            })
        });
        let publishes = AtomicUsize::new(0);
        let unpublished = story.unpublished.clone();
        bench.fail_publishes(move || {
            let number = publishes.fetch_add(1, Ordering::SeqCst);
            unpublished.contains(&number).then_some(PublishError::Blocked)
        });
        let script = Script {
            ledger: ledger.clone(),
            fates: Arc::new(story.queue.iter().map(|sent| sent.fate).collect()),
            calls: Arc::default(),
        };
        let router = Router::new("delivery").on_tx(place).on(ship).with_state(script);
        let consumer = router
            .publisher(bench.publisher())
            .inbox(ledger.clone())
            .retry(Retry::fixed(std::time::Duration::ZERO).max_attempts(1_000));
        let ends = tell(story, &bench, &consumer, &ledger).await;

        let effects: Vec<usize> = ledger.effects().iter().map(|id| id.parse().unwrap()).collect();
        let followed = if story.outbox { ledger.outbox() } else { bench.published() };
        for (index, sent) in story.queue.iter().enumerate() {
            let times = effects.iter().filter(|effect| **effect == index).count();
            let rejected = sent.fate == Fate::Reject;
            assert_eq!(times, usize::from(!rejected), "{index} has its effect once");
            assert_eq!(ends[index].len(), 1 + usize::from(sent.twice));
            let ended =
                ends[index].iter().all(|end| matches!(end, Outcome::DeadLettered(_)) == rejected);
            assert!(ended, "{index}: {:?}", ends[index]);
            assert_eq!(!sent.plain && !rejected, ledger.remembers(&format!("{index}-id")));
            let out = followed.iter().filter(|message| message.key == index.to_string()).count();
            if sent.plain || rejected || index % 2 == 1 {
                assert_eq!(out, 0);
            } else if story.outbox {
                assert_eq!(out, 1, "{index}: recorded with its effect");
            } else {
                assert!(out >= 1, "{index}: what follows is published");
            }
        }
        for group in 0..3 {
            let of_group = |index: &&usize| story.queue[**index].group == Some(group);
            let order: Vec<_> = effects.iter().filter(of_group).collect();
            assert!(order.is_sorted(), "group {group}: {order:?}");
        }
        if story.outbox {
            assert!(bench.published().is_empty());
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn effects_happen_once_and_in_order_whatever_fails(story in stories()) {
        check(&story);
    }
}

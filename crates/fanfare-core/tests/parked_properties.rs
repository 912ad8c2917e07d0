//! What holds for parked groups, whatever fails: a key's history is handled in order, exactly once
//! where its effects are, and no other key waits.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::{BTreeMap, HashMap},
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use fanfare_core::{
    BoxError, Consumer, DeadLetter, DeadLetterError, DeadLetters, Delivery, Disposition, EventType,
    HandlerError, InboxKey, MemoryIdempotencyStore, MemoryParkedGroups, Metadata, Outcome,
    ParkedGroups, ParkedGroupsError, Policy, RawDelivery, Reason, Retry, Router, Turn,
};
use futures_util::{
    StreamExt,
    future::{Either, select},
};
use proptest::prelude::*;
use support::{
    ledger::{Connection, Ledger},
    *,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Transactional,
    /// A body that is no event, until it is cured: then it is let go.
    Garbage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Succeed,
    /// It is rejected until it is cured.
    Poison,
    /// It fails so often, cured or not.
    Fail(u8),
}

/// What happens in one world.
#[derive(Debug, Clone)]
struct Story {
    /// The events in their order: group, kind and fate.
    events: Vec<(u8, Kind, Fate)>,
    /// How many of them come only after the cure.
    late: usize,
    /// Whether stores fail, acknowledgements are lost and hosts are killed.
    faults: bool,
    /// Of all that is left to chance.
    seed: u64,
}

fn stories(faults: bool) -> impl Strategy<Value = Story> {
    let kind = prop_oneof![3 => Just(Kind::Plain), 3 => Just(Kind::Transactional), 1 => Just(Kind::Garbage)];
    let fate = prop_oneof![
        8 => Just(Fate::Succeed), 2 => Just(Fate::Poison), 1 => (1u8..4).prop_map(Fate::Fail),
    ];
    let events = prop::collection::vec((0u8..4, kind, fate), 1..30);
    (events, any::<u64>()).prop_map(move |(events, seed)| {
        let late = if faults { events.len() / 4 } else { 0 };
        Story { events, late, faults, seed }
    })
}

/// The letters, in their order; some are not taken.
#[derive(Clone, Default)]
struct Letters(Arc<Mutex<(Vec<RawDelivery>, Chance)>>);

/// Parked groups whose store fails now and then, before or after it has done what was asked.
#[derive(Clone, Default)]
struct Flaky {
    parked: MemoryParkedGroups,
    chance: Arc<Mutex<Chance>>,
}

/// When something fails.
#[derive(Default)]
struct Chance(Option<fastrand::Rng>);

impl Chance {
    fn strikes(&mut self) -> Result<(), BoxError> {
        let strikes = self.0.as_mut().is_some_and(|rng| rng.u8(..10) == 0);
        if strikes { Err("struck".into()) } else { Ok(()) }
    }
}

impl DeadLetters for Letters {
    async fn put(&self, letter: DeadLetter<'_>) -> Result<(), DeadLetterError> {
        tokio::task::yield_now().await;
        self.0.lock().unwrap().1.strikes()?;
        self.0.lock().unwrap().0.push(letter.delivery.clone());
        tokio::task::yield_now().await;
        Ok(self.0.lock().unwrap().1.strikes()?)
    }
}

impl Flaky {
    async fn run<T>(
        &self,
        call: impl Future<Output = Result<T, ParkedGroupsError>>,
    ) -> Result<T, ParkedGroupsError> {
        tokio::task::yield_now().await;
        self.chance.lock().unwrap().strikes()?;
        let answer = call.await?;
        tokio::task::yield_now().await;
        self.chance.lock().unwrap().strikes()?;
        Ok(answer)
    }
}

impl ParkedGroups for Flaky {
    async fn turn(&self, group: &str, event: &InboxKey) -> Result<Turn, ParkedGroupsError> {
        self.run(self.parked.turn(group, event)).await
    }

    async fn park(&self, group: &str, event: &InboxKey) -> Result<(), ParkedGroupsError> {
        self.run(self.parked.park(group, event)).await
    }

    async fn handled(&self, group: &str, event: &InboxKey) -> Result<(), ParkedGroupsError> {
        self.run(self.parked.handled(group, event)).await
    }

    async fn release(&self, consumer: &str, group: &str) -> Result<u64, ParkedGroupsError> {
        self.run(self.parked.release(consumer, group)).await
    }
}

/// What handlers see.
#[derive(Clone)]
struct Shared {
    ledger: Ledger,
    fates: Arc<Vec<(u8, Kind, Fate)>>,
    tries: Arc<Mutex<HashMap<usize, u8>>>,
    cured: Arc<Mutex<bool>>,
}

impl Shared {
    async fn act(&self, id: &str) -> Result<(), HandlerError> {
        tokio::task::yield_now().await;
        let index: usize = id.parse()?;
        let cured = *self.cured.lock().unwrap();
        match self.fates[index].2 {
            Fate::Poison if !cured => Err(HandlerError::reject("poison")),
            Fate::Fail(times) => {
                let mut tries = self.tries.lock().unwrap();
                let tries = tries.entry(index).or_default();
                *tries += 1;
                if *tries <= times { Err(HandlerError::retry("not now")) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }
}

async fn place(shared: Shared, order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
    shared.act(&order.event.order_id).await?;
    shared.ledger.note(order.event.order_id);
    Ok(())
}

async fn ship(
    shared: Shared,
    tx: &mut Connection,
    shipped: Delivery<Shipped>,
) -> Result<(), HandlerError> {
    shared.act(&shipped.event.order_id).await?;
    tx.effects.push(shipped.event.order_id);
    Ok(())
}

/// One service behind a FIFO queue and its dead-letter queue.
struct World {
    story: Story,
    rng: fastrand::Rng,
    shared: Shared,
    parked: Flaky,
    known: MemoryIdempotencyStore,
    queue: Vec<RawDelivery>,
    letters: Letters,
    faults: bool,
}

impl World {
    fn new(story: &Story) -> Self {
        let shared = Shared {
            ledger: Ledger::default(),
            fates: Arc::new(story.events.clone()),
            tries: Arc::default(),
            cured: Arc::default(),
        };
        let mut world = World {
            rng: fastrand::Rng::with_seed(story.seed),
            shared,
            parked: Flaky::default(),
            known: MemoryIdempotencyStore::default(),
            queue: Vec::new(),
            letters: Letters::default(),
            faults: false,
            story: story.clone(),
        };
        world.set_faults(story.faults);
        world
    }

    fn set_faults(&mut self, faults: bool) {
        self.faults = faults;
        let mut chance = || Chance(faults.then(|| self.rng.fork()));
        self.letters.0.lock().unwrap().1 = chance();
        *self.parked.chance.lock().unwrap() = chance();
    }

    fn send(&mut self, events: std::ops::Range<usize>) {
        for index in events {
            let (group, kind, _) = self.story.events[index];
            let group = format!("group-{group}");
            let (id, order) = (index.to_string(), placed(&index.to_string()).group(&group));
            self.queue.push(match kind {
                Kind::Plain => order.raw(),
                Kind::Transactional => order.tag(Shipped::TAG).raw(),
                Kind::Garbage => {
                    let metadata = Metadata::new(format!("{id}-message"), 1).in_group(group);
                    RawDelivery::new(format!("garbage {id}"), metadata)
                }
            });
        }
    }

    /// Moves what is in the dead-letter queue back, in its order.
    fn redrive(&mut self) {
        for mut letter in std::mem::take(&mut self.letters.0.lock().unwrap().0) {
            letter.metadata.attempt = 1;
            letter.metadata.message_id.push_str("-redriven");
            self.queue.push(letter);
        }
    }

    fn consumer(&self) -> Consumer {
        let cured = *self.shared.cured.lock().unwrap();
        let ledger = self.shared.ledger.clone();
        Router::new("delivery")
            .on(place)
            .on_tx(ship)
            .undecodable(if cured { Policy::Acknowledge } else { Policy::DeadLetter })
            .with_state(self.shared.clone())
            .inbox(ledger.clone())
            .idempotency(self.known.clone())
            .park_groups(self.parked.clone())
            .retry(Retry::fixed(Duration::ZERO).max_attempts(3))
            .observe(move |delivery, outcome| {
                if let (Outcome::Ignored(_), Some(id)) =
                    (outcome, delivery.body.strip_prefix("garbage "))
                {
                    ledger.note(id.to_owned());
                }
            })
    }

    /// Handles one batch: some messages of some groups, from the front.
    async fn deliver(&mut self) {
        let groups = self.rng.u8(1..16);
        let in_groups = |delivery: &RawDelivery| {
            let group = delivery.metadata.group.as_deref().unwrap_or_default();
            let number: u8 = group.trim_start_matches("group-").parse().unwrap();
            groups & (1 << number) != 0
        };
        let size = self.rng.usize(1..=8);
        let chosen = (0..self.queue.len()).filter(|&at| in_groups(&self.queue[at]));
        let chosen: Vec<usize> = chosen.take(size).collect();
        let batch = chosen.iter().map(|&at| self.queue[at].clone()).collect();
        let consumer = self.consumer();
        let letters = self.letters.clone();
        let concurrency = self.rng.usize(1..=4);
        let killed = self.faults && self.rng.u8(..4) == 0;
        let mut turns = if killed { self.rng.usize(..80) } else { usize::MAX };
        let mut outcomes: HashMap<usize, Outcome> = HashMap::new();
        {
            let mut settled = pin!(consumer.process(batch, concurrency, &letters, &|| true));
            let mut killed = pin!(async {
                while turns > 0 {
                    turns -= 1;
                    tokio::task::yield_now().await;
                }
            });
            while let Either::Left((Some((index, outcome)), _)) =
                select(settled.next(), &mut killed).await
            {
                assert!(outcomes.insert(index, outcome).is_none(), "settled twice");
            }
        }
        for (index, at) in chosen.into_iter().enumerate().rev() {
            let outcome = outcomes.remove(&index);
            assert!(outcome.is_some() || killed, "each has an outcome");
            let done = outcome.is_some_and(|o| o.disposition() == Disposition::Acknowledge);
            let lost = self.faults && self.rng.u8(..6) == 0;
            if done && !lost {
                self.queue.remove(at);
            } else {
                self.queue[at].metadata.attempt += 1;
            }
        }
    }

    async fn drain(&mut self) {
        for _ in 0..5_000 {
            if self.queue.is_empty() {
                return;
            }
            self.deliver().await;
        }
        panic!("the queue is never empty");
    }

    /// What has been handled of each group, in order; garbage may be let go more than once.
    fn handled(&self) -> BTreeMap<u8, Vec<usize>> {
        let mut handled: BTreeMap<u8, Vec<usize>> = BTreeMap::new();
        for id in self.shared.ledger.effects() {
            let index: usize = id.parse().unwrap();
            let (group, kind, _) = self.story.events[index];
            let group = handled.entry(group).or_default();
            if kind != Kind::Garbage || !group.contains(&index) {
                group.push(index);
            }
        }
        handled
    }

    fn sent(&self, group: u8, upto: usize) -> Vec<usize> {
        (0..upto).filter(|&index| self.story.events[index].0 == group).collect()
    }

    /// The letters of a group, in order.
    fn letters(&self, group: u8) -> Vec<usize> {
        let mut letters: Vec<usize> = Vec::new();
        for letter in &self.letters.0.lock().unwrap().0 {
            let id = letter.metadata.message_id.split('-').next().unwrap();
            let index: usize = id.parse().unwrap();
            if self.story.events[index].0 == group && !letters.contains(&index) {
                letters.push(index);
            }
        }
        letters
    }

    /// Before the cure: of each group a part is handled, without a gap, and the rest is in the
    /// dead-letter queue in order.
    fn check_parked(&self, sent: usize) {
        let handled = self.handled();
        for group in 0..4 {
            let all = self.sent(group, sent);
            let done = handled.get(&group).cloned().unwrap_or_default();
            assert!(all.starts_with(&done), "group {group}: {done:?} of {all:?}");
            let rest = &all[done.len()..];
            let letters = self.letters(group);
            let waiting: Vec<_> = letters.iter().copied().filter(|i| !done.contains(i)).collect();
            assert_eq!(waiting, rest, "group {group}: the dead letters, in order");
            let harmless = |&index: &usize| {
                let (_, kind, fate) = self.story.events[index];
                kind != Kind::Garbage && fate == Fate::Succeed
            };
            if all.iter().all(harmless) {
                assert_eq!(done, all, "group {group} has no reason to wait");
                assert!(letters.is_empty(), "group {group}: {letters:?}");
            }
        }
    }

    fn check_handled(&self) {
        let handled = self.handled();
        for group in 0..4 {
            let all = self.sent(group, self.story.events.len());
            let mut done = handled.get(&group).cloned().unwrap_or_default();
            if self.story.faults {
                let is_event = |index: &&usize| self.story.events[**index].1 != Kind::Garbage;
                let events: Vec<_> = done.iter().filter(is_event).collect();
                assert!(events.is_sorted(), "group {group}: {events:?}");
                // Where the store had moved on and did not say so, garbage comes a second time, as
                // something unknown, and only then is seen to be let go.
                done.sort_unstable();
            }
            assert_eq!(done, all, "group {group}");
        }
        assert!(self.queue.is_empty());
        assert!(self.letters.0.lock().unwrap().0.is_empty(), "dead letters are left");
    }

    async fn check_free(&self) {
        for index in 0..self.story.events.len() {
            let (group, event) =
                (self.story.events[index].0, InboxKey::new("delivery", "orders", "x"));
            let turn = self.parked.parked.turn(&format!("group-{group}"), &event).await.unwrap();
            assert_eq!(turn, Turn::Free, "group {group}");
        }
    }
}

fn tell(story: &Story) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(story);
        let early = story.events.len() - story.late;
        world.send(0..early);
        world.drain().await;
        world.check_parked(early);
        *world.shared.cured.lock().unwrap() = true;
        if !story.faults {
            // What failed often enough has to fail on, as it would have.
            let failing = story.events.iter().any(|(.., fate)| matches!(fate, Fate::Fail(_)));
            world.redrive();
            world.drain().await;
            if !failing {
                world.check_handled();
            }
        }
        world.send(early..story.events.len());
        for round in 0..200 {
            if round == 10 {
                world.set_faults(false);
            }
            world.redrive();
            if world.queue.is_empty() {
                break;
            }
            world.drain().await;
        }
        world.check_handled();
        world.check_free().await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn behind_a_poison_event_a_key_waits_and_one_redrive_replays_it_in_order(story in stories(false)) {
        tell(&story);
    }

    #[test]
    fn order_outlives_failing_stores_lost_acknowledgements_and_killed_hosts(story in stories(true)) {
        tell(&story);
    }
}

#[test]
fn what_is_no_event_is_known_again_by_its_body() {
    let story = Story {
        events: vec![(0, Kind::Garbage, Fate::Succeed), (0, Kind::Plain, Fate::Succeed)],
        late: 0,
        faults: false,
        seed: 1,
    };
    tell(&story);
    let reason = Reason::Parked { behind: "e-1".into() };
    assert_eq!(reason.to_string(), "parked: e-1 of its group comes first");
}

//! Plans by themselves, with everybody's effect at once.

use std::collections::HashMap;

use fanfare_core::{Checkpoint, Lease, NewLease};
use fastrand::Rng;
use tokio::time::{Instant, advance};

use super::world::{LEASE, seconds};
use crate::stream::leases::{
    plan::{Mine, Step, View},
    seen::{Seen, Table},
};

fn free(key: &str, parents: &[&str]) -> Lease {
    let parents = parents.iter().map(ToString::to_string).collect();
    NewLease::new(key, Checkpoint::Oldest, parents).into()
}

fn owned(key: &str, owner: &str) -> Lease {
    let mut lease = free(key, &[]);
    (lease.owner, lease.epoch, lease.counter) = (Some(owner.into()), 1, 1);
    lease
}

/// What `me` does who has just looked for the first time.
fn plan(me: &str, leases: &[Lease]) -> Vec<String> {
    let mut seen = Seen::new(LEASE);
    plan_again(me, leases, &mut seen)
}

fn plan_again(me: &str, leases: &[Lease], seen: &mut Seen) -> Vec<String> {
    let (table, now) = (Table::new(leases), Instant::now());
    seen.look(&table, now);
    let mine = leases.iter().filter(|lease| lease.owner.as_deref() == Some(me));
    let mine: HashMap<_, _> = mine.map(|lease| (lease.key.clone(), Mine::Consumed)).collect();
    let view = View { me, table: &table, seen, mine: &mine, now };
    let mut steps: Vec<String> = view.plan(&mut Rng::with_seed(1)).iter().map(said).collect();
    steps.sort();
    steps
}

fn said(step: &Step<'_>) -> String {
    match step {
        Step::GiveUp(lease) => format!("give up {}", lease.key),
        Step::Take(lease) => format!("take {}", lease.key),
        Step::Ask(lease) => format!("ask for {}", lease.key),
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_alone_takes_all_that_is_open() {
    let mut ended = free("c", &[]);
    ended.checkpoint = Checkpoint::End;
    let leases =
        [free("a", &[]), free("b", &["gone"]), ended, free("d", &["c"]), free("e", &["c", "a"])];
    assert_eq!(plan("me", &leases), ["take a", "take b", "take d"]);
}

#[tokio::test(start_paused = true)]
async fn an_owner_is_dead_when_he_was_seen_unchanged_for_as_long_as_a_lease_lasts() {
    let mut leases = [owned("a", "me"), owned("b", "other")];
    let mut seen = Seen::new(LEASE);
    for _ in 0..5 {
        assert!(plan_again("me", &leases, &mut seen).is_empty());
        advance(LEASE - seconds(1)).await;
        leases[1].counter += 1;
    }
    assert!(plan_again("me", &leases, &mut seen).is_empty());
    advance(LEASE - seconds(1)).await;
    // Being asked is no sign of life.
    leases[1].successor = Some("third".into());
    assert!(plan_again("me", &leases, &mut seen).is_empty());
    advance(seconds(1)).await;
    assert_eq!(plan_again("me", &leases, &mut seen), ["take b"]);
}

#[tokio::test(start_paused = true)]
async fn nobody_asks_where_loads_differ_by_one() {
    let mut leases = vec![owned("a", "one"), owned("b", "one"), owned("c", "two")];
    assert!(plan("two", &leases).is_empty());
    leases.push(owned("d", "one"));
    assert_eq!(plan("two", &leases).len(), 1);
    assert_eq!(plan("three", &leases).len(), 1);
    leases.push(free("e", &[]));
    assert_eq!(plan("two", &leases)[0], "take e");
    assert_eq!(plan("two", &leases).len(), 1, "what is open comes before what is asked for");
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_already_is_not_asked_for_again() {
    let mut leases: Vec<Lease> = ["a", "b", "c", "d"].map(|key| owned(key, "one")).into();
    (leases[0].successor, leases[1].successor) = (Some("two".into()), Some("two".into()));
    // One is left with two, two is getting two, and there is a third now.
    assert_eq!(plan("three", &leases).len(), 1);
    assert!(["ask for c", "ask for d"].contains(&&*plan("three", &leases)[0]));
    assert!(plan("two", &leases).is_empty());
}

#[tokio::test(start_paused = true)]
async fn only_what_makes_loads_more_even_is_given_up() {
    let mut leases: Vec<Lease> = ["a", "b", "c", "d", "e", "f"].map(|key| owned(key, "me")).into();
    for (lease, asker) in leases.iter_mut().zip(["one", "one", "one", "two", "two", "two"]) {
        lease.successor = Some(asker.into());
    }
    let steps = plan("me", &leases);
    assert_eq!(steps.len(), 4, "{steps:?}");
    let of_one =
        steps.iter().filter(|step| ["give up a", "give up b", "give up c"].contains(&&***step));
    assert_eq!(of_one.count(), 2, "two for each: {steps:?}");
}

#[tokio::test(start_paused = true)]
async fn an_asker_who_is_gone_is_not_waited_for_for_ever() {
    let mut leases: Vec<Lease> = ["a", "b", "c", "d"].map(|key| owned(key, "one")).into();
    for lease in &mut leases[..2] {
        lease.successor = Some("gone".into());
    }
    let mut seen = Seen::new(LEASE);
    for _ in 0..6 {
        assert_eq!(plan_again("me", &leases, &mut seen).len(), 1);
        advance(seconds(5)).await;
        leases.iter_mut().for_each(|lease| lease.counter += 1);
    }
    assert_eq!(plan_again("me", &leases, &mut seen).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_those_leave_who_should_take_it_is_taken_by_anybody() {
    let mut leases = vec![owned("a", "me"), owned("b", "me"), owned("c", "idle"), free("d", &[])];
    let mut seen = Seen::new(LEASE);
    assert!(plan_again("me", &leases, &mut seen).is_empty());
    advance(LEASE / 2).await;
    leases[2].counter += 1;
    assert_eq!(plan_again("me", &leases, &mut seen), ["take d"]);
}

/// A table that plans take effect on, at once.
struct Game {
    leases: Vec<Lease>,
    workers: Vec<(String, Seen)>,
    moves: usize,
}

impl Game {
    fn round(&mut self, rng: &mut Rng) {
        let mut order: Vec<usize> = (0..self.workers.len()).collect();
        rng.shuffle(&mut order);
        for n in order {
            let (me, seen) = &mut self.workers[n];
            let leases = self.leases.clone();
            let table = Table::new(&leases);
            seen.look(&table, Instant::now());
            let mine = leases.iter().filter(|lease| lease.owner.as_ref() == Some(me));
            let mine = mine.map(|lease| (lease.key.clone(), Mine::Consumed)).collect();
            let view = View { me, table: &table, seen, mine: &mine, now: Instant::now() };
            for step in view.plan(rng) {
                let (Step::GiveUp(seen) | Step::Take(seen) | Step::Ask(seen)) = step;
                let lease = self.leases.iter_mut().find(|lease| lease.key == seen.key).unwrap();
                match step {
                    Step::GiveUp(_) => lease.owner = None,
                    Step::Ask(_) => lease.successor = Some(me.clone()),
                    Step::Take(_) => {
                        self.moves += 1;
                        (lease.owner, lease.successor) = (Some(me.clone()), None);
                        lease.epoch += 1;
                    }
                }
                lease.counter += 1;
            }
            for lease in self.leases.iter_mut().filter(|lease| lease.owner.as_ref() == Some(me)) {
                lease.counter += 1;
            }
        }
    }

    fn loads(&self) -> Vec<usize> {
        let load = |(me, _): &(String, Seen)| {
            self.leases.iter().filter(|lease| lease.owner.as_ref() == Some(me)).count()
        };
        self.workers.iter().map(load).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn from_any_distribution_loads_become_even_and_stay_so() {
    for seed in 0..100 {
        let mut rng = Rng::with_seed(seed);
        let workers = rng.usize(1..9);
        let names: Vec<String> = (0..workers).map(|n| format!("w{n}")).collect();
        let leases = (0..rng.usize(1..60)).map(|n| match rng.usize(0..workers + 1) {
            0 => free(&format!("s{n}"), &[]),
            // Some have most of them.
            owner => owned(&format!("s{n}"), &names[(owner - 1).min(rng.usize(0..workers))]),
        });
        let leases: Vec<Lease> = leases.collect();
        let workers = names.into_iter().map(|name| (name, Seen::new(LEASE))).collect();
        let mut game = Game { leases, workers, moves: 0 };
        let fewest = {
            // What has no owner, and what those have too many of who have more than their share.
            let (all, owners) = (game.leases.len(), game.workers.len());
            let surplus = |load: &usize| load.saturating_sub(all.div_ceil(owners));
            let free = all - game.loads().iter().sum::<usize>();
            free.max(game.loads().iter().map(surplus).sum())
        };
        let is_even = |game: &Game| {
            let loads = game.loads();
            loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1
                && loads.iter().sum::<usize>() == game.leases.len()
        };
        let mut rounds = 0;
        while !is_even(&game) {
            rounds += 1;
            assert!(rounds < 40, "seed {seed}: {:?} after {rounds} rounds", game.loads());
            game.round(&mut rng);
            advance(LEASE / 3).await;
        }
        let moves = game.moves;
        assert!(moves <= 2 * fewest + 2 * game.workers.len(), "seed {seed}: {moves} for {fewest}");
        for _ in 0..30 {
            game.round(&mut rng);
            advance(LEASE / 3).await;
        }
        assert!(game.moves == moves && is_even(&game), "seed {seed}: it does not come to rest");
    }
}

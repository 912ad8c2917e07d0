//! What holds for every batch, whatever its handlers do.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use fanfare_core::{Delivery, Disposition, HandlerError, Outcome, Router};
use proptest::prelude::*;
use support::*;

/// What a handler does with one delivery, and after how many turns of the scheduler.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Succeed,
    Retry,
    Reject,
    Panic,
}

type Plan = Vec<(Option<u8>, Fate, u8)>;

fn plans() -> impl Strategy<Value = Plan> {
    let fate = prop_oneof![
        6 => Just(Fate::Succeed), 1 => Just(Fate::Retry), 1 => Just(Fate::Reject), 1 => Just(Fate::Panic),
    ];
    prop::collection::vec((prop::option::of(0u8..4), fate, 0u8..5), 0..40)
}

async fn act(
    state: (Recorder, Plan, Option<(usize, Arc<AtomicBool>)>),
    order: Delivery<OrderPlaced>,
) -> Result<(), HandlerError> {
    let (recorder, plan, stop_at) = state;
    let index: usize = order.event.order_id.parse()?;
    recorder.note(format!("begin {index}"));
    let (_, fate, turns) = plan[index];
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
    if let Some((at, stop)) = stop_at
        && at == index
    {
        stop.store(true, Ordering::SeqCst);
    }
    recorder.note(format!("end {index}"));
    match fate {
        Fate::Succeed => Ok(()),
        Fate::Retry => Err(HandlerError::retry("retry")),
        Fate::Reject => Err(HandlerError::reject("reject")),
        Fate::Panic => panic!("a handler's bug"),
    }
}

fn run(plan: &Plan, stop_at: Option<usize>) -> (Vec<Outcome>, Vec<String>, Vec<(String, String)>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let bench = Bench::new();
        let stop = Arc::new(AtomicBool::new(false));
        let state = (bench.recorder.clone(), plan.clone(), stop_at.map(|at| (at, stop.clone())));
        let batch = plan.iter().enumerate().map(|(index, (group, ..))| {
            let delivery = placed(&index.to_string());
            match group {
                Some(group) => delivery.group(&format!("g{group}")).raw(),
                None => delivery.raw(),
            }
        });
        let consumer = Router::new("products").on(act).with_state(state);
        let outcomes =
            bench.run_while(consumer, batch.collect(), &|| !stop.load(Ordering::SeqCst)).await;
        (outcomes, bench.recorder.notes(), bench.dead_letters())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_and_nothing_is_both_settled_and_given_back(plan in plans()) {
        // `Bench` fails if an index has no outcome, or two.
        let (outcomes, notes, dead) = run(&plan, None);
        for (index, outcome) in outcomes.iter().enumerate() {
            let begun = notes.contains(&format!("begin {index}"));
            let fate = plan[index].1;
            let dead_lettered = dead.iter().any(|(id, _)| *id == format!("{index}-id"));
            match outcome {
                Outcome::Handled { .. } => prop_assert!(begun && matches!(fate, Fate::Succeed)),
                Outcome::DeadLettered(_) => prop_assert!(begun && matches!(fate, Fate::Reject)),
                Outcome::Failed { .. } => prop_assert!(begun && matches!(fate, Fate::Retry | Fate::Panic)),
                Outcome::Blocked { .. } => prop_assert!(!begun),
                other => prop_assert!(false, "unexpected {other:?}"),
            }
            prop_assert_eq!(dead_lettered, matches!(outcome, Outcome::DeadLettered(_)));
        }
    }

    #[test]
    fn a_group_runs_in_order_one_at_a_time_and_stops_at_its_first_failure(plan in plans()) {
        let (outcomes, notes, _) = run(&plan, None);
        let mut running: HashMap<u8, usize> = HashMap::new();
        let mut last: HashMap<u8, usize> = HashMap::new();
        for note in &notes {
            let (what, index) = note.split_once(' ').unwrap();
            let index: usize = index.parse().unwrap();
            let Some(group) = plan[index].0 else { continue };
            if what == "begin" {
                prop_assert!(running.insert(group, index).is_none(), "two of group {group} at once");
                prop_assert!(last.insert(group, index).is_none_or(|last| last < index), "out of order");
            } else {
                running.remove(&group);
            }
        }
        let mut failed: HashMap<u8, Disposition> = HashMap::new();
        for (index, outcome) in outcomes.iter().enumerate() {
            let Some(group) = plan[index].0 else {
                prop_assert!(!matches!(outcome, Outcome::Blocked { .. }), "no group, nothing to block");
                continue;
            };
            match failed.get(&group) {
                Some(with) => {
                    let blocked = matches!(outcome, Outcome::Blocked { .. });
                    prop_assert!(blocked);
                    prop_assert_eq!(&outcome.disposition(), with, "the tail comes again with the failed one");
                }
                None if matches!(outcome, Outcome::Failed { .. }) => {
                    failed.insert(group, outcome.disposition());
                }
                None => {
                    let blocked = matches!(outcome, Outcome::Blocked { .. });
                    prop_assert!(!blocked);
                }
            }
        }
    }

    #[test]
    fn after_stop_what_runs_is_finished_and_the_rest_is_released(plan in plans(), at in 0usize..40) {
        prop_assume!(at < plan.len());
        let (outcomes, notes, _) = run(&plan, Some(at));
        for (index, outcome) in outcomes.iter().enumerate() {
            let begun = notes.contains(&format!("begin {index}"));
            let ended = notes.contains(&format!("end {index}"));
            prop_assert_eq!(begun, ended, "what was begun is finished");
            if matches!(outcome, Outcome::Released) {
                prop_assert!(!begun);
            }
        }
    }
}

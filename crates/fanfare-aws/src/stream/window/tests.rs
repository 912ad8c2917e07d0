use std::time::Duration;

use proptest::{collection::vec, prelude::*};

use super::*;

const ROOM: Room = Room { events: 30, bytes: 300 };

fn at(sequence_number: u64, sub: Option<u64>, is_last: bool) -> Position {
    let sequence_number = sequence_number.to_string().into();
    Position { sequence_number, sub_sequence_number: sub, is_last }
}

fn after(sequence_number: u64, sub_sequence_number: Option<u64>) -> Option<Checkpoint> {
    let sequence_number = sequence_number.to_string();
    Some(Checkpoint::After { sequence_number, sub_sequence_number })
}

/// A window of plain records `1..` with these keys.
fn window(hold: Hold, keys: &[&str]) -> Window<()> {
    let mut window = Window::new(hold, ROOM);
    for (i, key) in keys.iter().enumerate() {
        window.push(at(i as u64 + 1, None, true), &Arc::from(*key), 10, ());
    }
    window
}

fn begin(window: &mut Window<()>, now: Instant) -> Vec<(u64, u32)> {
    window.begin(now, 100, 100).into_iter().map(|begun| (begun.ticket, begun.attempt)).collect()
}

#[test]
fn a_key_goes_group_by_group_and_other_keys_beside_it() {
    let now = Instant::now();
    let mut window = window(Hold::Key, &["a", "b", "a"]);
    assert_eq!(begin(&mut window, now), [(0, 1), (2, 1), (1, 1)]);
    window.push(at(4, None, true), &"a".into(), 10, ());
    assert_eq!(window.ready(now), 0, "its key runs");
    window.end(0, End::Done);
    assert_eq!(window.ready(now), 0, "its key still runs");
    window.end(2, End::Done);
    assert_eq!(begin(&mut window, now), [(3, 1)]);
}

#[test]
fn what_fails_waits_with_its_tail_and_comes_again_alone() {
    let now = Instant::now();
    let later = now + Duration::from_secs(5);
    let mut window = window(Hold::Key, &["a", "a", "a", "b"]);
    begin(&mut window, now);
    window.end(0, End::Done);
    // However they come in.
    window.end(2, End::Untried(Some(later)));
    window.end(1, End::Failed(later));
    window.end(3, End::Done);
    assert_eq!((window.ready(now), window.next_due()), (0, Some(later)));
    assert_eq!(begin(&mut window, later), [(1, 2)]);
    window.end(1, End::Done);
    assert_eq!(begin(&mut window, later), [(2, 1)]);
}

#[test]
fn a_held_shard_begins_nothing_but_what_has_failed() {
    let now = Instant::now();
    let later = now + Duration::from_secs(5);
    let mut window = window(Hold::Shard, &["a", "a", "b", "b"]);
    assert_eq!(begin(&mut window, now), [(0, 1), (2, 1)], "one of each key");
    window.end(0, End::Failed(later));
    window.end(2, End::Done);
    assert_eq!(window.ready(now), 0);
    assert_eq!(begin(&mut window, later), [(0, 2)]);
    window.end(0, End::Done);
    assert_eq!(begin(&mut window, later), [(1, 1), (3, 1)]);
}

#[test]
fn the_checkpoint_stops_below_what_is_not_done_also_within_an_aggregate() {
    let mut window = Window::new(Hold::Key, ROOM);
    window.push(at(7, Some(0), false), &"a".into(), 10, ());
    window.push(at(7, Some(1), false), &"b".into(), 10, ());
    window.push(at(7, Some(2), true), &"c".into(), 10, ());
    window.pass(at(8, None, true));
    begin(&mut window, Instant::now());
    window.end(1, End::Done);
    assert_eq!(window.checkpoint(), None);
    window.end(0, End::Done);
    assert_eq!(window.checkpoint(), after(7, Some(1)));
    assert_eq!(window.checkpoint(), None, "it is told once");
    window.end(2, End::Done);
    assert_eq!(window.checkpoint(), after(8, None));
    assert!(window.is_empty());
    window.push(at(9, Some(0), true), &"a".into(), 10, ());
    begin(&mut window, Instant::now());
    window.end(4, End::Done);
    assert_eq!(window.checkpoint(), after(9, None), "the whole record");
}

#[test]
fn it_is_full_by_count_or_bytes_from_the_lowest_that_is_not_done() {
    let mut window = window(Hold::Key, &["a", "b", "c"]);
    assert_eq!(window.room(), Some(Room { events: 27, bytes: 270 }));
    begin(&mut window, Instant::now());
    window.end(2, End::Done);
    assert_eq!(window.room(), Some(Room { events: 27, bytes: 270 }), "what is done counts too");
    window.push(at(4, None, true), &"d".into(), 280, ());
    assert_eq!(window.room(), None);
    window.end(0, End::Done);
    window.end(1, End::Done);
    assert_eq!(window.room(), Some(Room { events: 29, bytes: 20 }));
    (0..29).for_each(|i| window.push(at(5 + i, None, true), &"e".into(), 0, ()));
    assert_eq!(window.room(), None);
}

/// What the window is compared with: the same rules, looked up in a plain list.
struct Model {
    hold: Hold,
    events: Vec<Modelled>,
    now: Instant,
}

struct Modelled {
    key: Option<u8>,
    position: Position,
    running: bool,
    done: bool,
    failures: u32,
    /// Until when its key waits, if it is the key's next.
    not_before: Option<Instant>,
}

impl Model {
    /// The next of each key that may begin, lowest first.
    fn may_begin(&self) -> Vec<usize> {
        let held =
            self.hold == Hold::Shard && self.events.iter().any(|e| e.failures > 0 && !e.done);
        (0..4)
            .filter_map(|key| {
                let of_key = |e: &&Modelled| e.key == Some(key);
                let next = self.events.iter().position(|e| e.key == Some(key) && !e.done)?;
                let runs = self.events.iter().filter(of_key).any(|e| e.running);
                let due = self.events[next].not_before.is_none_or(|at| at <= self.now);
                let allowed = !held || self.events[next].failures > 0;
                (!runs && due && allowed).then_some(next)
            })
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    fn checkpoint(&self) -> Option<Checkpoint> {
        let done = self.events.iter().take_while(|e| e.done).last()?;
        Some(done.position.checkpoint())
    }

    /// The open end of the list, from the lowest that is not done.
    fn open(&self) -> usize {
        self.events.len() - self.events.iter().take_while(|e| e.done).count()
    }
}

#[derive(Debug, Clone)]
enum Op {
    Push(u8),
    /// An aggregate of these keys.
    Aggregate(Vec<u8>),
    Pass,
    Begin(usize, usize),
    /// The lowest running of some group ends.
    End(usize, Ending),
    Wait(u64),
}

#[derive(Debug, Clone, Copy)]
enum Ending {
    Done,
    Failed(u64),
    Untried,
}

fn op() -> impl Strategy<Value = Op> {
    let ending = prop_oneof![
        4 => Just(Ending::Done),
        2 => (1..50u64).prop_map(Ending::Failed),
        1 => Just(Ending::Untried),
    ];
    prop_oneof![
        4 => (0..4u8).prop_map(Op::Push),
        1 => vec(0..4u8, 1..5).prop_map(Op::Aggregate),
        1 => Just(Op::Pass),
        4 => (0..4usize, 0..6usize).prop_map(|(keys, events)| Op::Begin(keys, events)),
        8 => (0..8usize, ending).prop_map(|(which, how)| Op::End(which, how)),
        2 => (1..60u64).prop_map(Op::Wait),
    ]
}

proptest! {
    #[test]
    fn the_window_does_as_a_plain_list_would(
        hold in prop_oneof![Just(Hold::Key), Just(Hold::Shard)],
        ops in vec(op(), 0..120),
    ) {
        let mut window = Window::new(hold, ROOM);
        let mut model = Model { hold, events: Vec::new(), now: Instant::now() };
        let mut sequence = 0;
        let mut last = None;
        // What runs of each key, lowest first, and until when it waits once one has failed.
        let mut groups: Vec<(VecDeque<usize>, Option<Option<Instant>>)> = Vec::new();
        let push = |window: &mut Window<usize>, model: &mut Model, key: Option<u8>, position: Position| {
            match key {
                Some(k) => window.push(position.clone(), &k.to_string().into(), 1, model.events.len()),
                None => window.pass(position.clone()),
            }
            let (running, failures, not_before) = (false, 0, None);
            model.events.push(Modelled { key, position, running, done: key.is_none(), failures, not_before });
        };
        // In the end everything succeeds.
        let finish = [Op::Wait(60), Op::Begin(9, 99), Op::End(0, Ending::Done)];
        let mut ops = ops.into_iter();
        let mut rest = finish.iter().cloned().cycle().take(3_000);
        loop {
            let op = match ops.next() {
                Some(op) => op,
                None if window.is_empty() => break,
                None => rest.next().expect("it never empties"),
            };
            match op {
                Op::Push(key) => {
                    sequence += 1;
                    push(&mut window, &mut model, Some(key), at(sequence, None, true));
                }
                Op::Aggregate(keys) => {
                    sequence += 1;
                    for (sub, key) in keys.iter().enumerate() {
                        let position = at(sequence, Some(sub as u64), sub + 1 == keys.len());
                        push(&mut window, &mut model, Some(*key), position);
                    }
                }
                Op::Pass => {
                    sequence += 1;
                    push(&mut window, &mut model, None, at(sequence, None, true));
                }
                Op::Begin(keys, events) => {
                    let may = model.may_begin();
                    prop_assert_eq!(window.ready(model.now), may.len());
                    let begun = window.begin(model.now, keys, events);
                    prop_assert!(begun.len() <= events);
                    let mut of_key: Vec<VecDeque<usize>> = Vec::new();
                    for begun in &begun {
                        prop_assert_eq!(begun.ticket, begun.item as u64);
                        let modelled = &mut model.events[begun.item];
                        prop_assert!(!modelled.done && !modelled.running);
                        prop_assert_eq!(begun.attempt, modelled.failures + 1);
                        prop_assert_eq!(&begun.position, &modelled.position);
                        modelled.running = true;
                        let key = modelled.key;
                        match of_key.last_mut().filter(|group| model.events[group[0]].key == key) {
                            Some(group) => group.push_back(begun.item),
                            None => of_key.push([begun.item].into()),
                        }
                    }
                    let heads: Vec<_> = of_key.iter().map(|group| group[0]).collect();
                    let expected = keys.min(may.len());
                    prop_assert_eq!(&heads[..], &may[..heads.len()], "the lowest may begin first");
                    prop_assert!(heads.len() == expected || begun.len() == events);
                    for group in of_key {
                        let key = model.events[group[0]].key;
                        let alone = hold == Hold::Shard || model.events[group[0]].failures > 0;
                        prop_assert!(!alone || group.len() == 1);
                        let undone = model.events.iter().enumerate().filter(|(_, e)| e.key == key && !e.done);
                        let lowest: Vec<_> = undone.map(|(i, _)| i).take(group.len()).collect();
                        prop_assert_eq!(group.iter().copied().collect::<Vec<_>>(), lowest);
                        groups.push((group, None));
                    }
                }
                Op::End(which, ending) => {
                    if groups.is_empty() {
                        continue;
                    }
                    let which = which % groups.len();
                    let (group, stopped) = &mut groups[which];
                    let place = group.pop_front().unwrap();
                    let end = match (ending, &stopped) {
                        (_, Some(until)) => End::Untried(*until),
                        (Ending::Done, None) => End::Done,
                        (Ending::Failed(ms), None) => End::Failed(model.now + Duration::from_millis(ms)),
                        (Ending::Untried, None) => End::Untried(None),
                    };
                    window.end(place as u64, end);
                    model.events[place].running = false;
                    match end {
                        End::Done => model.events[place].done = true,
                        End::Failed(until) => {
                            model.events[place].failures += 1;
                            model.events[place].not_before = Some(until);
                            *stopped = Some(Some(until));
                        }
                        End::Untried(until) => {
                            model.events[place].not_before = until;
                            *stopped = Some(until);
                        }
                    }
                    if group.is_empty() {
                        groups.remove(which);
                    }
                }
                Op::Wait(ms) => model.now += Duration::from_millis(ms),
            }
            last = window.checkpoint().or(last);
            prop_assert_eq!(&last, &model.checkpoint());
            prop_assert_eq!(window.room().is_none(), model.open() >= ROOM.events);
            if window.ready(model.now) == 0 && groups.is_empty() && !window.is_empty() {
                let due = window.next_due();
                prop_assert!(due.is_some_and(|due| due > model.now), "it would sleep for ever");
            }
        }
    }
}

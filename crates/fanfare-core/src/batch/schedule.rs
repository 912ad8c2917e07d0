//! Which delivery of a batch is handled when: groups in order, the rest side by side.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tracing::Instrument;

use super::{
    Content, Host, Item, Opening, failed_after,
    prepare::{Prepared, prepare},
    step::Step,
    unit::{self, Ended, Member},
};
use crate::{
    Attribute, Call, Envelope, GROUP_ATTRIBUTE, InboxKey, Outcome, RawDelivery, telemetry::InFlight,
};

/// The most deliveries in one unit of work: enough that the commit's cost is shared, few enough
/// that a broken one costs little.
const UNIT: usize = 50;

/// From this attempt on a delivery has a unit of work of its own, so that one whose failure shows
/// only at the commit does not take its neighbours along for ever.
const ALONE_FROM: u32 = 3;

/// What is left of a batch, and what runs.
pub(super) struct Schedule<'a> {
    host: Host<'a>,
    concurrency: usize,
    groups: Vec<Group>,
    /// Groups whose next delivery is to be prepared first.
    unprepared: VecDeque<usize>,
    /// Groups whose next delivery is for a plain handler, and may begin.
    plain: VecDeque<usize>,
    /// Groups whose next delivery is for a unit of work, and may begin.
    transactional: VecDeque<usize>,
    running: FuturesUnordered<BoxFuture<'a, Done>>,
    unit_runs: bool,
    stopped: bool,
    in_flight: InFlight<'a>,
    known: VecDeque<(usize, Outcome)>,
}

/// What is left of a group, and whether it goes on.
#[derive(Default)]
struct Group {
    next: Option<Box<Opening>>,
    waiting: VecDeque<Item>,
    halted: Option<Halt>,
    /// Whether nothing of it is parked, as far as this batch knows.
    free: bool,
}

/// Why a group does not go on.
#[derive(Clone, Copy)]
enum Halt {
    /// One of it has failed, and comes again after this time.
    Failed(Duration),
    /// The lease on one of it is lost.
    Lost,
}

/// A step that has ended.
enum Done {
    Prepared(Item),
    Plain(Item, Outcome),
    Unit(Vec<Ended>),
}

impl<'a> Schedule<'a> {
    pub(super) fn new(host: Host<'a>, batch: Vec<RawDelivery>, concurrency: usize) -> Self {
        let in_flight = host.consumer.telemetry.hold(batch.len());
        let mut schedule = Schedule {
            host,
            concurrency,
            groups: groups(batch, host.consumer.parked.is_some()),
            unprepared: VecDeque::new(),
            plain: VecDeque::new(),
            transactional: VecDeque::new(),
            running: FuturesUnordered::new(),
            unit_runs: false,
            stopped: false,
            in_flight,
            known: VecDeque::new(),
        };
        (0..schedule.groups.len()).for_each(|group| schedule.ready(group));
        schedule
    }

    /// The next delivery that is settled; none when all are.
    pub(super) async fn next(&mut self) -> Option<(usize, Outcome)> {
        loop {
            if let Some(settled) = self.known.pop_front() {
                return Some(settled);
            }
            self.begin();
            if !self.known.is_empty() {
                continue;
            }
            let done = self.running.next().await?;
            self.done(done);
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Prepared(item) => {
                let group = item.group;
                self.groups[group].free = !item.parked;
                self.groups[group].put_back(item);
                self.ready(group);
            }
            Done::Plain(item, outcome) => {
                let group = item.group;
                self.settle(item, outcome);
                self.ready(group);
            }
            Done::Unit(ended) => self.unit_ended(ended),
        }
    }

    /// Begins what may run now.
    fn begin(&mut self) {
        // No more is prepared than can begin, and what is prepared at once shares a unit of work.
        while self.running.len() + self.plain.len() < self.concurrency
            && self.transactional.len() < UNIT
            && let Some(group) = self.unprepared.pop_front()
        {
            if !self.may_begin() || self.groups[group].is_lost() {
                self.give_back(group, &Outcome::Released);
            } else if let Some(item) = self.groups[group].take_item() {
                self.run(preparation(self.host, item).boxed());
            }
        }
        if !self.unit_runs
            && self.running.len() < self.concurrency
            && let Some(inbox) = &self.host.consumer.inbox
        {
            let members = self.members();
            if !members.is_empty() {
                self.unit_runs = true;
                let unit = unit::run(self.host, inbox.as_ref(), members);
                self.running.push(unit.map(Done::Unit).boxed());
            }
        }
        while self.running.len() < self.concurrency
            && let Some(group) = self.plain.pop_front()
        {
            if !self.may_begin() || self.groups[group].is_lost() {
                self.give_back(group, &Outcome::Released);
            } else if let Some(opening) = self.groups[group].take_next(self.host) {
                self.run(plain(self.host, opening).boxed());
            }
        }
    }

    /// Runs a step; what need not wait is done at once.
    fn run(&mut self, mut step: BoxFuture<'a, Done>) {
        match (&mut step).now_or_never() {
            Some(done) => self.done(done),
            None => self.running.push(step),
        }
    }

    /// Takes the deliveries of the next unit of work, each group's in order.
    fn members(&mut self) -> Vec<Member<'a>> {
        let mut members: Vec<Member<'a>> = Vec::new();
        for _ in 0..self.transactional.len() {
            let Some(group) = self.transactional.pop_front() else { break };
            if !self.may_begin() || self.groups[group].is_lost() {
                self.give_back(group, &Outcome::Released);
                continue;
            }
            let before = members.len();
            while members.len() < UNIT
                && let Some(member) = self.groups[group].take_beside(&members, self.host)
            {
                members.push(member);
            }
            if members.len() == before {
                self.transactional.push_back(group);
            }
        }
        members
    }

    fn unit_ended(&mut self, ended: Vec<Ended>) {
        self.unit_runs = false;
        let mut groups: Vec<usize> = Vec::new();
        let mut again = Vec::new();
        for ended in ended {
            match ended {
                Ended::Settled(item, outcome) => {
                    groups.push(item.group);
                    self.settle(item, outcome);
                }
                Ended::Again(item) => again.push(item),
            }
        }
        for item in again.into_iter().rev() {
            let group = item.group;
            groups.push(group);
            self.groups[group].put_back(item);
        }
        groups.sort_unstable();
        groups.dedup();
        groups.into_iter().for_each(|group| self.ready(group));
    }

    /// Puts a group, of which nothing runs, where its next delivery belongs.
    fn ready(&mut self, group: usize) {
        match self.groups[group].halted {
            Some(Halt::Failed(after)) => return self.give_back(group, &Outcome::Blocked { after }),
            Some(Halt::Lost) => return self.give_back(group, &Outcome::Released),
            None => {}
        }
        let next = &mut self.groups[group];
        if next.is_empty() {
            return;
        }
        if next.is_to_be_prepared(self.host) {
            self.unprepared.push_back(group);
            return;
        }
        // It is looked into only where that decides something, and else when it begins: the events of
        // a whole batch are more than a processor's cache holds.
        let in_transaction = self.host.consumer.inbox.is_some()
            && next.open_next(self.host).is_some_and(Opening::in_transaction);
        if in_transaction {
            self.transactional.push_back(group);
        } else {
            self.plain.push_back(group);
        }
    }

    /// Gives back all that is left of a group.
    fn give_back(&mut self, group: usize, outcome: &Outcome) {
        while let Some(item) = self.groups[group].take_item() {
            self.settle(item, outcome.clone());
        }
    }

    fn may_begin(&mut self) -> bool {
        self.stopped |= !(self.host.may_begin)();
        !self.stopped
    }

    fn settle(&mut self, item: Item, outcome: Outcome) {
        let outcome = Step { host: self.host, item: &item }.unless_lost(outcome);
        if outcome == Outcome::Lost {
            self.groups[item.group].halted = Some(Halt::Lost);
        } else if let Some(after) = failed_after(&outcome) {
            self.groups[item.group].halted = Some(Halt::Failed(after));
        }
        if matches!(outcome, Outcome::DeadLettered(_)) {
            self.groups[item.group].free = false;
        }
        if let Some(observer) = &self.host.consumer.observer {
            observer(&item.delivery, &outcome);
        }
        self.in_flight.settle(&outcome);
        self.known.push_back((item.index, outcome));
    }
}

impl Group {
    fn new(first: Item) -> Self {
        // Most have no other.
        Group { waiting: VecDeque::from([first]), ..Group::default() }
    }

    fn is_empty(&self) -> bool {
        self.next.is_none() && self.waiting.is_empty()
    }

    /// Whether its next delivery is to be prepared first.
    fn is_to_be_prepared(&self, host: Host<'_>) -> bool {
        let consumer = host.consumer;
        let may_be_parked = !self.free && consumer.parked.is_some();
        (consumer.prepares() || may_be_parked)
            && self.first().is_some_and(|item| {
                !item.prepared && (consumer.prepares() || item.delivery.metadata.group.is_some())
            })
    }

    /// Whether the lease on its next delivery is lost.
    fn is_lost(&self) -> bool {
        self.first().is_some_and(|item| item.delivery.cancellation.is_cancelled())
    }

    fn first(&self) -> Option<&Item> {
        let opened = self.next.as_ref().map(|opening| &opening.item);
        opened.or_else(|| self.waiting.front())
    }

    /// Its next delivery, looked into.
    fn open_next(&mut self, host: Host<'_>) -> Option<&Opening> {
        if self.next.is_none() {
            self.next = Some(Box::new(host.consumer.open(self.waiting.pop_front()?)));
        }
        self.next.as_deref()
    }

    /// Takes its next delivery, looked into.
    fn take_next(&mut self, host: Host<'_>) -> Option<Opening> {
        match self.next.take() {
            Some(opening) => Some(*opening),
            None => Some(host.consumer.open(self.waiting.pop_front()?)),
        }
    }

    /// Takes the item of its next delivery, whatever is known of it.
    fn take_item(&mut self) -> Option<Item> {
        let opened = self.next.take().map(|opening| opening.item);
        opened.or_else(|| self.waiting.pop_front())
    }

    /// Puts back the one before its next.
    fn put_back(&mut self, item: Item) {
        if let Some(opening) = self.next.take() {
            self.waiting.push_front(opening.item);
        }
        self.waiting.push_front(item);
    }

    /// Takes its next delivery if it can be in one unit of work with `others`.
    fn take_beside<'a>(&mut self, others: &[Member<'a>], host: Host<'_>) -> Option<Member<'a>> {
        if self.is_to_be_prepared(host) {
            return None;
        }
        let Opening { item, content } = self.take_next(host)?;
        match content {
            Content::Call(call) if call.wants_connection() && fits(&item, &call, others) => {
                let Envelope { source, id, .. } = call.envelope();
                let key = InboxKey::new(Arc::clone(&host.consumer.name), source, id);
                Some(Member::new(item, key, call))
            }
            content => {
                self.next = Some(Box::new(Opening { item, content }));
                None
            }
        }
    }
}

/// Whether a delivery can be in one unit of work with `others`.
fn fits(item: &Item, call: &Call, others: &[Member<'_>]) -> bool {
    let Envelope { source, id, .. } = call.envelope();
    let alone = |attempt| attempt >= ALONE_FROM;
    others.iter().all(|other| {
        let key = other.key();
        let twin = key.id == *id && key.source == *source;
        !twin && !alone(other.attempt()) && !alone(item.delivery.metadata.attempt)
    })
}

async fn preparation(host: Host<'_>, item: Item) -> Done {
    match prepare(host, item).await {
        Prepared::Ready(item) => Done::Prepared(item),
        Prepared::Settled(item, outcome) => {
            Step { host, item: &item }.settled_unopened(&outcome);
            Done::Plain(item, outcome)
        }
    }
}

async fn plain(host: Host<'_>, opening: Opening) -> Done {
    let Opening { item, content } = opening;
    let step = Step { host, item: &item };
    let processing = step.process(&content);
    let outcome = step.run(content).instrument(processing.span()).await;
    let outcome = step.move_on(outcome).await;
    let outcome = step.unless_lost(outcome);
    processing.end(&outcome);
    Done::Plain(item, outcome)
}

/// Splits a batch into its groups; a delivery without a group is one of its own. Where groups are
/// `parked` a redriven one is of the group that its letter names.
fn groups(batch: Vec<RawDelivery>, parked: bool) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::with_capacity(batch.len());
    let mut by_name: HashMap<String, usize> = HashMap::new();
    for (index, mut delivery) in batch.into_iter().enumerate() {
        if parked && delivery.metadata.group.is_none() {
            let named = delivery.attributes.get(GROUP_ATTRIBUTE).and_then(Attribute::as_str);
            delivery.metadata.group = named.map(Into::into);
        }
        let group = match &delivery.metadata.group {
            Some(name) => *by_name.entry(name.clone()).or_insert(groups.len()),
            None => groups.len(),
        };
        let item = Item { index, group, delivery, original: None, prepared: false, parked: false };
        match groups.get_mut(group) {
            Some(group) => group.waiting.push_back(item),
            None => groups.push(Group::new(item)),
        }
    }
    groups
}

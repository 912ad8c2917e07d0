//! The buffer that clones share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fanfare_core::{Destination, Message, PublishError, Publisher};
use tokio::{
    runtime::Handle,
    task::yield_now,
    time::{Instant, sleep_until},
};

use super::{
    call::Call,
    flight::Flight,
    lane::{Due, Entry, Freed, Lane, Ticket},
    room::Room,
};

pub(super) struct Buffer<P> {
    pub(super) publisher: Arc<P>,
    pub(super) linger: Duration,
    pub(super) room: Room,
    /// Whose messages go in.
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Those in which something waits or is under way.
    lanes: HashMap<Destination, Lane>,
    /// How many wait for all to be sent.
    flushing: usize,
}

impl<P: Publisher + 'static> Buffer<P> {
    pub(super) fn new(publisher: Arc<P>, linger: Duration, messages: usize, bytes: usize) -> Self {
        let room = Room::new(messages, bytes);
        Buffer { publisher, linger, room, turn: Default::default(), state: Mutex::default() }
    }

    /// Takes in the messages of a call, each as soon as there is room for it.
    pub(super) async fn put(self: &Arc<Self>, batch: &[Message], call: &Arc<Call>) {
        // Without waiting where nobody waits, which would count as work of the caller's task and have it
        // yield in the middle of its messages.
        let _turn = match self.turn.try_lock() {
            Ok(turn) => turn,
            Err(_) => self.turn.lock().await,
        };
        for (index, message) in batch.iter().enumerate() {
            self.put_one(message, call, index).await;
        }
    }

    async fn put_one(self: &Arc<Self>, message: &Message, call: &Arc<Call>, index: usize) {
        let bytes = message.size() + message.key.len();
        if let Some(taken) = self.room.take(bytes).await {
            taken.keep();
        }
        let (call, bytes) = (Arc::clone(call), self.room.cut(bytes));
        let ticket = Ticket { call, index, bytes, since: Instant::now() };
        let entry = Entry { message: message.clone(), ticket };
        let mut freed = Freed::default();
        self.change(&Handle::current(), &message.destination, false, |lane| {
            lane.push(entry, &mut freed);
        });
        self.free(&freed);
    }

    /// Takes the outcomes of what was under way.
    pub(super) fn land(
        self: &Arc<Self>,
        runtime: &Handle,
        destination: &Destination,
        landed: impl Iterator<Item = (Entry, Result<(), PublishError>)>,
    ) {
        let mut freed = Freed::default();
        self.change(runtime, destination, true, |lane| lane.land(landed, &mut freed));
        self.free(&freed);
    }

    /// Sends at once what is here, and waits for its outcomes.
    pub(super) async fn flush(self: &Arc<Self>) {
        let _flushing = Flushing::new(self);
        let destinations: Vec<_> = self.state().lanes.keys().cloned().collect();
        for destination in &destinations {
            self.change(&Handle::current(), destination, true, |_| {});
        }
        self.room.all().await;
    }

    /// Changes a lane, and sets going what is to leave it then.
    fn change(
        self: &Arc<Self>,
        runtime: &Handle,
        destination: &Destination,
        when_idle: bool,
        change: impl FnOnce(&mut Lane),
    ) {
        let mut state = self.state();
        let State { lanes, flushing } = &mut *state;
        let lane = match lanes.get_mut(destination) {
            Some(lane) => lane,
            None => lanes.entry(destination.clone()).or_insert_with(|| {
                let limits = self.publisher.request_limits(destination);
                Lane::new(limits, self.publisher.keeps_order(destination))
            }),
        };
        change(lane);
        let flights = self.depart(runtime, destination, lane, *flushing > 0, when_idle);
        let tend = !lane.tended && lane.lingers_until(self.linger).is_some();
        lane.tended |= tend;
        if lane.is_idle() {
            lanes.remove(destination);
        }
        // A runtime that has ended drops what it is given, and that comes back here.
        drop(state);
        flights.into_iter().for_each(Flight::depart);
        if tend {
            let tending = Tending { buffer: Arc::clone(self), destination: destination.clone() };
            drop(runtime.spawn(tending.run(runtime.clone())));
        }
    }

    fn depart(
        self: &Arc<Self>,
        runtime: &Handle,
        destination: &Destination,
        lane: &mut Lane,
        flushing: bool,
        when_idle: bool,
    ) -> Vec<Flight<P>> {
        let due = Due { now: Instant::now(), linger: self.linger, flushing, when_idle };
        let batches = lane.depart(due);
        batches.map(|entries| Flight::new(self, runtime, destination, entries)).collect()
    }

    fn free(&self, freed: &Freed) {
        if freed.messages > 0 {
            self.room.give(freed.messages, freed.bytes);
        }
    }
}

impl<P> Buffer<P> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks after a lane in which something waits for others: there is at most one for each.
struct Tending<P> {
    buffer: Arc<Buffer<P>>,
    destination: Destination,
}

/// A runtime that ended has dropped it: whoever publishes next, in another, has a new one.
impl<P> Drop for Tending<P> {
    fn drop(&mut self) {
        if let Some(lane) = self.buffer.state().lanes.get_mut(&self.destination) {
            lane.tended = false;
        }
    }
}

impl<P: Publisher + 'static> Tending<P> {
    async fn run(self, runtime: Handle) {
        // Who is about to publish, too, joins.
        yield_now().await;
        while let Some(until) = self.look(&runtime) {
            sleep_until(until).await;
        }
    }

    /// Sets going what is to leave; when to look again, if ever.
    fn look(&self, runtime: &Handle) -> Option<Instant> {
        let Tending { buffer, destination } = self;
        let mut state = buffer.state();
        let State { lanes, flushing } = &mut *state;
        let lane = lanes.get_mut(destination)?;
        let flights = buffer.depart(runtime, destination, lane, *flushing > 0, true);
        let until = lane.lingers_until(buffer.linger);
        lane.tended = until.is_some();
        drop(state);
        flights.into_iter().for_each(Flight::depart);
        until
    }
}

/// Has all leave that is in the buffer, or comes in.
struct Flushing<'a, P>(&'a Buffer<P>);

impl<'a, P> Flushing<'a, P> {
    fn new(buffer: &'a Buffer<P>) -> Self {
        buffer.state().flushing += 1;
        Flushing(buffer)
    }
}

impl<P> Drop for Flushing<'_, P> {
    fn drop(&mut self) {
        self.0.state().flushing -= 1;
    }
}

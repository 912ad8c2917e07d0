//! From the log into one generation of a view, in order.

use std::{
    pin::pin,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use fanfare_core::{
    Consumer, DeadLetter, DeadLetterError, DeadLetters, Disposition, Outcome, RawDelivery,
};
use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;

use super::{Generation, OnFailure, Projection, ProjectionError, View, store::Store, unit::Units};
use crate::{Database, EventLog, Filter, LoggedEvent, Position};

/// All events of a projection are of one group: they are handled in the order of the log, and behind
/// one that fails none is.
const GROUP: &str = "projection";

/// When nothing of the log is for the view, its position follows after so many others.
const FOLLOW: u64 = 1_000;

pub(super) struct Feed {
    name: std::sync::Arc<str>,
    target: Database,
    generation: Generation,
    consumer: Consumer,
    filter: Filter,
    units: Units,
    batch: usize,
    given_up: GivenUp,
    /// The next event, if it has failed, and how often.
    failing: Option<(Position, u32)>,
    /// Up to here events are handled one by one.
    careful: Position,
}

/// What a page came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fed {
    /// There may be more.
    Some,
    /// There is no more, up to the position that was asked for.
    All,
    /// The next event has failed, and is to be tried again after this time.
    Wait(Duration),
}

impl Feed {
    pub(super) fn new<V: View>(
        projection: &Projection<V>,
        generation: Generation,
        position: Position,
        consumer: Consumer,
    ) -> Result<Self, ProjectionError> {
        let Projection { name, target, batch, on_failure, .. } = projection;
        let units =
            Units::new(target.clone(), name.clone(), generation.stored(), position.stored());
        let consumer = consumer.inbox(units.clone());
        consumer.check()?;
        Ok(Feed {
            name: name.clone(),
            target: target.clone(),
            generation,
            filter: Filter::all().handled_by(&consumer),
            consumer,
            units,
            batch: *batch,
            given_up: GivenUp { on_failure: *on_failure, last: Mutex::default() },
            failing: None,
            careful: Position::START,
        })
    }

    pub(super) fn generation(&self) -> Generation {
        self.generation
    }

    pub(super) fn filter(&self) -> &Filter {
        &self.filter
    }

    pub(super) fn position(&self) -> Position {
        Position::from_stored(self.units.place().position)
    }

    /// Takes the next events up to `until`, which is no higher than the high-water mark.
    pub(super) async fn page(
        &mut self,
        log: &EventLog,
        until: Position,
        stop: &CancellationToken,
    ) -> Result<Fed, ProjectionError> {
        let after = self.position();
        let limit = if after < self.careful { 1 } else { self.batch };
        let page = log.read_until(&self.filter, after, until, limit).await?;
        if page.is_empty() {
            if until.get().saturating_sub(after.get()) >= FOLLOW {
                self.advance(until).await?;
            }
            return Ok(Fed::All);
        }
        let full = page.len() == limit;
        let positions: Vec<Position> = page.iter().map(|event| event.position).collect();
        let tags: Vec<String> = page.iter().map(|event| event.message.tag.clone()).collect();
        let batch = self.deliveries(page);
        let outcomes = self.process(batch, stop).await;
        self.after_commit().await?;

        // What was let go at the end changed nothing, and the position does not know of it yet.
        let done = outcomes.iter().take_while(|outcome| is_done(outcome)).count();
        if let Some(last) = done.checked_sub(1).map(|last| positions[last])
            && last > self.position()
        {
            self.advance(last).await?;
        }
        let Some(Outcome::Failed { after, .. }) = outcomes.get(done) else {
            self.failing = None;
            return Ok(if full || done < positions.len() { Fed::Some } else { Fed::All });
        };
        let (after, failed) = (*after, positions[done]);
        if std::mem::take(&mut self.units.place().undone) {
            self.careful = positions[positions.len() - 1];
            return Ok(Fed::Some);
        }
        if let Some((position, reason)) = self.given_up.take()
            && self.given_up.on_failure == OnFailure::Stop
        {
            let tag = positions.iter().position(|p| *p == position).map(|at| tags[at].clone());
            let (projection, tag) = (self.name.to_string(), tag.unwrap_or_default());
            return Err(ProjectionError::Failed { projection, position, tag, reason });
        }
        // It may be another one of its transaction that was at fault.
        self.careful = positions[positions.len() - 1];
        let times = self.failing.filter(|(position, _)| *position == failed).map_or(0, |f| f.1);
        self.failing = Some((failed, times + 1));
        Ok(Fed::Wait(after))
    }

    fn deliveries(&self, page: Vec<LoggedEvent>) -> Vec<RawDelivery> {
        let mut place = self.units.place();
        place.batch.clear();
        let delivery = |event: LoggedEvent| {
            let (position, source) = (event.position, event.source.clone());
            place.batch.insert((source, event.message.id.clone()), position.stored());
            let mut delivery = event.into_delivery();
            delivery.metadata = delivery.metadata.in_group(GROUP);
            if let Some((failing, times)) = self.failing
                && failing == position
            {
                delivery.metadata.attempt += times;
            }
            delivery
        };
        page.into_iter().map(delivery).collect()
    }

    async fn process(&self, batch: Vec<RawDelivery>, stop: &CancellationToken) -> Vec<Outcome> {
        let may_begin = || !stop.is_cancelled() && !self.units.place().superseded;
        let mut outcomes = vec![Outcome::Released; batch.len()];
        let mut settled = pin!(self.consumer.process(batch, 1, &self.given_up, &may_begin));
        while let Some((index, outcome)) = settled.next().await {
            outcomes[index] = outcome;
        }
        outcomes
    }

    /// Finds out what became of a commit that was broken off, and whether somebody else is here.
    async fn after_commit(&self) -> Result<(), ProjectionError> {
        let uncertain = self.units.place().uncertain;
        if let Some(uncertain) = uncertain {
            let position = self.store().position(self.generation).await?;
            let mut place = self.units.place();
            place.uncertain = None;
            if position == Some(Position::from_stored(uncertain)) {
                (place.position, place.superseded) = (uncertain, false);
            }
        }
        if self.units.place().superseded { Err(self.superseded()) } else { Ok(()) }
    }

    /// Moves the position on over events that have no effect.
    pub(super) async fn advance(&self, to: Position) -> Result<(), ProjectionError> {
        let from = self.position();
        if !self.store().advance(self.generation, from, to).await? {
            return Err(self.superseded());
        }
        self.units.place().position = to.stored();
        Ok(())
    }

    fn superseded(&self) -> ProjectionError {
        let (projection, generation) = (self.name.to_string(), self.generation);
        ProjectionError::Superseded { projection, generation }
    }

    fn store(&self) -> Store<'_> {
        Store { database: &self.target, name: &self.name }
    }
}

fn is_done(outcome: &Outcome) -> bool {
    outcome.disposition() == Disposition::Acknowledge
}

/// Where events go that failed for good.
struct GivenUp {
    on_failure: OnFailure,
    last: Mutex<Option<(Position, String)>>,
}

impl GivenUp {
    fn take(&self) -> Option<(Position, String)> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl DeadLetters for GivenUp {
    async fn put(&self, letter: DeadLetter<'_>) -> Result<(), DeadLetterError> {
        let number = letter.delivery.metadata.message_id.strip_prefix("log-");
        let position = number.and_then(|number| number.parse().ok()).map(Position::new);
        let noted = position.map(|position| (position, letter.reason.to_string()));
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = noted;
        match self.on_failure {
            OnFailure::Skip => Ok(()),
            OnFailure::Stop => {
                Err(fanfare_core::BoxError::from("the projection stops at it").into())
            }
        }
    }
}

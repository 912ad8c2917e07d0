//! Several deliveries in one unit of work: one transaction, in which their handlers run one after
//! another. What cannot be rolled back, dead-lettering and publishing, comes after its commit.

use std::{
    collections::{HashMap, HashSet},
    mem::take,
    time::Duration,
};

use tracing::{Instrument, Span};

use super::{
    Host, Item, failed_after,
    step::{STORE, Step},
};
use crate::{
    Admitted, Call, Followed, HandlerError, Inbox, InboxError, InboxKey, Message, Outcome,
    PublishError, PublishReport, UnitOfWork, telemetry::Processing,
};

/// A delivery in a unit of work.
pub(super) struct Member<'a> {
    item: Item,
    key: InboxKey,
    /// Until its handler is called.
    call: Option<Call>,
    /// From its begin on.
    processing: Option<Processing<'a>>,
    /// Whether the transaction remembers its key now.
    admitted: bool,
    fate: Fate,
}

/// How far a delivery has come.
enum Fate {
    /// Not begun; in the end because an earlier one of its group was refused.
    Waiting,
    /// Not begun, because nothing may be begun any more.
    Released,
    /// Its effect is in the transaction, or was there before; these events follow.
    Done { duplicate: bool, followed: Vec<Message> },
    /// Its handler failed, and its effect has been undone.
    Refused(HandlerError),
}

/// A delivery whose unit of work has ended.
pub(super) enum Ended {
    Settled(Item, Outcome),
    /// It was not begun, and its turn is in another unit.
    Again(Item),
}

impl<'a> Member<'a> {
    pub(super) fn new(item: Item, key: InboxKey, call: Call) -> Self {
        let (call, admitted, fate) = (Some(call), false, Fate::Waiting);
        Member { item, key, call, processing: None, admitted, fate }
    }

    /// Its turn has come.
    fn begin(&mut self, host: Host<'a>) {
        let (telemetry, delivery) = (&host.consumer.telemetry, &self.item.delivery);
        let envelope = self.call.as_ref().map(Call::envelope);
        self.processing = Some(telemetry.process(delivery, envelope));
    }

    /// Its outcome is known.
    fn end(self, outcome: Outcome) -> Ended {
        if let Some(processing) = self.processing {
            let lost = self.item.delivery.cancellation.is_cancelled();
            processing.end(if lost { &Outcome::Lost } else { &outcome });
        }
        Ended::Settled(self.item, outcome)
    }

    fn span(&self) -> Span {
        self.processing.as_ref().map_or_else(Span::none, Processing::span)
    }

    pub(super) fn key(&self) -> &InboxKey {
        &self.key
    }

    pub(super) fn attempt(&self) -> u32 {
        self.item.delivery.metadata.attempt
    }

    fn is_lost(&self) -> bool {
        self.item.delivery.cancellation.is_cancelled()
    }

    fn step<'b>(&'b self, host: Host<'b>) -> Step<'b> {
        Step { host, item: &self.item }
    }

    /// Runs its handler in `unit`.
    async fn handle(
        &mut self,
        host: Host<'_>,
        unit: &mut dyn UnitOfWork,
        undoable: bool,
    ) -> Result<(), InboxError> {
        let Some(call) = self.call.take() else { return Ok(()) };
        let loan = unit.lend(undoable).await?;
        let handling = self.step(host).call(call.with(loan)).instrument(self.span()).await;
        let error = match handling {
            Ok(followed) => match unit.keep().await {
                Ok(()) => {
                    self.fate = Fate::Done { duplicate: false, followed };
                    return Ok(());
                }
                Err(error) => HandlerError::retry(error),
            },
            Err(error) => error,
        };
        self.fate = Fate::Refused(error);
        if undoable { unit.undo().await } else { Ok(()) }
    }
}

/// Handles deliveries for handlers that run in transactions; no two have one key.
pub(super) async fn run<'a>(
    host: Host<'a>,
    inbox: &dyn Inbox,
    mut members: Vec<Member<'a>>,
) -> Vec<Ended> {
    match transact(host, inbox, &mut members).await {
        Ok(()) => committed(host, inbox, members).await,
        Err(error) => lost(host, members, &error).await,
    }
}

/// The transaction, from its begin to its commit.
async fn transact<'a>(
    host: Host<'a>,
    inbox: &dyn Inbox,
    members: &mut [Member<'a>],
) -> Result<(), InboxError> {
    let keys: Vec<InboxKey> = members.iter().map(|member| member.key.clone()).collect();
    let mut unit = inbox.begin().await?;
    let admitted = unit.admit(&keys).await?;
    if admitted.len() != members.len() {
        return Err(InboxError::permanent("it gave not one answer for each delivery"));
    }
    // One that is alone is undone by rolling everything back.
    let undoable = members.len() > 1;
    let mut stopped = HashSet::new();
    for (member, admitted) in members.iter_mut().zip(admitted) {
        member.admitted = admitted == Admitted::New;
        if stopped.contains(&member.item.group) {
            continue;
        }
        let lost = member.is_lost();
        if lost || !(host.may_begin)() {
            member.fate = Fate::Released;
            stopped.extend(lost.then_some(member.item.group));
            continue;
        }
        member.begin(host);
        match admitted {
            Admitted::New => member.handle(host, unit.as_mut(), undoable).await?,
            Admitted::Duplicate(followed) => {
                member.fate = Fate::Done { duplicate: true, followed };
            }
        }
        if matches!(member.fate, Fate::Refused(_)) || member.is_lost() {
            stopped.insert(member.item.group);
        }
    }
    commit(unit, inbox.records_events(), members).await
}

async fn commit(
    unit: Box<dyn UnitOfWork>,
    records: bool,
    members: &mut [Member<'_>],
) -> Result<(), InboxError> {
    let (mut handled, mut followed, mut withdrawn) = (Vec::new(), Vec::new(), Vec::new());
    for member in members.iter() {
        match &member.fate {
            Fate::Done { duplicate, followed: messages } => {
                if !duplicate {
                    handled.push(&member.item.delivery);
                }
                // A duplicate's were stored before there was an outbox.
                if !messages.is_empty() && (records || !duplicate) {
                    followed.push(Followed::new(&member.key, messages));
                }
            }
            _ if member.admitted => withdrawn.push(&member.key),
            _ => {}
        }
    }
    if !handled.is_empty() || !followed.is_empty() {
        unit.commit(&handled, &followed, &withdrawn).await?;
    }
    Ok(())
}

/// After the commit: publishes what follows, and settles each delivery by its fate.
async fn committed(host: Host<'_>, inbox: &dyn Inbox, mut members: Vec<Member<'_>>) -> Vec<Ended> {
    let mut publishing = Publishing::default();
    let counts: Vec<usize> = if inbox.records_events() {
        members.iter().map(|member| member.followed().len()).collect()
    } else {
        publishing.publish(host, &mut members).await
    };
    let mut failed: HashMap<usize, Duration> = HashMap::new();
    let mut ended = Vec::with_capacity(members.len());
    for (mut member, published) in members.into_iter().zip(counts) {
        let group = member.item.group;
        let unpublished = publishing.next(published);
        if let Some(&after) = failed.get(&group) {
            // Those that are done come again as duplicates: what follows must not overtake.
            ended.push(member.end(Outcome::Blocked { after }));
            continue;
        }
        let (span, fate) = (member.span(), std::mem::replace(&mut member.fate, Fate::Waiting));
        let (step, id) = (member.step(host), &member.key.id);
        let outcome = async {
            match (fate, unpublished) {
                (Fate::Waiting, _) => None,
                (Fate::Released, _) => Some(Outcome::Released),
                (Fate::Refused(error), _) => Some(step.refused(error, id).await),
                (Fate::Done { .. }, Some(Unpublished::NoPublisher)) => Some(step.no_publisher()),
                (Fate::Done { .. }, Some(Unpublished::Failed(error))) => {
                    Some(step.unpublished(error, id).await)
                }
                (Fate::Done { duplicate: true, .. }, None) => Some(Outcome::Duplicate),
                (Fate::Done { .. }, None) => Some(Outcome::Handled { published }),
            }
        };
        let outcome = match outcome.instrument(span).await {
            Some(outcome) => Some(step.move_on(outcome).await),
            None => None,
        };
        if let Some(after) = outcome.as_ref().and_then(failed_after) {
            failed.insert(group, after);
        }
        ended.push(match outcome {
            Some(outcome) => member.end(outcome),
            None => Ended::Again(member.item),
        });
    }
    ended
}

impl Member<'_> {
    fn followed(&self) -> &[Message] {
        match &self.fate {
            Fate::Done { followed, .. } => followed,
            _ => &[],
        }
    }
}

/// What became of all that follows from a unit of work, published in one batch.
#[derive(Default)]
struct Publishing {
    outcomes: std::vec::IntoIter<Result<(), PublishError>>,
    no_publisher: bool,
}

/// Why what follows from one delivery did not go out.
enum Unpublished {
    NoPublisher,
    Failed(PublishError),
}

impl Publishing {
    /// Publishes what follows, and gives for each member how many messages those are.
    async fn publish(&mut self, host: Host<'_>, members: &mut [Member<'_>]) -> Vec<usize> {
        let mut messages = Vec::new();
        let mut counts = Vec::with_capacity(members.len());
        for member in members {
            counts.push(member.followed().len());
            if let Fate::Done { followed, .. } = &mut member.fate {
                messages.append(&mut take(followed));
            }
        }
        match &host.consumer.publisher {
            _ if messages.is_empty() => {}
            Some(publisher) => {
                let report = publisher.publish_boxed(&messages).await;
                self.outcomes = report.outcomes().to_vec().into_iter();
            }
            None => self.no_publisher = true,
        }
        counts
    }

    /// The next `count` outcomes in one.
    fn next(&mut self, count: usize) -> Option<Unpublished> {
        if self.no_publisher {
            return (count > 0).then_some(Unpublished::NoPublisher);
        }
        let outcomes = self.outcomes.by_ref().take(count).collect();
        PublishReport::new(outcomes).into_result().err().map(Unpublished::Failed)
    }
}

/// Nothing of the unit is there: all its deliveries have failed.
async fn lost(host: Host<'_>, members: Vec<Member<'_>>, error: &InboxError) -> Vec<Ended> {
    // Among others it is nobody's fault for sure, and one that is alone counts its attempts.
    let at_fault = members.len() == 1 && !error.is_retryable();
    let mut failed: HashMap<usize, Duration> = HashMap::new();
    let mut ended = Vec::with_capacity(members.len());
    for member in members {
        let group = member.item.group;
        let outcome = match (failed.get(&group), &member.fate) {
            (Some(&after), _) => Outcome::Blocked { after },
            (None, Fate::Released) => Outcome::Released,
            (None, _) if at_fault => {
                member.step(host).failed(None, STORE, error.to_string(), &member.key.id).await
            }
            (None, _) => member.step(host).later(None, STORE, error.to_string()),
        };
        if let Some(after) = failed_after(&outcome) {
            failed.insert(group, after);
        }
        ended.push(member.end(outcome));
    }
    ended
}

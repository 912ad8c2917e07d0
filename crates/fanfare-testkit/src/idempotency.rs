//! What every [`IdempotencyStore`] promises, case by case.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use fanfare_core::{
    Admission, Claim, Destination, IdempotencyError, IdempotencyStore, InboxKey, Message,
    PayloadHash,
};
use futures_util::future::try_join_all;
use uuid::Uuid;

/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);

/// What is waited for.
const SHORT: Duration = Duration::from_millis(150);

/// How long is waited at most for what has to come.
const PATIENCE: Duration = Duration::from_secs(120);

/// Time for what must not happen.
const WHILE: Duration = Duration::from_millis(100);

/// Holds an idempotency store to its contract: for those who write one of their own.
///
/// `make` makes a store, and `last` is given one and gives it back with claims that last so long, and
/// with handled events that are remembered so long. Both what it is given and what it gives back are
/// used, and must share what they know. Keys are of sources whose names were never used before, so a
/// store may be held to it again and may hold other events. It takes some seconds of real time. Run it on
/// a runtime of several threads, because some cases call the store many times at once.
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> anyhow::Result<()> {
/// use fanfare_core::MemoryIdempotencyStore;
///
/// fanfare_testkit::idempotency_store_contract(
///     MemoryIdempotencyStore::default,
///     |store, claim, retention| store.claims_last(claim).retention(retention),
/// )
/// .await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The first case that the store does not keep, with what it did instead; or the store failed.
pub async fn idempotency_store_contract<S>(
    make: impl Fn() -> S,
    last: impl Fn(S, Duration, Duration) -> S,
) -> Result<()>
where
    S: IdempotencyStore + Clone + 'static,
{
    let store = last(make(), LONG, LONG);
    let events = |store: &S| Events {
        lasting: store.clone(),
        brief: last(store.clone(), SHORT, LONG),
        forgetful: last(make(), LONG, SHORT),
        source: format!("orders \"{}", Uuid::new_v4()).into(),
    };
    macro_rules! hold_to {
        ($($case:ident,)+) => {
            $(events(&store).$case().await.context(stringify!($case).replace('_', " "))?;)+
        };
    }
    hold_to! {
        a_second_delivery_waits_for_the_first_and_then_gets_what_followed,
        a_claim_that_is_dropped_lets_the_next_delivery_in,
        what_has_been_handled_is_not_given_up,
        consumers_sources_and_ids_do_not_share_what_was_handled,
        other_data_under_the_same_id_are_told_apart,
        of_many_at_once_one_gets_the_claim,
        the_claim_of_one_that_died_frees_itself,
        of_many_that_find_a_freed_claim_one_gets_it,
        a_claim_that_freed_itself_cannot_be_completed,
        a_claim_that_another_has_by_now_is_left_to_it,
        a_claim_of_somebody_elses_store_is_not_completed,
        what_was_handled_is_forgotten_in_time,
    }
    Ok(())
}

/// Events of a source of their own, and the store that is held to the contract.
struct Events<S> {
    /// Its claims and its memory last.
    lasting: S,
    /// The same, whose claims do not.
    brief: S,
    /// One whose memory does not.
    forgetful: S,
    source: Arc<str>,
}

impl<S: IdempotencyStore + Clone + 'static> Events<S> {
    fn key(&self, id: &str) -> InboxKey {
        InboxKey::new("products", &*self.source, id)
    }

    async fn begin(&self, store: &S, id: &str) -> Result<Admission> {
        Ok(store.begin(self.key(id), PayloadHash::of("{}")).await?)
    }

    async fn claim(&self, store: &S, id: &str) -> Result<Claim> {
        match self.begin(store, id).await? {
            Admission::New(claim) => Ok(claim),
            other => bail!("{id} is not new: {other:?}"),
        }
    }

    /// Claims it as soon as that can be done.
    async fn claim_in_time(&self, store: &S, id: &str) -> Result<Claim> {
        let begun = Instant::now();
        loop {
            match self.begin(store, id).await? {
                Admission::New(claim) => return Ok(claim),
                other => {
                    ensure!(begun.elapsed() < PATIENCE, "{id} is {other:?} after {PATIENCE:?}");
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What followed from a handled event.
    async fn followed(&self, id: &str) -> Result<Vec<Message>> {
        match self.begin(&self.lasting, id).await? {
            Admission::Duplicate(messages) => Ok(messages),
            other => bail!("{id} is no duplicate: {other:?}"),
        }
    }

    async fn a_second_delivery_waits_for_the_first_and_then_gets_what_followed(self) -> Result<()> {
        let first = self.claim(&self.lasting, "1").await?;
        for _ in 0..2 {
            let second = self.begin(&self.lasting, "1").await?;
            ensure!(matches!(second, Admission::InProgress), "meanwhile: {second:?}");
        }
        self.lasting.complete(first, &messages()).await?;
        for _ in 0..2 {
            ensure!(self.followed("1").await? == messages(), "not byte for byte");
        }
        let first = self.claim(&self.lasting, "2").await?;
        self.lasting.complete(first, &[]).await?;
        ensure!(self.followed("2").await?.is_empty(), "nothing had followed");
        Ok(())
    }

    async fn a_claim_that_is_dropped_lets_the_next_delivery_in(self) -> Result<()> {
        drop(self.claim(&self.lasting, "1").await?);
        drop(self.claim_in_time(&self.lasting, "1").await?);
        Ok(())
    }

    async fn what_has_been_handled_is_not_given_up(self) -> Result<()> {
        let first = self.claim(&self.lasting, "1").await?;
        self.lasting.complete(first, &messages()).await?;
        tokio::time::sleep(WHILE).await;
        ensure!(self.followed("1").await? == messages(), "not what followed");
        Ok(())
    }

    async fn consumers_sources_and_ids_do_not_share_what_was_handled(self) -> Result<()> {
        let claim = self.claim(&self.lasting, "1").await?;
        self.lasting.complete(claim, &[]).await?;
        let others = [
            InboxKey::new("delivery", &*self.source, "1"),
            InboxKey::new("products", format!("{}1", self.source), ""),
            InboxKey::new("products", format!("x{}", self.source), "1"),
            InboxKey::new("products", &*self.source, "2"),
            InboxKey::new("products", &*self.source, ""),
        ];
        for other in others {
            let admission = self.lasting.begin(other.clone(), PayloadHash::of("{}")).await?;
            ensure!(matches!(admission, Admission::New(_)), "{other:?}: {admission:?}");
        }
        Ok(())
    }

    async fn other_data_under_the_same_id_are_told_apart(self) -> Result<()> {
        let first = self.claim(&self.lasting, "1").await?;
        let other = || self.lasting.begin(self.key("1"), PayloadHash::of("{\"a\":1}"));
        let meanwhile = other().await?;
        ensure!(matches!(meanwhile, Admission::OtherPayload), "meanwhile: {meanwhile:?}");
        self.lasting.complete(first, &messages()).await?;
        let afterwards = other().await?;
        ensure!(matches!(afterwards, Admission::OtherPayload), "afterwards: {afterwards:?}");
        ensure!(self.followed("1").await? == messages(), "not what followed");
        Ok(())
    }

    async fn of_many_at_once_one_gets_the_claim(self) -> Result<()> {
        for round in 0..5 {
            let new = self.many(&round.to_string()).await?;
            ensure!(new == 1, "{new} of 20 were new");
        }
        Ok(())
    }

    /// Many begin at once; gives how many were new. The others wait.
    async fn many(&self, id: &str) -> Result<usize> {
        let begin = |_| {
            let (store, key) = (self.lasting.clone(), self.key(id));
            async move {
                let begun = async move { store.begin(key, PayloadHash::of("{}")).await };
                anyhow::Ok(tokio::spawn(begun).await??)
            }
        };
        let all: Vec<Admission> = try_join_all((0..20).map(begin)).await?;
        let new = all.iter().filter(|one| matches!(one, Admission::New(_))).count();
        let waiting = all.iter().filter(|one| matches!(one, Admission::InProgress)).count();
        ensure!(new <= 1 && new + waiting == 20, "{new} new and {waiting} in progress, of 20");
        Ok(new)
    }

    async fn the_claim_of_one_that_died_frees_itself(self) -> Result<()> {
        // What nobody drops, as when its process is killed.
        std::mem::forget(self.claim(&self.brief, "1").await?);
        drop(self.claim_in_time(&self.lasting, "1").await?);
        // Whatever data the next one brings.
        std::mem::forget(self.claim(&self.brief, "2").await?);
        let begun = Instant::now();
        loop {
            match self.lasting.begin(self.key("2"), PayloadHash::of("[]")).await? {
                Admission::New(_) => return Ok(()),
                other => ensure!(begun.elapsed() < PATIENCE, "with other data: {other:?}"),
            }
        }
    }

    async fn of_many_that_find_a_freed_claim_one_gets_it(self) -> Result<()> {
        for round in 0..3 {
            let id = round.to_string();
            std::mem::forget(self.claim(&self.brief, &id).await?);
            let begun = Instant::now();
            while self.many(&id).await? == 0 {
                ensure!(begun.elapsed() < PATIENCE, "nobody got it within {PATIENCE:?}");
            }
        }
        Ok(())
    }

    async fn a_claim_that_freed_itself_cannot_be_completed(self) -> Result<()> {
        let late = self.claim(&self.brief, "1").await?;
        tokio::time::sleep(SHORT * 2).await;
        let completed = self.brief.complete(late, &messages()).await;
        expired(completed)?;
        drop(self.claim_in_time(&self.lasting, "1").await?);
        Ok(())
    }

    async fn a_claim_that_another_has_by_now_is_left_to_it(self) -> Result<()> {
        for id in ["completed", "given up"] {
            let late = self.claim(&self.brief, id).await?;
            let next = self.claim_in_time(&self.lasting, id).await?;
            if id == "completed" {
                // Where only its own clock would keep it from that, its store must.
                expired(self.lasting.complete(late, &[]).await)?;
            } else {
                drop(late);
            }
            tokio::time::sleep(WHILE).await;
            let third = self.begin(&self.lasting, id).await?;
            ensure!(matches!(third, Admission::InProgress), "{id}: {third:?}");
            self.lasting.complete(next, &messages()).await.with_context(|| format!("late {id}"))?;
            ensure!(self.followed(id).await? == messages(), "{id}: not what followed");
        }
        Ok(())
    }

    async fn a_claim_of_somebody_elses_store_is_not_completed(self) -> Result<()> {
        expired(self.lasting.complete(Claim::new(self.key("1"), ()), &[]).await)?;
        drop(self.claim(&self.lasting, "1").await?);
        Ok(())
    }

    async fn what_was_handled_is_forgotten_in_time(self) -> Result<()> {
        let handled = self.claim(&self.forgetful, "1").await?;
        self.forgetful.complete(handled, &messages()).await?;
        let again = self.claim_in_time(&self.forgetful, "1").await?;
        // Nothing is left of the first time.
        self.forgetful.complete(again, &[]).await?;
        Ok(())
    }
}

fn expired(completed: Result<(), IdempotencyError>) -> Result<()> {
    match completed {
        Err(IdempotencyError::ClaimExpired) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(()) => bail!("it was completed"),
    }
}

/// As awkward as text can be.
fn messages() -> Vec<Message> {
    let attributes = vec![("type".into(), "a.B.v1".into())];
    let body = "{\"data\":{\"a\":\"\\u0000 'ü' \\\\ \"}}";
    let message = |n: usize, to| {
        Message::new(to, format!("id-{n}"), "a.B.v1", "k 'ü'", attributes.clone(), body)
    };
    let (topic, queue) = (Destination::Topic("products".into()), Destination::Queue("x".into()));
    vec![message(1, topic), message(2, queue)]
}

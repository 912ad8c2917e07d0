//! What every store of [`ParkedGroups`] promises, case by case.

use anyhow::{Context, Result, ensure};
use fanfare_core::{InboxKey, ParkedGroups, Turn};
use futures_util::future::try_join_all;
use uuid::Uuid;

/// Holds a store of parked groups to its contract: for those who write one of their own.
///
/// Clones must share what they know. Consumers have names that were never used before, so a store
/// may be held to it again and may hold other groups. Run it on a runtime of several threads,
/// because one case calls the store many times at once.
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> anyhow::Result<()> {
/// use fanfare_core::MemoryParkedGroups;
///
/// fanfare_testkit::parked_groups_contract(MemoryParkedGroups::default()).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The first case that the store does not keep, with what it did instead; or the store failed.
pub async fn parked_groups_contract<S>(store: S) -> Result<()>
where
    S: ParkedGroups + Clone + 'static,
{
    let groups = || Groups { store: store.clone(), consumer: format!("c '{}", Uuid::new_v4()) };
    macro_rules! hold_to {
        ($($case:ident,)+) => {
            $(groups().$case().await.context(stringify!($case).replace('_', " "))?;)+
        };
    }
    hold_to! {
        what_is_not_parked_is_free,
        events_have_their_turns_in_the_order_of_parking,
        what_is_parked_again_keeps_its_place,
        what_was_handled_is_past_until_the_group_is_free,
        a_body_that_is_no_event_is_forgotten_when_it_is_handled,
        one_in_the_middle_can_be_given_up,
        consumers_groups_sources_and_ids_are_told_apart,
        a_released_group_is_forgotten,
        what_is_unknown_is_neither_handled_nor_released,
        groups_side_by_side_keep_their_order,
    }
    Ok(())
}

/// The groups of a consumer of its own.
struct Groups<S> {
    store: S,
    consumer: String,
}

/// As awkward as text can be.
const GROUP: &str = "group 'ü' \\ \"";

impl<S: ParkedGroups + Clone + 'static> Groups<S> {
    fn event(&self, id: &str) -> InboxKey {
        InboxKey::new(&*self.consumer, "orders", id)
    }

    fn body(&self, id: &str) -> InboxKey {
        InboxKey::new(&*self.consumer, "", id)
    }

    async fn park(&self, ids: &[&str]) -> Result<()> {
        for id in ids {
            self.store.park(GROUP, &self.event(id)).await?;
        }
        Ok(())
    }

    async fn handle(&self, id: &str) -> Result<()> {
        Ok(self.store.handled(GROUP, &self.event(id)).await?)
    }

    async fn turns(&self, ids: &[&str], expected: &[Turn]) -> Result<()> {
        for (id, expected) in ids.iter().zip(expected) {
            let turn = self.store.turn(GROUP, &self.event(id)).await?;
            ensure!(turn == *expected, "{id}: {turn:?} instead of {expected:?}");
        }
        Ok(())
    }

    fn behind(&self, id: &str) -> Turn {
        Turn::Behind(self.event(id))
    }

    async fn what_is_not_parked_is_free(self) -> Result<()> {
        self.turns(&["1", "2"], &[Turn::Free, Turn::Free]).await
    }

    async fn events_have_their_turns_in_the_order_of_parking(self) -> Result<()> {
        self.park(&["9", "1", "5"]).await?;
        let behind = || self.behind("9");
        self.turns(&["9", "1", "5", "0"], &[Turn::Next, behind(), behind(), behind()]).await?;
        self.handle("9").await?;
        self.turns(&["1", "5", "0"], &[Turn::Next, self.behind("1"), self.behind("1")]).await?;
        self.handle("1").await?;
        self.park(&["0"]).await?;
        self.turns(&["5", "0"], &[Turn::Next, self.behind("5")]).await?;
        self.handle("5").await?;
        self.turns(&["0", "new"], &[Turn::Next, self.behind("0")]).await?;
        self.handle("0").await?;
        self.turns(&["0", "new"], &[Turn::Free, Turn::Free]).await
    }

    async fn what_is_parked_again_keeps_its_place(self) -> Result<()> {
        self.park(&["1", "2", "3", "1", "2"]).await?;
        for (id, next) in [("1", "2"), ("2", "3")] {
            self.turns(&[id], &[Turn::Next]).await?;
            self.handle(id).await?;
            self.turns(&[next], &[Turn::Next]).await?;
        }
        self.handle("3").await?;
        self.turns(&["1"], &[Turn::Free]).await
    }

    async fn what_was_handled_is_past_until_the_group_is_free(self) -> Result<()> {
        self.park(&["1", "2", "3"]).await?;
        self.handle("1").await?;
        self.handle("2").await?;
        self.turns(&["1", "2", "3"], &[Turn::Past, Turn::Past, Turn::Next]).await?;
        self.park(&["1"]).await?;
        self.turns(&["1", "3"], &[Turn::Past, Turn::Next]).await?;
        self.handle("3").await?;
        self.turns(&["1", "2", "3"], &[Turn::Free, Turn::Free, Turn::Free]).await?;
        self.park(&["2", "1"]).await?;
        self.turns(&["2", "1", "3"], &[Turn::Next, self.behind("2"), self.behind("2")]).await
    }

    async fn a_body_that_is_no_event_is_forgotten_when_it_is_handled(self) -> Result<()> {
        let body = self.body("sha256:1");
        self.store.park(GROUP, &body).await?;
        self.park(&["2"]).await?;
        let turn = self.store.turn(GROUP, &self.event("2")).await?;
        ensure!(turn == Turn::Behind(body.clone()), "{turn:?}");
        self.store.handled(GROUP, &body).await?;
        // Another that is alike may come, and must not be lost.
        let turn = self.store.turn(GROUP, &body).await?;
        ensure!(turn == self.behind("2"), "{turn:?}");
        self.store.park(GROUP, &body).await?;
        self.handle("2").await?;
        let turn = self.store.turn(GROUP, &body).await?;
        ensure!(turn == Turn::Next, "{turn:?}");
        self.store.handled(GROUP, &body).await?;
        self.turns(&["1"], &[Turn::Free]).await
    }

    async fn one_in_the_middle_can_be_given_up(self) -> Result<()> {
        self.park(&["1", "2", "3"]).await?;
        self.handle("2").await?;
        self.turns(&["1", "2", "3"], &[Turn::Next, Turn::Past, self.behind("1")]).await?;
        self.handle("1").await?;
        self.turns(&["3"], &[Turn::Next]).await
    }

    async fn consumers_groups_sources_and_ids_are_told_apart(self) -> Result<()> {
        self.park(&["1"]).await?;
        let other = InboxKey::new(format!("{}x", self.consumer), "orders", "1");
        let turn = self.store.turn(GROUP, &other).await?;
        ensure!(turn == Turn::Free, "another consumer: {turn:?}");
        for group in ["", "x", "GROUP 'ü' \\ \"", "group 'ü' \\ \" "] {
            let turn = self.store.turn(group, &self.event("1")).await?;
            ensure!(turn == Turn::Free, "group {group:?}: {turn:?}");
        }
        for (source, id) in [("orders", "1 "), ("Orders", "1"), ("", "1"), ("orders1", "")] {
            let event = InboxKey::new(&*self.consumer, source, id);
            let turn = self.store.turn(GROUP, &event).await?;
            ensure!(turn == self.behind("1"), "{event:?}: {turn:?}");
        }
        self.store.park("x", &self.event("1")).await?;
        self.store.handled("x", &self.event("1")).await?;
        self.turns(&["1"], &[Turn::Next]).await
    }

    async fn a_released_group_is_forgotten(self) -> Result<()> {
        self.park(&["1", "2", "3"]).await?;
        self.handle("1").await?;
        self.store.park("x", &self.event("1")).await?;
        let released = self.store.release(&self.consumer, GROUP).await?;
        ensure!(released == 2, "{released} were waiting");
        self.turns(&["1", "2", "3"], &[Turn::Free, Turn::Free, Turn::Free]).await?;
        let turn = self.store.turn("x", &self.event("1")).await?;
        ensure!(turn == Turn::Next, "another group: {turn:?}");
        Ok(())
    }

    async fn what_is_unknown_is_neither_handled_nor_released(self) -> Result<()> {
        self.handle("1").await?;
        ensure!(self.store.release(&self.consumer, GROUP).await? == 0, "nothing was parked");
        self.park(&["1"]).await?;
        self.handle("2").await?;
        self.turns(&["1", "2"], &[Turn::Next, self.behind("1")]).await
    }

    async fn groups_side_by_side_keep_their_order(self) -> Result<()> {
        let group = |n: usize| {
            let (store, consumer) = (self.store.clone(), self.consumer.clone());
            let history = async move {
                let group = format!("group-{n}");
                let event = |id: usize| InboxKey::new(&*consumer, "orders", id.to_string());
                for id in 0..5 {
                    store.park(&group, &event(id)).await?;
                }
                for id in 0..5 {
                    let turn = store.turn(&group, &event(id)).await?;
                    ensure!(turn == Turn::Next, "{group}, {id}: {turn:?}");
                    store.handled(&group, &event(id)).await?;
                }
                let turn = store.turn(&group, &event(0)).await?;
                ensure!(turn == Turn::Free, "{group}: {turn:?}");
                Ok(())
            };
            async move { tokio::spawn(history).await? }
        };
        try_join_all((0..10).map(group)).await.map(drop)
    }
}

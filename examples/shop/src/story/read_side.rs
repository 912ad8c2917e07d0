//! The view follows the log of orders, and is made anew.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail, ensure};
use fanfare::sql::Projection;
use tokio_util::sync::CancellationToken;

use super::Story;
use crate::{
    database::Sql,
    journal::{note, say},
    progress,
    view::ShopView,
};

impl<D: Sql> Story<'_, D> {
    pub(super) async fn read_side(&mut self) -> anyhow::Result<()> {
        let view = ShopView::<D>::open(&self.shop.home).await?;
        let projection = view.projection(&self.services["orders"]).batch(10);
        let projection = Arc::new(projection.on_progress(|progress| {
            say(
                "view",
                format_args!("{} events behind", progress.total.saturating_sub(progress.done)),
            );
        }));
        let lag = projection.lag().await?;
        say("view", format_args!("is new, and {} events behind the log", lag.events));
        let stop = CancellationToken::new();
        let keeping = {
            let (projection, stopped) = (Arc::clone(&projection), stop.clone().cancelled_owned());
            tokio::spawn(async move { projection.run(stopped).await })
        };
        caught_up(&projection).await?;

        self.place(&[("mug", 1)]).await?;
        let lag = projection.lag().await?;
        let age = lag.time.as_secs_f64();
        say("view", format_args!("is {} events behind, the oldest for {age:.3} s", lag.events));
        self.handled("an order that the view follows", 5).await?;
        self.drained().await?;
        caught_up(&projection).await?;

        // Another generation is made beside the live one, which goes on, and then takes its place.
        let live = projection.live_generation().await?.context("no generation is live")?;
        let bar = progress::bar("made anew");
        let drawn = bar.clone();
        let anew = view.projection(&self.services["orders"]).batch(10);
        let anew = anew.on_progress(move |progress| {
            drawn.set_length(progress.total);
            drawn.set_position(progress.done);
        });
        let before = view.look(live, 3).await?;
        let made = anew.rebuild().await?;
        bar.finish_and_clear();
        ensure!(projection.live_generation().await? == Some(made), "generation {made} is not live");
        let look = view.look(made, 3).await?;
        ensure!(look == before, "made anew the view is {look:?}, it was {before:?}");
        say("view", format_args!("made anew as generation {made}, in place of {live}; it says"));
        note(look.lines.join("\n"));
        let orders = i64::try_from(self.placed.len())?;
        ensure!(look.orders == orders && look.on_their_way == orders, "the view has {look:?}");
        stop.cancel();
        Ok(keeping.await??)
    }
}

/// Waits until the view has all that the log has.
async fn caught_up<D: Sql>(projection: &Projection<ShopView<D>>) -> anyhow::Result<()> {
    for _ in 0..3_000 {
        if projection.lag().await?.events == 0 {
            say("view", "has all that the log has");
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bail!("the view is behind after half a minute")
}

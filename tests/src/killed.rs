//! The trial of a worker that is killed at any moment: the service that it runs, and the table in which
//! that notes what it has done.

use std::time::Duration;

use fanfare::{Delivery, HandlerError, Router};
use sqlx::SqliteConnection;

use crate::trial::{Fault, Ordered};

/// Where the service notes each order that it carries out, in that order. Nothing but the inbox keeps one
/// from being there twice.
pub const TABLE: &str = "create table effects (
    place integer primary key autoincrement,
    number integer not null,
    customer text not null
)";

/// The service that carries orders out.
#[must_use]
pub fn router() -> Router {
    Router::new("carrier").on_tx(carry_out)
}

async fn carry_out(
    connection: &mut SqliteConnection,
    order: Delivery<Ordered>,
) -> Result<(), HandlerError> {
    let Ordered { customer, number, fault } = order.event;
    let effect = sqlx::query("insert into effects (number, customer) values ($1, $2)");
    effect.bind(number).bind(customer).execute(connection).await?;
    // Time to be killed in.
    tokio::time::sleep(Duration::from_millis(3)).await;
    match fault {
        Some(Fault::Poison) => Err(HandlerError::reject("poison")),
        Some(Fault::Fails) if order.metadata.attempt == 1 => Err(HandlerError::retry("not yet")),
        _ => Ok(()),
    }
}

//! The trial of functions: orders that say what is to go wrong when they are carried out, the service that
//! does it, and the tables in which it notes what it has done.

use std::process;

use fanfare::{Delivery, Event, HandlerError, Router};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgPool};

/// The tables: how often each order was begun, and in which order which release carried them out.
pub const TABLES: &str = "
    create table tries (number bigint primary key, times bigint not null);
    create table effects (
        place bigserial primary key,
        number bigint not null,
        customer text not null,
        release text not null
    )";

/// Something that is to be done once.
#[derive(Debug, Event, Serialize, Deserialize)]
#[event(type = "tests.trial.Ordered.v1", topic = "orders", key = customer)]
pub struct Ordered {
    /// Whose orders are carried out in order.
    pub customer: String,
    /// Which one of all it is.
    pub number: i64,
    /// What goes wrong.
    pub fault: Option<Fault>,
}

/// What goes wrong with an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// The first try fails.
    Fails,
    /// The process ends in the middle of the first try.
    Crashes,
    /// The first try blocks the process for longer than the function may take.
    Hangs,
    /// It can never be carried out.
    Poison,
}

/// Where tries are counted, outside of the transaction that a failure undoes.
#[derive(Clone)]
pub struct Tries {
    /// The connections.
    pub pool: PgPool,
    /// Noted with what is done.
    pub release: String,
}

/// The service that carries orders out.
#[must_use]
pub fn router() -> Router<Tries> {
    Router::new("carrier").on_tx(carry_out)
}

async fn carry_out(
    tries: Tries,
    connection: &mut PgConnection,
    order: Delivery<Ordered>,
) -> Result<(), HandlerError> {
    let Ordered { customer, number, fault } = order.event;
    let times: i64 = sqlx::query_scalar(
        "insert into tries (number, times) values ($1, 1)
         on conflict (number) do update set times = tries.times + 1 returning times",
    )
    .bind(number)
    .fetch_one(&tries.pool)
    .await?;
    match fault {
        Some(Fault::Poison) => return Err(HandlerError::reject("poison")),
        Some(Fault::Fails) if times == 1 => return Err(HandlerError::retry("not yet")),
        Some(Fault::Crashes) if times == 1 => process::abort(),
        // The only thread of the function, so that it cannot even say that it is late.
        Some(Fault::Hangs) if times == 1 => loop {
            std::thread::park();
        },
        _ => {}
    }
    sqlx::query("insert into effects (number, customer, release) values ($1, $2, $3)")
        .bind(number)
        .bind(customer)
        .bind(tries.release)
        .execute(connection)
        .await?;
    Ok(())
}

//! One service with its database: what it does is in `services/`, what is around it here.

use std::time::Duration;

use anyhow::bail;
use fanfare::{
    Consumer, Retry,
    sql::{Outbox, SqlInbox},
};

use crate::{
    database::{Sql, Store},
    services::{delivery, orders, products, recommendation},
};

/// The services, by the names of their routers; the last joins later.
pub const SERVICES: [&str; 4] = ["orders", "products", "delivery", "recommendation"];

/// A service, its database open.
pub struct Service<D: Sql> {
    /// One of [`SERVICES`].
    pub name: String,
    /// Its database.
    pub store: Store<D>,
    /// What it has to tell the world.
    pub outbox: Outbox,
}

impl<D: Sql> Service<D> {
    /// One of [`SERVICES`], with the tables that it needs.
    pub async fn open(home: &D::Home, name: &str) -> anyhow::Result<Self> {
        let tables = match name {
            "orders" => orders::TABLES,
            "products" => products::TABLES,
            "delivery" => delivery::TABLES,
            "recommendation" => recommendation::TABLES,
            other => bail!("there is no service `{other}`, only {}", SERVICES.join(", ")),
        };
        let store = D::open(home, name).await?;
        store.migrate(tables).await?;
        Ok(Service::on(store, name))
    }

    /// One of [`SERVICES`], on a database that has its tables. The database is asked nothing.
    pub fn on(store: Store<D>, name: &str) -> Self {
        let outbox = Outbox::new(&store.fanfare, name);
        // Orders keeps its history: whoever joins later is told from it.
        let outbox = if name == "orders" { outbox.logged() } else { outbox };
        Service { name: name.into(), store, outbox }
    }

    /// Its inbox: what a handler does, the memory of the event that it handled, and the events that
    /// it returns are committed together.
    pub fn inbox(&self) -> SqlInbox {
        SqlInbox::new(&self.store.fanfare).outbox(&self.outbox)
    }

    /// Its handlers, with its inbox.
    pub fn consumer(&self) -> Consumer {
        let router = match self.name.as_str() {
            "orders" => orders::router::<D::Connection>(),
            "products" => products::router::<D::Connection>(),
            "delivery" => delivery::router::<D::Connection>(),
            _ => recommendation::router::<D::Connection>(),
        };
        let second = Duration::from_secs(1);
        Consumer::from(router).inbox(self.inbox()).retry(Retry::exponential(second, second * 10))
    }

    /// What waits in its outbox: a line, and one for each shard.
    pub async fn backlog(&self) -> anyhow::Result<String> {
        let backlog = self.outbox.backlog().await?;
        let events: u64 = backlog.iter().map(|shard| shard.events).sum();
        if events == 0 {
            return Ok("nothing waits in its outbox".into());
        }
        let lines = backlog.iter().map(|shard| {
            let age = shard.oldest.as_secs_f64();
            format!("\n  shard {:>2}: {}, the oldest for {age:.1} s", shard.shard, shard.events)
        });
        Ok(format!("{events} events wait in its outbox{}", lines.collect::<String>()))
    }
}

//! Who publishes what, and who listens: the one place that knows all services.

use std::fmt;

use fanfare::topology::{Binding, Kind, Kinesis, Topology};
use sqlx::PgConnection as Any;

use crate::services::{delivery, orders, products, recommendation};

/// What carries the topic `orders`. Nothing but this file and the workers of `shop.rs` knows the
/// difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum OrdersOn {
    /// A topic, with queues for those who listen.
    Sns,
    /// A stream, which those who listen read.
    Kinesis,
}

impl OrdersOn {
    /// What is true of one, or of the other.
    pub fn either<T>(self, sns: T, kinesis: T) -> T {
        match self {
            OrdersOn::Sns => sns,
            OrdersOn::Kinesis => kinesis,
        }
    }
}

/// As `--orders-on` takes it.
impl fmt::Display for OrdersOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.either("sns", "kinesis"))
    }
}

impl From<OrdersOn> for Binding {
    fn from(on: OrdersOn) -> Self {
        match on {
            OrdersOn::Sns => Kind::Standard.into(),
            OrdersOn::Kinesis => Kinesis::shards(2).aggregated().into(),
        }
    }
}

/// The shop as `system`, a prefix of all names on AWS, with these of its services. What a router
/// handles is the same on every kind of database.
pub fn topology(system: &str, orders: OrdersOn, services: &[&str]) -> Topology {
    let topology = Topology::new(system)
        .topic("orders", orders)
        .topic("products", Kind::Standard)
        .topic("deliveries", Kind::Standard);
    let routers = [
        orders::router::<Any>(),
        products::router::<Any>(),
        delivery::router::<Any>(),
        recommendation::router::<Any>(),
    ];
    let wanted = routers.iter().filter(|router| services.contains(&router.name()));
    wanted.fold(topology, Topology::service)
}

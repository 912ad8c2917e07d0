//! Who publishes what, and who listens: the one place that knows all services.

use fanfare::topology::{Kind, Topology};
use sqlx::SqliteConnection as Any;

use crate::services::{delivery, orders, products, recommendation};

/// The shop as `system`, a prefix of all names on AWS, with these of its services. What a router
/// handles is the same on every kind of database.
pub fn topology(system: &str, services: &[&str]) -> Topology {
    let topology = Topology::new(system)
        .topic("orders", Kind::Standard)
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

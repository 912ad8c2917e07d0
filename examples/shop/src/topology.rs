//! Who publishes what, and who listens: the one place that knows all services.

use fanfare::topology::{Kind, Topology};

use crate::services::{delivery, orders, products};

/// The shop as `system`: a prefix of all names on AWS.
pub fn topology(system: &str) -> Topology {
    Topology::new(system)
        .topic("orders", Kind::Standard)
        .topic("products", Kind::Standard)
        .topic("deliveries", Kind::Standard)
        .service(&orders::router())
        .service(&products::router())
        .service(&delivery::router())
}

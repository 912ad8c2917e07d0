//! Which function does what.

use std::time::Duration;

use fanfare::topology::deploy::{Deployment, Function};

use crate::{
    service::SERVICES,
    topology::{OrdersOn, topology},
};

/// The functions' code: one for each service, one that relays any service's outbox, and one that makes the
/// tables.
pub const FUNCTIONS: [&str; 6] =
    ["orders", "products", "delivery", "recommendation", "relay", "migrations"];

/// Services that record events in an outbox.
const RELAYED: [&str; 3] = ["orders", "products", "delivery"];

/// All services of the shop as functions, with their relays.
pub fn deployment(system: &str, orders: OrdersOn) -> Deployment {
    let deployment = Deployment::new(&topology(system, orders, &SERVICES))
        .environment("SHOP_SYSTEM", system)
        .environment("SHOP_ORDERS_ON", orders.to_string());
    let function = |code: &str| Function::new(code).database();
    let deployment = SERVICES.iter().fold(deployment, |deployment, service| {
        let consumer = function(service);
        // After each batch, so that what follows need not wait for the relay.
        let records = RELAYED.contains(service);
        deployment.function(*service, if records { consumer.drains_outbox() } else { consumer })
    });
    let deployment = RELAYED.iter().fold(deployment, |deployment, service| {
        // A minute, after which the next is started.
        let relay = function("relay").environment("SHOP_SERVICE", *service);
        let relay = relay.timeout(Duration::from_secs(60));
        // Orders are placed outside of handlers.
        let relay = if *service == "orders" { relay.publishes("orders") } else { relay };
        deployment.relay(*service, relay)
    });
    deployment.migrations(function("migrations").timeout(Duration::from_secs(120)))
}

#[derive(fanfare_core::EventType)]
#[event(type = "shop.orders.OrderPlaced", topic = "orders")]
struct NoVersion {}

#[derive(fanfare_core::EventType)]
#[event(type = "shop.order placed.v1", topic = "orders")]
struct Space {}

#[derive(fanfare_core::EventType)]
#[event(type = "OrderPlaced.v1", topic = "orders")]
struct NoNamespace {}

fn main() {}

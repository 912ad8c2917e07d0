#[derive(fanfare_core::EventType)]
#[event(type = "shop.orders.OrderPlaced.v1", topik = "orders")]
struct OrderPlaced {}

fn main() {}

#[derive(fanfare_core::EventType)]
#[event(type = "shop.orders.Changed.v1", topic = "orders")]
enum Changed {
    Placed,
}

#[derive(fanfare_core::EventType)]
#[event(type = "shop.orders.Placed.v1", topic = "orders")]
struct Placed(String);

fn main() {}

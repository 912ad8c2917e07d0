#[derive(fanfare_core::EventType)]
#[event(topic = "orders")]
struct OrderPlaced {
    order_id: String,
}

fn main() {}

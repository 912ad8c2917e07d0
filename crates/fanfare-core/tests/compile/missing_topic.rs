#[derive(fanfare_core::EventType)]
#[event(type = "shop.orders.OrderPlaced.v1")]
struct OrderPlaced {
    order_id: String,
}

fn main() {}

#[derive(fanfare_core::Event, serde::Serialize)]
#[event(type = "shop.orders.OrderPlaced.v1", topic = "orders")]
struct OrderPlaced {
    order_id: String,
}

fn main() {}

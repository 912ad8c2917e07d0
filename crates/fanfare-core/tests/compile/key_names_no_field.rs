#[derive(fanfare_core::Event, serde::Serialize)]
#[event(type = "shop.orders.OrderPlaced.v1", topic = "orders", key = oder_id)]
struct OrderPlaced {
    order_id: String,
    quantity: u32,
}

fn main() {}

#[derive(fanfare_core::Event, serde::Serialize)]
#[event(type = "shop.orders.OrderPlaced.v1", topic = "orders", key = a, filter(a, b, c, d, e))]
struct OrderPlaced {
    a: u8,
    b: u8,
    c: u8,
    d: u8,
    e: u8,
}

fn main() {}

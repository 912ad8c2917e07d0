use fanfare_core::{Delivery, EventType, Router};

#[derive(EventType, serde::Deserialize)]
#[event(type = "shop.orders.OrderPlaced.v1", topic = "orders")]
struct OrderPlaced {}

async fn returns_nothing(_: Delivery<OrderPlaced>) {}

fn main() {
    let _: Router = Router::new("products").on(returns_nothing);
}

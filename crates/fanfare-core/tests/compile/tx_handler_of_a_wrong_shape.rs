use fanfare_core::{Delivery, EventType, HandlerError, Router};

struct Connection;

#[derive(EventType, serde::Deserialize)]
#[event(type = "shop.orders.OrderPlaced.v1", topic = "orders")]
struct OrderPlaced {}

async fn owns_its_connection(
    _: Connection,
    _: Delivery<OrderPlaced>,
) -> Result<(), HandlerError> {
    Ok(())
}

fn main() {
    let _: Router = Router::new("products").on_tx(owns_its_connection);
}

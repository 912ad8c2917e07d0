//! Which topics there are, what carries them, and which service wants which events: the system
//! as data, without a call to anybody.
//!
//! Domain code knows logical names only (`orders`, `products`). A [`Topology`] says what they
//! are on AWS ([`Binding`]: SNS or Kinesis), and [plans](Topology::plan) what has to exist there;
//! [`Bindings`] is the part that a running service needs, names and kinds.
//!
//! ```
//! # use fanfare_core::{Delivery, EventType, HandlerError, Router};
//! # #[derive(EventType, serde::Deserialize)]
//! # #[event(type = "shop.orders.OrderPlaced.v1", topic = "orders")]
//! # struct OrderPlaced {}
//! # async fn reduce_stock(_: Delivery<OrderPlaced>) -> Result<(), HandlerError> { Ok(()) }
//! use fanfare_topology::{Kind, Topology};
//!
//! let products: Router = Router::new("products").on(reduce_stock);
//! let shop = Topology::new("shop").topic("orders", Kind::Standard).service(&products);
//!
//! let plan = shop.plan()?;
//! assert_eq!(plan.topics[0].name, "shop-orders");
//! assert_eq!(plan.queues[0].name, "shop-products");
//! assert_eq!(
//!     plan.subscriptions[0].filter_policy(),
//!     r#"{"type":[{"prefix":"shop.orders.OrderPlaced.v"}]}"#,
//! );
//! # Ok::<(), fanfare_topology::TopologyError>(())
//! ```

mod bindings;
pub mod deploy;
mod plan;
mod topology;

pub use bindings::{Binding, Bindings, Kind, Kinesis, Tenant};
pub use plan::{
    Plan, PlannedDeadLetterQueue, PlannedQueue, PlannedReader, PlannedStream, PlannedSubscription,
    PlannedTopic,
};
pub use topology::{Topology, TopologyError};

//! The services as functions on AWS Lambda: the same handlers, on PostgreSQL.

mod connection;
mod settings;

pub use connection::sdk_config;
pub use settings::{Settings, relayed_service};

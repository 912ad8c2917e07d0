//! `#[derive(Event)]` and `#[derive(EventType)]` of fanfare. Documented at the traits that they
//! implement, in `fanfare-core`.

mod attributes;
mod expand;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Implements `Event` and `EventType` for a struct with named fields.
///
/// ```text
/// #[derive(Event, Serialize)]
/// #[event(
///     type = "shop.orders.OrderPlaced.v1",   // the tag on the wire: names, dots, a version
///     topic = "orders",                      // the logical topic
///     key = order_id,                        // the field that order is kept by; any Display
///     filter(country, express)               // fields to filter by, at most 4; optional
/// )]
/// ```
#[proc_macro_derive(Event, attributes(event))]
pub fn derive_event(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::event(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Implements `EventType` for a struct that this service only consumes.
///
/// ```text
/// #[derive(EventType, Deserialize)]
/// #[event(type = "shop.orders.OrderPlaced.v1", topic = "orders")]
/// ```
#[proc_macro_derive(EventType, attributes(event))]
pub fn derive_event_type(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::event_type(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

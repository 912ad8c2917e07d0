//! The event that everyone carries.

use serde::{Deserialize, Serialize};

/// What an event says: its number, and enough beside it to make its data as large as wanted.
#[derive(Clone, Debug, Serialize, Deserialize, fanfare::Event)]
#[event(type = "bench.orders.OrderPlaced.v1", topic = "orders", key = key)]
pub(crate) struct Placed {
    pub(crate) event: u64,
    pub(crate) key: String,
    pub(crate) padding: String,
}

impl Placed {
    /// The event with this number and key, whose data are so many bytes of JSON.
    pub(crate) fn new(event: u64, key: String, bytes: usize) -> Self {
        let bare = Self { event, key, padding: String::new() };
        let size = serde_json::to_vec(&bare).map_or(0, |json| json.len());
        Self { padding: "x".repeat(bytes.saturating_sub(size)), ..bare }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_data_are_as_large_as_wanted_whatever_the_number() {
        for (event, bytes) in [(0, 300), (9, 512), (12_345, 512), (999_999, 3_000)] {
            let placed = Placed::new(event, format!("order-{event}"), bytes);
            assert_eq!(serde_json::to_vec(&placed).unwrap().len(), bytes);
        }
    }
}

//! Tasks that are to be seen later.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use fanfare_core::{Event, Message, Task, seal};
use serde::Serialize;

#[derive(Clone, Event, Serialize)]
#[event(type = "shop.billing.Remind.v1", topic = "billing", key = order_id)]
struct Remind {
    order_id: String,
}

fn sealed(task: Task<Remind>) -> Message {
    seal("orders", task).unwrap().remove(0)
}

fn remind() -> Task<Remind> {
    Task::to("billing", Remind { order_id: "o-1".into() })
}

#[test]
fn a_task_keeps_its_delay_where_it_is_stored_as_json() {
    let later = sealed(remind().after(Duration::from_millis(1_500)));
    assert_eq!(later.delay, Some(Duration::from_millis(1_500)));
    let stored = serde_json::to_string(&later).unwrap();
    assert_eq!(serde_json::from_str::<Message>(&stored).unwrap(), later);
}

#[test]
fn what_is_not_delayed_is_stored_as_it_was_before_there_were_delays() {
    for task in [remind(), remind().after(Duration::ZERO)] {
        let message = sealed(task);
        let stored = serde_json::to_value(&message).unwrap();
        let names: Vec<_> = stored.as_object().unwrap().keys().collect();
        assert_eq!(names, ["attributes", "body", "destination", "id", "key", "tag"]);
        assert_eq!(serde_json::from_value::<Message>(stored).unwrap(), message);
    }
}

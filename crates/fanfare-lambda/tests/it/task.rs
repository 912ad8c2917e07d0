use std::time::Duration;

use fanfare_core::Context as Cause;
use fanfare_lambda::{Deadline, Error, LambdaEvent, Task, task};
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::ServiceExt;

use crate::world::context;

async fn invoke(task: &Task, event: &str) -> Result<Value, Error> {
    let event: IgnoredAny = serde_json::from_str(event).unwrap();
    let mut context = context(Duration::from_secs(1_000));
    let trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
    context.xray_trace_id = Some(trace.into());
    task.clone().oneshot(LambdaEvent::new(event, context)).await
}

#[tokio::test(start_paused = true)]
async fn it_takes_any_event_and_answers_with_what_its_work_gives() {
    let answer = task(async |_| Ok::<_, Error>(json!({ "published": 3 })));
    for event in ["{}", "null", "7", r#""ping""#, "[1]", r#"{"source":"aws.events"}"#] {
        assert_eq!(invoke(&answer, event).await.unwrap(), json!({ "published": 3 }), "{event}");
    }
}

#[tokio::test(start_paused = true)]
async fn its_error_fails_the_invocation() {
    let fails = task(async |_| Err::<(), _>("no database"));
    assert_eq!(invoke(&fails, "{}").await.unwrap_err().to_string(), "no database");
}

#[tokio::test(start_paused = true)]
async fn it_is_told_when_to_end() {
    let drain = task(async |deadline: Deadline| {
        deadline.reached().await;
        Ok::<_, Error>(deadline.left())
    });
    let start = Instant::now();
    assert_eq!(invoke(&drain, "{}").await.unwrap(), json!({ "secs": 0, "nanos": 0 }));
    let took = start.elapsed();
    assert!((950_000..=999_000).contains(&took.as_millis()), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_it_emits_carries_the_invocations_trace() {
    let traced = task(async |_| Ok::<_, Error>(Cause::current().traceparent));
    let trace = "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01";
    assert_eq!(invoke(&traced, "{}").await.unwrap(), json!(trace));
}

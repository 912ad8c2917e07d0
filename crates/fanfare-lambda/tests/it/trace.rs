use std::time::Duration;

use fanfare_lambda::{any, sqs};

use crate::world::{World, cause, context, event, invoke_in, message, notification, order, placed};

const INVOCATION: &str =
    "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
const INVOCATIONS: &str = "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01";
const MESSAGE: &str = "Root=1-67891233-abcdef012345678912345678;Parent=463ac35c9f6413ad;Sampled=0";
const MESSAGES: &str = "00-67891233abcdef012345678912345678-463ac35c9f6413ad-00";
const ENVELOPES: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test(start_paused = true)]
async fn a_handler_sees_request_and_trace_and_what_it_emits_carries_the_trace() {
    let world = World::default();
    let function = any(world.consumer());
    let mut traced = message("b");
    traced["attributes"]["AWSTraceHeader"] = MESSAGE.into();
    let mut enveloped = placed("c");
    (enveloped["traceparent"], enveloped["tracestate"]) = (ENVELOPES.into(), "x=1".into());
    let mut with_envelope = message("c");
    with_envelope["body"] = enveloped.to_string().into();
    for batch in [
        event([message("a"), traced, with_envelope]),
        event([order("1", "k", "d")]),
        event([notification("e")]),
    ] {
        let mut context = context(Duration::from_secs(60));
        context.xray_trace_id = Some(INVOCATION.into());
        invoke_in(&function, batch, context).await.unwrap();
    }
    let seen = world.metadata();
    assert!(seen.iter().all(|metadata| metadata.request_id.as_deref() == Some("request-1")));
    let traces: Vec<_> = seen.iter().map(|metadata| metadata.traceparent.as_deref()).collect();
    let [invocations, messages] = [INVOCATIONS, MESSAGES].map(Some);
    assert_eq!(traces, [invocations, messages, invocations, invocations, invocations]);
    let emitted: Vec<_> = world.published().iter().map(cause).collect();
    let traces: Vec<_> = emitted.iter().map(|cause| cause.traceparent.as_deref()).collect();
    assert_eq!(traces, [invocations, messages, Some(ENVELOPES), invocations, invocations]);
    let states: Vec<_> = emitted.iter().map(|cause| cause.tracestate.as_deref()).collect();
    assert_eq!(states, [None, None, Some("x=1"), None, None]);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_trace_is_none() {
    let world = World::default();
    let mut untraced = message("a");
    untraced["attributes"]["AWSTraceHeader"] = "Root=?".into();
    let mut context = context(Duration::from_secs(60));
    context.xray_trace_id = Some("none".into());
    invoke_in(&sqs(world.consumer()), event([untraced]), context).await.unwrap();
    assert_eq!(world.metadata()[0].traceparent, None);
    assert_eq!(cause(&world.published()[0]).traceparent, None);
}

//! The spans that what is logged stands in.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "the other tests use the rest of it")]
#[path = "it/world.rs"]
mod world;

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use fanfare_lambda::{Error, init, sqs};

use crate::world::{World, context, event, invoke_in, message};

const INVOCATION: &str =
    "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";

/// What is logged, by all tests.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

/// The log of this process, there before anything can be logged: a subscriber that comes later, or is one
/// thread's alone, may miss what another thread was the first to log.
fn log() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false);
        let subscriber = subscriber.with_writer(move || writer.clone()).finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
        log
    })
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_logs_is_within_its_delivery_within_its_invocation() {
    let log = log();
    let mut context = context(Duration::from_secs(60));
    context.xray_trace_id = Some(INVOCATION.into());
    let batch = event([message("fail-1"), message("a")]);
    invoke_in(&sqs(World::default().consumer()), batch, context).await.unwrap();
    let log = log.text();
    let line = log.lines().find(|line| line.contains("no driver")).unwrap();
    let invoke = line.split_once("invoke{").unwrap().1;
    let (invoke, process) = invoke.split_once("}:process{").unwrap();
    for field in [
        r#"faas.invocation_id="request-1" faas.trigger="pubsub""#,
        &format!(r#"trace_id="{INVOCATION}""#),
        r#"messaging.system="aws_sqs" messaging.destination.name="shop-delivery""#,
        "messaging.batch.message_count=2",
    ] {
        assert!(invoke.contains(field), "{field} in {invoke}");
    }
    for field in [
        "otel.name=process shop-delivery",
        r#"fanfare.event.id="fail-1-id""#,
        "fanfare.attempt=1",
        r#"faas.invocation_id="request-1""#,
        r#"traceparent="00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01""#,
    ] {
        assert!(process.contains(field), "{field} in {process}");
    }
}

#[tokio::test(start_paused = true)]
async fn initialisation_is_a_span_that_says_how_long_it_took() {
    let log = log();
    let make = |made: Result<(), Error>| async {
        tokio::time::sleep(Duration::from_millis(42)).await;
        made
    };
    init(make(Ok(()))).await.unwrap();
    assert_eq!(init(make(Err("no pool".into()))).await.unwrap_err().to_string(), "no pool");
    let log = log.text();
    let lines: Vec<_> = log.lines().filter_map(|line| Some(line.split_once("init: ")?.1)).collect();
    assert!(lines[0].ends_with("initialised ms=42"), "{log}");
    assert!(lines[1].ends_with("initialisation failed ms=42 error=no pool"), "{log}");
}

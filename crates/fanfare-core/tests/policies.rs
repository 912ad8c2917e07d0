//! What can never be handled, under each policy: what becomes of it, and what is logged. One test in
//! a process of its own, where no other thread logs.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fmt::{Debug, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use fanfare_core::{
    Consumer, Delivery, HandlerError, Metadata, Outcome, Policy, RawDelivery, Reason, Retry, Router,
};
use support::*;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    span,
};

/// The warnings, with their fields.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN && metadata.is_event()
    }

    fn event(&self, event: &Event<'_>) {
        struct Text(String);
        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
                write!(self.0, "{field}={value:?} ").unwrap();
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

async fn refuse(_: (), _: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
    Err(HandlerError::reject("never"))
}

/// A way in which a delivery can be impossible to handle.
struct Case {
    name: &'static str,
    delivery: fn() -> RawDelivery,
    /// The router with this policy for such deliveries, and with others for all others.
    router: fn(Policy, Policy) -> Router,
    reason: &'static str,
}

const CASES: [Case; 4] = [
    Case {
        name: "rejected",
        delivery: || placed("o-1").raw(),
        router: |policy, others| {
            let router = Router::new("delivery").on(refuse).rejected(policy);
            router.unknown_tags(others).undecodable(others)
        },
        reason: "rejected: never",
    },
    Case {
        name: "an unknown tag",
        delivery: || placed("o-1").tag("shop.orders.OrderPlaced.v2").raw(),
        router: |policy, others| {
            let router = Router::new("delivery").on(refuse).unknown_tags(policy);
            router.rejected(others).undecodable(others)
        },
        reason: "unknown type tag `shop.orders.OrderPlaced.v2`: only shop.orders.OrderPlaced.v1 is handled",
    },
    Case {
        name: "no event",
        delivery: || RawDelivery::new("{", Metadata::new("o-1-message", 1)),
        router: undecodable,
        reason: "undecodable: ",
    },
    Case {
        name: "other data",
        delivery: || {
            let mut delivery = placed("o-1").raw();
            delivery.body = delivery.body.replace(r#""order_id":"o-1""#, r#""order_id":1"#);
            delivery
        },
        router: undecodable,
        reason: "undecodable: ",
    },
];

fn undecodable(policy: Policy, others: Policy) -> Router {
    let router = Router::new("delivery").on(refuse).undecodable(policy);
    router.rejected(others).unknown_tags(others)
}

const POLICIES: [Policy; 3] = [Policy::DeadLetter, Policy::Keep, Policy::Acknowledge];

#[test]
fn each_policy_does_for_each_what_it_says_and_warns() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for case in CASES {
        for policy in POLICIES {
            for others in POLICIES.into_iter().filter(|others| *others != policy) {
                let context = format!("{}, {policy:?}, others {others:?}", case.name);
                runtime.block_on(check(&case, policy, others, &context));
            }
        }
    }
}

async fn check(case: &Case, policy: Policy, others: Policy, context: &str) {
    let bench = Bench::new();
    let consumer = || {
        let retry = Retry::exponential(Duration::from_secs(1), Duration::from_secs(60));
        Consumer::from((case.router)(policy, others)).retry(retry.max_attempts(7))
    };
    let run = async |attempt| {
        let warnings = Warnings::default();
        let guard = tracing::subscriber::set_default(warnings.clone());
        let mut delivery = (case.delivery)();
        delivery.metadata.attempt = attempt;
        let outcome = bench.run(consumer(), vec![delivery]).await.remove(0);
        drop(guard);
        let warnings = warnings.0.lock().unwrap().clone();
        assert_eq!(warnings.len(), 1, "{context}: {warnings:?}");
        assert!(warnings[0].contains("message_id=o-1-message"), "{context}: {warnings:?}");
        assert!(warnings[0].contains(case.reason), "{context}: {warnings:?}");
        (outcome, warnings[0].clone())
    };
    let (first, warning) = run(1).await;
    match policy {
        Policy::DeadLetter => {
            assert!(
                matches!(&first, Outcome::DeadLettered(reason) if reason.to_string().starts_with(case.reason)),
                "{context}: {first:?}"
            );
            assert!(warning.contains("dead-lettered"), "{context}: {warning}");
            assert!(bench.dead_letters()[0].1.starts_with(case.reason), "{context}");
        }
        Policy::Acknowledge => {
            assert!(
                matches!(&first, Outcome::Ignored(reason) if reason.to_string().starts_with(case.reason)),
                "{context}: {first:?}"
            );
            assert!(warning.contains("ignored"), "{context}: {warning}");
            assert!(bench.dead_letters().is_empty(), "{context}");
        }
        Policy::Keep => {
            let after = |outcome| match outcome {
                Outcome::Failed { after, .. } => after,
                other => panic!("{context}: {other:?}"),
            };
            assert!(after(first) <= Duration::from_secs(1), "{context}");
            assert!(after(run(6).await.0) >= Duration::from_secs(16), "{context}: it grows");
            assert!(bench.dead_letters().is_empty(), "{context}");
            let (last, _) = run(7).await;
            assert!(
                matches!(&last, Outcome::DeadLettered(Reason::Exhausted { attempts: 7, error }) if error.starts_with(case.reason)),
                "{context}: {last:?}"
            );
            assert_eq!(bench.dead_letters().len(), 1, "{context}");
        }
    }
}

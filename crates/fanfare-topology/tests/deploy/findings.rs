//! What is refused.

use std::time::Duration;

use fanfare_core::{Delivery, HandlerError, Router};
use fanfare_topology::{
    Kind, Kinesis, Topology, TopologyError,
    deploy::{Deployment, Finding, Function, QueueSettings},
};

use super::system::{Clicked, OrderPlaced, Paid, deployment, on, tiny};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn function() -> Function {
    Function::new("books")
}

/// What is found with this function for the one service of a tiny system.
fn with(function: Function) -> Vec<Finding> {
    Deployment::new(&tiny()).function("books", function).lint()
}

fn with_queue(settings: QueueSettings) -> Vec<Finding> {
    Deployment::new(&tiny()).function("books", function()).queues("books", settings).lint()
}

/// The service books on a FIFO queue, and on a stream.
fn of<E: fanfare_core::EventType + serde::de::DeserializeOwned>(
    topic: &str,
    on_what: impl Into<fanfare_topology::Binding>,
    function: Function,
) -> Vec<Finding> {
    async fn ok<E>(_: Delivery<E>) -> Result<(), HandlerError> {
        Ok(())
    }
    let books: Router = Router::new("books").on(ok::<E>);
    let topology = Topology::new("tiny").topic(topic, on_what).service(&books);
    Deployment::new(&topology).function("books", function).lint()
}

fn fifo(function: Function) -> Vec<Finding> {
    of::<Paid>("payments", Kind::Fifo, function)
}

fn stream(function: Function) -> Vec<Finding> {
    of::<Clicked>("clicks", Kinesis::on_demand(), function)
}

fn out_of_range(findings: &[Finding], setting: &str) -> bool {
    matches!(findings, [Finding::OutOfRange { setting: found, .. }] if found.contains(setting))
}

#[test]
fn nothing_is_wrong_by_default() {
    assert_eq!(deployment().lint(), []);
    assert_eq!(deployment().encrypted().lint(), []);
    assert_eq!(with(function()), []);
    assert_eq!(fifo(function()), []);
    assert_eq!(stream(function()), []);
}

#[test]
fn limits_themselves_are_accepted() {
    let least = function().timeout(seconds(1)).memory(128).batch_size(1).max_concurrency(2);
    assert_eq!(with(least.clone().batching_window(seconds(300))), []);
    assert_eq!(with(function().batch_size(10_000).batching_window(seconds(1))), []);
    // 50 receives at 6 time-outs each still fit into 4 days.
    assert_eq!(with(function().timeout(seconds(900)).memory(10_240).max_concurrency(1_000)), []);
    let most = function().stream_batch_size(10_000).parallelization_factor(10).max_retries(10_000);
    assert_eq!(stream(most.max_record_age(seconds(60))), []);
    assert_eq!(stream(function().max_retries(0).parallelization_factor(1)), []);
    assert_eq!(with_queue(QueueSettings::new().max_receives(5).visibility(seconds(180))), []);
}

#[test]
fn settings_outside_of_what_aws_takes_are_refused() {
    assert!(out_of_range(&with(function().timeout(seconds(0))), "time-out"));
    let slow = QueueSettings::new().max_receives(5);
    let slow = Deployment::new(&tiny()).queues("books", slow);
    let slow = slow.function("books", function().timeout(seconds(901))).lint();
    assert!(out_of_range(&slow, "time-out"), "{slow:?}");
    assert!(out_of_range(&with(function().memory(127)), "memory"));
    assert!(out_of_range(&with(function().memory(10_241)), "memory"));
    assert!(out_of_range(&with(function().max_concurrency(1)), "max_concurrency"));
    assert!(out_of_range(&with(function().max_concurrency(1_001)), "max_concurrency"));
    assert!(out_of_range(&with(function().batch_size(0)), "batch_size"));
    let large = function().batch_size(10_001).batching_window(seconds(1));
    assert!(out_of_range(&with(large), "batch_size"));
    assert!(out_of_range(&with(function().batching_window(seconds(301))), "batching_window"));
    assert!(out_of_range(&stream(function().batching_window(seconds(301))), "batching_window"));
    assert!(out_of_range(&stream(function().stream_batch_size(10_001)), "stream_batch_size"));
    let factor = "parallelization_factor";
    assert!(out_of_range(&stream(function().parallelization_factor(0)), factor));
    assert!(out_of_range(&stream(function().parallelization_factor(11)), factor));
    assert!(out_of_range(&stream(function().max_retries(10_001)), "max_retries"));
    assert!(out_of_range(&stream(function().max_record_age(seconds(59))), "max_record_age"));
}

#[test]
fn a_queue_has_to_wait_for_six_time_outs() {
    let short = QueueSettings::new().visibility(seconds(179));
    let [Finding::ShortVisibility { visibility: 179, least: 180, .. }] = with_queue(short)[..]
    else {
        panic!("not found")
    };
    // A worker has no time-out of this kind.
    let short = QueueSettings::new().visibility(seconds(30));
    assert_eq!(Deployment::new(&tiny()).queues("books", short).lint(), []);
    let long = QueueSettings::new().visibility(seconds(43_201)).max_receives(5);
    assert!(out_of_range(&with_queue(long), "visibility"));
}

#[test]
fn a_message_is_received_five_times_at_least() {
    assert!(out_of_range(&with_queue(QueueSettings::new().max_receives(4)), "maxReceiveCount"));
    assert!(out_of_range(&with_queue(QueueSettings::new().max_receives(1_001)), "maxReceiveCount"));
}

#[test]
fn dead_letters_are_kept_longer_than_messages() {
    let days = |days: u64| seconds(days * 86_400);
    let same = QueueSettings::new().retention(days(14));
    assert!(matches!(with_queue(same)[..], [Finding::ShortDeadLetterRetention { .. }]));
    let shorter = QueueSettings::new().dead_letter_retention(days(3));
    assert!(matches!(with_queue(shorter)[..], [Finding::ShortDeadLetterRetention { .. }]));
    assert_eq!(with_queue(QueueSettings::new().retention(days(13))), []);
    assert!(out_of_range(
        &with_queue(QueueSettings::new().dead_letter_retention(days(15))),
        "retention"
    ));
}

#[test]
fn a_message_becomes_a_dead_letter_before_it_is_gone() {
    // 50 receives of 180 s.
    let short = |s| with_queue(QueueSettings::new().retention(seconds(s)));
    assert!(matches!(short(9_000)[..], [Finding::ExpiresFirst { needed: 9_000, .. }]));
    assert_eq!(short(9_001), []);
}

#[test]
fn a_fifo_queue_gives_ten_and_does_not_gather() {
    assert!(matches!(fifo(function().batch_size(11))[..], [Finding::FifoBatch { .. }]));
    let gathering = function().batching_window(seconds(1));
    assert!(matches!(fifo(gathering)[..], [Finding::FifoWindow { .. }]));
}

#[test]
fn a_large_batch_has_to_be_gathered() {
    assert!(matches!(with(function().batch_size(11))[..], [Finding::BatchWithoutWindow { .. }]));
    assert_eq!(with(function().batch_size(11).batching_window(seconds(1))), []);
}

#[test]
fn a_record_is_given_up_before_the_stream_loses_it() {
    let long = function().max_record_age(seconds(86_400));
    assert!(matches!(stream(long)[..], [Finding::RecordsExpire { retention: 86_400, .. }]));
    assert_eq!(stream(function().max_record_age(seconds(86_399))), []);
}

#[test]
fn a_functions_name_has_to_fit() {
    let name = |length: usize| {
        let system = "s".repeat(length - "-books".len());
        let books: Router = Router::new("books").on(on::<OrderPlaced>);
        let topology = Topology::new(&system).topic("orders", Kind::Standard).service(&books);
        Deployment::new(&topology).function("books", function()).lint()
    };
    assert_eq!(name(64), []);
    assert!(matches!(name(65)[..], [Finding::FunctionName { .. }]));
}

#[test]
fn two_functions_or_resources_cannot_have_one_name() {
    let findings = Deployment::new(&tiny())
        .function("books", function())
        .relay("books", function())
        .relay("books-", function())
        .lint();
    let same =
        |f: &Finding| matches!(f, Finding::SameName { name } if name == "BooksRelayFunction");
    assert!(findings.iter().any(same), "{findings:?}");
    let books: Router = Router::new("migrations").on(on::<OrderPlaced>);
    let topology = Topology::new("tiny").topic("orders", Kind::Standard).service(&books);
    let deployment = Deployment::new(&topology).function("migrations", function());
    let findings = deployment.migrations(function()).lint();
    let same = |f: &Finding| matches!(f, Finding::SameName { name } if name == "tiny-migrations");
    assert!(findings.iter().any(same), "{findings:?}");
}

#[test]
fn a_function_has_something_to_consume_and_settings_have_a_queue() {
    let tiny = Deployment::new(&tiny()).function("books", function());
    let findings = tiny.clone().function("bokos", function()).lint();
    assert!(matches!(&findings[..], [Finding::NothingToConsume { service }] if service == "bokos"));
    let findings = tiny.clone().queues("bokos", QueueSettings::new()).lint();
    assert!(matches!(&findings[..], [Finding::NoQueue { service, .. }] if service == "bokos"));
    let findings = tiny.relay("books", function().sends_tasks_to("bokos")).lint();
    assert!(matches!(&findings[..], [Finding::NoQueue { service, .. }] if service == "bokos"));
}

#[test]
fn a_function_publishes_to_topics_that_exist() {
    let findings = with(function().publishes("ordres"));
    assert!(matches!(&findings[..], [Finding::UnknownTopic { topic, .. }] if topic == "ordres"));
}

#[test]
fn a_topology_that_cannot_exist_is_refused_with_its_own_error() {
    let books: Router = Router::new("books").on(on::<OrderPlaced>);
    let findings = Deployment::new(&Topology::new("tiny").service(&books)).lint();
    let [Finding::Topology(error)] = &findings[..] else { panic!("{findings:?}") };
    assert!(matches!(error, TopologyError::UnknownTopic { .. }));
}

#[test]
fn an_environment_and_a_roles_policy_have_to_fit() {
    let findings = with(function().environment("A", "x".repeat(4_096)));
    assert!(matches!(findings[..], [Finding::TooLarge { size: 4_097, most: 4_096, .. }]));
    assert_eq!(with(function().environment("A", "x".repeat(4_095))), []);
    let many = |topics: u32| {
        let names = (0..topics).map(|n| format!("a-topic-of-a-large-system-{n}"));
        let topology = names.clone().fold(tiny(), |t, name| t.topic(name, Kind::Standard));
        let function = names.fold(function(), Function::publishes);
        Deployment::new(&topology).function("books", function).lint()
    };
    assert_eq!(many(50), []);
    let findings = many(110);
    let role = |f: &Finding| matches!(f, Finding::TooLarge { what, .. } if what.contains("role"));
    assert!(matches!(&findings[..], [finding] if role(finding)), "{findings:?}");
}

#[derive(serde::Deserialize)]
struct Numbered<const N: usize> {}

macro_rules! numbered {
    ($($n:literal)*) => {
        $(impl fanfare_core::EventType for Numbered<$n> {
            const TAG: &'static str = concat!("shop.many.Numbered", $n, ".v1");
            const TOPIC: &'static str = concat!("a-topic-of-a-system-that-likes-names-to-be-long-", $n);
        })*

        /// One service, subscribed to the first of so many topics.
        fn subscribed(count: usize) -> Topology {
            let (mut topology, mut books) = (Topology::new("tiny"), Router::<()>::new("books"));
            $(if $n < count {
                topology = topology.topic(concat!("a-topic-of-a-system-that-likes-names-to-be-long-", $n), Kind::Standard);
                books = books.on(on::<Numbered<$n>>);
            })*
            topology.service(&books)
        }
    };
}
numbered! {
    0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37
    38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64 65 66 67 68 69 70 71
}

#[test]
fn a_queues_policy_has_to_fit() {
    assert_eq!(Deployment::new(&subscribed(50)).lint(), []);
    let findings = Deployment::new(&subscribed(72)).lint();
    let queue = |f: &Finding| matches!(f, Finding::TooLarge { most: 8_192, .. });
    // The queue's, and the dead-letter queue's.
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert!(findings.iter().all(queue), "{findings:?}");
}

#[test]
fn a_template_has_room_for_five_hundred_resources() {
    let topics = (0..500).map(|n| format!("t{n}"));
    let topology = topics.fold(tiny(), |t, name| t.topic(name, Kind::Standard));
    let findings = Deployment::new(&topology).lint();
    assert!(matches!(findings[..], [Finding::TooLarge { most: 500, .. }]), "{findings:?}");
}

#[test]
fn what_is_refused_says_all_that_is_wrong_and_what_to_do() {
    let deployment = Deployment::new(&tiny())
        .function("books", function().batch_size(11).memory(1))
        .queues("books", QueueSettings::new().visibility(seconds(1)));
    let refused = deployment.cloudformation().unwrap_err();
    assert_eq!(refused.findings, deployment.lint());
    insta::assert_snapshot!(refused);
    assert_eq!(deployment.sam().unwrap_err(), refused);
}

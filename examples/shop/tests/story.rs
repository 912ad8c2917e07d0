//! The shop as a person starts it: the whole story, and its services as processes of their own.
#![allow(clippy::unwrap_used)]

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    time::Duration,
};

use fanfare::sim::Sim;
use fanfare_testkit::{localstack::LocalStack, postgres::Postgres};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long a line of a service may take: far more than it needs.
const PATIENCE: Duration = Duration::from_secs(60);

fn shop(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shop"));
    command.args(arguments).env_remove("AWS_ACCOUNT_ID").env_remove("AWS_REGION");
    command
}

fn run(arguments: &[&str]) -> Output {
    shop(arguments).output().expect("the shop starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What the story says in the end on the simulator, where nothing comes more often than it has to.
const SUMMARY: &str = "published 82; handled 95, duplicates 4, retried 2, rejected 2";

/// The same with orders on Kinesis: what recommendation was told is still in the stream, and comes to it
/// again, the broken order too.
const KINESIS_SUMMARY: &str = "published 82; handled 95, duplicates 27, retried 2, rejected 3";

const KINESIS: [&str; 2] = ["--orders-on", "kinesis"];

/// Runs what has to end well, and gives what it said.
fn told(arguments: &[&str]) -> String {
    let output = run(arguments);
    let text = stdout(&output);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn the_story_on_the_simulator_and_sqlite_ends_well() {
    let text = told(&[]);
    for line in [
        "created subscription of shop-products to shop-orders",
        "delivery       stopped",
        "delivery       starts again",
        "missing field `order_id`",
        "orders         9 events wait in its outbox",
        "each order's events went out in their order",
        "recommendation was told of 24 past events of 12 orders",
        "removed subscription of shop-products to shop-orders",
        "view           made anew as generation 2, in place of 1",
        SUMMARY,
        "such sequences were out of order: a standard topic promises none",
        "Kinesis, shards, aggregated",
        "16 orders: each reduced stock once while there was one, has one delivery, and is on its way",
    ] {
        assert!(text.contains(line), "`{line}` is missing in:\n{text}");
    }
    let folder = text.lines().find_map(|line| line.trim().strip_prefix("databases: ")).unwrap();
    assert!(!Path::new(folder).exists(), "{folder} is left");
}

#[test]
fn the_story_with_orders_on_kinesis_is_the_same_and_each_orders_events_come_in_order() {
    let text = told(&KINESIS);
    for line in [
        "created stream shop-orders",
        "created queue shop-delivery-dlq",
        "created subscription of shop-orders to shop-deliveries",
        "starts again: three orders wait in the stream",
        "missing field `order_id`",
        "each order's events went out in their order",
        "recommendation was told of 24 past events of 12 orders",
        "recommendation all of these are in the stream still: known, nothing done",
        "removed queue shop-products-dlq",
        KINESIS_SUMMARY,
        "16 orders: each reduced stock once while there was one, has one delivery, and is on its way",
        // The first attempt at its first event failed: what came behind waited.
        "o-3 in products: placed → paid → shipped",
        "every service handled the events of each order in their order",
        "Kinesis, shards, aggregated",
    ] {
        assert!(text.contains(line), "`{line}` is missing in:\n{text}");
    }
    // Neither a topic for orders nor a queue for who only reads their stream.
    for line in ["topic shop-orders", "queue shop-delivery\n", "queue shop-products\n"] {
        assert!(!text.contains(line), "`{line}` is in:\n{text}");
    }
}

#[tokio::test]
async fn the_story_on_the_simulator_and_postgresql_ends_well() {
    let Some(postgres) = Postgres::from_env().unwrap() else { return };
    let database = postgres.database().await.unwrap();
    for (orders_on, summary) in [("sns", SUMMARY), ("kinesis", KINESIS_SUMMARY)] {
        let text = told(&["--database", database.url(), "--orders-on", orders_on]);
        assert!(text.contains(summary), "{text}");
        let left = "select nspname::text from pg_namespace where nspname like 'shop%'";
        let left: Vec<String> = sqlx::query_scalar(left).fetch_all(&database.pool()).await.unwrap();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// On a real server a retried receive may deliver more often; what has to hold holds.
#[test]
fn the_story_on_localstack_ends_well() {
    let Some(localstack) = LocalStack::from_env().expect("LocalStack is there") else { return };
    for orders_on in ["sns", "kinesis"] {
        let text = told(&["--on", localstack.url(), "--orders-on", orders_on]);
        assert!(text.contains("16 orders: each reduced stock once"), "{text}");
    }
}

const KILLED: &str = "400 orders: each reduced stock once, has one delivery, and is on its way";

#[test]
fn killing_services_at_any_moment_loses_no_order_and_doubles_none_on_sqlite() {
    let text = told(&["chaos", "--kills", "30"]);
    assert!(text.contains(KILLED), "{text}");
}

#[tokio::test]
async fn killing_services_at_any_moment_loses_no_order_and_doubles_none_on_postgresql() {
    let Some(postgres) = Postgres::from_env().unwrap() else { return };
    let database = postgres.database().await.unwrap();
    let text = told(&["chaos", "--kills", "30", "--database", database.url()]);
    assert!(text.contains(KILLED), "{text}");
}

#[test]
fn killing_services_at_any_moment_loses_no_order_and_doubles_none_on_a_stream() {
    let text = told(&[&KINESIS[..], &["chaos", "--kills", "12", "--orders", "200"]].concat());
    assert!(text.contains("200 orders: each reduced stock once"), "{text}");
}

#[test]
fn a_folder_with_a_past_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("orders.sqlite"), "").unwrap();
    for command in [&[][..], &["chaos", "--kills", "1"]] {
        let path = folder.path().to_str().unwrap();
        let output = run(&[&["--data", path], command].concat());
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains("a shop with a past"), "{text}");
    }
}

#[test]
fn what_a_topic_costs_is_told_for_any_load() {
    let text = told(&["cost", "--events-per-second", "1000", "--services", "10", "--bytes", "300"]);
    for line in [
        "1000 events/s of 300 bytes, 10 services listen",
        // 2,628 million events: a publish, and ten times a receive and a delete.
        "SNS + SQS, an event in a request     1314.00  21024.00      0.00  22338.00",
        // One shard, and ten services on it by enhanced fan-out, which get 7,343 gigabytes.
        "Kinesis, shards, aggregated             0.43     95.45    120.45    216.33",
    ] {
        assert!(text.contains(line), "`{line}` is missing in:\n{text}");
    }
}

#[test]
fn mistakes_get_one_clear_line() {
    let cases: [(&[&str], &str); 6] = [
        (
            &["--on", "http://127.0.0.1:1", "provision"],
            "shop: cannot reach http://127.0.0.1:1: Connection refused",
        ),
        (&["run", "products"], "shop: the simulator inside this process would be gone with it"),
        (&["--on", "aws", "provision"], "shop: AWS needs your account id"),
        (&["place"], "shop: name the databases, the same for all commands: --data with a folder"),
        (
            &["--database", "postgres://postgres@127.0.0.1:1/postgres", "backlog"],
            "shop: the database failed: ",
        ),
        (
            &["--on", "nowhere"],
            "error: invalid value 'nowhere' for '--on <ON>': use `simulator`, `localstack`, `aws`, or a URL",
        ),
    ];
    for (arguments, expected) in cases {
        let output = run(arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(text.starts_with(expected), "{arguments:?}: {text}");
        assert_eq!(text.trim_end().lines().filter(|line| !line.is_empty()).count().min(2), {
            // clap adds a hint on how to get help.
            if text.starts_with("error:") { 2 } else { 1 }
        });
    }
}

/// A service in a process of its own, whose lines can be waited for.
struct Service {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Service {
    fn start(arguments: &[&str]) -> Service {
        let mut child = shop(arguments).stdout(Stdio::piped()).spawn().expect("the service starts");
        let (sender, lines) = mpsc::channel();
        let out = BufReader::new(child.stdout.take().expect("it was piped"));
        std::thread::spawn(move || {
            out.lines().map_while(Result::ok).try_for_each(|l| sender.send(l))
        });
        Service { child, lines }
    }

    /// Waits for `count` lines with `text`.
    fn wait_for(&self, text: &str, count: usize) {
        let mut seen = Vec::new();
        while seen.iter().filter(|line: &&String| line.contains(text)).count() < count {
            let line = self.lines.recv_timeout(PATIENCE);
            seen.push(line.unwrap_or_else(|_| panic!("{count} × `{text}` did not come: {seen:?}")));
        }
    }

    fn terminate(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn services_run_as_processes_of_their_own() {
    run_as_processes("sns", "queue `shop-products` does not exist", "15 changes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_read_a_stream_run_as_processes_of_their_own() {
    run_as_processes("kinesis", "stream `shop-orders` does not exist", "9 changes").await;
}

/// `missing` is what products says before anything is provisioned, `made` what provisioning says.
async fn run_as_processes(orders_on: &'static str, missing: &'static str, made: &'static str) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let shutdown = stop.clone().cancelled_owned();
    let serving = tokio::spawn(async move { Sim::new().serve(listener, shutdown).await });

    let (on, data) = (url.clone(), tempfile::tempdir().unwrap());
    tokio::task::spawn_blocking(move || {
        let data = data.path().to_str().unwrap();
        let places = ["--on", &on, "--orders-on", orders_on, "--data", data];
        let with = |command: &[&'static str]| -> Vec<String> {
            places.iter().chain(command).map(ToString::to_string).collect()
        };
        let run = |command: &[&'static str]| {
            run(&with(command).iter().map(String::as_str).collect::<Vec<_>>())
        };
        let start = |command: &[&'static str]| {
            Service::start(&with(command).iter().map(String::as_str).collect::<Vec<_>>())
        };
        let early = run(&["run", "products"]);
        let text = String::from_utf8_lossy(&early.stderr).into_owned();
        assert!(text.contains(missing), "{text}");
        assert!(text.contains("shop provision"), "{text}");

        assert!(stdout(&run(&["provision"])).contains(made));
        assert!(stdout(&run(&["provision"])).contains("0 changes"));
        // Nobody publishes yet: the orders are safe all the same.
        assert!(run(&["place", "--orders", "6", "--name", "a"]).status.success());
        assert!(run(&["place", "--orders", "6", "--name", "a"]).status.success());
        let backlog = stdout(&run(&["backlog"]));
        assert!(backlog.contains("orders         12 events wait in its outbox"), "{backlog}");

        // Two with relays of their own, and one whose relay is another process.
        let services = [
            start(&["run", "orders"]),
            start(&["run", "products"]),
            start(&["run", "delivery", "--without-relay"]),
            start(&["relay", "delivery"]),
        ];
        services[0].wait_for("is on its way", 6);
        services[1].wait_for("reduced to", 6);
        services[2].wait_for("started", 6);
        let told = stdout(&run(&["replay", "recommendation"]));
        assert!(told.contains("12 past events, and 0 that it knew: told of all"), "{told}");
        let view = stdout(&run(&["view"]));
        assert!(view.contains("6 orders, 6 on their way"), "{view}");
        let view = stdout(&run(&["view", "--rebuild"]));
        assert!(view.contains("6 orders, 6 on their way"), "{view}");
        services.into_iter().for_each(Service::terminate);
    })
    .await
    .unwrap();
    stop.cancel();
    serving.await.unwrap().unwrap();
}

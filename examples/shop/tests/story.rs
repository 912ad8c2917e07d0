//! The shop as a person starts it: the whole story, and its services as processes of their own.
#![allow(clippy::unwrap_used)]

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    time::Duration,
};

use fanfare::sim::Sim;
use fanfare_testkit::localstack::LocalStack;
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

#[test]
fn the_story_on_the_simulator_ends_well() {
    let output = run(&[]);
    let text = stdout(&output);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for line in [
        "created subscription of shop-products to shop-orders",
        "delivery  stopped",
        "delivery  starts again",
        "missing field `order_id`",
        "published 28, delivered 30: handled 24, duplicates 3, retried 1, rejected 2",
        "8 orders: each reduced stock once, has one delivery, and is on its way",
    ] {
        assert!(text.contains(line), "`{line}` is missing in:\n{text}");
    }
}

/// On a real server a retried receive may deliver more often; what has to hold holds.
#[test]
fn the_story_on_localstack_ends_well() {
    let Some(localstack) = LocalStack::from_env().expect("LocalStack is there") else { return };
    let output = run(&["--on", localstack.url()]);
    let text = stdout(&output);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("8 orders: each reduced stock once"), "{text}");
}

#[test]
fn mistakes_get_one_clear_line() {
    let cases: [(&[&str], &str); 4] = [
        (
            &["--on", "http://127.0.0.1:1", "provision"],
            "shop: cannot reach http://127.0.0.1:1: Connection refused",
        ),
        (&["run", "products"], "shop: the simulator inside this process would be gone with it"),
        (&["--on", "aws", "provision"], "shop: AWS needs your account id"),
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
    fn start(name: &str, on: &str) -> Service {
        let mut child = shop(&["--on", on, "run", name])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the service starts");
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
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let shutdown = stop.clone().cancelled_owned();
    let serving = tokio::spawn(async move { Sim::new().serve(listener, shutdown).await });

    let on = url.clone();
    tokio::task::spawn_blocking(move || {
        let early = run(&["--on", &on, "run", "products"]);
        let text = String::from_utf8_lossy(&early.stderr).into_owned();
        assert!(text.contains("queue `shop-products` does not exist"), "{text}");
        assert!(text.contains("shop provision"), "{text}");

        assert!(stdout(&run(&["--on", &on, "provision"])).contains("12 changes"));
        assert!(stdout(&run(&["--on", &on, "provision"])).contains("0 changes"));
        let services = ["orders", "products", "delivery"].map(|name| Service::start(name, &on));
        assert!(run(&["--on", &on, "place", "--orders", "6"]).status.success());
        services[0].wait_for("is on its way", 6);
        services[1].wait_for("reduced to", 6);
        services.into_iter().for_each(Service::terminate);
    })
    .await
    .unwrap();
    stop.cancel();
    serving.await.unwrap().unwrap();
}

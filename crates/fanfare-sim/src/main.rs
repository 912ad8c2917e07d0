//! The simulator on a port.

use std::net::IpAddr;

use anyhow::Context;
use clap::Parser;
use fanfare_sim::{RandomFaults, Sim};
use tokio::net::TcpListener;

/// SNS, SQS and Kinesis on a port, for any AWS SDK or command line.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen; 0 picks a free port.
    #[arg(long, default_value_t = 4566)]
    port: u16,
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// Where the random faults start; the same seed and calls give the same faults.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Probability that a call is throttled.
    #[arg(long, default_value_t = 0.0)]
    throttle: f64,
    /// Probability that a call fails with status 500.
    #[arg(long, default_value_t = 0.0)]
    server_error: f64,
    /// Probability that a call takes effect and its answer is lost.
    #[arg(long, default_value_t = 0.0)]
    lose_answer: f64,
    /// Probability that an entry of a batch call fails.
    #[arg(long, default_value_t = 0.0)]
    fail_entry: f64,
    /// Probability that a receive duplicates a message.
    #[arg(long, default_value_t = 0.0)]
    duplicate: f64,
    /// Probability that a delete or visibility change meets expired handles.
    #[arg(long, default_value_t = 0.0)]
    expire_receipt: f64,
    /// Probability that a read of a stream meets an expired iterator.
    #[arg(long, default_value_t = 0.0)]
    expire_iterator: f64,
    /// Probability that a message is received out of turn.
    #[arg(long, default_value_t = 0.0)]
    reorder: f64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let arguments = Arguments::parse();
    let address = (arguments.host, arguments.port);
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {}:{}", arguments.host, arguments.port))?;
    tracing::info!("SNS, SQS and Kinesis on http://{}", listener.local_addr()?);

    let sim = Sim::new();
    sim.set_faults(Some(RandomFaults {
        seed: arguments.seed,
        throttle: arguments.throttle,
        server_error: arguments.server_error,
        lose_answer: arguments.lose_answer,
        fail_entry: arguments.fail_entry,
        duplicate: arguments.duplicate,
        expire_receipt: arguments.expire_receipt,
        expire_iterator: arguments.expire_iterator,
        reorder: arguments.reorder,
    }));
    sim.serve(listener, interrupted()).await.context("the listener failed")
}

/// Completes on Ctrl-C and, where there is one, SIGTERM.
async fn interrupted() {
    let ctrl_c = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminate = async {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();
    tokio::select! {
        () = ctrl_c => {}
        () = terminate => {}
    }
}

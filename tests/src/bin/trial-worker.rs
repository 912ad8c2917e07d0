//! The killed trial's worker: `trial-worker STAGE standard|fifo FILE`, on the AWS that the environment
//! names, with its inbox and its effects in a SQLite file. It ends well when its standard input does.

use std::{
    env,
    io::{self, Read},
    time::Duration,
};

use anyhow::{Context, Result};
use fanfare::{
    Consumer, Retry,
    aws::{Aws, Worker},
    sql::{Database, SqlInbox, open_sqlite},
    topology::{Bindings, Kind},
};
use fanfare_tests::killed::router;
use tokio::sync::oneshot;

/// Whoever was killed had taken messages, which come again after this.
const VISIBILITY: Duration = Duration::from_secs(3);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let mut argument = || arguments.next().context("trial-worker STAGE standard|fifo FILE");
    let (stage, kind, file) = (argument()?, argument()?, argument()?);
    let kind = if kind == "fifo" { Kind::Fifo } else { Kind::Standard };
    let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    let aws = Aws::new(&config, &env::var("ACCOUNT")?)?;
    let queue = aws.queue(&Bindings::new(&stage), "carrier", kind);
    let inbox = SqlInbox::new(&Database::sqlite(open_sqlite(file).await?));
    let retry = Retry::exponential(Duration::from_millis(500), Duration::from_secs(1));
    let worker =
        Worker::new(queue).visibility_timeout(VISIBILITY).wait_time(Duration::from_secs(1));
    let consumer = Consumer::from(router()).inbox(inbox).retry(retry);
    let (end, ended) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        // Whatever comes of it, there is nobody left.
        drop(io::stdin().read(&mut [0]));
        drop(end);
    });
    worker.run(consumer, async { drop(ended.await) }).await?;
    Ok(())
}

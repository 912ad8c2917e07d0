//! The trial's service as a Lambda function. In its folder, `release` names it, and `broken` keeps it from
//! starting.

use std::{env, fs, path::PathBuf, time::Duration};

use fanfare::{
    Retry,
    aws::Aws,
    lambda::{self, Error},
    sql::{Database, SqlInbox},
    topology::{Bindings, Kind},
};
use fanfare_tests::trial::{Tries, router};
use sqlx::postgres::PgPoolOptions;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let function = lambda::init(async {
        let folder = PathBuf::from(env::var("LAMBDA_TASK_ROOT")?);
        if folder.join("broken").exists() {
            fs::write(folder.join("asked"), "")?;
            return Err("told not to start".into());
        }
        let release = fs::read_to_string(folder.join("release"))?;
        let pool = PgPoolOptions::new().max_connections(2);
        let pool = pool.connect_lazy(&env::var("DATABASE_URL")?)?;
        let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
        let aws = Aws::new(&config, &env::var("ACCOUNT")?)?;
        let kind = if env::var_os("FIFO").is_some() { Kind::Fifo } else { Kind::Standard };
        let queue = aws.queue(&Bindings::new(&env::var("STAGE")?), "carrier", kind);
        let inbox = SqlInbox::new(&Database::postgres(pool.clone()));
        let consumer = router().with_state(Tries { pool, release });
        let retry = Retry::exponential(Duration::from_secs(1), Duration::from_secs(2));
        let function = lambda::any(consumer.inbox(inbox).retry(retry));
        Ok(function.dead_letters(queue.clone()).redelivery(queue))
    });
    lambda::run(function.await?).await
}

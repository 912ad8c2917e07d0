//! The conformance suite: every case on the simulator, in paused time, and on the real LocalStack.

use anyhow::{Context, Result};
use fanfare_testkit::conformance::{Aws, Case};
use fanfare_testkit::conformance_cases;

async fn run(name: &str, aws: &Aws) -> Result<()> {
    Case::named(name).context("no such case")?.run(aws).await
}

mod sim {
    use fanfare_sim::Sim;
    use fanfare_testkit::localstack::ACCOUNT;

    use super::{Aws, Result, conformance_cases, run};

    macro_rules! tests {
        ($($subject:ident { $($case:ident $(differs $why:literal)?,)* })*) => { $($(
            #[tokio::test(start_paused = true)]
            async fn $case() -> Result<()> {
                let sim = Sim::new();
                run(stringify!($case), &Aws::new(&sim.sdk_config(), ACCOUNT)).await
            }
        )*)* };
    }
    conformance_cases!(tests);
}

mod localstack {
    use fanfare_testkit::localstack::{ACCOUNT, LocalStack};

    use super::{Aws, Result, conformance_cases, run};

    macro_rules! tests {
        ($($subject:ident { $($case:ident $(differs $why:literal)?,)* })*) => { $($(
            #[tokio::test]
            $(#[ignore = $why])?
            async fn $case() -> Result<()> {
                let Some(localstack) = LocalStack::from_env()? else { return Ok(()) };
                run(stringify!($case), &Aws::new(&localstack.sdk_config(), ACCOUNT)).await
            }
        )*)* };
    }
    conformance_cases!(tests);
}

//! Kill -9 at any moment: the services and the one who places orders are processes of their own,
//! killed and started again while the shop works. What survives is AWS, and the databases.

mod process;

use std::time::Duration;

use anyhow::ensure;
use fanfare::{aws, sim::Sim};
use tokio::net::TcpListener;

use crate::{
    database::Sql, ground::Ground, journal::note, service::SERVICES, shop::Shop,
    topology::OrdersOn, verdict,
};
use process::Process;

/// Whoever was killed had taken messages, which come again after this many seconds.
const VISIBILITY: u64 = 2;

/// Between two kills, in milliseconds, at most.
const PAUSE: u64 = 250;

/// The orders' ids begin with it; the parent decides on them, so that an order whose placing was
/// cut short is recognised when it is placed again.
const NAME: &str = "chaos";

/// What `shop chaos` takes.
#[derive(clap::Args)]
pub struct Chaos {
    /// How often one of the processes is killed
    #[arg(long, default_value_t = 30)]
    kills: u32,

    /// How many orders are placed meanwhile, as many as the stock lasts for
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=3000))]
    orders: u32,

    /// Decides who is killed and when; printed, to try the same again
    #[arg(long)]
    seed: Option<u64>,
}

impl Chaos {
    pub async fn run<D: Sql>(
        self,
        on: Ground,
        orders_on: OrdersOn,
        account: Option<&str>,
        region: Option<&str>,
        system: &str,
        home: D::Home,
    ) -> anyhow::Result<()> {
        // The simulator is not among those who die: it stands for AWS.
        let on = match on {
            Ground::Simulator => {
                let listener = TcpListener::bind("127.0.0.1:0").await?;
                let url = format!("http://{}", listener.local_addr()?);
                tokio::spawn(async { Sim::new().serve(listener, std::future::pending()).await });
                Ground::Url(url)
            }
            other => other,
        };
        let shop = Shop::<D>::new(on.connect(account, region).await?, system, orders_on, home);
        let topology = shop.topology(&SERVICES[..3]);
        aws::provision(&shop.aws, &topology).await?;
        let mut places = vec!["--on".into(), on.to_string(), "--system".into(), system.into()];
        places.extend(["--orders-on".into(), orders_on.to_string()]);
        for (name, value) in [("--account", account), ("--region", region)] {
            places.extend(value.iter().flat_map(|value| [name.into(), value.to_string()]));
        }
        places.extend(D::arguments(&shop.home));
        let played = tokio::select! {
            played = self.play(&shop, &places) => played,
            () = aws::interrupted() => Err(anyhow::anyhow!("interrupted")),
        };
        let removed = aws::deprovision(&shop.aws, &topology).await;
        played?;
        removed?;
        Ok(D::remove(shop.home).await?)
    }

    /// `places` are the arguments that lead the other processes where this one is.
    async fn play<D: Sql>(&self, shop: &Shop<D>, places: &[String]) -> anyhow::Result<()> {
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..));
        let mut random = fastrand::Rng::with_seed(seed);
        note(format_args!("seed {seed}: {} kills, {} orders", self.kills, self.orders));
        let (visibility, orders) = (VISIBILITY.to_string(), self.orders.to_string());
        // Orders are placed for as long as there are kills.
        let pause = u64::from(self.kills) * PAUSE / 2 / u64::from(self.orders.max(1));
        let pause = pause.to_string();
        let place = ["place", "--name", NAME, "--orders", &orders, "--pause", &pause];
        let mut placing = Process::start(places, &place)?;
        let mut services = Vec::new();
        for name in &SERVICES[..3] {
            services.push(Process::start(places, &["run", name, "--visibility", &visibility])?);
        }

        let mut killed = [0_u32; 4];
        for _ in 0..self.kills {
            tokio::time::sleep(Duration::from_millis(random.u64(10..=PAUSE))).await;
            // One place for each service, and one for who places orders, until all are placed.
            let victim = random.usize(..=services.len());
            let victim = if placing.is_done()? { victim % services.len() } else { victim };
            match services.get_mut(victim) {
                Some(service) => service.kill().await?,
                None => placing.kill().await?,
            }
            killed[victim] += 1;
        }
        let [orders, products, delivery, placed] = killed;
        note(format_args!(
            "killed: orders {orders}, products {products}, delivery {delivery}, placing {placed}"
        ));
        placing.done().await?;

        let verdict =
            verdict::reached::<D>(&shop.home, NAME, self.orders, Duration::from_secs(60)).await?;
        // What the killed had taken, and handled but not settled, comes again: let it.
        tokio::time::sleep(Duration::from_secs(VISIBILITY + 1)).await;
        let last = verdict::of::<D>(&shop.home, NAME, self.orders).await?;
        ensure!(last == verdict, "late messages had an effect: {verdict:?} became {last:?}");
        for service in &mut services {
            ensure!(!service.is_done()?, "a service ended by itself");
        }
        note(format_args!(
            "{} orders: each reduced stock once, has one delivery, and is on its way",
            self.orders
        ));
        Ok(())
    }
}

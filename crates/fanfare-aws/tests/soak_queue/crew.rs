//! The workers, and what happens to them.

use std::{
    collections::BTreeMap,
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use fanfare_aws::Worker;
use fanfare_core::{
    Cancellation, Consumer, Delivery, HandlerError, MemoryIdempotencyStore, MemoryParkedGroups,
    Retry, Router,
};
use fanfare_topology::Kind;
use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
    time::{sleep, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    events::{Fate, OrderPlaced, PaymentTaken},
    ground::{Ground, SUBSCRIPTIONS, Subscription},
    ledger::Ledger,
    seconds,
    wire::Wire,
};

pub const VISIBILITY: Duration = Duration::from_secs(15);

/// The longest, in seconds, that what failed stays away; less than any renewal of a lease takes it.
pub const LONGEST_DELAY: u64 = 3;

/// Tries before the worker itself gives an event up; less than SQS allows, more than bad luck takes.
const ATTEMPTS: u32 = 15;

/// Of a thousand calls of a handler, how many fail.
const FAILING: u32 = 20;

/// Of a thousand calls of a handler, how many take longer than the lease on their message.
const SLOW: u32 = 3;

/// Of a thousand calls of a handler, how many take some time, though less than that.
const BUSY: u32 = 30;

/// How many deliveries a worker may handle at once; each has one of these.
const SLOTS: [usize; 5] = [5, 10, 20, 30, 40];

/// How long leases are kept at most: as good as for ever, or less than slow handlers may take.
const LEASE_LIMITS: [Duration; 2] = [Duration::from_secs(3_600), Duration::from_secs(20)];

/// A graceful stop takes less: a receive under way, time to drain, and settling.
const STOPPED_IN: Duration = Duration::from_secs(20 + 25 + 30);

/// How a worker ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// As by `kill -9`: nothing goes out any more.
    Killed,
    /// Its future is dropped.
    Dropped,
    /// It is told to stop.
    Stopped,
}

/// What a handler has: of one worker's life.
#[derive(Clone)]
pub struct Hands {
    service: &'static str,
    ledger: Arc<Ledger>,
    /// What takes the process down.
    crash: Arc<Notify>,
    slots: usize,
    running: Arc<AtomicUsize>,
}

/// A handler at work.
struct Running<'a>(&'a Hands);

impl<'a> Running<'a> {
    fn new(hands: &'a Hands) -> Self {
        let running = hands.running.fetch_add(1, Relaxed) + 1;
        if running > hands.slots {
            hands.ledger.wrong(format!("{running} handlers where {} may be", hands.slots));
        }
        Running(hands)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Relaxed);
    }
}

/// The service that handles everything.
pub fn products() -> Router<Hands> {
    Router::new("products").on(order).on(payment)
}

/// The one that handles what is on the FIFO topic.
pub fn audit() -> Router<Hands> {
    Router::new("audit").on(payment)
}

async fn order(hands: Hands, order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
    hands.handle(Kind::Standard, order.event.number, &order.cancellation).await
}

async fn payment(hands: Hands, payment: Delivery<PaymentTaken>) -> Result<(), HandlerError> {
    hands.handle(Kind::Fifo, payment.event.number, &payment.cancellation).await
}

impl Hands {
    async fn handle(
        &self,
        kind: Kind,
        number: usize,
        cancellation: &Cancellation,
    ) -> Result<(), HandlerError> {
        let subscription = Subscription { service: self.service, kind };
        let _running = Running::new(self);
        self.ledger.begin(subscription, number);
        let drawn = fastrand::u32(..1_000);
        match self.ledger.fate(number) {
            Fate::Rejected => return Err(HandlerError::reject("poison")),
            Fate::Exhausted => return Err(fail()),
            Fate::Deadly => {
                // What came with it is done meanwhile.
                sleep(Duration::from_millis(fastrand::u64(1_000..3_000))).await;
                self.crash.notify_one();
                std::future::pending::<()>().await;
            }
            _ if drawn < FAILING => return Err(fail()),
            _ if drawn < FAILING + SLOW => {
                self.ledger.slow.fetch_add(1, Relaxed);
                let done = sleep(VISIBILITY.mul_f64(1.0 + fastrand::f64() * 1.5));
                // Some stop when they are told that it is in vain.
                if fastrand::bool() {
                    done.await;
                } else if timeout_at(done.deadline(), cancellation.cancelled()).await.is_ok() {
                    return Err(HandlerError::retry("cancelled"));
                }
            }
            _ if drawn < FAILING + SLOW + BUSY => {
                sleep(Duration::from_millis(fastrand::u64(..200))).await;
            }
            _ => sleep(Duration::from_millis(fastrand::u64(..2))).await,
        }
        self.ledger.effect(subscription, number);
        Ok(())
    }
}

/// In one of the ways in which handlers fail.
fn fail() -> HandlerError {
    match fastrand::u8(..4) {
        // Without the noise of a panic that nobody expects.
        0 => resume_unwind(Box::new("a bug")),
        1 => HandlerError::retry_after(
            Duration::from_millis(fastrand::u64(..LONGEST_DELAY * 1_000)),
            "later",
        ),
        _ => HandlerError::retry("not now"),
    }
}

/// All workers of the system, a few on each queue.
pub struct Crew {
    posts: Vec<Post>,
}

/// A worker's post, which is filled again when the worker ends.
struct Post {
    ends: mpsc::UnboundedSender<End>,
    keeper: JoinHandle<()>,
    restarts: Arc<AtomicUsize>,
}

impl Crew {
    pub fn hire(
        ground: &Arc<Ground>,
        ledger: &Arc<Ledger>,
        parks: bool,
        rng: &mut fastrand::Rng,
    ) -> Crew {
        let mut posts = Vec::new();
        // What is known of a service's events survives its workers.
        let mut known: BTreeMap<&str, Known> = BTreeMap::new();
        for subscription in SUBSCRIPTIONS {
            let known = known.entry(subscription.service).or_insert_with(|| Known::new(parks));
            for _ in 0..rng.usize(2..=3) {
                let (ends, orders) = mpsc::unbounded_channel();
                let restarts = Arc::default();
                let keeper = Keeper {
                    ground: Arc::clone(ground),
                    ledger: Arc::clone(ledger),
                    known: known.clone(),
                    subscription,
                    slots: SLOTS[rng.usize(..SLOTS.len())],
                    rng: rng.fork(),
                    restarts: Arc::clone(&restarts),
                };
                posts.push(Post { ends, keeper: tokio::spawn(keeper.keep(orders)), restarts });
            }
        }
        Crew { posts }
    }

    /// Something happens to one of the workers.
    pub fn restart_one(&self, rng: &mut fastrand::Rng) {
        let end = [End::Killed, End::Dropped, End::Stopped][rng.usize(..3)];
        self.posts[rng.usize(..self.posts.len())].ends.send(end).unwrap();
    }

    /// Stops all workers, for good.
    pub async fn dismiss(&mut self) {
        for Post { ends, keeper, .. } in &mut self.posts {
            *ends = mpsc::unbounded_channel().0;
            keeper.await.unwrap();
        }
    }

    pub fn restarts(&self) -> usize {
        self.posts.iter().map(|post| post.restarts.load(Relaxed)).sum()
    }
}

/// What a service knows of the events that came to it, across the lives of its workers.
#[derive(Clone)]
struct Known {
    handled: MemoryIdempotencyStore,
    parked: Option<MemoryParkedGroups>,
}

impl Known {
    fn new(parks: bool) -> Known {
        let handled = MemoryIdempotencyStore::with_capacity(usize::MAX);
        Known { handled, parked: parks.then(MemoryParkedGroups::default) }
    }
}

struct Keeper {
    ground: Arc<Ground>,
    ledger: Arc<Ledger>,
    known: Known,
    subscription: Subscription,
    slots: usize,
    rng: fastrand::Rng,
    restarts: Arc<AtomicUsize>,
}

impl Keeper {
    /// Has a worker at work until nobody orders ends any more.
    async fn keep(mut self, mut orders: mpsc::UnboundedReceiver<End>) {
        loop {
            let wire = Wire::new(&self.ground.sim, self.rng.fork());
            let stop = CancellationToken::new();
            let crash = Arc::new(Notify::new());
            let worker = Worker::new(self.ground.queue(&wire, self.subscription))
                .concurrency(self.slots)
                .visibility_timeout(VISIBILITY)
                .lease_limit(LEASE_LIMITS[self.rng.usize(..LEASE_LIMITS.len())]);
            let consumer = self.consumer(Arc::clone(&crash));
            let mut working = tokio::spawn(worker.run(consumer, stop.clone().cancelled_owned()));
            let end = tokio::select! {
                biased;
                ended = &mut working => panic!("{:?}: {ended:?}", self.subscription),
                () = crash.notified() => Some(End::Killed),
                end = orders.recv() => end,
            };
            match end {
                Some(End::Killed) => {
                    wire.cut();
                    working.abort();
                    working.await.unwrap_err();
                }
                Some(End::Dropped) => {
                    working.abort();
                    working.await.unwrap_err();
                }
                Some(End::Stopped) | None => {
                    stop.cancel();
                    let stopped = timeout(STOPPED_IN, working).await;
                    stopped.expect("a worker does not stop").unwrap().unwrap();
                }
            }
            // What is handled, and what may be received ahead of that.
            let (held, most) = (wire.most_held(), self.slots + (10 * self.slots).clamp(30, 1_000));
            if held > most {
                self.ledger.wrong(format!("{:?}: {held} held, not {most}", self.subscription));
            }
            if wire.late() > 0 {
                let late = wire.late();
                self.ledger.wrong(format!("{:?}: {late} settled after all", self.subscription));
            }
            if end.is_none() {
                return;
            }
            self.restarts.fetch_add(1, Relaxed);
            sleep(Duration::from_millis(self.rng.u64(..3_000))).await;
        }
    }

    fn consumer(&self, crash: Arc<Notify>) -> Consumer {
        let router = match self.subscription.service {
            "products" => products(),
            _ => audit(),
        };
        let hands = Hands {
            service: self.subscription.service,
            ledger: Arc::clone(&self.ledger),
            crash,
            slots: self.slots,
            running: Arc::default(),
        };
        let consumer = router.with_state(hands).idempotency(self.known.handled.clone());
        let retry = Retry::exponential(Duration::from_millis(200), seconds(2));
        let consumer = consumer.retry(retry.max_attempts(ATTEMPTS));
        match &self.known.parked {
            Some(parked) => consumer.park_groups(parked.clone()),
            None => consumer,
        }
    }
}

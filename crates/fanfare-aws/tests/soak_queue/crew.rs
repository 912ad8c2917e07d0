//! The workers, and what happens to them.

use std::{
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use fanfare_aws::Worker;
use fanfare_core::{Backoff, Consumer, Delivery, HandlerError, MemoryIdempotencyStore, Router};
use fanfare_topology::Kind;
use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
    time::{sleep, timeout},
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

/// Tries before the worker itself gives an event up; less than SQS allows, more than bad luck takes.
const ATTEMPTS: u32 = 20;

/// Of a thousand calls of a handler, how many fail.
const FAILING: u32 = 20;

/// Of a thousand calls of a handler, how many take longer than the lease on their message.
const SLOW: u32 = 3;

/// Of a thousand calls of a handler, how many take some time, though less than that.
const BUSY: u32 = 30;

/// How many deliveries a worker may hold; each has one of these.
const SLOTS: [usize; 5] = [5, 10, 20, 30, 40];

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
    hands.handle(Kind::Standard, order.event.number).await
}

async fn payment(hands: Hands, payment: Delivery<PaymentTaken>) -> Result<(), HandlerError> {
    hands.handle(Kind::Fifo, payment.event.number).await
}

impl Hands {
    async fn handle(&self, kind: Kind, number: usize) -> Result<(), HandlerError> {
        let subscription = Subscription { service: self.service, kind };
        self.ledger.begin(subscription, number);
        let drawn = fastrand::u32(..1_000);
        match Fate::of(number) {
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
                sleep(VISIBILITY.mul_f64(1.0 + fastrand::f64() * 1.5)).await;
            }
            _ if drawn < FAILING + SLOW + BUSY => {
                sleep(Duration::from_millis(fastrand::u64(..200))).await;
            }
            _ => sleep(Duration::from_millis(fastrand::u64(..3))).await,
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
        1 => HandlerError::retry_after(Duration::from_millis(fastrand::u64(..3_000)), "later"),
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
    pub fn hire(ground: &Arc<Ground>, ledger: &Arc<Ledger>, rng: &mut fastrand::Rng) -> Crew {
        let mut posts = Vec::new();
        let mut stores: Vec<(&str, MemoryIdempotencyStore)> = Vec::new();
        for subscription in SUBSCRIPTIONS {
            // What a service has handled survives its workers.
            let service = subscription.service;
            let store = match stores.iter().find(|(name, _)| *name == service) {
                Some((_, store)) => store.clone(),
                None => MemoryIdempotencyStore::with_capacity(usize::MAX),
            };
            stores.push((service, store.clone()));
            for _ in 0..rng.usize(2..=3) {
                let (ends, orders) = mpsc::unbounded_channel();
                let restarts = Arc::default();
                let keeper = Keeper {
                    ground: Arc::clone(ground),
                    ledger: Arc::clone(ledger),
                    store: store.clone(),
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

struct Keeper {
    ground: Arc<Ground>,
    ledger: Arc<Ledger>,
    store: MemoryIdempotencyStore,
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
                .visibility_timeout(VISIBILITY);
            let consumer = self.consumer(Arc::clone(&crash));
            let mut working = tokio::spawn(worker.run(consumer, stop.clone().cancelled_owned()));
            let end = tokio::select! {
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
            if wire.most_held() > self.slots {
                let (most, slots) = (wire.most_held(), self.slots);
                self.ledger.wrong(format!("{:?}: {most} held in {slots}", self.subscription));
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
        let hands =
            Hands { service: self.subscription.service, ledger: Arc::clone(&self.ledger), crash };
        let consumer = router.with_state(hands).idempotency(self.store.clone());
        consumer.retry(Backoff::new(Duration::from_millis(200), seconds(2))).max_attempts(ATTEMPTS)
    }
}

//! What holds whatever fails: drawn from seeds, which are printed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use fanfare_aws::Worker;
use fanfare_core::{Delivery, HandlerError, Outcome, Retry, Router};
use fanfare_topology::Kind;
use fastrand::Rng;
use tokio::time::sleep;

use crate::{
    support::*,
    wire::{Sent, Way, Wire},
};

const KEYS: [&str; 4] = ["a", "b", "c", "d"];
const EVENTS: usize = 120;

/// What handlers of all workers do with the orders of one seed.
#[derive(Clone)]
struct World {
    rng: Arc<Mutex<Rng>>,
    /// Of each key: the number that was handled last, with a lease to the end.
    handled: Arc<Mutex<HashMap<String, usize>>>,
    /// Handlers that run with a lease, by key.
    running: Arc<Mutex<HashMap<String, usize>>>,
    broken: Arc<Mutex<Vec<String>>>,
}

impl World {
    fn draw<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut self.rng.lock().unwrap())
    }

    fn broken(&self, what: String) {
        self.broken.lock().unwrap().push(what);
    }
}

/// Takes from nothing to some minutes, and heeds its cancellation.
async fn act(world: World, order: Delivery<OrderPlaced>) -> Result<(), HandlerError> {
    let OrderPlaced { order_id, number } = order.event;
    // An earlier one of its key has been handled before, or is the one that comes again.
    let last = world.handled.lock().unwrap().get(&order_id).copied();
    let expected = last.map_or(number / KEYS.len() == 0, |last| number <= last + KEYS.len());
    if !expected {
        world.broken(format!("{order_id}{number} begins after {last:?}"));
    }
    if let Some(other) = world.running.lock().unwrap().insert(order_id.clone(), number) {
        world.broken(format!("{order_id}{number} begins beside {other}"));
    }
    let time = world.draw(|rng| match rng.u8(..4) {
        0 => Duration::ZERO,
        1 => Duration::from_millis(rng.u64(..1_000)),
        _ => Duration::from_secs(rng.u64(..90)),
    });
    let lost = tokio::select! {
        biased;
        () = order.cancellation.cancelled() => true,
        () = sleep(time) => false,
    };
    world.running.lock().unwrap().remove(&order_id);
    if lost || world.draw(|rng| rng.u8(..10) == 0) {
        return Err(HandlerError::retry("again"));
    }
    let mut handled = world.handled.lock().unwrap();
    let last = handled.entry(order_id).or_insert(number);
    *last = number.max(*last);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn on_fifo_order_holds_however_renewals_fail_and_whoever_has_the_lease() {
    for seed in 0..6 {
        eprintln!("seed {seed}");
        let shop = Shop::new(Kind::Fifo).await;
        let events: Vec<_> = (0..EVENTS).map(|i| order(KEYS[i % KEYS.len()], i)).collect();
        shop.orders().emit_all(events).await.unwrap().into_result().unwrap();
        let rng = Arc::new(Mutex::new(Rng::with_seed(seed)));
        let (handled, running, broken) = Default::default();
        let world = World { rng, handled, running, broken };
        let rule = {
            let world = world.clone();
            move |sent: &Sent| match &*sent.action {
                "ReceiveMessage" => {
                    Way::Slow(Duration::from_millis(world.draw(|rng| rng.u64(..50))))
                }
                _ => match world.draw(|rng| rng.u8(..10)) {
                    0..4 => Way::Cut,
                    4..6 => Way::Slow(Duration::from_millis(world.draw(|rng| rng.u64(..3_000)))),
                    _ => Way::Through,
                },
            }
        };
        let wire = Wire::new(&shop.sim, rule);
        let seen = Seen::default();
        let work = || {
            let shop = wire.shop(&shop);
            let worker = Worker::new(shop.queue()).visibility_timeout(Duration::from_secs(10));
            let router = Router::new("products").on(act).with_state(world.clone());
            let retry = Retry::exponential(Duration::from_secs(1), Duration::from_secs(5));
            shop.work_with(worker, seen.observe(router.retry(retry.until_redrive())))
        };
        let workers = [work(), work()];
        shop.drained().await;
        for worker in workers {
            worker.finish().await.unwrap();
        }
        assert_eq!(*world.broken.lock().unwrap(), Vec::<String>::new(), "seed {seed}");
        for (key, last) in world.handled.lock().unwrap().iter() {
            assert!(*last >= EVENTS - KEYS.len(), "seed {seed}: {key} ends at {last}");
        }
        let lost = seen.outcomes().iter().filter(|outcome| **outcome == Outcome::Lost).count();
        eprintln!("{lost} leases were lost");
    }
}

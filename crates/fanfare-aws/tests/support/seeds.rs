//! Soaks by their seeds.

use std::sync::Mutex;

/// Soaks with all of so many seeds, or with the one that the environment names in `FANFARE_SEED`, on as
/// many threads as there are processors, each with a paused clock of its own.
pub fn soak_all<F: Future<Output = ()>>(seeds: u64, soak: impl Fn(u64) -> F + Sync) {
    let one: Option<u64> = std::env::var("FANFARE_SEED").ok().map(|seed| seed.parse().unwrap());
    let next = Mutex::new(one.map_or(0..seeds, |seed| seed..seed + 1));
    let soak_some = || {
        while let Some(seed) = { next.lock().unwrap().next() } {
            let named = Named(seed);
            eprintln!("seed {seed} begins");
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .start_paused(true)
                .build();
            runtime.unwrap().block_on(soak(seed));
            drop(named);
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        (0..threads).for_each(|_| drop(scope.spawn(soak_some)));
    });
}

/// Says how to run a seed that failed alone.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("with FANFARE_SEED={}", self.0);
        }
    }
}

//! How a worker does, for those who look after it.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, atomic::Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::host::Host;

/// How a worker does: see [`Worker::health`](crate::Worker::health).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Whether it has ended: it was told to stop, or it failed.
    pub ended: bool,
    /// How long ago it began to run; none before, and after its end.
    pub running_for: Option<Duration>,
    /// How long ago the last receive succeeded, whether it brought anything or not; none before the first.
    /// A receive that waits for messages takes up to the worker's wait time, 20 seconds by default, and
    /// none begins as long as there is no room for what it may bring.
    pub last_poll: Option<Duration>,
    /// How many receives are under way.
    pub polls: usize,
    /// How many messages are held: those that wait for a handler, are handled, or are being settled.
    pub in_flight: usize,
    /// How many of them wait for a handler.
    pub waiting: usize,
    /// How long ago the oldest of them was received.
    pub oldest_in_flight: Option<Duration>,
}

/// Reads a worker's [`Health`] at any time, from any task. Clones read the same.
///
/// A probe of liveness, over HTTP or otherwise, fails if nothing has been received for long though
/// nothing is in flight, if something has been in flight for longer than any handler may take, or if the
/// worker has ended although the process has not:
///
/// ```
/// # use std::time::Duration;
/// # use fanfare_aws::HealthProbe;
/// fn status(probe: &HealthProbe) -> u16 {
///     let health = probe.health();
///     let is_stuck = match health.oldest_in_flight {
///         Some(age) => age > Duration::from_secs(600),
///         None => health.last_poll.or(health.running_for) > Some(Duration::from_secs(120)),
///     };
///     if is_stuck || health.ended { 503 } else { 200 }
/// }
/// ```
///
/// A worker whose queue cannot be reached fails such a probe, too. Whoever does not want to be restarted
/// for that looks at [`oldest_in_flight`](Health::oldest_in_flight) alone.
#[derive(Clone, Default)]
pub struct HealthProbe {
    running: Arc<Mutex<Vec<Weak<Host>>>>,
}

impl HealthProbe {
    /// How the worker does now. Before it runs, and after its end, nothing is in flight and no poll is
    /// known. Where clones of a worker run at once, all that they hold counts, and the poll that is
    /// longest ago.
    #[must_use]
    pub fn health(&self) -> Health {
        let now = Instant::now();
        let running = self.running();
        let hosts = running.iter().filter_map(Weak::upgrade);
        let hosts = hosts.filter(|host| !host.ended.load(Ordering::SeqCst));
        let ended = Health { ended: !running.is_empty(), ..Health::default() };
        hosts.map(|host| host.health(now)).reduce(Health::and).unwrap_or(ended)
    }

    /// Reads the health of this one, too, from now on.
    pub(super) fn watch(&self, host: &Arc<Host>) {
        let mut running = self.running();
        running.retain(|host| host.strong_count() > 0);
        running.push(Arc::downgrade(host));
    }

    fn running(&self) -> MutexGuard<'_, Vec<Weak<Host>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for HealthProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HealthProbe").field(&self.health()).finish()
    }
}

impl Health {
    fn and(self, other: Health) -> Health {
        Health {
            ended: self.ended && other.ended,
            running_for: self.running_for.max(other.running_for),
            last_poll: self.last_poll.max(other.last_poll),
            polls: self.polls + other.polls,
            in_flight: self.in_flight + other.in_flight,
            waiting: self.waiting + other.waiting,
            oldest_in_flight: self.oldest_in_flight.max(other.oldest_in_flight),
        }
    }
}

impl Host {
    fn health(&self, now: Instant) -> Health {
        let (last_poll, polls) = {
            let pace = self.pace();
            (pace.last_answer(), pace.polls())
        };
        let ago = |then: Instant| now.saturating_duration_since(then);
        Health {
            ended: false,
            running_for: Some(ago(self.began)),
            last_poll: last_poll.map(ago),
            polls,
            in_flight: self.leases.held(),
            waiting: self.desk.waiting(self.place),
            oldest_in_flight: self.leases.oldest().map(ago),
        }
    }
}

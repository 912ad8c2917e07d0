//! Receiving: one long poll where nothing comes, several polls side by side where much does.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::{
    WorkerError,
    host::Host,
    pace::Offer,
    receive::{BACKOFF, receive},
    settle::until,
};
use crate::failure::{Class, Failure};

/// How long a poll waits for room beyond the first message, so that it can ask for ten.
const MOMENT: Duration = Duration::from_millis(50);

/// How long a poll waits for a message that is not the only one: the longest that there are several
/// when the queue has run empty.
const BESIDE: Duration = Duration::from_secs(1);

/// Why a poll ended for which there is no successor.
type Ended = Result<(), (u32, Failure)>;

/// The polls of a worker.
pub(super) struct Polls {
    host: Arc<Host>,
    under_way: JoinSet<Ended>,
}

impl Polls {
    pub(super) fn new(host: Arc<Host>) -> Self {
        Polls { host, under_way: JoinSet::new() }
    }

    /// Polls until `shutdown` resolves to the time by which all has to be done; an error if receiving
    /// can never work.
    pub(super) async fn run(
        &mut self,
        mut shutdown: Pin<&mut impl Future<Output = Instant>>,
    ) -> Result<Instant, WorkerError> {
        let queue = &self.host.queue.name;
        // Until when nothing is received after a failure, and until when a whole receive is waited for.
        let (mut pause, mut moment) = (None, None);
        loop {
            pause = pause.filter(|pause| Instant::now() < *pause);
            if pause.is_none() {
                let patient = moment.is_none_or(|moment| Instant::now() < moment);
                match self.offer(patient) {
                    Offer::Poll { most, only } => {
                        let room = Room::new(Arc::clone(&self.host), most, only);
                        self.under_way.spawn(poll(room));
                        moment = None;
                        continue;
                    }
                    Offer::Few => {
                        moment.get_or_insert_with(|| Instant::now() + MOMENT);
                    }
                    Offer::Full | Offer::Enough => moment = None,
                }
            }
            tokio::select! {
                biased;
                deadline = shutdown.as_mut() => return Ok(deadline),
                Some(ended) = self.under_way.join_next() => match ended {
                    Ok(Ok(())) => {}
                    Ok(Err((failures, failure))) if failure.class == Class::Transient => {
                        let time = BACKOFF.delay(failures);
                        tracing::warn!(%queue, %failure, pause = ?time, "receiving failed");
                        pause = Some(Instant::now() + time);
                    }
                    Ok(Err((_, failure))) => return Err(WorkerError::of(&failure, queue.clone())),
                    Err(error) => {
                        tracing::error!(%queue, %error, "a receive ended early");
                        pause = Some(Instant::now() + BACKOFF.delay(1));
                    }
                },
                () = self.host.room.notified() => {}
                () = until(pause.or(moment)) => {}
            }
        }
    }

    /// Whether a poll may begin. If there is no room, it is told when there is.
    fn offer(&self, patient: bool) -> Offer {
        match self.host.offer(patient) {
            Offer::Few | Offer::Full => {
                // Room that was made before this is seen now, and what is made later is told.
                self.host.wants_room.store(true, Ordering::SeqCst);
                self.host.offer(patient)
            }
            offer => offer,
        }
    }

    /// Waits for the polls that are under way: one that is dropped can still be handed messages, which
    /// nobody would see until their visibility time-out. What they bring is given back at once.
    pub(super) async fn finish(mut self, deadline: Instant) {
        let ended = async { while self.under_way.join_next().await.is_some() {} };
        drop(timeout_at(deadline, ended).await);
        self.under_way.shutdown().await;
    }
}

impl Host {
    /// Whether a poll may begin.
    fn offer(&self, patient: bool) -> Offer {
        let room = self.desk.room(self.place);
        self.pace().offer(self.leases.held(), room, patient)
    }
}

/// Polls on and on, as long as there is room, and no others are under way that suffice.
async fn poll(mut room: Room) -> Ended {
    loop {
        let host = Arc::clone(&room.host);
        let wait = if room.only { host.wait } else { host.wait.min(BESIDE) };
        let sent = Instant::now();
        match receive(&host.queue, room.most, wait, host.visibility).await {
            Ok(received) => host.arrived(room.over(), received, sent.elapsed()),
            Err(failure) => return Err((host.pace().failed(room.over()), failure)),
        }
        if host.is_stopping() {
            return Ok(());
        }
        match host.offer(true) {
            Offer::Poll { most, only } => room = Room::new(host, most, only),
            _ => return Ok(()),
        }
    }
}

/// Room that is kept for what a poll may bring, until it is over.
struct Room {
    host: Arc<Host>,
    most: usize,
    only: bool,
    kept: bool,
}

impl Room {
    fn new(host: Arc<Host>, most: usize, only: bool) -> Self {
        Room { host, most, only, kept: true }
    }

    /// The poll is over, which the caller says to the host.
    fn over(&mut self) -> usize {
        self.kept = false;
        self.most
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if self.kept {
            self.host.pace().dropped(self.most);
        }
    }
}

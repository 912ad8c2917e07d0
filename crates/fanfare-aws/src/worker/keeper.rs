//! Keeps the leases on all that is held: renews them in full batches, until they are settled, lost, or
//! at their limit.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    host::Host,
    leases::{Due, Renewal, Renewed},
    receive::whole_seconds,
    requests::change_visibility,
};
use crate::{
    failure::{Class, Failure},
    limits::BATCH_ENTRIES,
};

/// The longest that a renewal is waited for; and in parts of a lease.
const PATIENCE: (Duration, u32) = (Duration::from_secs(10), 4);

/// Renews until it is told that nothing more will be held, and nothing is.
pub(super) async fn keep(host: Arc<Host>, closing: CancellationToken) {
    let mut requests = JoinSet::new();
    while !closing.is_cancelled() || host.leases.held() > 0 {
        let Due { renewals, lost, next } = host.leases.due();
        host.lost(lost);
        let mut renewals = renewals.into_iter();
        loop {
            let request: Vec<Renewal> = renewals.by_ref().take(BATCH_ENTRIES).collect();
            if request.is_empty() {
                break;
            }
            requests.spawn(renew(Arc::clone(&host), request));
        }
        tokio::select! {
            () = sleep_until(next) => {}
            Some(_) = requests.join_next() => {}
            () = closing.cancelled(), if !closing.is_cancelled() => {}
        }
    }
}

/// Renews up to 10 leases.
async fn renew(host: Arc<Host>, renewals: Vec<Renewal>) {
    let sent = Instant::now();
    let changes = renewals
        .iter()
        .map(|renewal| (&*renewal.receipt, whole_seconds(renewal.until.duration_since(sent))));
    let patience = PATIENCE.0.min(host.visibility / PATIENCE.1);
    let answer = match timeout(patience, change_visibility(&host.queue, changes)).await {
        Ok(answer) => answer,
        Err(_elapsed) => Err(Failure::transient("no answer in time", "")),
    };
    let outcome = |index: usize| match &answer {
        Err(_) => Renewed::NotYet,
        Ok(failures) => match failures.get(&index).map(|failure| failure.class) {
            None => Renewed::Yes,
            // Its receipt is no longer good, or it is not in flight.
            Some(Class::Refused) => Renewed::Never,
            Some(_) => Renewed::NotYet,
        },
    };
    let (settlements, lost) = host.leases.renewed(&renewals, sent, outcome);
    let failure = match &answer {
        Err(failure) => Some(failure),
        Ok(failures) => failures.values().find(|failure| failure.class != Class::Refused),
    };
    if let Some(failure) = failure {
        tracing::warn!(queue = %host.queue.name, %failure, "leases are not renewed yet");
    }
    host.lost(lost);
    host.send(settlements);
}

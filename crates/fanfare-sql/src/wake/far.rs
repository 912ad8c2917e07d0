//! `NOTIFY` and `LISTEN`.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use sqlx::{
    ConnectOptions, PgPool,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::{
    runtime::Handle,
    sync::mpsc::{self, error::TrySendError},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{Database, database::Pool, names::Names};

/// At least this long between two `NOTIFY`.
const PAUSE: Duration = Duration::from_millis(10);

/// Between tries to listen.
const AGAIN: Duration = Duration::from_secs(1);

/// Wakes other processes.
pub(super) struct Far {
    /// What this process signs its `NOTIFY` with, to know its own.
    id: Uuid,
    sender: Mutex<Option<mpsc::Sender<()>>>,
}

impl Default for Far {
    fn default() -> Self {
        Far { id: Uuid::now_v7(), sender: Mutex::default() }
    }
}

impl Far {
    pub(super) fn wake(&self, pool: &PgPool, names: &Names) {
        let mut sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        // Full is as good as sent; closed is the end of the runtime that it ran on.
        let sent = sender.as_ref().map(|sender| sender.try_send(()));
        if !matches!(sent, Some(Ok(()) | Err(TrySendError::Full(())))) {
            *sender = start(pool, names.shared("wake"), self.id);
        }
    }
}

/// Starts the task that sends `NOTIFY`; it ends with its sender. None without a runtime.
fn start(pool: &PgPool, channel: String, id: Uuid) -> Option<mpsc::Sender<()>> {
    let (sender, mut wanted) = mpsc::channel(1);
    let _ = sender.try_send(());
    let options = pool.connect_options();
    Handle::try_current().ok()?.spawn(async move {
        let mut connection = None;
        while wanted.recv().await.is_some() {
            if connection.is_none() {
                let options = options.as_ref().clone().application_name("fanfare-wake");
                connection = options.options([("synchronous_commit", "off")]).connect().await.ok();
            }
            if let Some(open) = &mut connection {
                let notify = sqlx::query("select pg_notify($1, $2)").bind(&channel);
                if let Err(error) = notify.bind(id.to_string()).execute(open).await {
                    tracing::debug!(%error, "others were not woken: they look by themselves");
                    connection = None;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    Some(sender)
}

/// Wakes those in this process for as long as others say that they recorded something.
pub(crate) async fn listen(database: Database, stop: CancellationToken) {
    let options = match &database.pool {
        Pool::Postgres(pool) => pool.connect_options(),
        #[cfg(feature = "sqlite")]
        Pool::Sqlite(_) => return,
    };
    let options = options.as_ref().clone().application_name("fanfare-listen");
    // A pool of one: the listener would keep a connection of the user's.
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
    let channel = database.names.shared("wake");
    let own = database.wake.far.id.to_string();
    let heard = async {
        loop {
            let listening = async {
                let mut listener = PgListener::connect_with(&pool).await?;
                listener.listen(&channel).await?;
                loop {
                    if listener.recv().await?.payload() != own {
                        database.wake.near.send_modify(|times| *times += 1);
                    }
                }
            };
            let Err::<std::convert::Infallible, sqlx::Error>(error) = listening.await;
            tracing::debug!(%error, "not listening: lanes look by themselves");
            tokio::time::sleep(AGAIN).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = heard => {}
    }
}

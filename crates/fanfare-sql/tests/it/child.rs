//! A relay as a process of its own, to be killed, and the broker that it publishes to.
//!
//! The process is this test binary, run again with a variable that says what to do. Its broker is
//! here, behind a socket: a line per call, answered when the call's events are accepted.

use std::{
    collections::HashMap,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use fanfare_core::{Message, PublishError, PublishReport, Publisher};
use fanfare_sql::{Database, Relay};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::{Mutex as AsyncMutex, watch},
};

use crate::broker::{PATIENCE, number};

const VARIABLE: &str = "FANFARE_TEST_RELAY";

/// What the process is told.
#[derive(Serialize, Deserialize)]
struct Orders {
    name: String,
    database: String,
    broker: String,
    lease: Duration,
}

/// A relay in a process of its own, killed when dropped.
pub(crate) struct RelayProcess {
    child: Child,
}

impl RelayProcess {
    pub(crate) fn start(name: &str, database: &str, broker: &FarBroker, lease: Duration) -> Self {
        let (name, database) = (name.to_string(), database.to_string());
        let orders = Orders { name: name.clone(), database, broker: broker.address.clone(), lease };
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["child::this_process_is_a_relay_if_it_is_told_so", "--exact", "--nocapture"])
            .env(VARIABLE, serde_json::to_string(&orders).unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        RelayProcess { child }
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }
}

impl Drop for RelayProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn this_process_is_a_relay_if_it_is_told_so() {
    let Ok(orders) = std::env::var(VARIABLE) else { return };
    let orders: Orders = serde_json::from_str(&orders).unwrap();
    let database = if orders.database.starts_with("sqlite:") {
        let path = orders.database.trim_start_matches("sqlite:").split('?').next().unwrap();
        Database::sqlite(fanfare_sql::open_sqlite(path).await.unwrap())
    } else {
        Database::postgres(sqlx::PgPool::connect_lazy(&orders.database).unwrap())
    };
    let far = Far { name: orders.name, address: orders.broker, open: Arc::default() };
    let relay = Relay::new(&database, far).lease(orders.lease);
    relay.run(std::future::pending()).await.unwrap();
}

/// A call on its way to the broker.
#[derive(Serialize, Deserialize)]
struct Call {
    relay: String,
    events: Vec<Accepted>,
}

/// An event as the broker knows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Accepted {
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) number: u64,
}

/// The process's way to the broker: a connection for each lane, which is a task, so that its last
/// call is the one that it may not have settled.
struct Far {
    name: String,
    address: String,
    open: Arc<AsyncMutex<HashMap<tokio::task::Id, BufReader<TcpStream>>>>,
}

impl Publisher for Far {
    async fn publish(&self, batch: &[Message]) -> PublishReport {
        let event = |message: &Message| Accepted {
            id: message.id.clone(),
            key: message.key.clone(),
            number: number(message),
        };
        let call = Call { relay: self.name.clone(), events: batch.iter().map(event).collect() };
        let mut line = serde_json::to_string(&call).unwrap();
        line.push('\n');
        let connection = self.open.lock().await.remove(&tokio::task::id());
        let mut connection = match connection {
            Some(connection) => connection,
            None => BufReader::new(TcpStream::connect(&self.address).await.unwrap()),
        };
        connection.write_all(line.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_line(&mut answer).await.unwrap();
        self.open.lock().await.insert(tokio::task::id(), connection);
        let outcome = match answer.trim_end() {
            "accepted" => Ok(()),
            _ => Err(PublishError::Blocked),
        };
        PublishReport::new(vec![outcome; batch.len()])
    }
}

/// The broker that processes publish to.
#[derive(Clone)]
pub(crate) struct FarBroker {
    address: String,
    state: Arc<watch::Sender<State>>,
    /// How long an answer takes after the acceptance.
    latency: Arc<Mutex<Duration>>,
}

#[derive(Default)]
struct State {
    accepted: Vec<(String, Accepted)>,
    distinct: std::collections::HashSet<String>,
    /// The last call of each connection.
    last: HashMap<usize, Vec<Accepted>>,
}

impl FarBroker {
    pub(crate) async fn start() -> FarBroker {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let broker = FarBroker { address, state: Arc::default(), latency: Arc::default() };
        let serving = broker.clone();
        tokio::spawn(async move {
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serving.clone().serve(number, stream));
            }
        });
        broker
    }

    async fn serve(self, number: usize, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
            // A process that was killed while it wrote leaves half a line.
            let Ok(call) = serde_json::from_str::<Call>(&line) else { return };
            line.clear();
            self.state.send_modify(|state| {
                for event in &call.events {
                    state.distinct.insert(event.id.clone());
                    state.accepted.push((call.relay.clone(), event.clone()));
                }
                state.last.insert(number, call.events);
            });
            let latency = *self.latency.lock().unwrap();
            tokio::time::sleep(latency).await;
            if stream.write_all(b"accepted\n").await.is_err() {
                return;
            }
        }
    }

    pub(crate) fn answer_after(&self, latency: Duration) {
        *self.latency.lock().unwrap() = latency;
    }

    /// Waits until `count` different events were accepted.
    pub(crate) async fn has(&self, count: usize) {
        self.until(&format!("{count} events"), |distinct, _| distinct >= count).await;
    }

    /// Waits until a relay of this name had some accepted.
    pub(crate) async fn hears_from(&self, relay: &str) {
        self.until(relay, |_, accepted| accepted.iter().any(|(name, _)| name == relay)).await;
    }

    async fn until(&self, what: &str, done: impl Fn(usize, &[(String, Accepted)]) -> bool) {
        let mut state = self.state.subscribe();
        let enough = state.wait_for(|state| done(state.distinct.len(), &state.accepted));
        if tokio::time::timeout(PATIENCE, enough).await.is_err() {
            let has = self.state.borrow().distinct.len();
            panic!("{what}: not after {PATIENCE:?}; it has {has} different events");
        }
    }

    /// How many events each relay had accepted.
    pub(crate) fn accepted_from(&self, relay: &str) -> usize {
        self.state.borrow().accepted.iter().filter(|(name, _)| name == relay).count()
    }

    /// The events of the last call of each lane of each relay: those may not have been settled.
    pub(crate) fn unsettled(&self) -> Vec<Accepted> {
        self.state.borrow().last.values().flat_map(|events| events.clone()).collect()
    }

    /// How often each event was accepted more than once.
    pub(crate) fn duplicates(&self) -> HashMap<String, usize> {
        let mut times: HashMap<String, usize> = HashMap::new();
        for (_, event) in &self.state.borrow().accepted {
            *times.entry(event.id.clone()).or_default() += 1;
        }
        times.retain(|_, times| *times > 1);
        times.values_mut().for_each(|times| *times -= 1);
        times
    }

    /// The numbers of each key's events, in the order of their first acceptance.
    pub(crate) fn by_key(&self) -> std::collections::BTreeMap<String, Vec<u64>> {
        let mut seen = std::collections::HashSet::new();
        let mut by_key: std::collections::BTreeMap<String, Vec<u64>> = Default::default();
        for (_, event) in &self.state.borrow().accepted {
            if seen.insert(event.id.clone()) {
                by_key.entry(event.key.clone()).or_default().push(event.number);
            }
        }
        by_key
    }
}

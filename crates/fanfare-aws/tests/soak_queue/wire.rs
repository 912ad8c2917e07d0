//! The way between one process and AWS. It breaks now and then, it can be cut, as it is for a process
//! that is killed, and it shows how many messages are in the process's hands.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
        SharedHttpConnector,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use fanfare_sim::Sim;
use serde::Deserialize;
use tokio::{sync::Notify, time::Instant};

use crate::crew::{LONGEST_DELAY, VISIBILITY};

/// Of a thousand requests, how many find no connection.
const BROKEN: u32 = 10;

/// Of a thousand requests, how many are never answered.
const HANGING: u32 = 1;

/// For a settlement that was on its way when the lease ended.
const LATE: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub struct Wire(Arc<Inner>);

struct Inner {
    sim: SharedHttpClient,
    rng: Mutex<fastrand::Rng>,
    is_cut: AtomicBool,
    cut: Notify,
    /// By receipt, what was received and not settled.
    held: Mutex<HashMap<String, Held>>,
    most: AtomicUsize,
    late: AtomicUsize,
}

#[derive(Clone, Copy)]
struct Held {
    /// Until when it is leased, as far as the process has been told.
    until: Instant,
    /// It has not been renewed yet.
    is_new: bool,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}

impl Wire {
    pub fn new(sim: &Sim, rng: fastrand::Rng) -> Wire {
        Wire(Arc::new(Inner {
            sim: sim.http_client(),
            rng: Mutex::new(rng),
            is_cut: AtomicBool::new(false),
            cut: Notify::new(),
            held: Mutex::default(),
            most: AtomicUsize::new(0),
            late: AtomicUsize::new(0),
        }))
    }

    pub fn http_client(&self) -> SharedHttpClient {
        SharedHttpClient::new(self.clone())
    }

    /// Nothing goes out any more, and nothing comes in.
    pub fn cut(&self) {
        self.0.is_cut.store(true, SeqCst);
        self.0.cut.notify_waiters();
    }

    /// The most messages at a time that had come a moment ago, and that nobody had tried to settle or
    /// to renew. There may have been more.
    pub fn most_held(&self) -> usize {
        self.0.most.load(SeqCst)
    }

    /// How many messages somebody tried to settle although the lease on them was over.
    pub fn late(&self) -> usize {
        self.0.late.load(SeqCst)
    }

    /// Whether this request finds a connection; never, for one that hangs.
    async fn connects(&self) -> bool {
        let drawn = self.0.rng.lock().unwrap().u32(..1_000);
        if drawn < HANGING {
            std::future::pending::<()>().await;
        }
        drawn >= HANGING + BROKEN
    }

    fn received(&self, answer: &str) {
        let now = Instant::now();
        let mut held = self.0.held.lock().unwrap();
        let new = Held { until: now + VISIBILITY, is_new: true };
        held.extend(receipts(answer).map(|receipt| (receipt.to_owned(), new)));
        // Half a lease ago is not long: none of these can be lost yet.
        let counts = |held: &&Held| held.is_new && held.until > now + VISIBILITY / 2;
        self.0.most.fetch_max(held.values().filter(counts).count(), SeqCst);
    }

    fn settles(&self, receipt: &str) {
        let held = self.0.held.lock().unwrap().remove(receipt);
        if held.is_some_and(|held| Instant::now() > held.until + LATE) {
            self.0.late.fetch_add(1, SeqCst);
        }
    }

    /// What the entries of a change of visibility do: they give back, or renew.
    fn changes(&self, request: &str) -> Vec<Renewal> {
        let request: Changes = serde_json::from_str(request).unwrap();
        let mut renewals = request.entries;
        renewals.retain(|entry| {
            let renews = entry.seconds > LONGEST_DELAY;
            if renews {
                let mut held = self.0.held.lock().unwrap();
                held.entry(entry.receipt.clone()).and_modify(|held| held.is_new = false);
            } else {
                self.settles(&entry.receipt);
            }
            renews
        });
        renewals
    }

    fn renewed(&self, renewals: Vec<Renewal>, sent: Instant, answer: &HttpResponse) {
        if !answer.status().is_success() {
            return;
        }
        let answer: Changed = serde_json::from_str(text(answer.body().bytes())).unwrap();
        let mut held = self.0.held.lock().unwrap();
        for Renewal { id, receipt, seconds } in renewals {
            let failed = answer.failed.iter().find(|failed| failed.id == id);
            held.entry(receipt).and_modify(|held| match failed {
                None => held.until = sent + Duration::from_secs(seconds),
                // It is somebody else's.
                Some(failed) if failed.sender_fault => held.until = sent,
                Some(_) => {}
            });
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Changes {
    entries: Vec<Renewal>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Renewal {
    id: String,
    #[serde(rename = "ReceiptHandle")]
    receipt: String,
    #[serde(rename = "VisibilityTimeout")]
    seconds: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Changed {
    #[serde(default)]
    failed: Vec<Failed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Failed {
    id: String,
    sender_fault: bool,
}

/// The receipt handles in a request or an answer.
fn receipts(json: &str) -> impl Iterator<Item = &str> {
    let handles = json.split("\"ReceiptHandle\":\"").skip(1);
    handles.filter_map(|rest| rest.split('"').next())
}

impl HttpClient for Wire {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let sim = self.0.sim.http_connector(settings, components);
        SharedHttpConnector::new(Connector { wire: self.clone(), sim })
    }
}

#[derive(Debug)]
struct Connector {
    wire: Wire,
    sim: SharedHttpConnector,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Connector { wire, sim } = self;
        let (wire, sim) = (wire.clone(), sim.clone());
        HttpConnectorFuture::new(async move {
            let cut = wire.0.cut.notified();
            if wire.0.is_cut.load(SeqCst) {
                return Err(broken());
            }
            tokio::select! {
                biased;
                () = cut => Err(broken()),
                answer = wire.call(sim, request) => answer,
            }
        })
    }
}

impl Wire {
    async fn call(
        &self,
        sim: SharedHttpConnector,
        request: HttpRequest,
    ) -> Result<HttpResponse, ConnectorError> {
        let action = request.headers().get("x-amz-target").unwrap_or_default();
        let (receives, body) = (action.ends_with(".ReceiveMessage"), request.body().bytes());
        if action.ends_with(".DeleteMessageBatch") {
            receipts(text(body)).for_each(|receipt| self.settles(receipt));
        }
        let changes = action.ends_with(".ChangeMessageVisibilityBatch");
        let renewals = if changes { self.changes(text(body)) } else { Vec::new() };
        let sent = Instant::now();
        if !self.connects().await {
            return Err(broken());
        }
        let answer = sim.call(request).await?;
        if receives {
            self.received(text(answer.body().bytes()));
        }
        if !renewals.is_empty() {
            self.renewed(renewals, sent, &answer);
        }
        Ok(answer)
    }
}

fn text(bytes: Option<&[u8]>) -> &str {
    std::str::from_utf8(bytes.unwrap_or_default()).unwrap()
}

fn broken() -> ConnectorError {
    ConnectorError::io("the connection broke".into())
}

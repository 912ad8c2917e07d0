//! The way between one process and AWS. It breaks now and then, it can be cut, as it is for a process
//! that is killed, and it shows how many messages are in the process's hands.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
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
use tokio::{sync::Notify, time::Instant};

use crate::crew::VISIBILITY;

/// Of a thousand requests, how many find no connection.
const BROKEN: u32 = 10;

/// Of a thousand requests, how many are never answered.
const HANGING: u32 = 1;

#[derive(Clone)]
pub struct Wire(Arc<Inner>);

struct Inner {
    sim: SharedHttpClient,
    rng: Mutex<fastrand::Rng>,
    is_cut: AtomicBool,
    cut: Notify,
    /// Receipts that were received and not settled, and until when they are leased.
    held: Mutex<HashMap<String, Instant>>,
    most: AtomicUsize,
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

    /// The most messages at a time that had come, and that nobody had tried to settle, or to renew,
    /// while their lease lasted. There may have been more.
    pub fn most_held(&self) -> usize {
        self.0.most.load(SeqCst)
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
        let mut held = self.0.held.lock().unwrap();
        let now = Instant::now();
        held.retain(|_, until| *until > now);
        // The worker may well count from when it asked.
        let until = now + VISIBILITY / 2;
        held.extend(receipts(answer).map(|receipt| (receipt.to_owned(), until)));
        self.0.most.fetch_max(held.len(), SeqCst);
    }

    fn settled(&self, request: &str) {
        let mut held = self.0.held.lock().unwrap();
        for receipt in receipts(request) {
            held.remove(receipt);
        }
    }
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
        let receives = action.ends_with(".ReceiveMessage");
        if action.ends_with(".DeleteMessageBatch") || action.contains(".ChangeMessageVisibility") {
            self.settled(text(request.body().bytes()));
        }
        if !self.connects().await {
            return Err(broken());
        }
        let answer = sim.call(request).await?;
        if receives {
            self.received(text(answer.body().bytes()));
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

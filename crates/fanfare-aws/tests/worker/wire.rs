//! A line to the simulator that a test can slow down or cut, and that remembers what went over it.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
        SharedHttpConnector,
    },
    orchestrator::HttpRequest,
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use fanfare_aws::Aws;
use fanfare_sim::Sim;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::support::{ACCOUNT, Shop};

/// What happens to a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way {
    Through,
    /// It arrives after this time.
    Slow(Duration),
    /// It does not arrive.
    Cut,
}

/// A request that was sent.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) action: String,
    pub(crate) at: Instant,
    pub(crate) body: Value,
}

impl Sent {
    /// How many entries it has.
    pub(crate) fn entries(&self) -> usize {
        self.body["Entries"].as_array().map_or(0, Vec::len)
    }
}

type Rule = dyn Fn(&Sent) -> Way + Send + Sync;

#[derive(Clone)]
pub(crate) struct Wire {
    inner: SharedHttpClient,
    rule: Arc<Rule>,
    log: Arc<Mutex<Vec<Sent>>>,
    polls: Arc<AtomicUsize>,
    most_polls: Arc<AtomicUsize>,
}

impl Wire {
    pub(crate) fn new(sim: &Sim, rule: impl Fn(&Sent) -> Way + Send + Sync + 'static) -> Wire {
        let (log, polls, most_polls) = Default::default();
        Wire { inner: sim.http_client(), rule: Arc::new(rule), log, polls, most_polls }
    }

    /// The same shop, over this line.
    pub(crate) fn shop(&self, shop: &Shop) -> Shop {
        let config = shop.sim.sdk_config().to_builder();
        let config = config.http_client(SharedHttpClient::new(self.clone())).build();
        Shop {
            sim: shop.sim.clone(),
            aws: Aws::new(&config, ACCOUNT).unwrap(),
            kind: shop.kind,
            bindings: shop.bindings.clone(),
        }
    }

    /// All that was sent of one action.
    pub(crate) fn sent(&self, action: &str) -> Vec<Sent> {
        self.log.lock().unwrap().iter().filter(|sent| sent.action == action).cloned().collect()
    }

    /// How many receives are under way.
    pub(crate) fn polls(&self) -> usize {
        self.polls.load(Ordering::SeqCst)
    }

    /// The most receives that were under way at once, since this was asked last.
    pub(crate) fn most_polls(&self) -> usize {
        self.most_polls.swap(self.polls(), Ordering::SeqCst)
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

impl HttpClient for Wire {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Line { wire: self.clone(), inner })
    }
}

#[derive(Debug)]
struct Line {
    wire: Wire,
    inner: SharedHttpConnector,
}

/// Counts a poll until it is dropped.
struct Polling(Wire);

impl Drop for Polling {
    fn drop(&mut self) {
        self.0.polls.fetch_sub(1, Ordering::SeqCst);
    }
}

impl HttpConnector for Line {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let action = target.rsplit('.').next().unwrap_or_default().to_owned();
        let body = request.body().bytes().unwrap_or_default();
        let body = serde_json::from_slice(body).unwrap_or_default();
        let sent = Sent { action, at: Instant::now(), body };
        let polling = (sent.action == "ReceiveMessage").then(|| {
            let polls = self.wire.polls.fetch_add(1, Ordering::SeqCst) + 1;
            self.wire.most_polls.fetch_max(polls, Ordering::SeqCst);
            Polling(self.wire.clone())
        });
        let way = (self.wire.rule)(&sent);
        self.wire.log.lock().unwrap().push(sent);
        let inner = self.inner.clone();
        HttpConnectorFuture::new(async move {
            let _polling = polling;
            match way {
                Way::Through => {}
                Way::Slow(time) => sleep(time).await,
                Way::Cut => return Err(ConnectorError::io("the line is cut".into())),
            }
            inner.call(request).await
        })
    }
}

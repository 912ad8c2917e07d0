//! The SDK's way in: an HTTP client that hands requests to the simulator instead of a socket.

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http_body_util::BodyExt;

use crate::sim::Sim;

/// Hands an SDK's requests to the simulator.
#[derive(Debug, Clone)]
struct SimHttpClient(Sim);

pub(crate) fn http_client(sim: Sim) -> SharedHttpClient {
    SharedHttpClient::new(SimHttpClient(sim))
}

impl HttpClient for SimHttpClient {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Connector { sim: self.0.clone(), settings: settings.clone() })
    }
}

#[derive(Debug)]
struct Connector {
    sim: Sim,
    settings: HttpConnectorSettings,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let sim = self.sim.clone();
        let read_timeout = self.settings.read_timeout();
        HttpConnectorFuture::new(async move {
            let answer = call(&sim, request);
            match read_timeout {
                // The connector's duty, as it is the socket's.
                Some(limit) => tokio::time::timeout(limit, answer)
                    .await
                    .unwrap_or_else(|elapsed| Err(ConnectorError::timeout(elapsed.into()))),
                None => answer.await,
            }
        })
    }
}

async fn call(sim: &Sim, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
    let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
    let (parts, body) = request.into_parts();
    // Read as a socket would take it: the SDK looks whether its body goes out, and gives a call up
    // whose body does not.
    let body = body.collect().await.map_err(ConnectorError::user)?.to_bytes();
    let response = sim
        .handle(http::Request::from_parts(parts, body))
        .await
        .map_err(|broken| ConnectorError::io(broken.into()))?;
    let response = response.map(|body| match body.into_whole() {
        Ok(bytes) => SdkBody::from(bytes),
        Err(events) => SdkBody::from_body_1_x(events),
    });
    HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
}

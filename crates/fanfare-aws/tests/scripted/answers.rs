//! An HTTP client whose answers the test gives.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_lambda::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::{
    client::{
        http::{
            HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings,
            SharedHttpClient, SharedHttpConnector,
        },
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
        runtime_components::RuntimeComponents,
    },
    http::StatusCode,
};
use aws_smithy_types::{
    body::SdkBody,
    checksum_config::{RequestChecksumCalculation, ResponseChecksumValidation},
};
use fanfare_aws::Aws;
use tokio::sync::Semaphore;

/// What comes back for one request.
pub(crate) enum Answer {
    /// Status, error code and body.
    Is(u16, Option<&'static str>, String),
    /// 200 with these headers and this body.
    With(Vec<(&'static str, String)>, Vec<u8>),
    /// The connection breaks; whether the service got the request, nobody knows.
    Broken,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) uri: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

type Script = dyn Fn(&Request) -> Answer + Send + Sync;

/// Answers by the script, and remembers what was asked.
#[derive(Clone)]
pub(crate) struct Service {
    script: Arc<Script>,
    requests: Arc<Mutex<Vec<Request>>>,
    /// As many requests are answered.
    gate: Arc<Semaphore>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

impl Service {
    /// Answers each request by what `script` gives for it.
    pub(crate) fn new(script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Service {
        let gate = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        Service { script: Arc::new(script), requests: Arc::default(), gate }
    }

    /// Answers one request after another by these.
    pub(crate) fn answering(answers: impl IntoIterator<Item = Answer>) -> Service {
        let answers = Mutex::new(answers.into_iter().collect::<VecDeque<_>>());
        Service::new(move |_| answers.lock().unwrap().pop_front().expect("an answer"))
    }

    /// Answers no more requests than it is told to, from now on.
    pub(crate) fn waiting(self) -> Service {
        Service { gate: Arc::new(Semaphore::new(0)), ..self }
    }

    /// Lets so many more be answered.
    pub(crate) fn answer(&self, requests: usize) {
        self.gate.add_permits(requests);
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn aws(&self) -> Aws {
        let credentials = Credentials::new("test", "test", None, None, "test");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("eu-central-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(SharedHttpClient::new(self.clone()))
            // What somebody's environment says: it is no reason to do without.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build();
        Aws::new(&config, "123456789012").unwrap()
    }
}

impl HttpClient for Service {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Service {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let headers = request.headers().iter();
        let request = Request {
            method: request.method().into(),
            uri: request.uri().into(),
            headers: headers.map(|(name, value)| (name.into(), value.into())).collect(),
            body: String::from_utf8(request.body().bytes().unwrap().to_vec()).unwrap(),
        };
        self.requests.lock().unwrap().push(request.clone());
        let service = self.clone();
        HttpConnectorFuture::new(async move {
            service.gate.acquire().await.unwrap().forget();
            match (service.script)(&request) {
                Answer::Broken => Err(ConnectorError::io("the connection was reset".into())),
                Answer::With(headers, body) => {
                    let status = StatusCode::try_from(200).unwrap();
                    let mut response = HttpResponse::new(status, SdkBody::from(body));
                    for (name, value) in headers {
                        response.headers_mut().insert(name, value);
                    }
                    Ok(response)
                }
                Answer::Is(status, code, body) => {
                    let status = StatusCode::try_from(status).unwrap();
                    let mut response = HttpResponse::new(status, SdkBody::from(body));
                    if let Some(code) = code {
                        response.headers_mut().insert("x-amzn-errortype", code);
                    }
                    Ok(response)
                }
            }
        })
    }
}

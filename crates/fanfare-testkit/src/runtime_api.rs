//! Lambda's Runtime API on a loopback port, for functions that run in processes of their own.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Mutex as AsyncMutex, SetOnce, mpsc, oneshot},
    task::JoinSet,
};

/// What all requests are below of.
const BASE: &str = "/2018-06-01/runtime/";

/// A Runtime API: what it is asked to [`invoke`](Self::invoke) goes to whatever function asks it for
/// work. Any number of functions may, and each may have any number of invocations. Ends when dropped.
#[derive(Debug)]
pub struct RuntimeApi {
    address: SocketAddr,
    invocations: mpsc::UnboundedSender<Given>,
    count: AtomicU64,
    asked: Arc<SetOnce<Instant>>,
    _server: JoinSet<()>,
}

/// What a function is invoked with.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Invocation {
    /// The event, in JSON.
    pub event: Bytes,
    /// How long the function may take.
    pub timeout: Duration,
    /// The X-Ray trace header.
    pub trace: Option<String>,
}

impl Invocation {
    /// An invocation that may take three seconds, Lambda's default.
    pub fn new(event: impl Into<Bytes>) -> Self {
        Invocation { event: event.into(), timeout: Duration::from_secs(3), trace: None }
    }
}

/// A function has failed; what it said of that, in JSON: `errorType` and `errorMessage`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the function failed: {}", String::from_utf8_lossy(.0))]
pub struct FunctionError(pub Bytes);

/// How an invocation ended.
type Answer = Result<Bytes, FunctionError>;

/// An invocation on its way to a function.
#[derive(Debug)]
struct Given {
    id: String,
    invocation: Invocation,
    answer: oneshot::Sender<Answer>,
}

/// What all connections share.
struct Shared {
    asked: Arc<SetOnce<Instant>>,
    waiting: AsyncMutex<mpsc::UnboundedReceiver<Given>>,
    running: Mutex<HashMap<String, oneshot::Sender<Answer>>>,
}

impl RuntimeApi {
    /// A Runtime API on a port that is free.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (invocations, waiting) = mpsc::unbounded_channel();
        let running = Mutex::default();
        let asked = Arc::new(SetOnce::new());
        let waiting = AsyncMutex::new(waiting);
        let shared = Arc::new(Shared { asked: Arc::clone(&asked), waiting, running });
        let mut server = JoinSet::new();
        server.spawn(serve(listener, shared));
        Ok(RuntimeApi { address, invocations, count: AtomicU64::new(0), asked, _server: server })
    }

    /// The variables by which a function's process finds this, and those that Lambda sets besides.
    #[must_use]
    pub fn variables(&self) -> [(&'static str, String); 4] {
        [
            ("AWS_LAMBDA_RUNTIME_API", self.address.to_string()),
            ("AWS_LAMBDA_FUNCTION_NAME", "function".into()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128".into()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".into()),
        ]
    }

    /// When a function first asked for work, which is when its initialisation was over: waits for that,
    /// for ever if none does.
    pub async fn first_asked(&self) -> Instant {
        *self.asked.wait().await
    }

    /// Has a function invoked, and waits for its answer: for ever, if no function asks for work, or if
    /// the one that has it dies.
    ///
    /// # Errors
    /// [`FunctionError`] if it answers with an error.
    pub async fn invoke(&self, invocation: Invocation) -> Result<Bytes, FunctionError> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let id = format!("00000000-0000-4000-8000-{number:012}");
        let (answer, answered) = oneshot::channel();
        let gone = |_| FunctionError(Bytes::from_static(b"the runtime API has ended"));
        let given = Given { id, invocation, answer };
        self.invocations.send(given).map_err(|_| gone(()))?;
        answered.await.map_err(|_| gone(()))?
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                connections.spawn(connection(stream, Arc::clone(&shared)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    // Answers are small, and nothing follows them that they could wait for.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(shared.answer(request).await) }
    });
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection of a function ended");
    }
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().strip_prefix(BASE).unwrap_or_default();
        match (parts.method, path.split('/').collect::<Vec<_>>().as_slice()) {
            (Method::GET, ["invocation", "next"]) => self.next().await,
            (Method::POST, ["invocation", id, end @ ("response" | "error")]) => {
                let Ok(body) = body.collect().await else { return status(StatusCode::BAD_REQUEST) };
                let body = body.to_bytes();
                let answer = if *end == "response" { Ok(body) } else { Err(FunctionError(body)) };
                let Some(running) = self.running().remove(*id) else {
                    return status(StatusCode::BAD_REQUEST);
                };
                // Whoever invoked it may not wait any longer.
                let _ = running.send(answer);
                status(StatusCode::ACCEPTED)
            }
            (Method::POST, ["init", "error"]) => status(StatusCode::ACCEPTED),
            _ => status(StatusCode::NOT_FOUND),
        }
    }

    async fn next(&self) -> Response<Full<Bytes>> {
        // Only the first time counts.
        let _ = self.asked.set(Instant::now());
        let Some(given) = self.waiting.lock().await.recv().await else {
            return status(StatusCode::INTERNAL_SERVER_ERROR);
        };
        let Given { id, invocation: Invocation { event, timeout, trace }, answer } = given;
        let end = SystemTime::now() + timeout;
        let deadline = end.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let mut response = Response::builder()
            .header("Lambda-Runtime-Aws-Request-Id", &id)
            .header("Lambda-Runtime-Deadline-Ms", deadline.to_string())
            .header(
                "Lambda-Runtime-Invoked-Function-Arn",
                "arn:aws:lambda:us-east-1:000000000000:function:function",
            );
        if let Some(trace) = trace {
            response = response.header("Lambda-Runtime-Trace-Id", trace);
        }
        self.running().insert(id, answer);
        response.body(Full::new(event)).unwrap_or_else(|_| status(StatusCode::BAD_REQUEST))
    }

    fn running(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<Answer>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn status(code: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = code;
    response
}

//! The simulator on a port.

use std::future::Future;
use std::io;
use std::pin::pin;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Body;
use crate::sim::{BrokenConnection, Sim};

/// More than any legal request: 10 MiB of records in base64; a batch of a mebibyte, every byte
/// escaped in JSON or a form.
const MAX_REQUEST_BYTES: usize = 16 * 1024 * 1024;

pub(crate) async fn serve(
    sim: Sim,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let mut shutdown = pin!(shutdown);
    let stop = watch::Sender::new(false);
    let mut connections = JoinSet::new();
    let outcome = loop {
        tokio::select! {
            () = &mut shutdown => break Ok(()),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(sim.clone(), stream, stop.subscribe()));
                }
                Err(error) if is_about_one_connection(&error) => {
                    tracing::debug!(%error, "a connection was gone before it was accepted");
                }
                Err(error) => break Err(error),
            },
            // Reaps finished connections, so that the set does not grow.
            Some(_) = connections.join_next() => {}
        }
    };
    drop(listener);
    stop.send_replace(true);
    sim.end_long_polls();
    while connections.join_next().await.is_some() {}
    outcome
}

async fn connection(sim: Sim, stream: TcpStream, mut stop: watch::Receiver<bool>) {
    // Small answers should not wait for more.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let sim = sim.clone();
        async move { answer(&sim, request).await }
    });
    let mut connection =
        pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    let stopped = async move {
        // The guard that comes back must not be held across an await.
        let _ = stop.wait_for(|stop| *stop).await.map(|_| ());
    };
    let outcome = tokio::select! {
        outcome = &mut connection => outcome,
        () = stopped => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended");
    }
}

/// An error here makes hyper close the connection without an answer, which is what the fault asks.
async fn answer(sim: &Sim, request: Request<Incoming>) -> Result<Response<Body>, BrokenConnection> {
    let (parts, body) = request.into_parts();
    Ok(match Limited::new(body, MAX_REQUEST_BYTES).collect().await {
        Ok(body) => sim.handle(Request::from_parts(parts, body.to_bytes())).await?,
        Err(_) => too_large(),
    })
}

fn too_large() -> Response<Body> {
    let mut response = Response::new(Bytes::from_static(b"the request is too large").into());
    *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
    response
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

//! The simulator on a port, through a real socket.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Region};
use fanfare_sim::{Fault, Sim};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::common::code;

struct Server {
    sim: Sim,
    sqs: aws_sdk_sqs::Client,
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

async fn serve() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let sim = Sim::new();
    let served = sim.clone();
    let task = tokio::spawn(async move {
        served.serve(listener, async { stopped.await.unwrap_or_default() }).await
    });
    let credentials = Credentials::from_keys("test", "test", None);
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .retry_config(RetryConfig::disabled())
        .endpoint_url(format!("http://{address}"))
        .build();
    Server { sim, sqs: aws_sdk_sqs::Client::from_conf(config), address, stop, task }
}

#[tokio::test]
async fn an_sdk_client_works_over_a_socket_and_sees_the_sockets_address() {
    let server = serve().await;
    let url = server.sqs.create_queue().queue_name("q").send().await.unwrap().queue_url.unwrap();
    assert_eq!(url, format!("http://{}/000000000000/q", server.address));
    server.sqs.send_message().queue_url(&url).message_body("m").send().await.unwrap();
    assert_eq!(server.sim.messages("q")[0].body, "m");

    server.sim.inject("SendMessage", Fault::LoseAnswer);
    let lost = server.sqs.send_message().queue_url(&url).message_body("m").send().await;
    assert_eq!(code(lost), "dispatch failure");
    assert_eq!(server.sim.messages("q").len(), 2);
    server.stop.send(()).unwrap();
    server.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn shutting_down_answers_the_long_poll_that_waits_and_accepts_nothing_more() {
    let server = serve().await;
    let url = server.sqs.create_queue().queue_name("q").send().await.unwrap().queue_url.unwrap();
    let poll = server.sqs.receive_message().queue_url(&url).wait_time_seconds(20).send();
    let shut_down = async {
        // The poll is under way when its request was counted.
        while server.sim.requests().count("ReceiveMessage") == 0 {
            tokio::task::yield_now().await;
        }
        server.stop.send(()).unwrap();
        server.task.await.unwrap()
    };
    let both = async { tokio::join!(poll, shut_down) };
    // Far less than the poll: the limit is there for a drain that hangs.
    let (polled, drained) = tokio::time::timeout(Duration::from_secs(15), both).await.unwrap();
    assert!(polled.unwrap().messages.is_none());
    drained.unwrap();
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err());
}

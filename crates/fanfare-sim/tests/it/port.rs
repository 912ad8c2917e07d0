//! The simulator on a port, through a real socket.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{ShardIteratorType, StartingPosition};
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Region};
use fanfare_sim::{Fault, Sim};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::common::code;

/// Between two looks at something that takes its time.
const POLL: Duration = Duration::from_millis(20);

struct Server {
    sim: Sim,
    sqs: aws_sdk_sqs::Client,
    kinesis: aws_sdk_kinesis::Client,
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
    let credentials = SharedCredentialsProvider::new(credentials);
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(credentials.clone())
        .retry_config(RetryConfig::disabled())
        .endpoint_url(format!("http://{address}"))
        .build();
    let sqs = aws_sdk_sqs::Client::from_conf(config);
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(credentials)
        .endpoint_url(format!("http://{address}"))
        .build();
    let kinesis = aws_sdk_kinesis::Client::from_conf(config);
    Server { sim, sqs, kinesis, address, stop, task }
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

#[tokio::test]
async fn a_subscription_comes_over_the_socket_and_ends_with_the_server() {
    const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
    let server = serve().await;
    let kinesis = &server.kinesis;
    kinesis.create_stream().stream_name("s").shard_count(1).send().await.unwrap();
    let put =
        || kinesis.put_record().stream_arn(ARN).partition_key("k").data(Blob::new("x")).send();
    // Only the stream itself says when it is active, and the consumer.
    while put().await.is_err() {
        tokio::time::sleep(POLL).await;
    }
    let register = kinesis.register_stream_consumer().stream_arn(ARN).consumer_name("c");
    let consumer = register.send().await.unwrap().consumer.unwrap().consumer_arn;
    let position = StartingPosition::builder().r#type(ShardIteratorType::TrimHorizon);
    let mut events = loop {
        let subscribe = kinesis.subscribe_to_shard().consumer_arn(&consumer);
        let subscribe = subscribe.shard_id("shardId-000000000000");
        let subscribe = subscribe.starting_position(position.clone().build().unwrap()).send().await;
        match subscribe {
            Ok(subscription) => break subscription.event_stream,
            Err(error) => assert_eq!(code::<(), _>(Err(error)), "ResourceInUseException"),
        }
        tokio::time::sleep(POLL).await;
    };
    let event = events.recv().await.unwrap().unwrap();
    let event = event.as_subscribe_to_shard_event().unwrap();
    assert_eq!(event.records()[0].data().as_ref(), b"x");
    server.stop.send(()).unwrap();
    let end = async { while let Ok(Some(_)) = events.recv().await {} };
    // Far less than the five minutes of a subscription.
    tokio::time::timeout(Duration::from_secs(15), end).await.unwrap();
    server.task.await.unwrap().unwrap();
}

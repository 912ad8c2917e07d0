//! The wire itself: answers as other people's clients read them.

use bytes::Bytes;
use fanfare_sim::Sim;
use http::{Request, Response};
use http_body_util::BodyExt;

/// A signature's header; its scope names the service.
fn authorization(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=test/20260131/us-east-1/{service}/aws4_request, \
         SignedHeaders=host, Signature=0"
    )
}

async fn handle(sim: &Sim, request: Request<Bytes>) -> Response<Bytes> {
    let (head, body) = sim.handle(request).await.unwrap().into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

async fn sqs(sim: &Sim, action: &str, body: &str) -> Response<Bytes> {
    let request = Request::post("http://sim.localhost/")
        .header("x-amz-target", format!("AmazonSQS.{action}"))
        .header("content-type", "application/x-amz-json-1.0")
        .header("authorization", authorization("sqs"))
        .body(Bytes::copy_from_slice(body.as_bytes()))
        .unwrap();
    handle(sim, request).await
}

async fn kinesis(sim: &Sim, action: &str, body: &str) -> Response<Bytes> {
    let request = Request::post("http://sim.localhost/")
        .header("x-amz-target", format!("Kinesis_20131202.{action}"))
        .header("content-type", "application/x-amz-json-1.1")
        .header("authorization", authorization("kinesis"))
        .body(Bytes::copy_from_slice(body.as_bytes()))
        .unwrap();
    handle(sim, request).await
}

async fn sns(sim: &Sim, form: &str) -> Response<Bytes> {
    let request = Request::post("http://sim.localhost/")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", authorization("sns"))
        .body(Bytes::copy_from_slice(form.as_bytes()))
        .unwrap();
    handle(sim, request).await
}

fn body(response: &Response<Bytes>) -> String {
    let id = response.headers()["x-amzn-requestid"].to_str().unwrap();
    String::from_utf8(response.body().to_vec()).unwrap().replace(id, "ID")
}

const URL: &str = r#""QueueUrl":"http://elsewhere.example:99/000000000000/q""#;

#[tokio::test]
async fn json_answers_are_empty_where_the_action_answers_nothing() {
    let sim = Sim::new();
    let created = sqs(&sim, "CreateQueue", r#"{"QueueName":"q"}"#).await;
    assert_eq!(created.headers()["content-type"], "application/x-amz-json-1.0");
    assert_eq!(body(&created), r#"{"QueueUrl":"http://sim.localhost/000000000000/q"}"#);
    // The host of the URL does not matter.
    assert_eq!(body(&sqs(&sim, "ReceiveMessage", &format!("{{{URL}}}")).await), "{}");
    assert_eq!(body(&sqs(&sim, "GetQueueAttributes", &format!("{{{URL}}}")).await), "{}");
    assert_eq!(body(&sqs(&sim, "ListQueueTags", &format!("{{{URL}}}")).await), "{}");
    let purged = sqs(&sim, "PurgeQueue", &format!("{{{URL}}}")).await;
    assert_eq!((purged.status().as_u16(), body(&purged)), (200, String::new()));
}

#[tokio::test]
async fn json_errors_carry_both_protocols_codes() {
    let sim = Sim::new();
    sqs(&sim, "CreateQueue", r#"{"QueueName":"q"}"#).await;
    let missing = r#"{"QueueUrl":"http://h/000000000000/none"}"#;
    let send = |rest: &str| format!("{{{URL},{rest}}}");
    let table = [
        (
            "ReceiveMessage",
            missing.to_owned(),
            400,
            "AWS.SimpleQueueService.NonExistentQueue;Sender",
            r#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"The specified queue does not exist."}"#,
        ),
        (
            "SendMessage",
            "{}".to_owned(),
            400,
            "MissingParameter;Sender",
            r#"{"__type":"com.amazon.coral.service#MissingRequiredParameterException","message":"The request must contain the parameter QueueUrl."}"#,
        ),
        (
            "SendMessage",
            send(r#""MessageBody":"x","DelaySeconds":901"#),
            400,
            "InvalidParameterValue;Sender",
            r#"{"__type":"com.amazon.coral.service#InvalidParameterValueException","message":"Value 901 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900."}"#,
        ),
        (
            "DeleteMessage",
            send(r#""ReceiptHandle":"x""#),
            400,
            "ReceiptHandleIsInvalid;Sender",
            r#"{"__type":"com.amazonaws.sqs#ReceiptHandleIsInvalid","message":"The input receipt handle \"x\" is not a valid receipt handle."}"#,
        ),
        (
            "SendMessageBatch",
            send(r#""Entries":[]"#),
            400,
            "AWS.SimpleQueueService.EmptyBatchRequest;Sender",
            r#"{"__type":"com.amazonaws.sqs#EmptyBatchRequest","message":"There should be at least one SendMessageBatchRequestEntry in the request."}"#,
        ),
        (
            "CreateQueue",
            r#"{"QueueName":"q","Attributes":{"DelaySeconds":"1"}}"#.to_owned(),
            400,
            "QueueAlreadyExists;Sender",
            r#"{"__type":"com.amazonaws.sqs#QueueNameExists","message":"A queue already exists with the same name and a different value for attribute DelaySeconds"}"#,
        ),
        (
            "AddPermission",
            format!("{{{URL}}}"),
            400,
            "InvalidAction;Sender",
            r#"{"__type":"com.amazon.coral.service#UnknownOperationException","message":"The action AddPermission is not valid for this endpoint."}"#,
        ),
    ];
    for (action, request, status, header, expected) in table {
        let response = sqs(&sim, action, &request).await;
        assert_eq!(response.status().as_u16(), status, "{action}");
        assert_eq!(response.headers()["x-amzn-query-error"], header, "{action}");
        assert_eq!(body(&response), expected, "{action}");
    }
    let garbled = sqs(&sim, "SendMessage", "{").await;
    assert!(body(&garbled).contains("#SerializationException"));
}

#[tokio::test]
async fn xml_answers_have_result_and_request_id() {
    let sim = Sim::new();
    let xmlns = r#"xmlns="http://sns.amazonaws.com/doc/2010-03-31/""#;
    let created = sns(&sim, "Action=CreateTopic&Version=2010-03-31&Name=t").await;
    assert_eq!(created.headers()["content-type"], "text/xml");
    assert_eq!(
        body(&created),
        format!(
            "<CreateTopicResponse {xmlns}><CreateTopicResult><TopicArn>arn:aws:sns:us-east-1:\
             000000000000:t</TopicArn></CreateTopicResult><ResponseMetadata><RequestId>ID\
             </RequestId></ResponseMetadata></CreateTopicResponse>"
        )
    );
    let arn = "arn:aws:sns:us-east-1:000000000000:t";
    let deleted = sns(&sim, &format!("Action=DeleteTopic&TopicArn={arn}")).await;
    assert_eq!(
        body(&deleted),
        format!(
            "<DeleteTopicResponse {xmlns}><ResponseMetadata><RequestId>ID</RequestId>\
             </ResponseMetadata></DeleteTopicResponse>"
        )
    );
    let missing = sns(&sim, &format!("Action=Publish&TopicArn={arn}&Message=x")).await;
    assert_eq!(missing.status().as_u16(), 404);
    assert_eq!(
        body(&missing),
        format!(
            "<ErrorResponse {xmlns}><Error><Type>Sender</Type><Code>NotFound</Code><Message>Topic \
             does not exist</Message></Error><RequestId>ID</RequestId></ErrorResponse>"
        )
    );
    let unknown = sns(&sim, "Action=CreatePlatformEndpoint").await;
    assert_eq!(unknown.status().as_u16(), 400);
    assert!(body(&unknown).contains("<Code>InvalidAction</Code>"));
}

#[tokio::test(start_paused = true)]
async fn kinesis_answers_in_json_1_1_and_refuses_by_type() {
    let sim = Sim::new();
    let created = kinesis(&sim, "CreateStream", r#"{"StreamName":"s","ShardCount":1}"#).await;
    assert_eq!(created.headers()["content-type"], "application/x-amz-json-1.1");
    assert_eq!((created.status().as_u16(), body(&created)), (200, String::new()));
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let record = r#"{"StreamName":"s","PartitionKey":"k","Data":"eA=="}"#;
    let put = kinesis(&sim, "PutRecord", record).await;
    let put: serde_json::Value = serde_json::from_str(&body(&put)).unwrap();
    assert_eq!(put["ShardId"], "shardId-000000000000");
    let start = r#"{"StreamName":"s","ShardId":"shardId-0","ShardIteratorType":"TRIM_HORIZON"}"#;
    let iterator = body(&kinesis(&sim, "GetShardIterator", start).await);
    let got = body(&kinesis(&sim, "GetRecords", &iterator).await);
    let got: serde_json::Value = serde_json::from_str(&got).unwrap();
    let record = &got["Records"][0];
    assert_eq!((&record["Data"], &record["PartitionKey"]), (&"eA==".into(), &"k".into()));
    assert_eq!(record["SequenceNumber"], put["SequenceNumber"]);
    assert!(record["ApproximateArrivalTimestamp"].is_number());
    assert_eq!((&got["MillisBehindLatest"], got.get("ChildShards")), (&0.into(), None));
    for (action, request, expected) in [
        (
            "ListShards",
            r#"{"StreamName":"none"}"#,
            r#"{"__type":"ResourceNotFoundException","message":"Stream none under account 000000000000 not found."}"#,
        ),
        (
            "PutRecord",
            r#"{"StreamName":"s","PartitionKey":"","Data":"eA=="}"#,
            r#"{"__type":"ValidationException","message":"1 validation error detected: Value '' at 'partitionKey' failed to satisfy constraint: Member must have length greater than or equal to 1"}"#,
        ),
        (
            "GetRecords",
            r#"{"ShardIterator":"x"}"#,
            r#"{"__type":"InvalidArgumentException","message":"Invalid ShardIterator."}"#,
        ),
        (
            "DescribeLimits",
            "{}",
            r#"{"__type":"UnknownOperationException","message":"DescribeLimits is no action of Kinesis that is simulated"}"#,
        ),
    ] {
        let response = kinesis(&sim, action, request).await;
        assert_eq!((response.status().as_u16(), body(&response).as_str()), (400, expected));
    }
    for garbled in ["{", r#"{"StreamName":7}"#] {
        let response = kinesis(&sim, "PutRecord", garbled).await;
        assert!(body(&response).contains("SerializationException"), "{garbled}");
    }
}

#[tokio::test]
async fn what_is_not_spoken_here_is_refused_clearly() {
    let sim = Sim::new();
    let unsigned = Request::post("http://sim.localhost/").body(Bytes::from("Action=ListTopics"));
    let response = handle(&sim, unsigned.unwrap()).await;
    assert_eq!(response.status().as_u16(), 403);
    assert!(body(&response).contains("<Code>MissingAuthenticationToken</Code>"));
    let query = Request::post("http://sim.localhost/")
        .header("authorization", authorization("sqs"))
        .body(Bytes::from("Action=ListQueues"));
    let response = handle(&sim, query.unwrap()).await;
    assert_eq!(response.status().as_u16(), 400);
    assert!(body(&response).contains("SQS speaks AWS JSON 1.0"));
    let other = Request::post("http://sim.localhost/")
        .header("authorization", authorization("dynamodb"))
        .header("x-amz-target", "DynamoDB_20120810.ListTables")
        .body(Bytes::from("{}"));
    let response = handle(&sim, other.unwrap()).await;
    assert!(body(&response).contains("UnknownOperationException"));
    assert_eq!(sim.requests().total(), 0);
}

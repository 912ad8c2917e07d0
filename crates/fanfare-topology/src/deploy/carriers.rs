//! What carries messages: topics, streams, queues, subscriptions, and the key that they share.

use serde_json::{Value, json};

use super::{
    Deployment,
    finding::Finding,
    limits,
    template::{Parts, arn, id, policy, reference, sub},
};
use crate::{Kind, Plan, PlannedQueue, PlannedStream, PlannedTopic};

/// The key's id in the template.
pub(super) const KEY: &str = "MessagesKey";

/// The id of the topic that is called `topic` in the code.
pub(super) fn topic_id(topic: &str) -> String {
    id(topic, "Topic")
}

pub(super) fn stream_id(topic: &str) -> String {
    id(topic, "Stream")
}

pub(super) fn queue_id(service: &str, kind: Kind) -> String {
    id(
        service,
        match kind {
            Kind::Standard => "Queue",
            Kind::Fifo => "FifoQueue",
        },
    )
}

pub(super) fn dead_letter_queue_id(service: &str, kind: Kind) -> String {
    id(
        service,
        match kind {
            Kind::Standard => "DeadLetterQueue",
            Kind::Fifo => "FifoDeadLetterQueue",
        },
    )
}

impl Deployment {
    pub(super) fn carriers(&self, parts: &mut Parts, plan: &Plan) {
        if self.encrypted {
            self.key(parts, plan);
        }
        for topic in &plan.topics {
            self.topic(parts, topic);
        }
        for stream in &plan.streams {
            self.stream(parts, stream);
        }
        for queue in &plan.queues {
            self.queue_pair(parts, plan, queue);
        }
        for queue in &plan.dead_letter_queues {
            let id = dead_letter_queue_id(&queue.service, Kind::Standard);
            let retention = self.settled(&queue.service).dead_letter_retention;
            let properties =
                json!({ "QueueName": queue.name, "MessageRetentionPeriod": retention });
            self.queue_resource(parts, id, properties, Kind::Standard);
        }
        for subscription in &plan.subscriptions {
            let topic = plan.topics.iter().find(|topic| topic.name == subscription.topic_name);
            let queue = plan.queues.iter().find(|queue| queue.name == subscription.queue_name);
            let (Some(topic), Some(queue)) = (topic, queue) else { continue };
            let dead_letters = arn(dead_letter_queue_id(&queue.service, queue.kind));
            let filter: Value =
                serde_json::from_str(&subscription.filter_policy()).unwrap_or_default();
            let properties = json!({
                "TopicArn": reference(topic_id(&topic.topic)),
                "Protocol": "sqs",
                "Endpoint": arn(queue_id(&queue.service, queue.kind)),
                "RawMessageDelivery": true,
                "FilterPolicy": filter,
                "FilterPolicyScope": "MessageAttributes",
                "RedrivePolicy": { "deadLetterTargetArn": dead_letters },
            });
            let id = id(&queue.service, "To") + &id(&topic.topic, "Subscription");
            parts.resource(id, "AWS::SNS::Subscription", properties);
        }
    }

    fn topic(&self, parts: &mut Parts, topic: &PlannedTopic) {
        let mut properties = json!({ "TopicName": topic.name });
        if topic.kind == Kind::Fifo {
            properties["FifoTopic"] = true.into();
        }
        if self.encrypted {
            properties["KmsMasterKeyId"] = arn(KEY);
        }
        let id = topic_id(&topic.topic);
        let description = format!("ARN of the topic {}", topic.topic);
        parts.output(format!("{id}Arn"), description, reference(&*id));
        parts.resource(id, "AWS::SNS::Topic", properties);
    }

    fn stream(&self, parts: &mut Parts, stream: &PlannedStream) {
        let mut properties = json!({
            "Name": stream.name,
            "RetentionPeriodHours": stream.settings.retention(),
        });
        let shards = stream.settings.shard_count();
        let mode = if shards.is_some() { "PROVISIONED" } else { "ON_DEMAND" };
        properties["StreamModeDetails"] = json!({ "StreamMode": mode });
        if let Some(shards) = shards {
            properties["ShardCount"] = shards.into();
        }
        if self.encrypted {
            properties["StreamEncryption"] = json!({ "EncryptionType": "KMS", "KeyId": arn(KEY) });
        }
        let id = stream_id(&stream.topic);
        let description = format!("ARN of the stream of {}", stream.topic);
        parts.output(format!("{id}Arn"), description, arn(&*id));
        parts.resource(id, "AWS::Kinesis::Stream", properties);
    }

    /// A queue, the dead-letter queue behind it, and who may send to the two.
    fn queue_pair(&self, parts: &mut Parts, plan: &Plan, queue: &PlannedQueue) {
        let PlannedQueue { service, kind, .. } = queue;
        let (own, dead_letters) = (queue_id(service, *kind), dead_letter_queue_id(service, *kind));
        let settled = self.settled(service);
        let properties = json!({
            "QueueName": queue.dead_letter_name,
            "MessageRetentionPeriod": settled.dead_letter_retention,
        });
        self.queue_resource(parts, dead_letters.clone(), properties, *kind);
        let properties = json!({
            "QueueName": queue.name,
            "MessageRetentionPeriod": settled.retention,
            "VisibilityTimeout": settled.visibility,
            "RedrivePolicy": {
                "deadLetterTargetArn": arn(&*dead_letters),
                "maxReceiveCount": settled.max_receives,
            },
        });
        self.queue_resource(parts, own.clone(), properties, *kind);
        let subscribed = plan.subscriptions.iter().filter(|s| s.queue_name == queue.name);
        let topics = subscribed
            .filter_map(|s| plan.topics.iter().find(|topic| topic.name == s.topic_name))
            .map(|topic| reference(topic_id(&topic.topic)));
        let topics: Vec<Value> = topics.collect();
        for id in [own, dead_letters] {
            let document = policy(vec![json!({
                "Sid": "FanfareTopics",
                "Effect": "Allow",
                "Principal": { "Service": "sns.amazonaws.com" },
                "Action": "sqs:SendMessage",
                "Resource": arn(&*id),
                "Condition": { "ArnEquals": { "aws:SourceArn": &topics } },
            })]);
            let size = parts.longest(&document);
            if size > limits::QUEUE_POLICY_BYTES {
                parts.findings.push(Finding::TooLarge {
                    what: "the size in bytes of the queue policy",
                    of: service.clone(),
                    size,
                    most: limits::QUEUE_POLICY_BYTES,
                    advice: "let the service listen to fewer topics",
                });
            }
            let properties = json!({ "Queues": [reference(&*id)], "PolicyDocument": document });
            parts.resource(format!("{id}Policy"), "AWS::SQS::QueuePolicy", properties);
        }
    }

    fn queue_resource(&self, parts: &mut Parts, id: String, mut properties: Value, kind: Kind) {
        if kind == Kind::Fifo {
            properties["FifoQueue"] = true.into();
        }
        if self.encrypted {
            properties["KmsMasterKeyId"] = arn(KEY);
            // A call to KMS every 5 minutes for each sender and reader, not for each message.
            properties["KmsDataKeyReusePeriodSeconds"] = 300.into();
        } else {
            properties["SqsManagedSseEnabled"] = true.into();
        }
        parts.resource(id, "AWS::SQS::Queue", properties);
    }

    /// The account's administrators rule it; its topics may use it to send to queues; roles have their right
    /// to use it in their own policies.
    fn key(&self, parts: &mut Parts, plan: &Plan) {
        let mut statements = vec![json!({
            "Sid": "Account",
            "Effect": "Allow",
            "Principal": { "AWS": sub("arn:${AWS::Partition}:iam::${AWS::AccountId}:root") },
            "Action": "kms:*",
            "Resource": "*",
        })];
        // By their names: topics need the key to exist.
        let topics = plan.topics.iter().map(|topic| {
            sub(format!(
                "arn:${{AWS::Partition}}:sns:${{AWS::Region}}:${{AWS::AccountId}}:{}",
                topic.name
            ))
        });
        let topics: Vec<Value> = topics.collect();
        if !topics.is_empty() {
            statements.push(json!({
                "Sid": "TopicsToQueues",
                "Effect": "Allow",
                "Principal": { "Service": "sns.amazonaws.com" },
                "Action": ["kms:Decrypt", "kms:GenerateDataKey*"],
                "Resource": "*",
                "Condition": {
                    "ArnEquals": { "aws:SourceArn": topics },
                    "StringEquals": { "aws:SourceAccount": reference("AWS::AccountId") },
                },
            }));
        }
        let document = policy(statements);
        let size = parts.longest(&document);
        if size > limits::KEY_POLICY_BYTES {
            parts.findings.push(Finding::TooLarge {
                what: "the size in bytes of the key's policy",
                of: self.system().into(),
                size,
                most: limits::KEY_POLICY_BYTES,
                advice: "declare fewer topics in one system",
            });
        }
        let properties = json!({
            "Description": format!("Messages of {}", self.system()),
            "EnableKeyRotation": true,
            "KeyPolicy": document,
        });
        parts.resource(KEY.into(), "AWS::KMS::Key", properties);
    }
}

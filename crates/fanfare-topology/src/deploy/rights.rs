//! What a function may do: a role of its own for each.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    Deployment,
    carriers::{KEY, dead_letter_queue_id, queue_id, stream_id, topic_id},
    finding::Finding,
    function::Function,
    functions::{TABLE, relay_id},
    limits,
    template::{Parts, arn, policy, reference, sub},
};
use crate::{Binding, Kind};

/// The rights of one role: actions, and on what.
#[derive(Debug, Default)]
pub(super) struct Rights {
    allowed: BTreeMap<&'static [&'static str], Vec<Value>>,
    /// The services through which it reads what the key has encrypted, and writes.
    reads: BTreeSet<&'static str>,
    writes: BTreeSet<&'static str>,
}

impl Rights {
    fn allow(&mut self, actions: &'static [&'static str], on: Value) {
        let allowed = self.allowed.entry(actions).or_default();
        if !allowed.contains(&on) {
            allowed.push(on);
        }
    }

    fn consume(&mut self, queue: String) {
        self.reads.insert("sqs");
        // GetQueueAttributes: the event source mapping looks at the queue.
        self.allow(
            &[
                "sqs:ChangeMessageVisibility",
                "sqs:DeleteMessage",
                "sqs:GetQueueAttributes",
                "sqs:ReceiveMessage",
            ],
            arn(queue),
        );
    }

    fn send(&mut self, queue: String) {
        self.reads.insert("sqs");
        self.writes.insert("sqs");
        self.allow(&["sqs:SendMessage"], arn(queue));
    }

    fn read(&mut self, stream: String) {
        self.reads.insert("kinesis");
        self.allow(
            &[
                "kinesis:DescribeStream",
                "kinesis:DescribeStreamSummary",
                "kinesis:GetRecords",
                "kinesis:GetShardIterator",
                "kinesis:ListShards",
            ],
            arn(stream),
        );
    }

    fn publish(&mut self, topic: &str, binding: Binding) {
        if let Binding::Kinesis(_) = binding {
            self.writes.insert("kinesis");
            self.allow(&["kinesis:ListShards", "kinesis:PutRecords"], arn(stream_id(topic)));
        } else {
            self.reads.insert("sns");
            self.writes.insert("sns");
            self.allow(&["sns:Publish"], reference(topic_id(topic)));
        }
    }

    pub(super) fn store_payloads(&mut self, objects: Value) {
        self.writes.insert("s3");
        self.allow(&["s3:PutObject"], objects);
    }

    pub(super) fn fetch_payloads(&mut self, objects: Value) {
        self.reads.insert("s3");
        self.allow(&["s3:GetObject"], objects);
    }

    fn statements(self, encrypted: bool) -> Vec<Value> {
        let allowed = self
            .allowed
            .into_iter()
            .map(|(actions, on)| json!({ "Effect": "Allow", "Action": actions, "Resource": on }));
        let through = |services: BTreeSet<&str>| {
            let services = services.into_iter();
            services
                .map(|service| sub(format!("{service}.${{AWS::Region}}.amazonaws.com")))
                .collect()
        };
        let keys = [(self.reads, "kms:Decrypt"), (self.writes, "kms:GenerateDataKey")];
        let keys = keys.into_iter().filter(|(services, _)| encrypted && !services.is_empty());
        let keys = keys.map(|(services, action)| {
            let services: Vec<Value> = through(services);
            json!({
                "Effect": "Allow",
                "Action": action,
                "Resource": arn(KEY),
                "Condition": { "StringEquals": { "kms:ViaService": services } },
            })
        });
        allowed.chain(keys).collect()
    }
}

impl Deployment {
    /// What the function that consumes as `service` may do.
    pub(super) fn consumer_rights(&self, service: &str, function: &Function) -> Rights {
        let mut rights = Rights::default();
        self.fetches_payloads(&mut rights);
        for kind in self.topology.kinds(service) {
            rights.consume(queue_id(service, kind));
            rights.send(dead_letter_queue_id(service, kind));
        }
        let streams = self.topology.streams(service);
        for topic in &streams {
            rights.read(stream_id(topic));
        }
        if !streams.is_empty() {
            rights.send(dead_letter_queue_id(service, Kind::Standard));
        }
        match self.relays.get(service) {
            Some(relay) if function.drains_outbox => {
                self.publishing(service, &mut rights);
                self.sending(relay, &mut rights);
            }
            Some(_) => rights.allow(&["lambda:InvokeFunction"], arn(relay_id(service))),
            None => self.publishing(service, &mut rights),
        }
        self.own_rights(function, &mut rights);
        rights
    }

    /// What the function that publishes the outbox of `service` may do.
    pub(super) fn relay_rights(&self, service: &str, function: &Function) -> Rights {
        let mut rights = Rights::default();
        self.publishing(service, &mut rights);
        self.own_rights(function, &mut rights);
        rights
    }

    /// What a function says of itself, and what every one needs.
    pub(super) fn own_rights(&self, function: &Function, rights: &mut Rights) {
        self.sending(function, rights);
        if function.idempotency_table {
            rights.allow(
                &["dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:UpdateItem"],
                arn(TABLE),
            );
        }
        // Lambda keeps its environment encrypted.
        rights.reads.insert("lambda");
    }

    /// Where a function says that it publishes and sends tasks to.
    fn sending(&self, function: &Function, rights: &mut Rights) {
        let bindings = self.topology.bindings();
        for topic in &function.publishes {
            rights.publish(topic, bindings.binding(topic));
            self.stores_payloads(rights);
        }
        for receiver in &function.sends_tasks_to {
            rights.send(queue_id(receiver, bindings.task_kind(receiver)));
            self.stores_payloads(rights);
        }
    }

    /// The topics that the handlers of `service` return events for.
    fn publishing(&self, service: &str, rights: &mut Rights) {
        let bindings = self.topology.bindings();
        for topic in self.topology.handled(service).iter().flat_map(|h| &h.publishes_to) {
            rights.publish(topic, bindings.binding(topic));
            self.stores_payloads(rights);
        }
    }

    /// A role with these rights and those that every function has.
    pub(super) fn role(
        &self,
        parts: &mut Parts,
        of: &str,
        id: &str,
        log: &str,
        mut rights: Rights,
    ) {
        rights.allow(&["logs:CreateLogStream", "logs:PutLogEvents"], arn(log));
        let document = policy(rights.statements(self.encrypted));
        let size = parts.longest(&document);
        if size > limits::ROLE_POLICY_CHARACTERS {
            parts.findings.push(Finding::TooLarge {
                what: "the number of characters in the policy of the role",
                of: of.into(),
                size,
                most: limits::ROLE_POLICY_CHARACTERS,
                advice: "let it publish to fewer topics, or make two services of it",
            });
        }
        let trust = policy(vec![json!({
            "Effect": "Allow",
            "Principal": { "Service": "lambda.amazonaws.com" },
            "Action": "sts:AssumeRole",
        })]);
        let vpc =
            "arn:${AWS::Partition}:iam::aws:policy/service-role/AWSLambdaVPCAccessExecutionRole";
        let properties = json!({
            "AssumeRolePolicyDocument": trust,
            "ManagedPolicyArns": {
                "Fn::If": ["HasVpc", [sub(vpc)], reference("AWS::NoValue")]
            },
            "Policies": [{ "PolicyName": "own", "PolicyDocument": document }],
        });
        parts.resource(id.into(), "AWS::IAM::Role", properties);
    }
}

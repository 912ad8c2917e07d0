//! Functions, what brings events to them, and what starts them by the clock.

use serde_json::{Value, json};

use super::{
    Deployment, Packaging,
    carriers::{KEY, dead_letter_queue_id, queue_id, stream_id},
    function::{Function, seconds},
    limits,
    rights::Rights,
    template::{Parts, arn, id, reference, sub},
};
use crate::{Binding, Kind};

/// The id of the table that remembers events.
pub(super) const TABLE: &str = "IdempotencyTable";

/// Days for which a function's log is kept.
const LOG_DAYS: u32 = 30;

/// Seconds for which an invocation of a relay may wait for its turn; the next of its schedule comes then.
const RELAY_WAIT: u32 = 60;

pub(super) fn function_id(service: &str) -> String {
    id(service, "Function")
}

pub(super) fn relay_id(service: &str) -> String {
    id(service, "RelayFunction")
}

impl Deployment {
    pub(super) fn functions(&self, parts: &mut Parts, packaging: Packaging) {
        let bindings = self.topology.bindings();
        let all = self.all_functions();
        if !all.is_empty() {
            parameters(parts, packaging, all.iter().any(|(_, function)| function.database));
        }
        if all.iter().any(|(_, function)| function.idempotency_table) {
            table(parts, &bindings.idempotency_table_name());
        }
        for (service, function) in &self.functions {
            let rights = self.consumer_rights(service, function);
            let name = bindings.function_name(service);
            self.function_resource(
                parts,
                packaging,
                &function_id(service),
                &name,
                function,
                rights,
            );
            for kind in self.topology.kinds(service) {
                queue_mapping(parts, service, kind, function);
            }
            for topic in self.topology.streams(service) {
                self.stream_mapping(parts, service, topic, function);
            }
        }
        for (service, function) in &self.relays {
            let (id, name) = (relay_id(service), bindings.relay_function_name(service));
            let rights = self.relay_rights(service, function);
            self.function_resource(parts, packaging, &id, &name, function, rights);
            schedule(parts, &id, &name);
        }
        if let Some(function) = &self.migrations {
            let mut rights = Rights::default();
            self.own_rights(function, &mut rights);
            let name = bindings.migrations_function_name();
            self.function_resource(parts, packaging, "MigrationsFunction", &name, function, rights);
        }
    }

    fn function_resource(
        &self,
        parts: &mut Parts,
        packaging: Packaging,
        id: &str,
        name: &str,
        function: &Function,
        rights: Rights,
    ) {
        let (role, log) = (format!("{id}Role"), format!("{id}Log"));
        let group = json!({
            "LogGroupName": format!("/aws/lambda/{name}"),
            "RetentionInDays": LOG_DAYS,
        });
        parts.resource(log.clone(), "AWS::Logs::LogGroup", group);
        self.role(parts, name, &role, &log, rights);
        let mut properties = json!({
            "FunctionName": name,
            "Runtime": "provided.al2023",
            "Handler": "bootstrap",
            "Architectures": [reference("Architecture")],
            "MemorySize": function.memory,
            "Timeout": seconds(function.timeout),
            "Role": arn(role),
            "LoggingConfig": { "LogGroup": reference(log) },
            "Environment": { "Variables": self.variables(function) },
            "VpcConfig": { "Fn::If": ["HasVpc", {
                "SubnetIds": reference("VpcSubnetIds"),
                "SecurityGroupIds": reference("VpcSecurityGroupIds"),
            }, reference("AWS::NoValue")] },
        });
        if self.encrypted {
            properties["KmsKeyArn"] = arn(KEY);
        }
        let code = &function.code;
        let kind = match packaging {
            Packaging::Plain => {
                properties["Code"] = json!({
                    "S3Bucket": reference("CodeBucket"),
                    "S3Key": sub(format!("${{CodePrefix}}{code}${{CodeSuffix}}")),
                });
                "AWS::Lambda::Function"
            }
            Packaging::Sam => {
                properties["CodeUri"] = format!("{CODE}/{code}.zip").into();
                "AWS::Serverless::Function"
            }
        };
        parts.output(format!("{id}Name"), format!("Name of the function {name}"), reference(id));
        parts.resource(id.into(), kind, properties);
    }

    /// Its environment: its own variables before those of all functions.
    fn variables(&self, function: &Function) -> Value {
        let own = self.environment.iter().chain(&function.environment);
        let mut variables: Value =
            own.map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
        // ARNs and URLs of queues are computed from it.
        variables["AWS_ACCOUNT_ID"] = reference("AWS::AccountId");
        if function.database {
            variables["DATABASE_URL"] = reference("DatabaseUrl");
        }
        variables
    }

    fn stream_mapping(&self, parts: &mut Parts, service: &str, topic: &str, function: &Function) {
        let Binding::Kinesis(stream) = self.topology.bindings().binding(topic) else { return };
        let dead_letters = arn(dead_letter_queue_id(service, Kind::Standard));
        let mut properties = json!({
            "FunctionName": reference(function_id(service)),
            "EventSourceArn": arn(stream_id(topic)),
            "StartingPosition": "TRIM_HORIZON",
            "BatchSize": function.stream_batch_size,
            "ParallelizationFactor": function.parallelization_factor,
            "MaximumRetryAttempts": function.max_retries,
            "MaximumRecordAgeInSeconds": record_age(function, stream.retention()),
            "BisectBatchOnFunctionError": function.bisect,
            "DestinationConfig": { "OnFailure": { "Destination": dead_letters } },
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
        });
        gather(&mut properties, function);
        let id = id(service, "Reads") + &id(topic, "Mapping");
        parts.resource(id, "AWS::Lambda::EventSourceMapping", properties);
    }
}

/// Where SAM finds the functions' code, from the folder of the template.
const CODE: &str = "../target/lambda";

/// Seconds for which a record is tried: half of what its stream keeps it for, if the function does not say.
pub(super) fn record_age(function: &Function, retention_hours: u32) -> u64 {
    let half = u64::from(retention_hours) * 3_600 / 2;
    function.max_record_age.map_or(half.min(*limits::RECORD_AGE.end()), seconds)
}

fn queue_mapping(parts: &mut Parts, service: &str, kind: Kind, function: &Function) {
    let queue = queue_id(service, kind);
    let mut properties = json!({
        "FunctionName": reference(function_id(service)),
        "EventSourceArn": arn(&*queue),
        "BatchSize": function.batch_size,
        "ScalingConfig": { "MaximumConcurrency": function.max_concurrency },
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
    });
    gather(&mut properties, function);
    parts.resource(format!("{queue}Mapping"), "AWS::Lambda::EventSourceMapping", properties);
}

fn gather(properties: &mut Value, function: &Function) {
    if !function.batching_window.is_zero() {
        let window = seconds(function.batching_window);
        properties["MaximumBatchingWindowInSeconds"] = window.into();
    }
}

/// A relay is started every minute, whatever becomes of the invocations after commits.
fn schedule(parts: &mut Parts, function: &str, name: &str) {
    let rule = format!("{function}Schedule");
    let target = json!({ "Id": "relay", "Arn": arn(function) });
    let properties = json!({
        "Name": name,
        "Description": "Publishes what no invocation after a commit has published",
        "ScheduleExpression": "rate(1 minute)",
        "State": "ENABLED",
        "Targets": [target],
    });
    parts.resource(rule.clone(), "AWS::Events::Rule", properties);
    let properties = json!({
        "FunctionName": reference(function),
        "Action": "lambda:InvokeFunction",
        "Principal": "events.amazonaws.com",
        "SourceArn": arn(rule),
    });
    parts.resource(format!("{function}Permission"), "AWS::Lambda::Permission", properties);
    // Without retries: the next minute brings the next.
    let properties = json!({
        "FunctionName": reference(function),
        "Qualifier": "$LATEST",
        "MaximumEventAgeInSeconds": RELAY_WAIT,
        "MaximumRetryAttempts": 0,
    });
    parts.resource(format!("{function}Waits"), "AWS::Lambda::EventInvokeConfig", properties);
}

fn table(parts: &mut Parts, name: &str) {
    let properties = json!({
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{ "AttributeName": "id", "AttributeType": "S" }],
        "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
        "TimeToLiveSpecification": { "AttributeName": "expires_at", "Enabled": true },
        "PointInTimeRecoverySpecification": { "PointInTimeRecoveryEnabled": true },
    });
    parts.resource(TABLE.into(), "AWS::DynamoDB::Table", properties);
}

fn parameters(parts: &mut Parts, packaging: Packaging, database: bool) {
    let mut add = |name: &str, parameter: Value| {
        parts.parameters.insert(name.into(), parameter);
    };
    add(
        "Architecture",
        json!({
            "Type": "String",
            "Default": "arm64",
            "AllowedValues": ["arm64", "x86_64"],
            "Description": "What the functions are built for",
        }),
    );
    if packaging == Packaging::Plain {
        add(
            "CodeBucket",
            json!({ "Type": "String", "Description": "The S3 bucket of the functions' code" }),
        );
        add(
            "CodePrefix",
            json!({
                "Type": "String",
                "Default": "",
                "Description": "What comes before a function's name in the key of its code, such as releases/7/",
            }),
        );
        add(
            "CodeSuffix",
            json!({
                "Type": "String",
                "Default": ".zip",
                "Description": "What comes after it",
            }),
        );
    }
    if database {
        add(
            "DatabaseUrl",
            json!({
                "Type": "String",
                "NoEcho": true,
                "Description": "postgres://…, or better a dynamic reference to the secret that holds it",
            }),
        );
    }
    add(
        "VpcSubnetIds",
        json!({
            "Type": "CommaDelimitedList",
            "Default": "",
            "Description": "Subnets that the functions run in, where the database is reached in a VPC only",
        }),
    );
    add(
        "VpcSecurityGroupIds",
        json!({
            "Type": "CommaDelimitedList",
            "Default": "",
            "Description": "Their security groups there",
        }),
    );
    let subnets = json!({ "Fn::Join": ["", reference("VpcSubnetIds")] });
    let has = json!({ "Fn::Not": [{ "Fn::Equals": [subnets, ""] }] });
    parts.conditions.insert("HasVpc".into(), has);
}

//! Alarms: what somebody should look at.

use serde_json::{Value, json};

use super::{
    Deployment,
    template::{Parts, id, reference},
};
use crate::Plan;

/// How old the oldest message of a queue or record of a stream may be, in seconds.
const AGE: u64 = 900;

/// Minutes in a row for which something has to be so.
const MINUTES: u32 = 5;

/// What an alarm looks at, and when it goes off.
struct Alarm {
    id: String,
    name: String,
    text: String,
    namespace: &'static str,
    metric: &'static str,
    dimension: &'static str,
    of: String,
    statistic: &'static str,
    above: u64,
    minutes: u32,
}

impl Deployment {
    pub(super) fn alarms(&self, parts: &mut Parts, plan: &Plan) {
        parts.parameters.insert(
            "AlarmTopicArn".into(),
            json!({
                "Type": "String",
                "Default": "",
                "Description": "The SNS topic that alarms are sent to, if to any",
            }),
        );
        let none = json!({ "Fn::Equals": [reference("AlarmTopicArn"), ""] });
        parts.conditions.insert("HasAlarmTopic".into(), json!({ "Fn::Not": [none] }));
        let own = plan.queues.iter().map(|queue| (&queue.name, &queue.dead_letter_name));
        for (queue, dead_letters) in own {
            oldest_message(queue).add(parts, self.system());
            dead_letters_waiting(dead_letters).add(parts, self.system());
        }
        for queue in &plan.dead_letter_queues {
            dead_letters_waiting(&queue.name).add(parts, self.system());
        }
        let bindings = self.topology.bindings();
        for service in self.functions.keys() {
            if !self.topology.streams(service).is_empty() {
                iterator_age(&bindings.function_name(service)).add(parts, self.system());
            }
        }
        for service in self.relays.keys() {
            let name = bindings.relay_function_name(service);
            relay_fails(&name, "Errors").add(parts, self.system());
            relay_fails(&name, "Throttles").add(parts, self.system());
        }
    }
}

fn oldest_message(queue: &str) -> Alarm {
    Alarm {
        id: "OldestMessage".into(),
        name: format!("{queue}-oldest-message"),
        text: format!("A message waits in {queue} for more than {} minutes", AGE / 60),
        namespace: "AWS/SQS",
        metric: "ApproximateAgeOfOldestMessage",
        dimension: "QueueName",
        of: queue.into(),
        statistic: "Maximum",
        above: AGE,
        minutes: MINUTES,
    }
}

fn dead_letters_waiting(queue: &str) -> Alarm {
    Alarm {
        id: "NotEmpty".into(),
        name: format!("{queue}-not-empty"),
        text: format!("{queue} holds messages that could not be handled"),
        namespace: "AWS/SQS",
        metric: "ApproximateNumberOfMessagesVisible",
        dimension: "QueueName",
        of: queue.into(),
        statistic: "Maximum",
        above: 0,
        minutes: 1,
    }
}

fn iterator_age(function: &str) -> Alarm {
    Alarm {
        id: "IteratorAge".into(),
        name: format!("{function}-iterator-age"),
        text: format!("{function} is more than {} minutes behind its streams", AGE / 60),
        namespace: "AWS/Lambda",
        metric: "IteratorAge",
        dimension: "FunctionName",
        of: function.into(),
        statistic: "Maximum",
        above: AGE * 1_000,
        minutes: MINUTES,
    }
}

fn relay_fails(function: &str, metric: &'static str) -> Alarm {
    Alarm {
        id: metric.into(),
        name: format!("{function}-{}", metric.to_lowercase()),
        text: format!(
            "{function} fails or cannot start for {MINUTES} minutes: events wait in the outbox"
        ),
        namespace: "AWS/Lambda",
        metric,
        dimension: "FunctionName",
        of: function.into(),
        statistic: "Sum",
        above: 0,
        minutes: MINUTES,
    }
}

impl Alarm {
    fn add(self, parts: &mut Parts, system: &str) {
        let topic = json!({ "Fn::If": ["HasAlarmTopic", reference("AlarmTopicArn"), reference("AWS::NoValue")] });
        let actions: Vec<Value> = vec![topic];
        let properties = json!({
            "AlarmName": self.name,
            "AlarmDescription": self.text,
            "Namespace": self.namespace,
            "MetricName": self.metric,
            "Dimensions": [{ "Name": self.dimension, "Value": self.of }],
            "Statistic": self.statistic,
            "Period": 60,
            "EvaluationPeriods": self.minutes,
            "ComparisonOperator": "GreaterThanThreshold",
            "Threshold": self.above,
            "TreatMissingData": "notBreaching",
            "AlarmActions": actions,
        });
        let of = self.of.strip_prefix(system).unwrap_or(&self.of).to_owned();
        parts.resource(id(&of, &self.id) + "Alarm", "AWS::CloudWatch::Alarm", properties);
    }
}

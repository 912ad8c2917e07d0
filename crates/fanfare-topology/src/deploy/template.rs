//! A template under construction, and what it is written with.

use std::{collections::BTreeMap, fmt};

use serde_json::{Map, Value, json};

use super::Finding;

/// A CloudFormation template. Its `Display` is JSON, indented, its names sorted and a new line at its end:
/// the same text for the same deployment.
#[derive(Debug, Clone, PartialEq)]
pub struct Template(Value);

impl Template {
    /// The template as a value.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// The template in as few bytes as there can be: a request takes 51,200, a file on S3 1 MB.
    /// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html>
    #[must_use]
    pub fn body(&self) -> String {
        self.0.to_string()
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:#}", self.0)
    }
}

/// The parts of a template.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) parameters: BTreeMap<String, Value>,
    pub(super) conditions: BTreeMap<String, Value>,
    pub(super) resources: BTreeMap<String, Value>,
    pub(super) outputs: BTreeMap<String, Value>,
    pub(super) findings: Vec<Finding>,
}

impl Parts {
    /// Adds a resource. Two of one id are a finding, because one would take the other's place.
    pub(super) fn resource(&mut self, id: String, kind: &str, properties: Value) {
        let resource = json!({ "Type": kind, "Properties": properties });
        if self.resources.insert(id.clone(), resource).is_some() {
            self.findings.push(Finding::SameName { name: id });
        }
    }

    pub(super) fn output(&mut self, id: String, description: String, value: Value) {
        self.outputs.insert(id, json!({ "Description": description, "Value": value }));
    }

    /// The most bytes that `value` can have once its intrinsic functions are resolved.
    pub(super) fn longest(&self, value: &Value) -> usize {
        match value {
            Value::Object(map) => match intrinsic(map) {
                Some(("Ref" | "Fn::GetAtt", of)) => {
                    let id = of.get(0).unwrap_or(of).as_str().unwrap_or_default();
                    ARN_OVERHEAD + self.name(id).map_or(id.len(), str::len)
                }
                Some(("Fn::Sub", Value::String(text))) => text.len() + 2,
                _ => {
                    let entries =
                        map.iter().map(|(name, value)| name.len() + 4 + self.longest(value));
                    1 + entries.sum::<usize>()
                }
            },
            Value::Array(values) => {
                1 + values.iter().map(|value| 1 + self.longest(value)).sum::<usize>()
            }
            other => other.to_string().len(),
        }
    }

    /// A resource's name on AWS, if it is given one.
    fn name(&self, id: &str) -> Option<&str> {
        let properties = self.resources.get(id)?.get("Properties")?;
        let names = ["FunctionName", "LogGroupName", "Name", "QueueName", "TableName", "TopicName"];
        names.iter().find_map(|name| properties.get(name)?.as_str())
    }

    pub(super) fn template(self, description: &str, transform: Option<&str>) -> Template {
        let mut template = json!({
            "AWSTemplateFormatVersion": "2010-09-09",
            "Description": description,
            "Parameters": self.parameters,
            "Conditions": self.conditions,
            "Resources": self.resources,
            "Outputs": self.outputs,
        });
        if let Some(transform) = transform {
            template["Transform"] = transform.into();
        }
        Template(sorted(template))
    }
}

/// Characters of an ARN, quoted, beside the resource's name: those of
/// `arn:aws-us-gov:logs:us-gov-west-1:123456789012:log-group:…:*`, and some more.
const ARN_OVERHEAD: usize = 72;

fn intrinsic(map: &Map<String, Value>) -> Option<(&str, &Value)> {
    let (name, value) = map.iter().next()?;
    (map.len() == 1 && (name == "Ref" || name.starts_with("Fn::"))).then_some((name, value))
}

/// With names sorted, however the build keeps the order of maps.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let entries: BTreeMap<_, _> = map.into_iter().collect();
            let empty = |name: &str, value: &Value| {
                name == "Conditions" && value.as_object().is_some_and(Map::is_empty)
            };
            let entries = entries.into_iter().filter(|(name, value)| !empty(name, value));
            entries.map(|(name, value)| (name, sorted(value))).collect::<Map<_, _>>().into()
        }
        Value::Array(values) => values.into_iter().map(sorted).collect(),
        other => other,
    }
}

/// An id in a template, of letters and digits: `order-lines` and `Queue` make `OrderLinesQueue`.
pub(super) fn id(name: &str, what: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    let capitalised = words.map(|word| {
        let mut letters = word.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    });
    capitalised.collect::<String>() + what
}

pub(super) fn reference(id: impl Into<String>) -> Value {
    json!({ "Ref": id.into() })
}

/// The ARN of a resource that is in this template.
pub(super) fn arn(id: impl Into<String>) -> Value {
    json!({ "Fn::GetAtt": [id.into(), "Arn"] })
}

pub(super) fn sub(text: impl Into<String>) -> Value {
    json!({ "Fn::Sub": text.into() })
}

/// A policy of IAM, or of a resource.
pub(super) fn policy(statements: Vec<Value>) -> Value {
    json!({ "Version": "2012-10-17", "Statement": statements })
}

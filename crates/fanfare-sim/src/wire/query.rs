//! The Query protocol's forms: flat keys such as `Attributes.entry.1.key` become a tree, in the
//! shape that serde reads.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::error::AwsError;

/// A node while the form is read: children by name, or a value.
#[derive(Debug, Default)]
struct Node {
    value: Option<String>,
    children: BTreeMap<String, Node>,
}

/// Parses a form into objects (`a.b`), arrays (`a.member.1`) and maps (`a.entry.1.key` with
/// `….value`, or `….Name` with `….Value`). Every leaf is a string.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(form: &[u8]) -> Result<T, AwsError> {
    let mut root = Node::default();
    for (key, value) in form_urlencoded::parse(form) {
        let mut node = &mut root;
        for part in key.split('.') {
            node = node.children.entry(part.to_owned()).or_default();
        }
        node.value = Some(value.into_owned());
    }
    serde_json::from_value(root.into_json())
        .map_err(|error| AwsError::sender("MalformedInput", error.to_string()))
}

impl Node {
    fn into_json(mut self) -> Value {
        if let Some(members) = self.children.remove("member") {
            return Value::Array(members.in_order().map(Self::into_json).collect());
        }
        if let Some(entries) = self.children.remove("entry") {
            let pairs = entries.in_order().filter_map(Self::into_pair);
            return Value::Object(pairs.collect());
        }
        if self.children.is_empty() {
            return Value::String(self.value.unwrap_or_default());
        }
        let fields = self.children.into_iter().map(|(name, node)| (name, node.into_json()));
        Value::Object(fields.collect::<Map<_, _>>())
    }

    /// The numbered children, in numerical order.
    fn in_order(self) -> impl Iterator<Item = Node> {
        let numbered = self.children.into_iter();
        let mut numbered: Vec<(usize, Node)> =
            numbered.filter_map(|(number, node)| Some((number.parse().ok()?, node))).collect();
        numbered.sort_by_key(|(number, _)| *number);
        numbered.into_iter().map(|(_, node)| node)
    }

    fn into_pair(mut self) -> Option<(String, Value)> {
        let mut take =
            |lower, upper| self.children.remove(lower).or_else(|| self.children.remove(upper));
        let (key, value) = (take("key", "Name")?, take("value", "Value")?);
        Some((key.value?, value.into_json()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn flat_keys_become_a_tree() {
        let form = b"Action=Publish&Message=a%26b&Attributes.entry.1.key=FifoTopic&Attributes.entry.1.value=true\
            &Tags.member.2.Key=two&Tags.member.1.Key=one&MessageAttributes.entry.1.Name=type\
            &MessageAttributes.entry.1.Value.DataType=String&MessageAttributes.entry.1.Value.StringValue=";
        let tree: Value = parse(form).unwrap();
        assert_eq!(
            tree,
            json!({
                "Action": "Publish",
                "Message": "a&b",
                "Attributes": {"FifoTopic": "true"},
                "Tags": [{"Key": "one"}, {"Key": "two"}],
                "MessageAttributes": {"type": {"DataType": "String", "StringValue": ""}},
            })
        );
    }
}

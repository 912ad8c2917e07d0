//! Whether a message meets a policy.

use std::net::IpAddr;

use serde_json::Value;

use super::parse::scalar;
use super::{Clause, Comparison, Condition, Fields, Scalar};
use crate::engine::content::{Attribute, AttributeValue, Attributes};

impl Fields {
    pub(super) fn match_attributes(&self, attributes: &Attributes) -> bool {
        self.0.iter().all(|clause| match clause {
            Clause::Field(name, conditions) => {
                any_holds(conditions, attributes.get(name).and_then(scalars).as_deref())
            }
            Clause::AnyOf(alternatives) => {
                alternatives.iter().any(|fields| fields.match_attributes(attributes))
            }
            // The parser refuses these in this scope.
            Clause::Nested(..) => false,
        })
    }

    /// `None` where the object is missing: only `exists: false` holds then.
    pub(super) fn match_json(&self, object: Option<&Value>) -> bool {
        self.0.iter().all(|clause| match clause {
            Clause::Field(name, conditions) => {
                let mut leaves = Vec::new();
                if let Some(value) = object.and_then(|object| object.get(name)) {
                    collect_leaves(value, &mut leaves);
                }
                // An empty array and an object have no value of their own.
                any_holds(conditions, (!leaves.is_empty()).then_some(&leaves))
            }
            Clause::Nested(name, fields) => {
                let mut objects = Vec::new();
                if let Some(value) = object.and_then(|object| object.get(name)) {
                    collect_objects(value, &mut objects);
                }
                if objects.is_empty() {
                    return fields.match_json(None);
                }
                objects.into_iter().any(|object| fields.match_json(Some(object)))
            }
            Clause::AnyOf(alternatives) => {
                alternatives.iter().any(|fields| fields.match_json(object))
            }
        })
    }
}

/// The values of an attribute that policies see; binary ones they do not.
fn scalars(attribute: &Attribute) -> Option<Vec<Scalar>> {
    let AttributeValue::String(text) = &attribute.value else { return None };
    Some(match attribute.data_type.as_str() {
        "String.Array" => match serde_json::from_str(text) {
            Ok(Value::Array(values)) => values.iter().filter_map(scalar).collect(),
            _ => Vec::new(),
        },
        number if number == "Number" || number.starts_with("Number.") => {
            text.parse().map(Scalar::Number).into_iter().collect()
        }
        _ => vec![Scalar::Text(text.clone())],
    })
}

fn collect_leaves(value: &Value, leaves: &mut Vec<Scalar>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| collect_leaves(value, leaves)),
        _ => leaves.extend(scalar(value)),
    }
}

fn collect_objects<'v>(value: &'v Value, objects: &mut Vec<&'v Value>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| collect_objects(value, objects)),
        Value::Object(_) => objects.push(value),
        _ => {}
    }
}

/// `values` is `None` where the field is missing.
fn any_holds(conditions: &[Condition], values: Option<&[Scalar]>) -> bool {
    conditions.iter().any(|condition| match condition {
        Condition::Exists(wanted) => *wanted == values.is_some(),
        _ => values.is_some_and(|values| values.iter().any(|value| condition.holds(value))),
    })
}

impl Condition {
    fn holds(&self, value: &Scalar) -> bool {
        match (self, value) {
            (Self::Equals(wanted), _) => wanted == value,
            (Self::AnythingBut(excluded), _) => {
                !excluded.iter().any(|condition| condition.holds(value))
            }
            (Self::EqualsIgnoreCase(wanted), Scalar::Text(text)) => {
                wanted.to_lowercase() == text.to_lowercase()
            }
            (Self::Prefix(prefix), Scalar::Text(text)) => text.starts_with(prefix),
            (Self::Suffix(suffix), Scalar::Text(text)) => text.ends_with(suffix),
            (Self::Wildcard(parts), Scalar::Text(text)) => matches_parts(parts, text),
            (Self::Cidr(network, bits), Scalar::Text(text)) => {
                text.parse().is_ok_and(|address| contains(*network, *bits, address))
            }
            (Self::Numeric(comparisons), Scalar::Number(number)) => {
                comparisons.iter().all(|(comparison, bound)| comparison.holds(*number, *bound))
            }
            _ => false,
        }
    }
}

impl Comparison {
    fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::Less => value < bound,
            Self::LessOrEqual => value <= bound,
            Self::Equal => value == bound,
            Self::GreaterOrEqual => value >= bound,
            Self::Greater => value > bound,
        }
    }
}

/// Whether the parts follow one another in the text, the first at its start, the last at its end.
fn matches_parts(parts: &[String], text: &str) -> bool {
    let Some((first, rest)) = parts.split_first() else { return false };
    let Some((last, middle)) = rest.split_last() else { return first == text };
    let Some(mut text) = text.strip_prefix(first.as_str()) else { return false };
    for part in middle {
        let Some(at) = text.find(part.as_str()) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(last.as_str())
}

fn contains(network: IpAddr, bits: u8, address: IpAddr) -> bool {
    let prefix = |bits: u128, width: u32, length: u8| {
        bits.checked_shr(width - u32::from(length)).unwrap_or(0)
    };
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let value = |ip: std::net::Ipv4Addr| u128::from(u32::from(ip));
            prefix(value(network), 32, bits) == prefix(value(address), 32, bits)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            prefix(network.into(), 128, bits) == prefix(address.into(), 128, bits)
        }
        _ => false,
    }
}

//! From a policy document to checked conditions, with AWS's limits and error texts.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::{Clause, Comparison, Condition, Fields, Scalar, Scope};
use crate::engine::limits::{MAX_FILTER_BYTES, MAX_FILTER_COMBINATIONS, MAX_FILTER_KEYS};

type Parsed<T> = Result<T, String>;

pub(super) fn policy(document: &str, scope: Scope) -> Parsed<Fields> {
    if document.len() > MAX_FILTER_BYTES {
        return Err("Filter policy is too large".to_owned());
    }
    let parsed = serde_json::from_str(document);
    let Ok(Value::Object(object)) = parsed else {
        return Err("failed to parse JSON.".to_owned());
    };
    if object.len() > MAX_FILTER_KEYS {
        return Err(format!("Filter policy can not have more than {MAX_FILTER_KEYS} keys"));
    }
    let mut combinations = 1;
    let root = fields(&object, scope, 1, &mut combinations)?;
    if combinations > MAX_FILTER_COMBINATIONS {
        return Err("Filter policy is too complex".to_owned());
    }
    Ok(root)
}

/// `combinations` is multiplied by what each list of values adds: their number times the depth.
fn fields(
    object: &Map<String, Value>,
    scope: Scope,
    depth: usize,
    combinations: &mut usize,
) -> Parsed<Fields> {
    if depth > 1 && scope == Scope::Attributes {
        let message = "Filter policy scope MessageAttributes does not support nested filter policy";
        return Err(message.to_owned());
    }
    let mut clauses = Vec::new();
    for (key, value) in object {
        clauses.push(match value {
            Value::Array(values) if values.is_empty() => {
                return Err("Empty arrays are not allowed".to_owned());
            }
            Value::Array(alternatives) if key == "$or" && is_or(alternatives) => {
                let (before, mut sum) = (*combinations, 0_usize);
                let mut parsed = Vec::new();
                for alternative in alternatives.iter().filter_map(Value::as_object) {
                    let mut own = before;
                    parsed.push(fields(alternative, scope, depth, &mut own)?);
                    sum = sum.saturating_add(own);
                }
                *combinations = sum;
                Clause::AnyOf(parsed)
            }
            Value::Array(values) => {
                *combinations = combinations.saturating_mul(values.len()).saturating_mul(depth);
                let conditions = values.iter().map(condition).collect::<Parsed<_>>()?;
                Clause::Field(key.clone(), conditions)
            }
            Value::Object(nested) => {
                Clause::Nested(key.clone(), fields(nested, scope, depth + 1, combinations)?)
            }
            _ => return Err(format!("\"{key}\" must be an object or an array")),
        });
    }
    Ok(Fields(clauses))
}

/// `$or` is the operator only over two or more objects; otherwise it is a field's name.
fn is_or(alternatives: &[Value]) -> bool {
    alternatives.len() > 1 && alternatives.iter().all(Value::is_object)
}

fn condition(value: &Value) -> Parsed<Condition> {
    match value {
        Value::Object(operator) => {
            let mut entries = operator.iter();
            match (entries.next(), entries.next()) {
                (Some((name, operand)), None) => operator_condition(name, operand),
                _ => Err("Only one key allowed in match expression".to_owned()),
            }
        }
        _ => scalar(value)
            .map(Condition::Equals)
            .ok_or_else(|| "Match value must be String, number, true, false, or null".to_owned()),
    }
}

fn operator_condition(name: &str, operand: &Value) -> Parsed<Condition> {
    match name {
        "prefix" => text(name, operand).map(Condition::Prefix),
        "suffix" => text(name, operand).map(Condition::Suffix),
        "equals-ignore-case" => text(name, operand).map(Condition::EqualsIgnoreCase),
        "wildcard" => text(name, operand).and_then(|pattern| wildcard(&pattern)),
        "anything-but" => anything_but(operand).map(Condition::AnythingBut),
        "exists" => operand
            .as_bool()
            .map(Condition::Exists)
            .ok_or_else(|| "exists match pattern must be either true or false.".to_owned()),
        "numeric" => numeric(operand).map(Condition::Numeric),
        "cidr" => text("prefix", operand).and_then(|block| cidr(&block)),
        _ => Err(format!("Unrecognized match type {name}")),
    }
}

fn anything_but(operand: &Value) -> Parsed<Vec<Condition>> {
    let simple = |value: &Value| {
        scalar(value)
            .filter(|scalar| matches!(scalar, Scalar::Text(_) | Scalar::Number(_)))
            .map(Condition::Equals)
            .ok_or_else(|| {
                "Value of anything-but must be an array or single string/number value.".to_owned()
            })
    };
    match operand {
        Value::Array(values) if values.is_empty() => Err("Empty arrays are not allowed".to_owned()),
        Value::Array(values) => values.iter().map(simple).collect(),
        Value::Object(nested) => {
            let mut entries = nested.iter();
            let (Some((name, operand)), None) = (entries.next(), entries.next()) else {
                return Err("Only one key allowed in match expression".to_owned());
            };
            if !["prefix", "suffix", "equals-ignore-case", "wildcard"].contains(&name.as_str()) {
                return Err(format!("Unsupported anything-but pattern: {name}"));
            }
            match operand {
                Value::Array(values) if !values.is_empty() => {
                    values.iter().map(|value| operator_condition(name, value)).collect()
                }
                _ => Ok(vec![operator_condition(name, operand)?]),
            }
        }
        _ => Ok(vec![simple(operand)?]),
    }
}

/// Splits a pattern at its stars; a backslash takes the meaning from the next character.
fn wildcard(pattern: &str) -> Parsed<Condition> {
    let mut parts = vec![String::new()];
    let mut characters = pattern.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, parts.last_mut()) {
            ('*', _) if characters.peek() == Some(&'*') => {
                return Err("Consecutive wildcard characters are not allowed".to_owned());
            }
            ('*', _) => parts.push(String::new()),
            ('\\', Some(part)) => match characters.next() {
                Some(escaped @ ('*' | '\\')) => part.push(escaped),
                _ => return Err("Invalid escape character in wildcard pattern".to_owned()),
            },
            (other, Some(part)) => part.push(other),
            (_, None) => {}
        }
    }
    Ok(Condition::Wildcard(parts))
}

fn numeric(operand: &Value) -> Parsed<Vec<(Comparison, f64)>> {
    let members = operand.as_array().map(Vec::as_slice).unwrap_or_default();
    let invalid = |member: &Value| format!("Invalid member in numeric match: {member}");
    let (operator, rest) =
        members.split_first().ok_or_else(|| "Invalid member in numeric match: ]".to_owned())?;
    let first = comparison(operator.as_str().ok_or_else(|| invalid(operator))?)
        .ok_or_else(|| format!("Unrecognized numeric range operator: {operator}"))?;
    let bound = |value: Option<&Value>, operator: &Value| {
        value
            .and_then(Value::as_f64)
            .ok_or_else(|| format!("Value of {} must be numeric", operator.as_str().unwrap_or("")))
    };
    let bottom = bound(rest.first(), operator)?;
    let Some(second_operator) = rest.get(1) else {
        return Ok(vec![(first, bottom)]);
    };
    if !matches!(first, Comparison::Greater | Comparison::GreaterOrEqual) {
        return Err("Too many elements in numeric expression".to_owned());
    }
    let second = second_operator
        .as_str()
        .and_then(comparison)
        .filter(|second| matches!(second, Comparison::Less | Comparison::LessOrEqual))
        .ok_or_else(|| format!("Bad numeric range operator: {second_operator}"))?;
    let top = bound(rest.get(2), second_operator)?;
    if top <= bottom {
        return Err("Bottom must be less than top".to_owned());
    }
    if rest.len() > 3 {
        return Err("Too many terms in numeric range expression".to_owned());
    }
    Ok(vec![(first, bottom), (second, top)])
}

fn comparison(operator: &str) -> Option<Comparison> {
    Some(match operator {
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        "=" => Comparison::Equal,
        ">=" => Comparison::GreaterOrEqual,
        ">" => Comparison::Greater,
        _ => return None,
    })
}

fn cidr(block: &str) -> Parsed<Condition> {
    let (address, bits) =
        block.split_once('/').ok_or_else(|| "Malformed CIDR, one '/' required".to_owned())?;
    let bits: u8 =
        bits.parse().map_err(|_| "Malformed CIDR, mask bits must be an integer".to_owned())?;
    let parsed: IpAddr =
        address.parse().map_err(|_| format!("Nonstandard IP address: {address}"))?;
    if bits > if parsed.is_ipv4() { 32 } else { 128 } {
        return Err("Malformed CIDR, mask bits out of range".to_owned());
    }
    Ok(Condition::Cidr(parsed, bits))
}

fn text(name: &str, operand: &Value) -> Parsed<String> {
    operand
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| format!("{name} match pattern must be a string"))
}

/// `None` for objects and arrays.
pub(super) fn scalar(value: &Value) -> Option<Scalar> {
    Some(match value {
        Value::String(text) => Scalar::Text(text.clone()),
        Value::Number(number) => Scalar::Number(number.as_f64()?),
        Value::Bool(value) => Scalar::Bool(*value),
        Value::Null => Scalar::Null,
        Value::Array(_) | Value::Object(_) => return None,
    })
}

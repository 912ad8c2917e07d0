//! Filter policies: which messages a subscription wants.

mod matching;
mod parse;

use serde_json::Value;

use crate::engine::content::Attributes;

/// What a policy looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Scope {
    #[default]
    Attributes,
    Body,
}

/// A checked policy.
#[derive(Debug, Clone)]
pub(crate) struct FilterPolicy {
    scope: Scope,
    root: Fields,
}

/// All clauses must hold.
#[derive(Debug, Clone)]
struct Fields(Vec<Clause>);

#[derive(Debug, Clone)]
enum Clause {
    /// One of the conditions holds for a value of the field.
    Field(String, Vec<Condition>),
    /// The fields of an object in the body.
    Nested(String, Fields),
    /// `$or`.
    AnyOf(Vec<Fields>),
}

#[derive(Debug, Clone)]
enum Condition {
    Equals(Scalar),
    EqualsIgnoreCase(String),
    Prefix(String),
    Suffix(String),
    /// The literal parts around the stars.
    Wildcard(Vec<String>),
    /// None of these holds.
    AnythingBut(Vec<Condition>),
    Exists(bool),
    /// All comparisons hold.
    Numeric(Vec<(Comparison, f64)>),
    Cidr(std::net::IpAddr, u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
}

/// A value that conditions compare with.
#[derive(Debug, Clone, PartialEq)]
enum Scalar {
    Text(String),
    Number(f64),
    Bool(bool),
    Null,
}

impl FilterPolicy {
    /// Parses and checks a policy; the error is AWS's text after `FilterPolicy: `.
    pub(crate) fn parse(document: &str, scope: Scope) -> Result<Self, String> {
        Ok(Self { scope, root: parse::policy(document, scope)? })
    }

    pub(crate) fn matches(&self, attributes: &Attributes, body: &str) -> bool {
        match self.scope {
            Scope::Attributes => self.root.match_attributes(attributes),
            Scope::Body => match serde_json::from_str(body) {
                Ok(body @ Value::Object(_)) => self.root.match_json(Some(&body)),
                _ => false,
            },
        }
    }
}

#[cfg(test)]
mod tests;

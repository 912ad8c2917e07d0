//! Resource policies: whether a queue or topic lets somebody else in.
//!
//! Evaluated are effect, principal, action, resource and the conditions on `aws:SourceArn`,
//! `aws:SourceAccount` and `aws:SecureTransport`. What is not understood never grants anything: an
//! unknown condition makes an Allow fail and a Deny hold.

use std::collections::HashMap;

use serde::Deserialize;

/// Who asks for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Access<'a> {
    pub(crate) principal: Principal<'a>,
    /// `sqs:SendMessage`.
    pub(crate) action: &'a str,
    /// ARN of the queue or topic.
    pub(crate) resource: &'a str,
    /// ARN of the topic on whose behalf SNS delivers.
    pub(crate) source_arn: Option<&'a str>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Principal<'a> {
    /// `sns.amazonaws.com`.
    Service(&'a str),
    /// A 12-digit account.
    Account(&'a str),
}

/// A parsed policy document.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Policy {
    #[serde(rename = "Statement")]
    statements: OneOrMany<Statement>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    effect: Effect,
    principal: PrincipalSpec,
    action: OneOrMany<String>,
    resource: OneOrMany<String>,
    #[serde(default)]
    condition: HashMap<String, HashMap<String, OneOrMany<Scalar>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
enum Effect {
    Allow,
    Deny,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum PrincipalSpec {
    Everybody(String),
    Kinds(HashMap<String, OneOrMany<String>>),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Bool(bool),
    Number(serde_json::Number),
}

impl Policy {
    /// Parses a document; `None` if it is no policy.
    pub(crate) fn parse(document: &str) -> Option<Self> {
        serde_json::from_str(document).ok()
    }

    /// Whether some statement allows and none denies.
    pub(crate) fn allows(&self, access: Access<'_>) -> bool {
        let applies = |effect| {
            self.statements.iter().any(|statement| {
                statement.effect == effect
                    && statement.matches(access)
                    && statement.conditions_hold(access, effect == Effect::Deny)
            })
        };
        applies(Effect::Allow) && !applies(Effect::Deny)
    }
}

impl Statement {
    fn matches(&self, access: Access<'_>) -> bool {
        let action = access.action.to_ascii_lowercase();
        self.principal.matches(access.principal)
            && self.action.iter().any(|p| glob(&p.to_ascii_lowercase(), &action))
            && self.resource.iter().any(|p| glob(p, access.resource))
    }

    /// `unknown` is what a condition counts as that is not understood.
    fn conditions_hold(&self, access: Access<'_>, unknown: bool) -> bool {
        self.condition.iter().all(|(operator, keys)| {
            keys.iter().all(|(key, wanted)| {
                let actual = match key.to_ascii_lowercase().as_str() {
                    "aws:sourcearn" => access.source_arn,
                    "aws:sourceaccount" => access.source_arn.and_then(|arn| arn.split(':').nth(4)),
                    "aws:securetransport" => Some("true"),
                    _ => return unknown,
                };
                let any = |test: &dyn Fn(&str, &str) -> bool| {
                    actual.is_some_and(|value| wanted.iter().any(|w| test(&w.text(), value)))
                };
                match operator.as_str() {
                    "ArnEquals" | "ArnLike" | "StringLike" => any(&glob),
                    "StringEquals" => any(&|wanted, value| wanted == value),
                    "StringEqualsIgnoreCase" | "Bool" => {
                        any(&|wanted, value| wanted.eq_ignore_ascii_case(value))
                    }
                    "StringNotEquals" => !any(&|wanted, value| wanted == value),
                    "StringNotLike" | "ArnNotEquals" | "ArnNotLike" => !any(&glob),
                    _ => unknown,
                }
            })
        })
    }
}

impl PrincipalSpec {
    fn matches(&self, principal: Principal<'_>) -> bool {
        let kinds = match self {
            Self::Everybody(star) => return star == "*",
            Self::Kinds(kinds) => kinds,
        };
        let named = |kind: &str, test: &dyn Fn(&str) -> bool| {
            kinds.get(kind).is_some_and(|names| names.iter().any(|name| test(name)))
        };
        // `{"AWS": "*"}` means everybody, services included.
        named("AWS", &|name| name == "*")
            || match principal {
                Principal::Service(service) => named("Service", &|name| name == service),
                Principal::Account(account) => {
                    named("AWS", &|name| name == account || name.split(':').nth(4) == Some(account))
                }
            }
    }
}

impl<T> OneOrMany<T> {
    fn iter(&self) -> std::slice::Iter<'_, T> {
        match self {
            Self::One(item) => std::slice::from_ref(item).iter(),
            Self::Many(items) => items.iter(),
        }
    }
}

impl Scalar {
    fn text(&self) -> std::borrow::Cow<'_, str> {
        match self {
            Self::Text(text) => text.into(),
            Self::Bool(value) => value.to_string().into(),
            Self::Number(number) => number.to_string().into(),
        }
    }
}

/// Matches with `*` for any run of characters and `?` for one.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where the last star stood, and up to where it has eaten the text.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, eaten)) => {
                    star = Some((at, eaten + 1));
                    p = at + 1;
                    t = eaten + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

//! What stands in `#[event(…)]`, checked.

use proc_macro2::Span;
use syn::{
    Attribute, Data, DeriveInput, Error, Fields, Ident, LitStr, Result, Token, parenthesized,
    punctuated::Punctuated,
};

/// An SNS filter policy has 5 keys, and the type tag is one of them.
/// <https://docs.aws.amazon.com/sns/latest/dg/subscription-filter-policy-constraints.html>
const MAX_FILTERS: usize = 4;

/// Longest tag in bytes; the same limit stands in `fanfare_core::tag`.
const MAX_TAG_LEN: usize = 128;

/// The contents of `#[event(…)]`.
pub(crate) struct EventAttributes {
    pub(crate) tag: LitStr,
    pub(crate) topic: LitStr,
    pub(crate) key: Option<Ident>,
    pub(crate) filters: Vec<Ident>,
}

impl EventAttributes {
    pub(crate) fn of(input: &DeriveInput) -> Result<Self> {
        let (mut tag, mut topic, mut key, mut filters) = (None, None, None, Vec::new());
        for attribute in input.attrs.iter().filter(|a| a.path().is_ident("event")) {
            parse(attribute, &mut tag, &mut topic, &mut key, &mut filters)?;
        }
        let missing = |what: &str| Error::new(Span::call_site(), what);
        let tag: LitStr = tag.ok_or_else(|| {
            missing("missing type tag: add #[event(type = \"shop.orders.OrderPlaced.v1\", …)], the name that this event has on the wire")
        })?;
        check_tag(&tag)?;
        let topic: LitStr = topic.ok_or_else(|| {
            missing("missing topic: add #[event(topic = \"orders\", …)], the channel that this event travels on")
        })?;
        check_topic(&topic)?;
        if let Some(fifth) = filters.get(MAX_FILTERS) {
            let text = format!(
                "at most {MAX_FILTERS} fields can be filtered by: an SNS filter policy has 5 keys, and the type tag is one"
            );
            return Err(Error::new(fifth.span(), text));
        }
        Ok(EventAttributes { tag, topic, key, filters })
    }
}

fn parse(
    attribute: &Attribute,
    tag: &mut Option<LitStr>,
    topic: &mut Option<LitStr>,
    key: &mut Option<Ident>,
    filters: &mut Vec<Ident>,
) -> Result<()> {
    attribute.parse_nested_meta(|meta| {
        if meta.path.is_ident("type") {
            *tag = Some(meta.value()?.parse()?);
        } else if meta.path.is_ident("topic") {
            *topic = Some(meta.value()?.parse()?);
        } else if meta.path.is_ident("key") {
            *key = Some(meta.value()?.parse()?);
        } else if meta.path.is_ident("filter") {
            let fields;
            parenthesized!(fields in meta.input);
            filters.extend(Punctuated::<Ident, Token![,]>::parse_terminated(&fields)?);
        } else {
            return Err(
                meta.error("unknown: #[event(…)] takes `type`, `topic`, `key` and `filter`")
            );
        }
        Ok(())
    })
}

/// The fields of a struct with named fields.
pub(crate) fn named_fields(input: &DeriveInput) -> Result<Vec<&Ident>> {
    match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => {
                Ok(fields.named.iter().filter_map(|f| f.ident.as_ref()).collect())
            }
            _ => Err(Error::new_spanned(
                &input.ident,
                "an event is a struct with named fields: they are its JSON on the wire",
            )),
        },
        _ => Err(Error::new_spanned(
            &input.ident,
            "an event is a struct: one type tag, one shape; make each variant an event of its own",
        )),
    }
}

fn check_tag(tag: &LitStr) -> Result<()> {
    let text = tag.value();
    let problem = if text.len() > MAX_TAG_LEN {
        format!("it is longer than {MAX_TAG_LEN} bytes")
    } else {
        let mut segments: Vec<&str> = text.split('.').collect();
        let version = segments.pop().unwrap_or_default();
        if let Some(bad) = segments.iter().find(|name| !is_name(name)) {
            format!(
                "`{bad}` is no name: it must start with a letter and go on with letters, digits, `_` or `-`"
            )
        } else if !is_version(version) {
            "it must end in a version: `.v1`".into()
        } else if segments.len() < 2 {
            "it needs a namespace before the event's name".into()
        } else {
            return Ok(());
        }
    };
    let text = format!("bad type tag: {problem}; an example is \"shop.orders.OrderPlaced.v1\"");
    Err(Error::new(tag.span(), text))
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

fn is_version(version: &str) -> bool {
    version.strip_prefix('v').is_some_and(|number| {
        !number.is_empty() && !number.starts_with('0') && number.bytes().all(|b| b.is_ascii_digit())
    })
}

fn check_topic(topic: &LitStr) -> Result<()> {
    let text = topic.value();
    let fits = is_name(&text) && text.len() <= 64;
    let problem = "bad topic: a name that starts with a letter and goes on with letters, digits, `_` or `-`, at most 64 bytes";
    fits.then_some(()).ok_or_else(|| Error::new(topic.span(), problem))
}

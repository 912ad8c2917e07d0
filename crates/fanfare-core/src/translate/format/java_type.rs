//! Messages of Spring Cloud AWS.

use super::{
    super::{Foreign, Format, TranslateError, Written},
    plain_json,
};
use crate::{Destination, RawDelivery};

/// Where Spring Cloud AWS has the name of the payload's class (`SqsHeaders.SQS_DEFAULT_TYPE_HEADER`).
const ATTRIBUTE: &str = "JavaType";

/// Messages of Spring Cloud AWS: the class stands in the message attribute `JavaType`, the body is the
/// payload in JSON. For messages with a type header of another name take
/// [`PlainJson`](super::PlainJson).
///
/// Outward the attribute is set, and the body is the data alone; give the id an attribute too
/// ([`Translation::id_attribute`](super::super::Translation::id_attribute)).
#[derive(Debug, Clone, Copy)]
pub struct JavaType;

impl Format for JavaType {
    const NAME: &'static str = "Spring";

    fn read(
        &self,
        delivery: &RawDelivery,
        _: &dyn Fn(&str) -> bool,
    ) -> Result<Option<Foreign>, TranslateError> {
        plain_json::read(Self::NAME, ATTRIBUTE, delivery)
    }

    fn write(&self, event: Foreign, _: &Destination) -> Result<Written, TranslateError> {
        Ok(Written::new(event.data.get()).attribute(ATTRIBUTE, event.tag.name()))
    }
}

//! Pointers in the format of AWS's extended clients.

use std::fmt;

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::ClaimCheckError;

/// The class that the extended clients write; Java's name, whatever language wrote it.
const CLASS: &str = "software.amazon.payloadoffloading.PayloadS3Pointer";

/// Those that are read: the present one, and that of the first versions for Java.
const CLASSES: [&str; 2] = [CLASS, "com.amazon.sqs.javamessaging.MessageS3Pointer"];

/// Where the payload of a message is, in the format of AWS's extended clients for SQS and SNS: the
/// message's body is
/// `["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"…","s3Key":"…"}]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Pointer {
    /// The bucket, in S3's sense.
    pub bucket: String,
    /// The object's key there.
    pub key: String,
}

/// The object in it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    #[serde(rename = "s3BucketName")]
    bucket: String,
    #[serde(rename = "s3Key")]
    key: String,
}

impl Pointer {
    /// A pointer to `key` in `bucket`.
    pub fn new(bucket: impl Into<String>, key: impl Into<String>) -> Self {
        Pointer { bucket: bucket.into(), key: key.into() }
    }

    /// The pointer that a message's body is; none if it is none, which costs next to nothing.
    ///
    /// A body is one if it begins with the class in brackets and quotes, as all extended clients write
    /// it. What follows must be the object with both names and no others, and nothing behind it.
    ///
    /// # Errors
    /// [`ClaimCheckError::Malformed`] if the class stands there and the rest is not that.
    #[must_use]
    pub fn parse(body: &str) -> Option<Result<Pointer, ClaimCheckError>> {
        let class = body.strip_prefix("[\"")?;
        let is_class = |known: &str| class.strip_prefix(known).is_some_and(|r| r.starts_with('"'));
        if !CLASSES.into_iter().any(is_class) {
            return None;
        }
        let malformed = |problem| Some(Err(ClaimCheckError::Malformed { problem }));
        // An object has to look like one: serde takes an array for it too.
        let Ok((_, place)) = serde_json::from_str::<(&str, &RawValue)>(body) else {
            return malformed("it is no array of a class and an object");
        };
        let place = Some(place.get()).filter(|place| place.starts_with('{'));
        let place = place.and_then(|place| serde_json::from_str::<Place>(place).ok());
        match place {
            None => malformed("it has not just `s3BucketName` and `s3Key`, both text"),
            Some(place) if place.bucket.is_empty() => malformed("its `s3BucketName` is empty"),
            Some(place) if place.key.is_empty() => malformed("its `s3Key` is empty"),
            Some(Place { bucket, key }) => Some(Ok(Pointer { bucket, key })),
        }
    }

    /// The body of a message whose payload is there: byte for byte what the extended client for Java
    /// writes.
    #[must_use]
    pub fn to_body(&self) -> String {
        let [bucket, key] = [&self.bucket, &self.key].map(|text| Value::from(&**text));
        format!(r#"["{CLASS}",{{"s3BucketName":{bucket},"s3Key":{key}}}]"#)
    }
}

/// As an S3 URI.
impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const JAVA: &str = r#"["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"b","s3Key":"k"}]"#;
    const PYTHON: &str = r#"["software.amazon.payloadoffloading.PayloadS3Pointer", {"s3BucketName": "b", "s3Key": "k"}]"#;
    const LEGACY: &str =
        r#"["com.amazon.sqs.javamessaging.MessageS3Pointer",{"s3BucketName":"b","s3Key":"k"}]"#;

    #[test]
    fn a_pointer_is_written_as_the_extended_client_for_java_writes_it() {
        assert_eq!(Pointer::new("b", "k").to_body(), JAVA);
        let awkward = Pointer::new("b", "a\"b\\c/ü\n");
        assert!(awkward.to_body().ends_with(r#""s3Key":"a\"b\\c/ü\n"}]"#));
    }

    #[test]
    fn pointers_of_all_clients_are_read() {
        for body in [JAVA, PYTHON, LEGACY] {
            assert_eq!(Pointer::parse(body), Some(Ok(Pointer::new("b", "k"))), "{body}");
        }
    }

    #[test]
    fn what_has_another_class_is_no_pointer() {
        for body in [
            "",
            "[",
            "[\"",
            "{}",
            r#"["com.example.Foo",{"s3BucketName":"b","s3Key":"k"}]"#,
            r#"["software.amazon.payloadoffloading.PayloadS3Pointer2",{"s3BucketName":"b","s3Key":"k"}]"#,
            r#"["software.amazon.payloadoffloading.PayloadS3Pointer"#,
            r#"["SOFTWARE.amazon.payloadoffloading.PayloadS3Pointer",{}]"#,
        ] {
            assert_eq!(Pointer::parse(body), None, "{body}");
        }
    }

    #[test]
    fn what_has_the_class_and_is_not_just_that_is_refused() {
        for rest in [
            "",
            "]",
            ",]",
            ",null]",
            r#",["b","k"]]"#,
            ",{}]",
            r#",{"s3BucketName":"b"}]"#,
            r#",{"s3BucketName":"","s3Key":"k"}]"#,
            r#",{"s3BucketName":"b","s3Key":""}]"#,
            r#",{"s3BucketName":"b","s3Key":7}]"#,
            r#",{"s3BucketName":null,"s3Key":"k"}]"#,
            r#",{"s3BucketName":"b","s3Key":"k","s3Key":"other"}]"#,
            r#",{"s3BucketName":"b","s3Key":"k","region":"x"}]"#,
            r#",{"s3BucketName":"b","s3Key":"k"},1]"#,
            r#",{"s3BucketName":"b","s3Key":"k"}] x"#,
            r#",{"s3BucketName":"b","s3Key":"k"}"#,
        ] {
            let body = format!("[\"{CLASS}\"{rest}");
            let parsed = Pointer::parse(&body);
            assert!(matches!(parsed, Some(Err(ClaimCheckError::Malformed { .. }))), "{body}");
        }
    }

    proptest! {
        #[test]
        fn every_pointer_comes_back_as_it_was(bucket in ".+", key in "(?s).+") {
            let pointer = Pointer::new(bucket, key);
            prop_assert_eq!(Pointer::parse(&pointer.to_body()), Some(Ok(pointer)));
        }

        #[test]
        fn nothing_that_comes_in_panics(
            class in prop::sample::select(vec!["", "[\"", "[\"software.amazon.payloadoffloading.PayloadS3Pointer\""]),
            rest in "(?s).{0,40}|,\\{\"s3BucketName\":.{0,20}",
        ) {
            let _ = Pointer::parse(&format!("{class}{rest}"));
        }
    }
}

//! The Query protocol's XML answers.

use bytes::Bytes;
use http::Response;
use quick_xml::escape::escape;

use super::respond;
use crate::error::AwsError;

const NAMESPACE: &str = "http://sns.amazonaws.com/doc/2010-03-31/";
const CONTENT_TYPE: &str = "text/xml";

/// Elements of a result, written one after the other.
#[derive(Debug, Default)]
pub(crate) struct Xml(String);

impl Xml {
    /// `<name>text</name>`, escaped.
    pub(crate) fn text(&mut self, name: &str, text: &str) -> &mut Self {
        // A parser would turn a bare carriage return into a newline.
        let text = escape(text).replace('\r', "&#13;");
        self.0.push_str(&format!("<{name}>{text}</{name}>"));
        self
    }

    /// `<name>…</name>` around what `inside` writes.
    pub(crate) fn element(&mut self, name: &str, inside: impl FnOnce(&mut Self)) -> &mut Self {
        self.0.push_str(&format!("<{name}>"));
        inside(self);
        self.0.push_str(&format!("</{name}>"));
        self
    }

    /// `<name><member>…</member>…</name>`.
    pub(crate) fn list<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) -> &mut Self {
        self.element(name, |xml| {
            for item in items {
                xml.element("member", |xml| write(xml, item));
            }
        })
    }

    /// `<name><entry><key>…</key><value>…</value></entry>…</name>`.
    pub(crate) fn map<'a>(
        &mut self,
        name: &str,
        entries: impl IntoIterator<Item = (&'a str, String)>,
    ) -> &mut Self {
        self.element(name, |xml| {
            for (key, value) in entries {
                xml.element("entry", |xml| {
                    xml.text("key", key).text("value", &value);
                });
            }
        })
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        self.0.into()
    }
}

/// An answer; `result` is what [`Xml`] wrote, empty where the action answers nothing.
pub(super) fn success(action: &str, result: &Bytes, request_id: &str) -> Response<Bytes> {
    let result = String::from_utf8_lossy(result);
    let result = match (result.is_empty(), action) {
        // Actions without an output have no result element, tagging's empty one excepted.
        (true, "TagResource" | "UntagResource") => format!("<{action}Result/>"),
        (true, _) => String::new(),
        (false, _) => format!("<{action}Result>{result}</{action}Result>"),
    };
    let body = format!(
        "<{action}Response xmlns=\"{NAMESPACE}\">{result}<ResponseMetadata><RequestId>{request_id}\
         </RequestId></ResponseMetadata></{action}Response>"
    );
    respond(200, CONTENT_TYPE, Bytes::from(body), Some(request_id))
}

pub(super) fn error(error: &AwsError, request_id: &str) -> Response<Bytes> {
    let mut xml = Xml::default();
    xml.element("Error", |xml| {
        xml.text("Type", if error.is_sender_fault() { "Sender" } else { "Receiver" })
            .text("Code", &error.code)
            .text("Message", &error.message);
    })
    .text("RequestId", request_id);
    let body = format!("<ErrorResponse xmlns=\"{NAMESPACE}\">{}</ErrorResponse>", xml.0);
    respond(error.status, CONTENT_TYPE, Bytes::from(body), Some(request_id))
}

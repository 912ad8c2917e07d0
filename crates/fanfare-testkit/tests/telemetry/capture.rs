//! A subscriber and a recorder that remember what fanfare says.

use std::{
    collections::BTreeMap,
    fmt::{Debug, Write},
    mem::take,
    sync::{Arc, Mutex},
};

use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer, Registry,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
};

/// A span that has ended.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) name: &'static str,
    pub(crate) parent: Option<String>,
    fields: BTreeMap<&'static str, String>,
}

impl Span {
    /// What a field says.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.fields.get(name).cloned()
    }
}

/// A metric with its labels; of a histogram the value is how many it has.
#[derive(Debug)]
pub(crate) struct Metric {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) described: bool,
    pub(crate) value: f64,
    labels: BTreeMap<String, String>,
}

impl Metric {
    pub(crate) fn label(&self, name: &str) -> Option<&String> {
        self.labels.get(name)
    }

    /// Whether it has these labels and no others.
    pub(crate) fn has(&self, labels: &BTreeMap<&str, &str>) -> bool {
        let own = self.labels.iter().map(|(name, value)| (&**name, &**value));
        own.eq(labels.iter().map(|(name, value)| (*name, *value)))
    }
}

/// All that was said since it was last taken.
pub(crate) struct Capture {
    said: Arc<Mutex<Said>>,
    metrics: Snapshotter,
}

#[derive(Default)]
struct Said {
    spans: Vec<Span>,
    /// All fields of spans and events, of whatever level.
    text: String,
}

struct Listener(Arc<Mutex<Said>>);

impl Capture {
    /// For the whole process.
    pub(crate) fn install() -> Capture {
        let recorder = DebuggingRecorder::new();
        let metrics = recorder.snapshotter();
        recorder.install().unwrap();
        let said = Arc::<Mutex<Said>>::default();
        let subscriber = Registry::default().with(Listener(Arc::clone(&said)));
        tracing::subscriber::set_global_default(subscriber).unwrap();
        Capture { said, metrics }
    }

    /// The spans, the metrics, and all of it as text.
    pub(crate) fn take(&self) -> (Vec<Span>, Vec<Metric>, String) {
        let Said { spans, mut text } = take(&mut *self.said.lock().unwrap());
        let metrics: Vec<Metric> = self
            .metrics
            .snapshot()
            .into_vec()
            .into_iter()
            .map(|(key, unit, description, value)| {
                let (_, key) = key.into_parts();
                let value = match value {
                    DebugValue::Counter(count) => count as f64,
                    DebugValue::Gauge(value) => value.into_inner(),
                    DebugValue::Histogram(values) => values.len() as f64,
                };
                let labels = key.labels().map(|label| (label.key().into(), label.value().into()));
                Metric {
                    name: key.name().into(),
                    unit: unit.map_or("", |unit| unit.as_canonical_label()),
                    described: description.is_some(),
                    value,
                    labels: labels.collect(),
                }
            })
            .collect();
        metrics.iter().for_each(|metric| writeln!(text, "{metric:?}").unwrap());
        (spans, metrics, text)
    }
}

struct Fields<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

/// The simulator is no part of it: it is the other side.
fn is_ours(target: &str) -> bool {
    target.starts_with("fanfare") && !target.starts_with("fanfare_sim")
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Listener {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let mut fields = BTreeMap::new();
        attributes.record(&mut Fields(&mut fields));
        let parent = span.parent().map(|parent| parent.name().to_owned());
        span.extensions_mut().insert(Span { name: span.name(), parent, fields });
    }

    fn on_record(&self, id: &Id, record: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let mut extensions = span.extensions_mut();
        record.record(&mut Fields(&mut extensions.get_mut::<Span>().unwrap().fields));
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if is_ours(event.metadata().target()) {
            let mut fields = BTreeMap::new();
            event.record(&mut Fields(&mut fields));
            let mut said = self.0.lock().unwrap();
            writeln!(said.text, "{} {fields:?}", event.metadata().target()).unwrap();
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        if is_ours(span.metadata().target()) {
            let span = span.extensions_mut().remove::<Span>().unwrap();
            let mut said = self.0.lock().unwrap();
            writeln!(said.text, "{span:?}").unwrap();
            said.spans.push(span);
        }
    }
}

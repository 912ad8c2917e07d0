//! The system as a whole.

use std::collections::{BTreeMap, BTreeSet};

use fanfare_core::{HandledType, Router, tag};

use crate::{
    Binding, Bindings, Kind, Plan, PlannedDeadLetterQueue, PlannedQueue, PlannedReader,
    PlannedStream, PlannedSubscription, PlannedTopic, Tenant,
};

/// Most value combinations in an SNS filter policy; ours has one key, so it is the number of
/// event types that one service may take from one topic.
/// <https://docs.aws.amazon.com/sns/latest/dg/subscription-filter-policy-constraints.html>
const MAX_FAMILIES: usize = 150;

/// Longest queue name, the suffix `.fifo` included; topics may be longer.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html>
const MAX_QUEUE_NAME: usize = 80;

/// Longest stream name.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_CreateStream.html>
const MAX_STREAM_NAME: usize = 128;

/// The topics and services of a system.
#[derive(Debug, Clone)]
pub struct Topology {
    bindings: Bindings,
    services: BTreeMap<String, Vec<HandledType>>,
}

/// A topology that cannot exist on AWS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// A service handles events of a topic that nobody declared.
    #[error(
        "`{service}` handles {tag} of topic `{topic}`, which is not declared: add .topic(\"{topic}\", Kind::Standard), Kind::Fifo or Kinesis::on_demand()"
    )]
    UnknownTopic {
        /// The service.
        service: String,
        /// The tag that it handles.
        tag: &'static str,
        /// The topic that the tag belongs to.
        topic: &'static str,
    },
    /// A handler returns events for a topic that nobody declared.
    #[error(
        "`{service}` publishes to topic `{topic}`, which is not declared: add .topic(\"{topic}\", Kind::Standard), Kind::Fifo or Kinesis::on_demand()"
    )]
    UnknownTarget {
        /// The service.
        service: String,
        /// The topic.
        topic: &'static str,
    },
    /// A name does not fit AWS.
    #[error(
        "`{name}` is no name for a queue or topic: letters, digits, `-` and `_`, at most {MAX_QUEUE_NAME} characters with `.fifo`"
    )]
    BadName {
        /// The name that was computed.
        name: String,
    },
    /// A topic's name does not fit a stream.
    #[error(
        "`{name}` is no name for a stream: letters, digits, `.`, `-` and `_`, at most {MAX_STREAM_NAME} characters"
    )]
    BadStreamName {
        /// The name that was computed.
        name: String,
    },
    /// One filter policy would have too many values.
    #[error(
        "`{service}` handles {count} event types of topic `{topic}`: an SNS filter policy takes {MAX_FAMILIES}"
    )]
    TooManyTypes {
        /// The service.
        service: String,
        /// The topic.
        topic: String,
        /// How many event types it handles.
        count: usize,
    },
    /// A topic is to be fair that is none, or that has no standard queues behind it.
    #[error(
        "topic `{topic}` cannot be fair, it is {found}: fair queues are standard ones, declare it as Kind::Standard, or leave .fair_topic(\"{topic}\", …) out"
    )]
    UnfairTopic {
        /// The topic.
        topic: String,
        /// What it is instead.
        found: &'static str,
    },
    /// The tasks of a service are to be fair that has no standard queue.
    #[error(
        "the tasks of `{service}` cannot be fair, it has no standard queue: have it handle events of a Kind::Standard topic, or leave .fair_tasks(\"{service}\", …) out"
    )]
    UnfairTasks {
        /// The service.
        service: String,
    },
}

impl Topology {
    /// An empty topology of `system`, whose name begins all names on AWS.
    #[must_use]
    pub fn new(system: &str) -> Self {
        Topology { bindings: Bindings::new(system), services: BTreeMap::new() }
    }

    /// Declares a topic and what carries it.
    #[must_use]
    pub fn topic(self, topic: impl Into<String>, binding: impl Into<Binding>) -> Self {
        Topology { bindings: self.bindings.topic(topic, binding), ..self }
    }

    /// Makes the queues behind `topic`, a [`Kind::Standard`] one, fair between the tenants of its
    /// events. Where the tenant is a field, each event type of the topic should declare that as one to
    /// filter by: a topology does not see the publishers' types.
    #[must_use]
    pub fn fair_topic(self, topic: impl Into<String>, tenant: Tenant) -> Self {
        Topology { bindings: self.bindings.fair_topic(topic, tenant), ..self }
    }

    /// Makes the standard queue of `service` fair between the tenants of the tasks that are sent to
    /// it.
    #[must_use]
    pub fn fair_tasks(self, service: impl Into<String>, tenant: Tenant) -> Self {
        Topology { bindings: self.bindings.fair_tasks(service, tenant), ..self }
    }

    /// Declares a service by its router: its name, and the events that it wants. Two routers of
    /// one name are one service.
    #[must_use]
    pub fn service<S: Clone + Send + Sync + 'static>(mut self, router: &Router<S>) -> Self {
        let handled = self.services.entry(router.name().into()).or_default();
        handled.extend_from_slice(router.handled());
        self
    }

    /// The names and kinds, for publishers and workers.
    #[must_use]
    pub fn bindings(&self) -> Bindings {
        let fifo_only = self.services.keys().filter(|service| {
            let kinds = self.kinds(service);
            kinds.contains(&Kind::Fifo) && !kinds.contains(&Kind::Standard)
        });
        fifo_only.fold(self.bindings.clone(), |bindings, service| bindings.fifo_service(service))
    }

    /// The kinds of queues that `service` needs: a standard topic cannot feed a FIFO queue, so
    /// one for each kind of SNS topic that it subscribes to. Empty for a service that handles nothing
    /// or only what is on streams; tasks cannot be sent to it
    /// ([`Kinesis`](crate::Kinesis#tasks)).
    #[must_use]
    pub fn kinds(&self, service: &str) -> BTreeSet<Kind> {
        let handled = self.services.get(service).into_iter().flatten();
        handled.filter_map(|handled| self.queue_kind(handled.topic)).collect()
    }

    /// The topics on Kinesis that `service` subscribes to: it reads each one's stream, from a position
    /// of its own, beside its queues if it has any.
    #[must_use]
    pub fn streams(&self, service: &str) -> BTreeSet<&'static str> {
        let handled = self.services.get(service).into_iter().flatten();
        let streamed = |topic: &&str| self.queue_kind(topic).is_none();
        handled.map(|handled| handled.topic).filter(streamed).collect()
    }

    /// What `service` handles; nothing if it is unknown.
    pub(crate) fn handled(&self, service: &str) -> &[HandledType] {
        self.services.get(service).map_or(&[], Vec::as_slice)
    }

    /// The names of all services.
    pub(crate) fn services(&self) -> impl Iterator<Item = &String> {
        self.services.keys()
    }

    /// What begins all names on AWS.
    pub(crate) fn system(&self) -> &str {
        self.bindings.system()
    }

    /// The kind of queue that `topic` feeds; none if it is on a stream.
    fn queue_kind(&self, topic: &str) -> Option<Kind> {
        match self.bindings.binding(topic) {
            Binding::Sns(kind) => Some(kind),
            Binding::Kinesis(_) => None,
        }
    }

    /// What has to exist on AWS.
    ///
    /// # Errors
    /// [`TopologyError`], the first that is found.
    pub fn plan(&self) -> Result<Plan, TopologyError> {
        self.check_fairness()?;
        let (mut topics, mut streams) = (Vec::new(), Vec::new());
        for (topic, &binding) in self.bindings.declared() {
            let (topic, name) = (topic.clone(), self.bindings.topic_name(topic));
            match binding {
                Binding::Sns(kind) => {
                    topics.push(PlannedTopic { topic, name: checked(name)?, kind });
                }
                Binding::Kinesis(settings) => {
                    let name = checked_stream(name)?;
                    streams.push(PlannedStream { topic, name, settings });
                }
            }
        }
        let (mut queues, mut dead_letter_queues) = (Vec::new(), Vec::new());
        let (mut subscriptions, mut readers) = (Vec::new(), Vec::new());
        for (service, handled) in &self.services {
            for kind in self.kinds(service) {
                queues.push(PlannedQueue {
                    service: service.clone(),
                    name: checked(self.bindings.queue_name(service, kind))?,
                    dead_letter_name: checked(self.bindings.dead_letter_queue_name(service, kind))?,
                    kind,
                });
            }
            if !self.streams(service).is_empty() && !self.kinds(service).contains(&Kind::Standard) {
                let name = self.bindings.dead_letter_queue_name(service, Kind::Standard);
                let (service, name) = (service.clone(), checked(name)?);
                dead_letter_queues.push(PlannedDeadLetterQueue { service, name });
            }
            for (topic, families) in self.wanted(service, handled)? {
                let Some(kind) = self.queue_kind(topic) else {
                    let stream_name = self.bindings.topic_name(topic);
                    readers.push(PlannedReader { service: service.clone(), stream_name });
                    continue;
                };
                subscriptions.push(PlannedSubscription {
                    topic_name: self.bindings.topic_name(topic),
                    queue_name: self.bindings.queue_name(service, kind),
                    families: families.into_iter().map(String::from).collect(),
                });
            }
        }
        Ok(Plan { topics, streams, queues, dead_letter_queues, subscriptions, readers })
    }

    /// Whether what is to be fair can be.
    fn check_fairness(&self) -> Result<(), TopologyError> {
        let (mut topics, mut services) = self.bindings.fair();
        let unfair = topics.find_map(|topic| {
            let found = match self.bindings.declared().get(topic) {
                Some(Binding::Sns(Kind::Standard)) => return None,
                Some(Binding::Sns(Kind::Fifo)) => "a FIFO topic",
                Some(Binding::Kinesis(_)) => "a stream",
                None => "not declared",
            };
            Some(TopologyError::UnfairTopic { topic: topic.clone(), found })
        });
        let unfair = unfair.or_else(|| {
            let service =
                services.find(|service| !self.kinds(service).contains(&Kind::Standard))?;
            Some(TopologyError::UnfairTasks { service: service.clone() })
        });
        unfair.map_or(Ok(()), Err)
    }

    /// What `service` wants, by topic.
    fn wanted<'a>(
        &self,
        service: &str,
        handled: &'a [HandledType],
    ) -> Result<BTreeMap<&'a str, BTreeSet<&'a str>>, TopologyError> {
        let mut wanted: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for HandledType { tag, topic, publishes_to, .. } in handled {
            let undeclared = |topic: &&&str| !self.bindings.declared().contains_key(**topic);
            if let Some(topic) = publishes_to.iter().find(undeclared) {
                return Err(TopologyError::UnknownTarget { service: service.into(), topic });
            }
            if !self.bindings.declared().contains_key(*topic) {
                return Err(TopologyError::UnknownTopic { service: service.into(), tag, topic });
            }
            wanted.entry(topic).or_default().insert(tag::family(tag));
        }
        let too_many = |topic: &str, families: &BTreeSet<&str>| {
            families.len() > MAX_FAMILIES && self.queue_kind(topic).is_some()
        };
        match wanted.iter().find(|(topic, families)| too_many(topic, families)) {
            None => Ok(wanted),
            Some((topic, families)) => Err(TopologyError::TooManyTypes {
                service: service.into(),
                topic: (*topic).into(),
                count: families.len(),
            }),
        }
    }
}

fn checked(name: String) -> Result<String, TopologyError> {
    let stem = name.strip_suffix(".fifo").unwrap_or(&name);
    let fits = !stem.is_empty()
        && name.len() <= MAX_QUEUE_NAME
        && stem.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if fits { Ok(name) } else { Err(TopologyError::BadName { name }) }
}

fn checked_stream(name: String) -> Result<String, TopologyError> {
    let fits = (1..=MAX_STREAM_NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    if fits { Ok(name) } else { Err(TopologyError::BadStreamName { name }) }
}

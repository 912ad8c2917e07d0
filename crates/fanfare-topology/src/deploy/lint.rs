//! Finding what AWS would refuse, or punish later.

use std::{collections::BTreeSet, ops::RangeInclusive};

use super::{
    Deployment, Packaging,
    finding::Finding,
    function::{Function, seconds},
    functions::record_age,
    limits,
};
use crate::{Binding, Kind};

impl Deployment {
    /// All that is wrong with it; nothing if it can be deployed.
    #[must_use]
    pub fn lint(&self) -> Vec<Finding> {
        // What follows is computed from a plan.
        let parts = match self.parts(Packaging::Plain) {
            Ok(parts) => parts,
            Err(error) => return vec![error.into()],
        };
        let mut findings = Vec::new();
        self.names(&mut findings);
        for (name, function) in self.all_functions() {
            self.any_function(&name, function, &mut findings);
        }
        for (service, function) in self.functions.iter().chain(&self.relays) {
            self.destinations(service, function, &mut findings);
        }
        for (service, function) in &self.functions {
            let (kinds, streams) = (self.topology.kinds(service), self.topology.streams(service));
            if kinds.is_empty() && streams.is_empty() {
                findings.push(Finding::NothingToConsume { service: service.clone() });
            }
            if !kinds.is_empty() {
                queue_consumer(service, function, kinds.contains(&Kind::Fifo), &mut findings);
            }
            if !streams.is_empty() {
                self.stream_consumer(service, function, &streams, &mut findings);
            }
        }
        let services = self.topology.services().map(String::as_str);
        for service in services.filter(|service| !self.topology.kinds(service).is_empty()) {
            self.service_queues(service, &mut findings);
        }
        for service in self.queues.keys().filter(|s| self.topology.kinds(s).is_empty()) {
            findings.push(Finding::NoQueue { of: "queues(…)".into(), service: service.clone() });
        }
        if parts.resources.len() > limits::RESOURCES {
            findings.push(Finding::TooLarge {
                what: "the number of resources in the template",
                of: self.system().into(),
                size: parts.resources.len(),
                most: limits::RESOURCES,
                advice: "deploy it as several systems",
            });
        }
        findings.extend(parts.findings);
        findings
    }

    fn names(&self, findings: &mut Vec<Finding>) {
        let mut names = BTreeSet::new();
        for (name, _) in self.all_functions() {
            let fits = name.len() <= limits::FUNCTION_NAME
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            if !fits {
                findings.push(Finding::FunctionName { name: name.clone() });
            }
            if !names.insert(name.clone()) {
                findings.push(Finding::SameName { name });
            }
        }
    }

    fn any_function(&self, name: &str, function: &Function, findings: &mut Vec<Finding>) {
        let mut check = Check { of: name, findings };
        check.range("its time-out", seconds(function.timeout), limits::TIMEOUT, "s");
        check.range("its memory", function.memory.into(), limits::MEMORY, "MB");
        let own = function.environment.iter();
        let all =
            self.environment.iter().filter(|(name, _)| !function.environment.contains_key(*name));
        let size = own.chain(all).map(|(name, value)| name.len() + value.len()).sum();
        if size > limits::ENVIRONMENT_BYTES {
            findings.push(Finding::TooLarge {
                what: "the size in bytes of the environment",
                of: name.into(),
                size,
                most: limits::ENVIRONMENT_BYTES,
                advice: "keep settings in a file beside the bootstrap",
            });
        }
    }

    /// Where a function publishes and sends tasks to has to exist.
    fn destinations(&self, service: &str, function: &Function, findings: &mut Vec<Finding>) {
        let bindings = self.topology.bindings();
        for topic in &function.publishes {
            if !bindings.declared().contains_key(topic) {
                let (service, topic) = (service.into(), topic.clone());
                findings.push(Finding::UnknownTopic { service, topic });
            }
        }
        for receiver in &function.sends_tasks_to {
            if self.topology.kinds(receiver).is_empty() {
                let of = format!("the function of {service}");
                findings.push(Finding::NoQueue { of, service: receiver.clone() });
            }
        }
    }

    fn service_queues(&self, service: &str, findings: &mut Vec<Finding>) {
        let settled = self.settled(service);
        let mut check = Check { of: service, findings };
        check.range("its queues' visibility time-out", settled.visibility, limits::VISIBILITY, "s");
        check.range("maxReceiveCount", settled.max_receives, limits::RECEIVES, "receives");
        check.range("its queues' retention", settled.retention, limits::RETENTION, "s");
        let kept = settled.dead_letter_retention;
        check.range("its dead-letter queues' retention", kept, limits::RETENTION, "s");
        let least = self.functions.get(service).map_or(0, Function::least_visibility);
        if settled.visibility < least {
            let (service, visibility) = (service.into(), settled.visibility);
            findings.push(Finding::ShortVisibility { service, visibility, least });
        }
        if kept <= settled.retention {
            findings.push(Finding::ShortDeadLetterRetention {
                service: service.into(),
                dead_letters: kept,
                retention: settled.retention,
            });
        }
        let needed = settled.visibility.saturating_mul(settled.max_receives);
        if needed >= settled.retention {
            findings.push(Finding::ExpiresFirst {
                service: service.into(),
                needed,
                receives: settled.max_receives,
                retention: settled.retention,
            });
        }
    }

    fn stream_consumer(
        &self,
        service: &str,
        function: &Function,
        streams: &BTreeSet<&'static str>,
        findings: &mut Vec<Finding>,
    ) {
        let mut check = Check { of: service, findings };
        check.range(
            "stream_batch_size",
            function.stream_batch_size.into(),
            limits::BATCH,
            "records",
        );
        let factor = function.parallelization_factor.into();
        check.range("parallelization_factor", factor, limits::PARALLELIZATION, "invocations");
        check.range("max_retries", function.max_retries.into(), limits::RETRIES, "retries");
        if let Some(age) = function.max_record_age {
            check.range("max_record_age", seconds(age), limits::RECORD_AGE, "s");
        }
        if self.topology.kinds(service).is_empty() {
            check.range("batching_window", seconds(function.batching_window), limits::WINDOW, "s");
        }
        for topic in streams {
            let bindings = self.topology.bindings();
            let Binding::Kinesis(stream) = bindings.binding(topic) else { continue };
            let age = record_age(function, stream.retention());
            let retention = u64::from(stream.retention()) * 3_600;
            if age >= retention {
                let (service, stream) = (service.into(), bindings.topic_name(topic));
                findings.push(Finding::RecordsExpire { service, stream, age, retention });
            }
        }
    }
}

fn queue_consumer(service: &str, function: &Function, fifo: bool, findings: &mut Vec<Finding>) {
    let mut check = Check { of: service, findings };
    let batch_size = function.batch_size;
    check.range("batch_size", batch_size.into(), limits::BATCH, "messages");
    let concurrency = function.max_concurrency.into();
    check.range("max_concurrency", concurrency, limits::CONCURRENCY, "invocations");
    check.range("batching_window", seconds(function.batching_window), limits::WINDOW, "s");
    let (large, gathered) =
        (batch_size > limits::UNWINDOWED_BATCH, !function.batching_window.is_zero());
    if fifo && large {
        findings.push(Finding::FifoBatch { service: service.into(), batch_size });
    } else if large && !gathered {
        findings.push(Finding::BatchWithoutWindow { service: service.into(), batch_size });
    }
    if fifo && gathered {
        findings.push(Finding::FifoWindow { service: service.into() });
    }
}

/// Settings of one function or service.
struct Check<'a> {
    of: &'a str,
    findings: &'a mut Vec<Finding>,
}

impl Check<'_> {
    fn range(
        &mut self,
        setting: &'static str,
        value: u64,
        range: RangeInclusive<u64>,
        unit: &'static str,
    ) {
        if !range.contains(&value) {
            let (of, (least, most)) = (self.of.into(), range.into_inner());
            self.findings.push(Finding::OutOfRange { of, setting, value, least, most, unit });
        }
    }
}

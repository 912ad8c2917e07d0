//! The bucket of payloads that are too large for a message.

use serde_json::{Value, json};

use super::{
    Deployment,
    carriers::KEY,
    finding::Finding,
    limits,
    rights::Rights,
    template::{Parts, arn, reference, sub},
};
use crate::Binding;

/// The bucket's id in the template.
const BUCKET: &str = "PayloadsBucket";

const HOUR: u64 = 60 * 60;
const DAY: u64 = 24 * HOUR;

/// The longest there are, for the length of names.
const ACCOUNT: &str = "123456789012";
const REGION: &str = "ap-southeast-1";

impl Deployment {
    pub(super) fn payloads(&self, parts: &mut Parts) {
        let Some(days) = self.payload_days else { return };
        let bindings = self.topology.bindings();
        let encryption = if self.encrypted {
            json!({
                "ServerSideEncryptionByDefault": {
                    "SSEAlgorithm": "aws:kms",
                    "KMSMasterKeyID": arn(KEY),
                },
                // A call to KMS now and then, not for each object.
                "BucketKeyEnabled": true,
            })
        } else {
            json!({ "ServerSideEncryptionByDefault": { "SSEAlgorithm": "AES256" } })
        };
        let properties = json!({
            "BucketName": sub(bindings.payloads_bucket_name("${AWS::AccountId}", "${AWS::Region}")),
            "BucketEncryption": { "ServerSideEncryptionConfiguration": [encryption] },
            "LifecycleConfiguration": {
                "Rules": [{ "Id": "Expire", "Status": "Enabled", "ExpirationInDays": days }],
            },
            "OwnershipControls": { "Rules": [{ "ObjectOwnership": "BucketOwnerEnforced" }] },
            "PublicAccessBlockConfiguration": {
                "BlockPublicAcls": true,
                "BlockPublicPolicy": true,
                "IgnorePublicAcls": true,
                "RestrictPublicBuckets": true,
            },
        });
        let description = "Name of the bucket of payloads that are too large for a message";
        parts.output(format!("{BUCKET}Name"), description.into(), reference(BUCKET));
        parts.resource(BUCKET.into(), "AWS::S3::Bucket", properties);
        self.lint_payloads(days, parts);
    }

    fn lint_payloads(&self, days: u32, parts: &mut Parts) {
        let name = self.topology.bindings().payloads_bucket_name(ACCOUNT, REGION);
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if name.len() > limits::BUCKET_NAME || !name.bytes().all(legal) || name.starts_with('-') {
            parts.findings.push(Finding::BucketName { name });
        }
        let services = self.topology.services();
        let kept = services.map(|service| self.kept(service)).max().unwrap_or_default();
        let least = kept.div_ceil(DAY);
        if u64::from(days) < least {
            parts.findings.push(Finding::ShortPayloads { days, least });
        }
    }

    /// Seconds for which a message of `service` can be somewhere: where it is consumed from, and then, with
    /// a new age, in the dead-letter queue.
    fn kept(&self, service: &str) -> u64 {
        let settled = self.settled(service);
        let bindings = self.topology.bindings();
        let streams = self.topology.streams(service).into_iter();
        let streams = streams.map(|topic| match bindings.binding(topic) {
            Binding::Kinesis(stream) => u64::from(stream.retention()) * HOUR,
            Binding::Sns(_) => 0,
        });
        let queue = (!self.topology.kinds(service).is_empty()).then_some(settled.retention);
        let first = streams.chain(queue).max();
        first.map_or(0, |first| first.saturating_add(settled.dead_letter_retention))
    }

    /// Whoever publishes may store what is too large.
    pub(super) fn stores_payloads(&self, rights: &mut Rights) {
        if self.payload_days.is_some() {
            rights.store_payloads(objects());
        }
    }

    /// Whoever consumes may fetch it.
    pub(super) fn fetches_payloads(&self, rights: &mut Rights) {
        if self.payload_days.is_some() {
            rights.fetch_payloads(objects());
        }
    }
}

fn objects() -> Value {
    sub(format!("${{{BUCKET}.Arn}}/*"))
}

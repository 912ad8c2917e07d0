//! What AWS accepts, in the units of its own settings.

use std::ops::RangeInclusive;

/// Seconds that a function may run.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub(super) const TIMEOUT: RangeInclusive<u64> = 1..=900;

/// Megabytes of a function's memory.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub(super) const MEMORY: RangeInclusive<u64> = 128..=10_240;

/// Bytes of all of a function's environment variables, names and values.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub(super) const ENVIRONMENT_BYTES: usize = 4_096;

/// Characters of a function's name.
/// <https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html>
pub(super) const FUNCTION_NAME: usize = 64;

/// Messages or records of one batch.
/// <https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html>
pub(super) const BATCH: RangeInclusive<u64> = 1..=10_000;

/// Messages of one batch from a FIFO queue, and from a standard one without a window.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html>
pub(super) const UNWINDOWED_BATCH: u32 = 10;

/// Seconds for which a mapping gathers a batch.
/// <https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html>
pub(super) const WINDOW: RangeInclusive<u64> = 0..=300;

/// Invocations at once that a mapping of a queue makes.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html>
pub(super) const CONCURRENCY: RangeInclusive<u64> = 2..=1_000;

/// Batches at once of one shard.
/// <https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html>
pub(super) const PARALLELIZATION: RangeInclusive<u64> = 1..=10;

/// Times that a mapping of a stream tries a batch again; AWS also has -1, for ever.
/// <https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html>
pub(super) const RETRIES: RangeInclusive<u64> = 0..=10_000;

/// Seconds for which a mapping of a stream tries; AWS also has -1, for ever.
/// <https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html>
pub(super) const RECORD_AGE: RangeInclusive<u64> = 60..=604_800;

/// Seconds for which a received message is invisible.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
pub(super) const VISIBILITY: RangeInclusive<u64> = 0..=43_200;

/// A queue's visibility time-out, as a multiple of the time-out of the function that it feeds: what AWS
/// recommends, as a throttled function is tried again within it.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html>
pub(super) const VISIBILITY_TIMEOUTS: u64 = 6;

/// Receives before a message is moved to the dead-letter queue: at least what AWS recommends for a queue
/// that feeds a function, as throttled invocations count; at most what it accepts.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html>
pub(super) const RECEIVES: RangeInclusive<u64> = 5..=1_000;

/// Seconds for which a queue keeps a message.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
pub(super) const RETENTION: RangeInclusive<u64> = 60..=1_209_600;

/// Characters of a bucket's name.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>
pub(super) const BUCKET_NAME: usize = 63;

/// Bytes of a queue's policy.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-policies.html>
pub(super) const QUEUE_POLICY_BYTES: usize = 8_192;

/// Characters, white space not counted, of the policies in a role.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
pub(super) const ROLE_POLICY_CHARACTERS: usize = 10_240;

/// Characters of a key's policy.
/// <https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html>
pub(super) const KEY_POLICY_BYTES: usize = 32_768;

/// Resources of a template.
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html>
pub(super) const RESOURCES: usize = 500;

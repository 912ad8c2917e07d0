//! The quotas of SNS and SQS, each once, with where it stands.

use std::time::Duration;

/// Body plus attributes of an SQS message, and the sum of a batch (SQS quotas, "Message size").
pub(crate) const SQS_MAX_MESSAGE_BYTES: usize = 1_048_576;
/// User attributes per SQS message (SQS quotas, "Message attributes").
pub(crate) const SQS_MAX_ATTRIBUTES: usize = 10;
/// Characters of an attribute's name or type (SQS developer guide, "Message attribute components").
pub(crate) const MAX_ATTRIBUTE_NAME: usize = 256;
/// Entries of any batch call of SQS or SNS (SQS quotas, "Message batch").
pub(crate) const MAX_BATCH_ENTRIES: usize = 10;
/// Characters of a batch entry's id (SQS quotas, "Batched message ID").
pub(crate) const MAX_BATCH_ENTRY_ID: usize = 80;
/// Characters of a message group or deduplication id (SendMessage reference).
pub(crate) const MAX_FIFO_ID: usize = 128;
/// Characters of a queue's name, `.fifo` included (SQS quotas, "Queue name").
pub(crate) const MAX_QUEUE_NAME: usize = 80;
/// Messages received and not yet deleted (SQS quotas, "In-flight messages").
pub(crate) const MAX_IN_FLIGHT: usize = 120_000;
/// From a message's receive to the latest end of its visibility timeout (SQS visibility timeout).
pub(crate) const MAX_VISIBILITY_SECONDS: u32 = 43_200;
/// Delay of a message (SQS quotas, "Message delay").
pub(crate) const MAX_DELAY_SECONDS: i64 = 900;
/// Long poll of ReceiveMessage (SQS API reference).
pub(crate) const MAX_WAIT_SECONDS: i64 = 20;
/// Messages that one receive hands out (ReceiveMessage reference).
pub(crate) const MAX_RECEIVE: i64 = 10;
/// How long a deduplication id is remembered, SQS and SNS FIFO alike (FIFO queue documentation).
pub(crate) const DEDUPLICATION_WINDOW: Duration = Duration::from_secs(300);
/// A deleted queue's name is free again after this (DeleteQueue and CreateQueue references).
pub(crate) const RECREATE_AFTER: Duration = Duration::from_secs(60);
/// Time between two purges of a queue (PurgeQueue reference).
pub(crate) const PURGE_INTERVAL: Duration = Duration::from_secs(60);
/// Messages per second of a move task, and its default (StartMessageMoveTask reference).
pub(crate) const MAX_MOVES_PER_SECOND: u32 = 500;
/// Largest `maxReceiveCount` of a redrive policy (SQS dead-letter queues).
pub(crate) const MAX_RECEIVE_COUNT: u64 = 1_000;
/// Source queues that a redrive allow policy may list (SQS dead-letter queues).
pub(crate) const MAX_REDRIVE_SOURCES: usize = 10;
/// Tags per queue or topic (SQS cost allocation tags; SNS TagResource reference).
pub(crate) const MAX_TAGS: usize = 50;
/// Items of a list answer without a token: queues, sources (ListQueues reference).
pub(crate) const MAX_LIST_RESULTS: usize = 1_000;

/// Body plus attributes of an SNS message, and the sum of a batch, by default (SNS quotas).
pub(crate) const SNS_DEFAULT_MESSAGE_BYTES: usize = 262_144;
/// Smallest and largest `MaximumMessageSize` of a topic (SetTopicAttributes reference).
pub(crate) const SNS_MESSAGE_BYTES_RANGE: std::ops::RangeInclusive<usize> = 1_024..=1_048_576;
/// Characters of a topic's name, `.fifo` included (CreateTopic reference).
pub(crate) const MAX_TOPIC_NAME: usize = 256;
/// Characters of a subject (Publish reference).
pub(crate) const MAX_SUBJECT: usize = 100;
/// Keys of a filter policy (SNS filter policy constraints).
pub(crate) const MAX_FILTER_KEYS: usize = 5;
/// Value combinations of a filter policy (SNS filter policy constraints).
pub(crate) const MAX_FILTER_COMBINATIONS: usize = 150;
/// Bytes of a filter policy (SNS filter policy constraints).
pub(crate) const MAX_FILTER_BYTES: usize = 262_144;
/// Items of a page of topics or subscriptions (ListTopics reference).
pub(crate) const SNS_PAGE: usize = 100;

/// Data plus partition key of a record, by default (Kinesis quotas, "Record size"; CreateStream's
/// `MaxRecordSizeInKiB`).
pub(crate) const KINESIS_MAX_RECORD_BYTES: usize = 1_048_576;
/// Data plus partition keys of a PutRecords call (PutRecords reference).
pub(crate) const KINESIS_MAX_REQUEST_BYTES: usize = 10_485_760;
/// Records of a PutRecords call (PutRecords reference).
pub(crate) const KINESIS_MAX_BATCH: usize = 500;
/// Characters of a partition key (PutRecord reference).
pub(crate) const KINESIS_MAX_KEY: usize = 256;
/// What a shard takes in a second: data plus partition keys (Kinesis quotas, "Shard throughput").
pub(crate) const SHARD_WRITE_BYTES_PER_SECOND: u64 = 1_048_576;
/// What a shard takes in a second: records (Kinesis quotas, "Shard throughput").
pub(crate) const SHARD_WRITE_RECORDS_PER_SECOND: u64 = 1_000;
/// What a shard gives in a second to all who call GetRecords (Kinesis quotas, "Shard throughput").
pub(crate) const SHARD_READ_BYTES_PER_SECOND: u64 = 2_097_152;
/// Calls of GetRecords a second and shard (GetRecords reference).
pub(crate) const SHARD_READS_PER_SECOND: u64 = 5;
/// Calls of GetShardIterator a second and shard (GetShardIterator reference).
pub(crate) const SHARD_ITERATORS_PER_SECOND: u64 = 5;
/// Data plus partition keys that one GetRecords returns (GetRecords reference).
pub(crate) const MAX_READ_BYTES: usize = 10_485_760;
/// Records that one GetRecords returns (GetRecords reference).
pub(crate) const MAX_READ_RECORDS: i64 = 10_000;
/// A shard iterator is good for this long (GetShardIterator reference).
pub(crate) const ITERATOR_LIFETIME: Duration = Duration::from_secs(300);
/// Hours that a stream keeps its records (IncreaseStreamRetentionPeriod and
/// DecreaseStreamRetentionPeriod references); the least is the default.
pub(crate) const RETENTION_HOURS: std::ops::RangeInclusive<i64> = 24..=8_760;
/// Shards that a stream on demand begins with (Kinesis developer guide, "On-demand mode").
pub(crate) const ON_DEMAND_SHARDS: u32 = 4;
/// Open shards per account and region by default, in the largest regions (Kinesis quotas).
pub(crate) const MAX_SHARDS: usize = 20_000;
/// Streams that are being created at once (CreateStream reference).
pub(crate) const MAX_CREATING_STREAMS: usize = 5;
/// Characters of a stream's or a consumer's name (CreateStream reference).
pub(crate) const MAX_STREAM_NAME: usize = 128;
/// Shards of a page, by default and at most (ListShards reference).
pub(crate) const SHARD_PAGE: usize = 1_000;
/// Shards of a description, by default and at most (DescribeStream reference).
pub(crate) const DESCRIBED_SHARDS: usize = 100;
/// Streams of a page, by default and at most (ListStreams reference).
pub(crate) const STREAM_PAGE: usize = 100;
/// A token for the next page is good for this long (ListShards reference).
pub(crate) const TOKEN_LIFETIME: Duration = Duration::from_secs(300);
/// Consumers of a stream (RegisterStreamConsumer reference; more for account-wide commitments).
pub(crate) const MAX_CONSUMERS: usize = 20;
/// Consumers that are being created at once (RegisterStreamConsumer reference).
pub(crate) const MAX_CREATING_CONSUMERS: usize = 5;
/// Consumers of a page, by default and at most (ListStreamConsumers reference).
pub(crate) const CONSUMER_PAGE: usize = 100;
/// A subscription ends after this (SubscribeToShard reference).
pub(crate) const SUBSCRIPTION_LIFETIME: Duration = Duration::from_secs(300);
/// A consumer's next subscription to the shard is refused for this long (SubscribeToShard reference).
pub(crate) const SUBSCRIPTION_GUARD: Duration = Duration::from_secs(5);
/// What a subscription gives in a second, besides all others (RegisterStreamConsumer reference).
pub(crate) const SUBSCRIPTION_BYTES_PER_SECOND: u64 = 2_097_152;
/// A stream may be scaled this often in a day (UpdateShardCount reference).
pub(crate) const MAX_SCALINGS_PER_DAY: usize = 10;
/// Shards of a stream that UpdateShardCount scales to (UpdateShardCount reference).
pub(crate) const MAX_SCALED_SHARDS: i64 = 10_000;

//! What AWS charges: the one place with prices.

/// US dollars in one Region. A thousand thousands are a million, and a gigabyte has 2^30 bytes, as on
/// the bills.
pub struct Prices {
    pub region: &'static str,
    /// When the pages were read.
    pub read: &'static str,
    /// A million requests to publish to a standard topic; deliveries to SQS are free.
    pub sns_requests: f64,
    /// A million requests to publish to a FIFO topic.
    pub sns_fifo_requests: f64,
    /// A gigabyte published to a FIFO topic.
    pub sns_fifo_gigabyte: f64,
    /// A million messages that a FIFO topic delivers.
    pub sns_fifo_deliveries: f64,
    /// A gigabyte that a FIFO topic delivers.
    pub sns_fifo_delivered_gigabyte: f64,
    /// A million requests to a standard queue.
    pub sqs_requests: f64,
    /// A million requests to a FIFO queue.
    pub sqs_fifo_requests: f64,
    /// An hour of one shard.
    pub shard_hour: f64,
    /// A million PUT payload units; reading is free but for enhanced fan-out.
    pub put_units: f64,
    /// An hour of one service on one shard by enhanced fan-out.
    pub fan_out_shard_hour: f64,
    /// A gigabyte that comes by it.
    pub fan_out_gigabyte: f64,
    /// An hour of one stream on demand.
    pub stream_hour: f64,
    /// A gigabyte written to a stream on demand.
    pub gigabyte_in: f64,
    /// A gigabyte that one service reads of it.
    pub gigabyte_out: f64,
    /// The same by enhanced fan-out.
    pub fan_out_gigabyte_on_demand: f64,
}

/// From <https://aws.amazon.com/sns/pricing/>, <https://aws.amazon.com/sqs/pricing/> and
/// <https://aws.amazon.com/kinesis/data-streams/pricing/>. Without free tiers and discounts for much.
pub const PRICES: Prices = Prices {
    region: "us-east-1",
    read: "October 2026",
    sns_requests: 0.50,
    sns_fifo_requests: 0.30,
    sns_fifo_gigabyte: 0.017,
    sns_fifo_deliveries: 0.01,
    sns_fifo_delivered_gigabyte: 0.001,
    sqs_requests: 0.40,
    sqs_fifo_requests: 0.50,
    shard_hour: 0.015,
    put_units: 0.014,
    fan_out_shard_hour: 0.015,
    fan_out_gigabyte: 0.013,
    stream_hour: 0.04,
    gigabyte_in: 0.08,
    gigabyte_out: 0.04,
    fan_out_gigabyte_on_demand: 0.05,
};

/// SNS and SQS bill a request for each of so many bytes.
pub const REQUEST_BYTES: f64 = 65_536.0;

/// Kinesis bills a PUT payload unit for each of so many bytes of a record.
pub const PUT_UNIT_BYTES: f64 = 25.0 * 1_024.0;

/// On demand, a record is billed in whole units of so many bytes.
pub const ON_DEMAND_BYTES: f64 = 1_024.0;

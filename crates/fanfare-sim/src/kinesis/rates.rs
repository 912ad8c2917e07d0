//! How often an account may call what manages streams.

use std::collections::HashMap;

use tokio::time::Instant;

use super::errors;
use super::pace::{Pace, share};
use crate::error::AwsError;
use crate::wire::Caller;

/// Calls a second, per account and region (Kinesis quotas, "API limits"). Some of these AWS counts
/// per stream: a caller sees no difference until it works on many at once.
const PER_SECOND: [(&str, u64); 18] = [
    ("AddTagsToStream", 5),
    ("CreateStream", 5),
    ("DecreaseStreamRetentionPeriod", 5),
    ("DeleteStream", 5),
    ("DeregisterStreamConsumer", 5),
    ("DescribeStream", 10),
    ("DescribeStreamConsumer", 20),
    ("DescribeStreamSummary", 20),
    ("IncreaseStreamRetentionPeriod", 5),
    ("ListShards", 1_000),
    ("ListStreamConsumers", 5),
    ("ListStreams", 5),
    ("ListTagsForStream", 5),
    ("MergeShards", 5),
    ("RegisterStreamConsumer", 5),
    ("RemoveTagsFromStream", 5),
    ("SplitShard", 5),
    ("UpdateShardCount", 10),
];

/// What was called lately.
#[derive(Debug, Default)]
pub(crate) struct Rates(HashMap<(String, String, &'static str), Pace>);

impl Rates {
    /// Counts a call, or refuses it.
    pub(super) fn count(
        &mut self,
        caller: &Caller,
        action: &str,
        now: Instant,
    ) -> Result<(), AwsError> {
        let Some((action, limit)) = PER_SECOND.iter().find(|(name, _)| *name == action) else {
            return Ok(());
        };
        let key = (caller.account.clone(), caller.region.clone(), *action);
        let pace = self.0.entry(key).or_insert_with(|| Pace::new(now));
        if pace.try_take(now, share(1, *limit)) {
            return Ok(());
        }
        let account = &caller.account;
        Err(errors::limit_exceeded(format!(
            "Rate exceeded for account {account}: {action} may be called {limit} times a second."
        )))
    }
}

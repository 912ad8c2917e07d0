//! How leases are written in rows.

use fanfare_core::{Checkpoint, Lease, NewLease, Renewal};
use serde::Serialize;

use crate::SqlError;

const TRIM_HORIZON: &str = "TRIM_HORIZON";
const AT_TIMESTAMP: &str = "AT_TIMESTAMP ";
const SHARD_END: &str = "SHARD_END";

/// A lease's columns, in the order of [`Stored`].
pub(super) const COLUMNS: &str = "lease_key, lease_owner, lease_epoch, lease_counter, \
    lease_successor, checkpoint, checkpoint_sub_sequence_number, parent_shard_ids";

pub(super) type Stored =
    (String, Option<String>, i64, i64, Option<String>, String, Option<i64>, String);

pub(super) fn lease(stored: Stored) -> Result<Lease, SqlError> {
    let (key, owner, epoch, counter, successor, checkpoint, sub, parents) = stored;
    let checkpoint = parsed(&checkpoint, sub)?;
    let parents =
        serde_json::from_str(&parents).map_err(|_| corrupt("parents that are no list"))?;
    let mut lease = Lease::from(NewLease::new(key, checkpoint, parents));
    lease.owner = owner;
    lease.epoch = epoch.cast_unsigned();
    lease.counter = counter.cast_unsigned();
    lease.successor = successor;
    Ok(lease)
}

fn parsed(checkpoint: &str, sub: Option<i64>) -> Result<Checkpoint, SqlError> {
    Ok(match checkpoint {
        TRIM_HORIZON => Checkpoint::Oldest,
        SHARD_END => Checkpoint::End,
        _ => match checkpoint.strip_prefix(AT_TIMESTAMP) {
            Some(time) => Checkpoint::At(time.parse().map_err(|_| corrupt("a time that is none"))?),
            None if checkpoint.bytes().all(|byte| byte.is_ascii_digit()) => Checkpoint::After {
                sequence_number: checkpoint.into(),
                sub_sequence_number: sub.map(i64::cast_unsigned),
            },
            None => return Err(corrupt("a checkpoint of an unknown kind")),
        },
    })
}

fn corrupt(problem: &str) -> SqlError {
    SqlError::Corrupt { table: "leases", problem: problem.into() }
}

/// What a statement is given for one lease; most statements need some of it only.
#[derive(Debug, Default, Serialize)]
pub(super) struct Given<'a> {
    key: &'a str,
    owner: Option<&'a str>,
    epoch: i64,
    counter: i64,
    progress: Option<String>,
    sub: Option<i64>,
    parents: String,
}

/// The JSON list `$3` as a table. None of its columns is called as one of the leases'.
pub(super) const GIVEN_POSTGRES: &str = "json_to_recordset(cast($3 as json)) as given \
    (key text, owner text, epoch bigint, counter bigint, progress text, \
    sub bigint, parents text)";

/// The same.
pub(super) const GIVEN_SQLITE: &str = "(select value ->> 'key' as key, value ->> 'owner' as owner, \
    value ->> 'epoch' as epoch, value ->> 'counter' as counter, \
    value ->> 'progress' as progress, value ->> 'sub' as sub, value ->> 'parents' as parents \
    from json_each($3)) as given";

impl<'a> Given<'a> {
    pub(super) fn key(key: &'a str) -> Self {
        Given { key, ..Given::default() }
    }

    pub(super) fn seen(lease: &'a Lease) -> Self {
        let owner = lease.owner.as_deref();
        let (epoch, counter) = (lease.epoch.cast_signed(), lease.counter.cast_signed());
        Given { owner, epoch, counter, ..Given::key(&lease.key) }
    }

    pub(super) fn renewal(renewal: &'a Renewal) -> Self {
        let (epoch, counter) = (renewal.epoch.cast_signed(), renewal.counter.cast_signed());
        let given = Given { epoch, counter, ..Given::key(&renewal.key) };
        match &renewal.checkpoint {
            Some(checkpoint) => given.with(checkpoint),
            None => given,
        }
    }

    pub(super) fn new_lease(new: &'a NewLease) -> Self {
        // A list of strings: nothing in it can fail.
        let parents = serde_json::to_string(&new.parents).unwrap_or_default();
        Given { parents, ..Given::key(&new.key) }.with(&new.checkpoint)
    }

    fn with(self, checkpoint: &Checkpoint) -> Self {
        let (text, sub) = match checkpoint {
            Checkpoint::Oldest => (TRIM_HORIZON.into(), None),
            Checkpoint::At(time) => (format!("{AT_TIMESTAMP}{time}"), None),
            Checkpoint::After { sequence_number, sub_sequence_number } => {
                (sequence_number.clone(), *sub_sequence_number)
            }
            Checkpoint::End => (SHARD_END.into(), None),
        };
        Given { progress: Some(text), sub: sub.map(u64::cast_signed), ..self }
    }
}

pub(super) fn json(given: &[Given<'_>]) -> String {
    // Strings and numbers: nothing in them can fail.
    serde_json::to_string(given).unwrap_or_default()
}

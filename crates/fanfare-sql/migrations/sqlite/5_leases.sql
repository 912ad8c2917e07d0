-- Who consumes which shard of a stream, and how far it has been handled, in the terms of the Kinesis
-- Client Library. A checkpoint is a sequence number, TRIM_HORIZON, AT_TIMESTAMP and the time, or
-- SHARD_END; the parents are a JSON list.
create table {leases} (
    consumer text not null,
    stream text not null,
    lease_key text not null,
    lease_owner text,
    lease_epoch integer not null default 0,
    lease_counter integer not null default 0,
    lease_successor text,
    checkpoint text not null,
    checkpoint_sub_sequence_number integer,
    parent_shard_ids text not null,
    primary key (consumer, stream, lease_key)
) strict, without rowid;

-- Who consumes which shard of a stream, and how far it has been handled, in the terms of the Kinesis
-- Client Library. A checkpoint is a sequence number, TRIM_HORIZON, AT_TIMESTAMP and the time, or
-- SHARD_END; the parents are a JSON list.
create table {leases} (
    consumer text collate "C" not null,
    stream text collate "C" not null,
    lease_key text collate "C" not null,
    lease_owner text,
    lease_epoch bigint not null default 0,
    lease_counter bigint not null default 0,
    lease_successor text,
    checkpoint text not null,
    checkpoint_sub_sequence_number bigint,
    parent_shard_ids text not null,
    primary key (consumer, stream, lease_key)
) with (fillfactor = 50);

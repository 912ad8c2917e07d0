-- The pending set: a row is deleted when the broker has accepted its event.
create table {outbox} (
    id integer primary key autoincrement,
    shard integer not null,
    recorded_at integer not null default (cast(unixepoch('subsec') * 1000 as integer)),
    event_id text not null,
    tag text not null,
    key text not null,
    destination text not null,
    attributes text not null,
    body text not null
) strict;

-- Events of keys that are held, out of the way of the others; they keep their ids.
create table {outbox_parked} (
    id integer primary key,
    shard integer not null,
    recorded_at integer not null,
    event_id text not null,
    tag text not null,
    key text not null,
    destination text not null,
    attributes text not null,
    body text not null
) strict;
create index {#outbox_parked_key} on {outbox_parked} (shard, key, id);

-- Keys whose next event could not be published.
create table {outbox_holds} (
    shard integer not null,
    key text not null,
    event_id text not null,
    reason text not null,
    failures integer not null,
    held_at integer not null default (cast(unixepoch('subsec') * 1000 as integer)),
    released integer not null default 0,
    primary key (shard, key)
) strict, without rowid;

-- Events that were given up, with the reason.
create table {outbox_dead} (
    id integer primary key,
    shard integer not null,
    recorded_at integer not null,
    event_id text not null,
    tag text not null,
    key text not null,
    destination text not null,
    attributes text not null,
    body text not null,
    reason text not null,
    dead_at integer not null default (cast(unixepoch('subsec') * 1000 as integer))
) strict;

-- Who may publish from which shard, until when, by the machine's clock.
create table {outbox_shards} (
    shard integer primary key,
    owner text,
    epoch integer not null default 0,
    expires_at integer
) strict;
insert into {outbox_shards} (shard)
    with recursive n (shard) as (select 0 union all select shard + 1 from n where shard < 63)
    select shard from n;

-- The relays that live, so that each takes its share.
create table {outbox_relays} (
    owner text primary key,
    expires_at integer not null
) strict, without rowid;

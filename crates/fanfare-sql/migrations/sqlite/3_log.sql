-- All that was recorded, in the order of its positions; rows are never changed.
create table {log} (
    position integer primary key autoincrement,
    recorded_at integer not null default (cast(unixepoch('subsec') * 1000 as integer)),
    event_id text not null,
    source text not null,
    tag text not null,
    key text not null,
    correlation_id text not null,
    time text,
    version integer,
    destination text not null,
    attributes text not null,
    body text not null,
    unique (source, event_id)
) strict;
create index {#log_key} on {log} (key, position);
create unique index {#log_version} on {log} (key, version) where version is not null;
-- By the tag without its version's number.
create index {#log_family} on {log} (rtrim(tag, '0123456789'), position);
create index {#log_correlation} on {log} (correlation_id, position);

-- The newest version of each key that was appended to.
create table {streams} (
    key text primary key,
    version integer not null
) strict, without rowid;

-- Positions in the log. A sequence of its own, because writers announce from where on they draw.
create sequence {log_positions} as bigint;

-- All that was recorded, in the order of its positions; rows are never changed.
create table {log} (
    position bigint primary key default nextval('{log_positions}'),
    recorded_at timestamptz not null default clock_timestamp(),
    event_id text not null,
    source text not null,
    tag text not null,
    key text not null,
    correlation_id text not null,
    time timestamptz,
    version bigint,
    destination text not null,
    attributes text not null,
    body text not null,
    constraint {#log_event} unique (source, event_id)
);
alter sequence {log_positions} owned by {log}.position;
create index {#log_key} on {log} (key, position);
create unique index {#log_version} on {log} (key, version) where version is not null;
-- By the tag without its version's number.
create index {#log_family} on {log} (rtrim(tag, '0123456789'), position);
create index {#log_correlation} on {log} (correlation_id, position);
create index {#log_recorded} on {log} using brin (recorded_at);

-- The newest version of each key that was appended to.
create table {streams} (
    key text primary key,
    version bigint not null
) with (fillfactor = 70);

-- Events that consumers have handled: a row commits with the effect of its event.
create table {inbox} (
    consumer text not null,
    source text not null,
    event_id text not null,
    handled_at integer not null default (cast(unixepoch('subsec') * 1000 as integer)),
    primary key (consumer, source, event_id)
) strict, without rowid;
create index {#inbox_handled} on {inbox} (handled_at);

-- What followed from them, where there is no outbox to record it in.
create table {inbox_followed} (
    consumer text not null,
    source text not null,
    event_id text not null,
    handled_at integer not null default (cast(unixepoch('subsec') * 1000 as integer)),
    followed text not null,
    primary key (consumer, source, event_id)
) strict, without rowid;
create index {#inbox_followed_handled} on {inbox_followed} (handled_at);

-- Events whose effect is elsewhere: being handled while `followed` is null, else handled.
create table {idempotency} (
    consumer text not null,
    source text not null,
    event_id text not null,
    payload text not null,
    claim integer not null,
    expires_at integer not null,
    followed text,
    primary key (consumer, source, event_id)
) strict, without rowid;
create index {#idempotency_expires} on {idempotency} (expires_at);

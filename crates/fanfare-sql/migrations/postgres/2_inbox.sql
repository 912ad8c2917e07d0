-- Events that consumers have handled: a row commits with the effect of its event.
create table {inbox} (
    consumer text collate "C" not null,
    source text collate "C" not null,
    event_id text collate "C" not null,
    handled_at timestamptz not null default clock_timestamp(),
    primary key (consumer, source, event_id)
);
-- Costs next to nothing to keep, and finds what is old by the page.
create index {#inbox_handled} on {inbox} using brin (handled_at) with (autosummarize = on);

-- What followed from them, where there is no outbox to record it in.
create table {inbox_followed} (
    consumer text collate "C" not null,
    source text collate "C" not null,
    event_id text collate "C" not null,
    handled_at timestamptz not null default clock_timestamp(),
    followed text not null,
    primary key (consumer, source, event_id)
);
create index {#inbox_followed_handled} on {inbox_followed} using brin (handled_at)
    with (autosummarize = on);

-- Events whose effect is elsewhere: being handled while `followed` is null, else handled.
create table {idempotency} (
    consumer text collate "C" not null,
    source text collate "C" not null,
    event_id text collate "C" not null,
    payload text not null,
    claim bigint not null,
    expires_at timestamptz not null,
    followed text,
    primary key (consumer, source, event_id)
);
create index {#idempotency_expires} on {idempotency} (expires_at);

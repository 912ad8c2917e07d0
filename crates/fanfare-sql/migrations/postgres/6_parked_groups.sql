-- Events in dead-letter queues that are handled in the order of their group, lowest position first.
create table {parked_groups} (
    consumer text collate "C" not null,
    group_id text collate "C" not null,
    source text collate "C" not null,
    event_id text collate "C" not null,
    position bigint generated always as identity,
    handled boolean not null default false,
    parked_at timestamptz not null default clock_timestamp(),
    primary key (consumer, group_id, source, event_id)
);
create index {#parked_groups_next} on {parked_groups} (consumer, group_id, position) where not handled;

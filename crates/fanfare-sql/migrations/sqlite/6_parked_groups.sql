-- Events in dead-letter queues that are handled in the order of their group, lowest position first.
create table {parked_groups} (
    position integer primary key,
    consumer text not null,
    group_id text not null,
    source text not null,
    event_id text not null,
    handled integer not null default 0,
    parked_at integer not null default (cast(unixepoch('subsec') * 1000 as integer)),
    unique (consumer, group_id, source, event_id)
) strict;
create index {#parked_groups_next} on {parked_groups} (consumer, group_id, position) where not handled;

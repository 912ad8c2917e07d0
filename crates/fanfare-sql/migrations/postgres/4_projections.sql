-- How far each replay of the log has come.
create table {replays} (
    name text primary key,
    until bigint not null,
    position bigint not null default 0,
    done bigint not null default 0,
    total bigint not null
) with (fillfactor = 50);

-- Projections: the generation that is read, 0 for none yet, and the last that was made.
create table {projections} (
    name text primary key,
    live bigint not null default 0,
    latest bigint not null default 0
);

-- Up to where a generation has the log in it, and where its making ends; -1 for now.
create table {generations} (
    name text not null,
    generation bigint not null,
    position bigint not null default 0,
    goal bigint not null,
    built smallint not null default 0,
    primary key (name, generation)
) with (fillfactor = 50);

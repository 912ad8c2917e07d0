-- How far each replay of the log has come.
create table {replays} (
    name text primary key,
    until integer not null,
    position integer not null default 0,
    done integer not null default 0,
    total integer not null
) strict, without rowid;

-- Projections: the generation that is read, 0 for none yet, and the last that was made.
create table {projections} (
    name text primary key,
    live integer not null default 0,
    latest integer not null default 0
) strict, without rowid;

-- Up to where a generation has the log in it, and where its making ends; -1 for now.
create table {generations} (
    name text not null,
    generation integer not null,
    position integer not null default 0,
    goal integer not null,
    built integer not null default 0,
    primary key (name, generation)
) strict, without rowid;

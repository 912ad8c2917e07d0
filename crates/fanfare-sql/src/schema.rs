//! The tables, as numbered migrations that are part of the crate.

use crate::names::Names;

/// One step of the schema; once released its text never changes.
pub(crate) struct Migration {
    pub(crate) version: i64,
    pub(crate) name: &'static str,
    sql: &'static str,
}

impl Migration {
    /// Its statements for these names, with the row that remembers it.
    pub(crate) fn sql(&self, names: &Names) -> String {
        let Migration { version, name, sql } = self;
        let remember =
            format!("insert into {{migrations}} (version, name) values ({version}, '{name}');");
        format!("{}\n{}\n", names.sql(sql).trim_end(), names.sql(&remember))
    }
}

macro_rules! migrations {
    ($folder:literal: $($version:literal $name:literal),+ $(,)?) => {
        &[$(Migration {
            version: $version,
            name: $name,
            sql: include_str!(concat!("../migrations/", $folder, "/", $version, "_", $name, ".sql")),
        }),+]
    };
}

#[cfg(feature = "postgres")]
pub(crate) const POSTGRES: &[Migration] = migrations!("postgres":
    1 "outbox",
    2 "inbox",
    3 "log",
    4 "projections",
    5 "leases",
    6 "parked_groups",
);

#[cfg(feature = "sqlite")]
pub(crate) const SQLITE: &[Migration] = migrations!("sqlite":
    1 "outbox",
    2 "inbox",
    3 "log",
    4 "projections",
    5 "leases",
    6 "parked_groups",
);

/// Makes the table that remembers what has been applied.
#[cfg(feature = "postgres")]
pub(crate) const POSTGRES_START: &str = "create table if not exists {migrations} (
    version bigint primary key, name text not null,
    applied_at timestamptz not null default clock_timestamp());";

/// Makes the table that remembers what has been applied.
#[cfg(feature = "sqlite")]
pub(crate) const SQLITE_START: &str = "create table if not exists {migrations} (
    version integer primary key, name text not null,
    applied_at integer not null default (unixepoch())) strict;";

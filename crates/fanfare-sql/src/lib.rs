//! Outbox, relay, inbox, event log, replay and projections, on PostgreSQL and SQLite.

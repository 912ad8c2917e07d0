//! What the tables are called.

use std::sync::Arc;

use crate::SqlError;

/// Longest schema or prefix: leaves room for the names of tables and their indexes within
/// PostgreSQL's 63 bytes.
const MAX_LEN: usize = 40;

/// A schema and a prefix, put before each table's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Names {
    schema: Option<String>,
    prefix: String,
}

impl Default for Names {
    fn default() -> Self {
        Names { schema: None, prefix: "fanfare_".into() }
    }
}

impl Names {
    pub(crate) fn with_schema(self, schema: &str) -> Result<Self, SqlError> {
        Ok(Names { schema: Some(checked(schema)?), ..self })
    }

    pub(crate) fn with_prefix(self, prefix: &str) -> Result<Self, SqlError> {
        let prefix = if prefix.is_empty() { String::new() } else { checked(prefix)? };
        Ok(Names { prefix, ..self })
    }

    pub(crate) fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// `template` with each `{table}` as its full name and each `{#name}` as that name with the
    /// prefix alone, for indexes and constraints. Both are checked names: nothing needs quoting.
    pub(crate) fn sql(&self, template: &str) -> Arc<str> {
        let mut sql = String::with_capacity(template.len() + 64);
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            sql.push_str(before);
            let Some((name, behind)) = after.split_once('}') else { break };
            match (name.strip_prefix('#'), &self.schema) {
                (None, Some(schema)) => sql.extend([schema, ".", &self.prefix, name]),
                (bare, _) => sql.extend([self.prefix.as_str(), bare.unwrap_or(name)]),
            }
            rest = behind;
        }
        sql.push_str(rest);
        sql.into()
    }

    /// A name for what all users of these tables share: a channel, a lock.
    pub(crate) fn shared(&self, what: &str) -> String {
        let schema = self.schema.as_deref().unwrap_or_default();
        format!("{schema}{}{}{what}", if schema.is_empty() { "" } else { "_" }, self.prefix)
    }
}

fn checked(name: &str) -> Result<String, SqlError> {
    let fits = name.len() <= MAX_LEN
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if fits { Ok(name.into()) } else { Err(SqlError::BadName { name: name.into() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schema_and_prefix_go_before_every_table() {
        let names = Names::default();
        assert_eq!(&*names.sql("select 1 from {outbox} o"), "select 1 from fanfare_outbox o");
        let names = names.with_schema("events").unwrap().with_prefix("shop_").unwrap();
        let sql = names.sql("create index {#outbox_age} on {outbox} (id)");
        assert_eq!(&*sql, "create index shop_outbox_age on events.shop_outbox (id)");
        assert_eq!(names.shared("wake"), "events_shop_wake");
    }

    #[test]
    fn a_name_that_would_need_quoting_is_refused() {
        for bad in ["Shop", "a-b", "a b", "1a", "a\"; drop table x", "ä", &"x".repeat(41)] {
            let refused = Names::default().with_prefix(bad);
            assert!(matches!(refused, Err(SqlError::BadName { .. })), "{bad}");
        }
        assert!(matches!(Names::default().with_schema(""), Err(SqlError::BadName { .. })));
        assert!(Names::default().with_prefix("").is_ok());
    }
}

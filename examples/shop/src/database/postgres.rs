//! PostgreSQL: a schema for each service, in one database.

use fanfare::sql::{Database, SqlError};
use sqlx::{
    AssertSqlSafe, Connection, PgConnection, PgPool, Postgres, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{Sql, Store};

/// Few are needed, and the server has a hundred for all.
const CONNECTIONS: u32 = 4;

/// Schemas in a PostgreSQL database, named after a system and its services.
pub struct Schemas {
    url: String,
    options: PgConnectOptions,
    prefix: String,
    temporary: bool,
}

impl Schemas {
    /// Those of `system` in the database at `url`, which stay unless they are `temporary`.
    pub fn at(url: &str, system: &str, temporary: bool) -> Result<Self, SqlError> {
        let options = url.parse::<PgConnectOptions>()?;
        let prefix = format!("{}_", system.replace('-', "_"));
        Ok(Schemas { url: url.into(), options, prefix, temporary })
    }

    /// The database of `service`, with connections that are made when they are wanted: nothing tells yet
    /// whether it is there.
    pub fn lazy(&self, service: &str, pool: PgPoolOptions) -> Result<Store<Postgres>, SqlError> {
        let schema = self.schema(service);
        let pool = pool.connect_lazy_with(self.options(&schema));
        let fanfare = Database::postgres(pool.clone()).schema(&schema)?;
        Ok(Store { fanfare, pool })
    }

    fn schema(&self, service: &str) -> String {
        format!("{}{service}", self.prefix)
    }

    /// The service's own tables are where fanfare's are.
    fn options(&self, schema: &str) -> PgConnectOptions {
        self.options.clone().options([("search_path", schema)])
    }
}

impl Sql for Postgres {
    type Home = Schemas;

    async fn open(home: &Schemas, service: &str) -> Result<Store<Self>, SqlError> {
        // A pool tries for half a minute; whoever starts the shop wants to know at once.
        PgConnection::connect_with(&home.options(&home.schema(service))).await?.close().await?;
        home.lazy(service, PgPoolOptions::new().max_connections(CONNECTIONS))
    }

    async fn begin(pool: &PgPool) -> Result<Transaction<'static, Self>, SqlError> {
        Ok(pool.begin().await?)
    }

    async fn script(pool: &PgPool, statements: &str) -> Result<(), SqlError> {
        // One by one: an index locks its table even where it is there already, and with the locks of
        // two tables at once this and a handler that writes to both could wait for each other.
        for statement in statements.split(';').filter(|statement| !statement.trim().is_empty()) {
            let mut tx = pool.begin().await?;
            // `create … if not exists` fails where two processes run it at once.
            sqlx::query(
                "select pg_advisory_xact_lock(hashtextextended(current_schema() || '.shop', 0))",
            )
            .execute(&mut *tx)
            .await?;
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *tx).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    fn arguments(home: &Schemas) -> [String; 2] {
        ["--database".into(), home.url.clone()]
    }

    async fn remove(home: Schemas) -> Result<(), SqlError> {
        if !home.temporary {
            return Ok(());
        }
        let mut connection = PgConnection::connect_with(&home.options).await?;
        let own = "select nspname::text from pg_namespace where starts_with(nspname, $1)";
        let schemas: Vec<String> =
            sqlx::query_scalar(own).bind(&home.prefix).fetch_all(&mut connection).await?;
        for schema in schemas {
            let drop = format!("drop schema \"{schema}\" cascade");
            sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut connection).await?;
        }
        Ok(connection.close().await?)
    }
}

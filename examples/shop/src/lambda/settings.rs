//! What a function is told by its environment.

use anyhow::{Context, bail};

use crate::{service::SERVICES, topology::OrdersOn};

/// The settings that all functions share.
#[derive(Clone)]
pub struct Settings {
    /// Begins all names on AWS and of schemas: `SHOP_SYSTEM`.
    pub system: String,
    /// What carries the topic `orders`: `SHOP_ORDERS_ON`, `sns` or `kinesis`.
    pub orders_on: OrdersOn,
    /// The AWS account id, 12 digits: `AWS_ACCOUNT_ID`.
    pub account: String,
    /// Where the services' schemas are, with a password maybe: `DATABASE_URL`, `postgres://…`.
    pub database: String,
}

impl Settings {
    /// Those of this process.
    ///
    /// # Errors
    /// A variable is missing, or says something else; the error names it and what it takes.
    pub fn from_env() -> anyhow::Result<Self> {
        Settings::read(|name| std::env::var(name).ok())
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let set = |name, what| given(&variable, name, what);
        let system = set("SHOP_SYSTEM", "what begins all names of this shop on AWS")?;
        let orders_on = set("SHOP_ORDERS_ON", "`sns` or `kinesis`, what carries the orders")?;
        let account = set("AWS_ACCOUNT_ID", "your account id, 12 digits")?;
        let database = set("DATABASE_URL", "postgres://user:password@host/database")?;
        let orders_on = match orders_on.as_str() {
            "sns" => OrdersOn::Sns,
            "kinesis" => OrdersOn::Kinesis,
            other => bail!("SHOP_ORDERS_ON is `{other}`: set it to `sns` or `kinesis`"),
        };
        if !["postgres://", "postgresql://"].iter().any(|scheme| database.starts_with(scheme)) {
            // What it is stays out of the log: it may hold a password.
            bail!("DATABASE_URL does not begin with postgres:// or postgresql://");
        }
        Ok(Settings { system, orders_on, account, database })
    }
}

/// Whose outbox a relay function publishes: `SHOP_SERVICE`.
///
/// # Errors
/// It is missing, or there is no such service.
pub fn relayed_service() -> anyhow::Result<String> {
    service(|name| std::env::var(name).ok())
}

fn service(variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<String> {
    let name = given(variable, "SHOP_SERVICE", "the service whose outbox is published")?;
    if !SERVICES.contains(&name.as_str()) {
        bail!("SHOP_SERVICE is `{name}`: set it to one of {}", SERVICES.join(", "));
    }
    Ok(name)
}

fn given(
    variable: impl Fn(&str) -> Option<String>,
    name: &str,
    what: &str,
) -> anyhow::Result<String> {
    let value = variable(name).filter(|value| !value.is_empty());
    value.with_context(|| format!("{name} is not set: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 5] = [
        ("SHOP_SYSTEM", "shop"),
        ("SHOP_ORDERS_ON", "kinesis"),
        ("AWS_ACCOUNT_ID", "000000000000"),
        ("DATABASE_URL", "postgres://shop:secret@db/shop"),
        ("SHOP_SERVICE", "orders"),
    ];

    /// The good ones, but for one.
    fn but(changed: &'static str, to: Option<&'static str>) -> impl Fn(&str) -> Option<String> {
        move |name| {
            let good = GOOD.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
            if name == changed { to } else { good }.map(str::to_string)
        }
    }

    #[test]
    fn what_is_set_is_taken() {
        let settings = Settings::read(but("", None)).unwrap();
        assert_eq!((settings.system.as_str(), settings.orders_on), ("shop", OrdersOn::Kinesis));
        assert_eq!(service(but("", None)).unwrap(), "orders");
    }

    #[test]
    fn what_is_missing_or_empty_is_named_with_what_it_takes() {
        for (name, _) in &GOOD[..4] {
            for to in [None, Some("")] {
                let error = Settings::read(but(name, to)).map(|_| ()).unwrap_err().to_string();
                assert!(error.starts_with(&format!("{name} is not set: ")), "{error}");
            }
        }
        let error = service(but("SHOP_SERVICE", None)).unwrap_err().to_string();
        assert_eq!(error, "SHOP_SERVICE is not set: the service whose outbox is published");
    }

    #[test]
    fn what_cannot_be_is_refused_and_a_database_s_url_is_not_repeated() {
        let cases = [
            ("SHOP_ORDERS_ON", "sqs", "SHOP_ORDERS_ON is `sqs`: set it to `sns` or `kinesis`"),
            (
                "DATABASE_URL",
                "mysql://shop:secret@db/shop",
                "DATABASE_URL does not begin with postgres:// or postgresql://",
            ),
        ];
        for (name, value, expected) in cases {
            let error = Settings::read(but(name, Some(value))).map(|_| ()).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
        let error = service(but("SHOP_SERVICE", Some("invoices"))).unwrap_err().to_string();
        assert!(
            error.starts_with("SHOP_SERVICE is `invoices`: set it to one of orders,"),
            "{error}"
        );
    }
}

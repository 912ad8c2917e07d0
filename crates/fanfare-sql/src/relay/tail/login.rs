//! How the tail connects: as the user's pool does.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use pgwire_replication::config::{ReplicationConfig, SslMode, TlsConfig};
use sqlx::{
    ConnectOptions,
    postgres::{PgConnectOptions, PgSslMode},
};

use super::TailError;

/// Where and as whom to connect. The password is in no field that could be printed.
pub(super) fn config(
    pool: &PgConnectOptions,
    slot: &str,
    publication: &str,
) -> Result<ReplicationConfig, TailError> {
    let host = match pool.get_socket() {
        Some(folder) => folder.display().to_string(),
        None => pool.get_host().to_string(),
    };
    let hidden = Hidden::of(pool);
    let user = pool.get_username();
    let database = pool.get_database().unwrap_or(user);
    let tls = if host.starts_with('/') {
        TlsConfig::disabled()
    } else {
        tls(pool.get_ssl_mode(), &hidden)?
    };
    // The server then says each few seconds that it lives.
    let options = [pool.get_options().unwrap_or_default(), "-c wal_sender_timeout=20s"].join(" ");
    Ok(ReplicationConfig::new(host, user, hidden.password, database, slot, publication)
        .with_port(pool.get_port())
        .with_tls(tls)
        .with_options(options.trim())
        .with_application_name("fanfare-tail")
        .with_buffer_size(256))
}

/// What a pool's options tell by their URL alone.
#[derive(Default)]
struct Hidden {
    password: String,
    /// A file, where it is one.
    root_certificate: Option<String>,
    client_certificate: Option<String>,
    client_key: Option<String>,
}

impl Hidden {
    fn of(pool: &PgConnectOptions) -> Hidden {
        // Hosts and users that are no part of a URL, such as a socket's folder, would panic there.
        let pool = pool.clone().host("localhost").username("fanfare");
        let url = pool.to_url_lossy();
        let password = percent_decode_str(url.password().unwrap_or_default());
        let mut hidden =
            Hidden { password: password.decode_utf8_lossy().into(), ..Hidden::default() };
        for (name, value) in url.query_pairs() {
            match &*name {
                "sslrootcert" => hidden.root_certificate = Some(value.into()),
                "sslcert" => hidden.client_certificate = Some(value.into()),
                "sslkey" => hidden.client_key = Some(value.into()),
                _ => {}
            }
        }
        hidden
    }
}

/// The same encryption as the pool's, or none at all: never less.
fn tls(mode: PgSslMode, hidden: &Hidden) -> Result<TlsConfig, TailError> {
    let plain = matches!(mode, PgSslMode::Disable | PgSslMode::Allow);
    if plain || (cfg!(not(feature = "wal-tls")) && matches!(mode, PgSslMode::Prefer)) {
        return Ok(TlsConfig::disabled());
    }
    if cfg!(not(feature = "wal-tls")) {
        return Err(TailError::Encrypted);
    }
    let file = |certificate: &Option<String>| match certificate {
        None => Ok(None),
        // So sqlx says that it is one.
        Some(text) => match text.strip_prefix("file: ") {
            Some(path) => Ok(Some(PathBuf::from(path))),
            None => Err(TailError::InlineCertificate),
        },
    };
    let root = file(&hidden.root_certificate)?;
    let tls = match mode {
        PgSslMode::VerifyFull => TlsConfig::verify_full(root),
        PgSslMode::VerifyCa => TlsConfig::verify_ca(root),
        PgSslMode::Require => TlsConfig::require(),
        _ => TlsConfig { mode: SslMode::Prefer, ..TlsConfig::disabled() },
    };
    match (file(&hidden.client_certificate)?, file(&hidden.client_key)?) {
        (Some(certificate), Some(key)) => Ok(tls.with_client_cert(certificate, key)),
        _ => Ok(tls),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config_of(url: &str) -> ReplicationConfig {
        config(&url.parse().unwrap(), "slot", "publication").unwrap()
    }

    #[test]
    fn all_that_a_pool_connects_with_is_taken_over() {
        let url = "postgres://ann%40b:p%40s%2Fs%20%2B%C3%A4@[::1]:5433/shop?sslmode=disable\
            &options=-c%20search_path%3Devents";
        let config = config_of(url);
        assert_eq!((config.host.as_str(), config.port), ("[::1]", 5433));
        assert_eq!((config.user.as_str(), config.password.as_str()), ("ann@b", "p@s/s +ä"));
        assert_eq!(config.database, "shop");
        let options = config.options.unwrap();
        assert_eq!(options, "-c search_path=events -c wal_sender_timeout=20s");
    }

    #[test]
    fn a_sockets_folder_is_taken_over_without_encryption() {
        let config = config_of("postgres://ann@localhost/shop?host=/run/pg&sslmode=require");
        assert_eq!(config.host, "/run/pg");
        assert_eq!(config.tls.mode, SslMode::Disable);
        let pool = PgConnectOptions::new_without_pgpass().host("/run/pg").username("ann");
        assert_eq!(self::config(&pool, "s", "p").unwrap().host, "/run/pg");
    }

    #[test]
    #[cfg(not(feature = "wal-tls"))]
    fn encryption_that_is_asked_for_is_never_left_out() {
        let pool: PgConnectOptions = "postgres://ann@db/shop?sslmode=verify-full".parse().unwrap();
        assert!(matches!(config(&pool, "s", "p"), Err(TailError::Encrypted)));
    }

    #[test]
    #[cfg(feature = "wal-tls")]
    fn encryption_is_the_pools() {
        let config = config_of("postgres://ann@db/shop?sslmode=verify-full&sslrootcert=/ca.pem");
        assert_eq!(config.tls.mode, SslMode::VerifyFull);
        assert_eq!(config.tls.ca_pem_path, Some("/ca.pem".into()));
        assert_eq!(config_of("postgres://ann@db/shop").tls.mode, SslMode::Prefer);
    }
}

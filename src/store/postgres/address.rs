//! Where the database is, from an address as Prisma writes it.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::config::{Config, SslMode};
use url::Url;

use super::tls::Trust;
use crate::ports::store::StoreError;
use crate::store::failure::unavailable;

const DOING: &str = "reading the address of the database";
/// A dead peer is noticed after about so long, also while nobody asks it anything.
const PROBED_AFTER: Duration = Duration::from_secs(15);

/// Where and how to connect.
#[derive(Debug, Clone)]
pub(super) struct Address {
    /// With the password, which its `Debug` hides.
    pub(super) config: Config,
    /// The schema of all tables.
    pub(super) schema: String,
    /// Whom to believe that it is the server.
    pub(super) trust: Trust,
    /// Whether statements may be prepared for longer than a transaction; not behind a bouncer.
    pub(super) prepares: bool,
    /// How many connections the address allows.
    pub(super) most: Option<usize>,
}

impl Address {
    /// Understands an address. What Prisma knows and we need not, is passed over.
    pub(super) fn parse(text: &str) -> Result<Self, StoreError> {
        let refuse = |why: &str| unavailable(DOING, why);
        let url = Url::parse(text).map_err(|error| unavailable(DOING, error))?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(refuse("it does not begin with postgresql://"));
        }
        let mut config = Config::new();
        config.application_name("holdfast").ssl_mode(SslMode::Prefer);
        config.keepalives_idle(PROBED_AFTER).keepalives_interval(PROBED_AFTER / 3).keepalives_retries(3);
        config.tcp_user_timeout(PROBED_AFTER * 2);
        let mut address =
            Self { config, schema: "public".to_owned(), trust: Trust::Anybody, prepares: true, most: None };
        let mut host = url.host_str().map(|host| host.trim_matches(['[', ']']).to_owned());
        let mut strict = false;
        let mut roots = None;
        for (key, value) in url.query_pairs() {
            match (&*key, &*value) {
                ("schema", schema) => schema.clone_into(&mut address.schema),
                ("host", other) => host = Some(other.to_owned()),
                ("sslmode", "disable") => {
                    address.config.ssl_mode(SslMode::Disable);
                }
                ("sslmode", "allow" | "prefer") => {
                    address.config.ssl_mode(SslMode::Prefer);
                }
                ("sslmode", "require") => {
                    address.config.ssl_mode(SslMode::Require);
                }
                ("sslmode", "verify-ca" | "verify-full") => strict = true,
                ("sslmode", _) => return Err(refuse("its sslmode is unknown")),
                ("sslaccept", word) => strict |= word == "strict",
                ("sslcert" | "sslrootcert", file) => roots = Some(PathBuf::from(file)),
                ("sslidentity" | "sslkey", _) => return Err(refuse("certificates of clients are not supported")),
                ("application_name", name) => {
                    address.config.application_name(name);
                }
                ("pgbouncer", word) => address.prepares = word != "true",
                ("connection_limit", number) => address.most = number.parse().ok().filter(|most| *most > 0),
                (_, _) => {}
            }
        }
        match host.as_deref() {
            None | Some("") => return Err(refuse("it names no host")),
            Some(path) if path.starts_with('/') => {
                address.config.host_path(path);
            }
            Some(name) => {
                address.config.host(decoded(name)?.into_owned());
            }
        }
        address.config.port(url.port().unwrap_or(5432));
        if url.username().is_empty() {
            return Err(refuse("it names no user"));
        }
        address.config.user(decoded(url.username())?.into_owned());
        if let Some(password) = url.password() {
            address.config.password(decoded(password)?.as_bytes());
        }
        match url.path().trim_start_matches('/') {
            "" => return Err(refuse("it names no database")),
            name => {
                address.config.dbname(decoded(name)?.into_owned());
            }
        }
        if strict || roots.is_some() {
            address.config.ssl_mode(SslMode::Require);
            address.trust = Trust::Certified { roots };
        }
        if address.schema.is_empty() || address.schema.contains('\0') {
            return Err(refuse("its schema is no name"));
        }
        Ok(address)
    }

    /// Tells whether the password may go over a network where nobody has proven to be the server.
    pub(super) fn is_unproven(&self) -> bool {
        let local = |host: &tokio_postgres::config::Host| match host {
            tokio_postgres::config::Host::Tcp(name) => {
                name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
            }
            tokio_postgres::config::Host::Unix(_) => true,
        };
        matches!(self.trust, Trust::Anybody) && !self.config.get_hosts().iter().all(local)
    }

    /// Returns the schema, quoted.
    pub(super) fn quoted_schema(&self) -> String {
        format!("\"{}\"", self.schema.replace('"', "\"\""))
    }
}

/// Undoes the percent signs of a part of an address.
fn decoded(text: &str) -> Result<Cow<'_, str>, StoreError> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        let escaped = (first == b'%').then(|| after.get(..2)).flatten();
        let escaped = escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        if escaped.is_some() {
            rest = after.get(2..).unwrap_or_default();
        }
        bytes.push(escaped.unwrap_or(first));
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|error| unavailable(DOING, error))
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::Host;

    use super::*;

    #[test]
    fn an_address_of_prisma_is_understood() {
        let text = "postgresql://me%40home:p%23ss@db.test:6432/evolution?schema=evolution_api&connection_limit=7&pool_timeout=0";
        let address = Address::parse(text).unwrap();
        assert_eq!(address.config.get_user(), Some("me@home"));
        assert_eq!(address.config.get_password(), Some(&b"p#ss"[..]));
        assert_eq!(address.config.get_dbname(), Some("evolution"));
        assert_eq!(address.config.get_ports(), [6432]);
        assert!(matches!(address.config.get_hosts(), [Host::Tcp(host)] if host == "db.test"));
        assert_eq!((address.schema.as_str(), address.most, address.prepares), ("evolution_api", Some(7), true));
        assert!(address.is_unproven() && !format!("{address:?}").contains("p#ss"));
        let bouncer = Address::parse("postgres://me@[::1]/db?pgbouncer=true&host=%2Frun%2Fpostgresql").unwrap();
        assert!(!bouncer.prepares && !bouncer.is_unproven() && bouncer.schema == "public");
        assert!(matches!(bouncer.config.get_hosts(), [Host::Unix(path)] if path.ends_with("run/postgresql")));
    }

    #[test]
    fn what_is_to_be_proven_is_never_sent_in_the_clear() {
        for strict in
            ["sslmode=verify-full", "sslmode=require&sslaccept=strict", "sslrootcert=/ca.pem", "sslcert=/ca.pem"]
        {
            let address = Address::parse(&format!("postgresql://me@db.test/x?{strict}")).unwrap();
            assert!(matches!(address.trust, Trust::Certified { .. }) && !address.is_unproven(), "{strict}");
            assert_eq!(address.config.get_ssl_mode(), SslMode::Require, "{strict}");
        }
        let lax = Address::parse("postgresql://me@db.test/x?sslmode=require").unwrap();
        assert_eq!(lax.config.get_ssl_mode(), SslMode::Require);
        assert!(lax.is_unproven());
    }

    #[test]
    fn an_address_that_says_too_little_is_refused_without_its_password() {
        for text in [
            "postgresql://me:s3cret@/db",
            "postgresql://:s3cret@host/db",
            "postgresql://me:s3cret@host",
            "postgresql://me:s3cret@host/db?sslmode=maybe",
            "postgresql://me:s3cret@host/db?sslidentity=me.p12",
            "postgresql://me:s3cret@host:port/db",
            "sqlite://s3cret",
            "s3cret",
        ] {
            let error = Address::parse(text).unwrap_err();
            assert!(!crate::store::failure::told(&error).contains("s3cret"), "{text}: {error}");
        }
    }
}

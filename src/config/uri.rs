//! Values with a syntax of their own: addresses and versions.

use std::path::{Path, PathBuf};

use url::Url;

use super::layers::unfit;
use super::reader::Reader;
use super::{Place, table};

/// Reads where the database is, and refuses databases that are not spoken to.
pub(super) fn database(r: &mut Reader<'_>, data_dir: &Path) -> Place {
    let provider = r.optional(table::DATABASE_PROVIDER);
    let uri = r.optional(table::DATABASE_CONNECTION_URI);
    let scheme = uri.as_deref().map(|uri| uri.split_once("://").map_or("", |(scheme, _)| scheme).to_owned());
    let at_fault = if provider.is_some() { "DATABASE_PROVIDER" } else { "DATABASE_CONNECTION_URI" };
    match (provider.as_deref(), scheme.as_deref()) {
        (Some("mysql"), _) | (_, Some("mysql")) => {
            r.error(at_fault, "cfg-database-mysql", "MySQL is not supported", "use sqlite, or postgresql");
        }
        (None | Some("postgresql" | "psql_bouncer"), Some("postgres" | "postgresql")) => {
            let uri = uri.clone().unwrap_or_default();
            let address = Url::parse(&uri).ok().filter(|url| !url.username().is_empty() && url.path().len() > 1);
            if let Some(address) = address {
                authorities(r, &address);
                return Place::Server(uri.into());
            }
            r.error("DATABASE_CONNECTION_URI", "cfg-database-uri", NO_ADDRESS, SERVER);
        }
        (Some("postgresql" | "psql_bouncer"), _) => {
            r.error("DATABASE_CONNECTION_URI", "cfg-database-uri", "PostgreSQL needs an address", SERVER);
        }
        (None | Some("sqlite"), None | Some("sqlite")) => {}
        (Some("sqlite"), Some("postgres" | "postgresql")) => r.error(
            "DATABASE_PROVIDER",
            "cfg-database-provider",
            "the provider is sqlite, and the address is one of PostgreSQL",
            "write postgresql, or leave one of the two unset",
        ),
        (None | Some("sqlite"), Some(_)) => r.error(
            "DATABASE_CONNECTION_URI",
            "cfg-database-uri",
            NO_ADDRESS,
            "write sqlite:// and the path of a file, or postgresql:// and an address",
        ),
        (Some(_), _) => {
            r.error(
                "DATABASE_PROVIDER",
                "cfg-database-provider",
                "the provider is unknown",
                "write sqlite or postgresql",
            );
        }
    }
    let path = uri.as_deref().and_then(|uri| uri.strip_prefix("sqlite://")).filter(|path| !path.is_empty());
    Place::File(path.map_or_else(|| data_dir.join("holdfast.db"), PathBuf::from))
}

/// Checks the file of authorities that an address names.
fn authorities(r: &mut Reader<'_>, address: &Url) {
    let named = address.query_pairs().find(|(key, _)| matches!(key.as_ref(), "sslrootcert" | "sslcert"));
    if let Some(why) = named.and_then(|(_, file)| unfit(Path::new(file.as_ref()))) {
        r.error(
            "DATABASE_CONNECTION_URI",
            "cfg-database-ca",
            &format!("of the authorities that sslrootcert or sslcert names: {why}"),
            "let it name a file with certificates in PEM, or leave it out for the public authorities",
        );
    }
}

const NO_ADDRESS: &str = "the value is not the address of a database";
const SERVER: &str =
    "write postgresql://USER:PASSWORD@HOST:PORT/DATABASE; special characters in a password are written as %XX";

/// Reads where WhatsApp is. Anything unencrypted is for this machine only.
pub(super) fn websocket(r: &mut Reader<'_>) -> Option<Url> {
    let text = r.optional(table::WHATSAPP_WEBSOCKET_URL)?;
    let parsed = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "ws" | "wss") && url.has_host());
    if parsed.is_none() {
        r.error(
            "WHATSAPP_WEBSOCKET_URL",
            "cfg-websocket-url",
            "the value is not a WebSocket address",
            "write ws://HOST:PORT/PATH or wss://HOST/PATH",
        );
    }
    parsed
}

/// Reads where the other nodes reach this one.
pub(super) fn node(r: &mut Reader<'_>) -> Option<Url> {
    let text = r.optional(table::NODE_URL)?;
    let plain = |url: &Url| url.username().is_empty() && url.password().is_none();
    let bare = |url: &Url| url.query().is_none() && url.fragment().is_none();
    let parsed = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let parsed = parsed.filter(|url| plain(url) && bare(url));
    if parsed.is_none() {
        r.error(
            "NODE_URL",
            "cfg-node-url",
            "the value is not the address of a node",
            "write http://HOST:PORT or https://HOST, without user, password and query",
        );
    }
    parsed
}

/// Reads the web version to claim, three numbers.
pub(super) fn version(r: &mut Reader<'_>) -> Option<(u32, u32, u32)> {
    let text = r.optional(table::WHATSAPP_WEB_VERSION)?;
    let parts: Option<Vec<u32>> = text.split('.').map(|part| part.parse().ok()).collect();
    if let Some(&[major, minor, patch]) = parts.as_deref() {
        return Some((major, minor, patch));
    }
    r.error(
        "WHATSAPP_WEB_VERSION",
        "cfg-web-version",
        "the value is not a version",
        "write three numbers, such as 2.3000.1029",
    );
    None
}

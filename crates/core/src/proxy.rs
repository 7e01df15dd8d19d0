//! Which proxy an instance dials through, and whether what is stored of one can be used at all.
//!
//! The rule that matters is in [`effective`]: what is enabled but cannot be used is an error, never the direct way.

pub mod reply;
pub mod socks;

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The longest text of each column that Evolution keeps of a proxy.
const LONGEST: usize = 100;

/// The longest user or password that SOCKS5 can carry, in bytes (RFC 1929).
const LONGEST_SOCKS: usize = 255;

/// How a proxy is spoken to. In both cases the proxy resolves the name of the target: nobody else hears of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP `CONNECT`.
    Http,
    /// SOCKS version 5.
    Socks5,
}

impl Protocol {
    /// Returns the scheme of an address, `http` or `socks5h`.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Socks5 => "socks5h",
        }
    }
}

/// Where a proxy is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// By address.
    Address(IpAddr),
    /// By name, which this host resolves.
    Name(String),
}

/// User and password. Neither can be printed: providers put account and session into the user.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Credentials {
    user: String,
    password: String,
}

impl Credentials {
    /// Returns the user, to be sent to the proxy.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Returns the password, to be sent to the proxy.
    pub fn password(&self) -> &str {
        &self.password
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A proxy that can be dialled.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Proxy {
    pub protocol: Protocol,
    pub host: Host,
    pub port: u16,
    pub credentials: Option<Credentials>,
}

/// Protocol, host and port; never the credentials.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.protocol.scheme();
        match &self.host {
            Host::Address(IpAddr::V6(address)) => write!(f, "{scheme}://[{address}]:{}", self.port),
            Host::Address(address) => write!(f, "{scheme}://{address}:{}", self.port),
            Host::Name(name) => write!(f, "{scheme}://{name}:{}", self.port),
        }
    }
}

/// A proxy as it is written in a row, in a request or in the environment.
#[derive(Clone, Copy)]
pub struct Fields<'a> {
    pub host: &'a str,
    pub port: &'a str,
    pub protocol: &'a str,
    /// Empty if there is none, like the password.
    pub username: &'a str,
    pub password: &'a str,
}

/// Why something is no proxy that could be dialled. The sentences hold no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("the host is missing")]
    NoHost,
    #[error("the host is neither a name nor an address; write it without a scheme, a port or a path")]
    Host,
    #[error("the port is not a number from 1 to 65535")]
    Port,
    #[error("the protocol https is not spoken: a proxy that tunnels TLS is reached with http")]
    Https,
    #[error("the protocol is none of http, socks, socks5 and socks5h")]
    Protocol,
    #[error("there is a password without a user")]
    NoUser,
    #[error("SOCKS5 needs user and password of 1 to 255 bytes, or neither")]
    SocksCredentials,
    #[error("the user has a colon, which HTTP cannot carry there")]
    Colon,
    #[error("a field has control characters, or more than 100 characters")]
    Text,
}

impl Proxy {
    /// Reads the fields of a proxy.
    ///
    /// # Errors
    /// The first field that cannot be used.
    pub fn parse(fields: Fields<'_>) -> Result<Self, Invalid> {
        let Fields { host, port, protocol, username, password } = fields;
        let plain = |text: &str| text.chars().count() <= LONGEST && !text.chars().any(char::is_control);
        if ![host, port, protocol, username, password].into_iter().all(plain) {
            return Err(Invalid::Text);
        }
        let protocol = match protocol.trim().to_ascii_lowercase().as_str() {
            "http" => Protocol::Http,
            "socks" | "socks5" | "socks5h" => Protocol::Socks5,
            "https" => return Err(Invalid::Https),
            _ => return Err(Invalid::Protocol),
        };
        let host = read_host(host.trim())?;
        let port = port.trim();
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|port: &u16| digits && *port > 0).ok_or(Invalid::Port)?;
        Ok(Self { protocol, host, port, credentials: read_credentials(protocol, username, password)? })
    }
}

fn read_host(text: &str) -> Result<Host, Invalid> {
    if text.is_empty() {
        return Err(Invalid::NoHost);
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse() {
        return Ok(Host::Address(address));
    }
    let name = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    if name { Ok(Host::Name(text.to_ascii_lowercase())) } else { Err(Invalid::Host) }
}

fn read_credentials(protocol: Protocol, user: &str, password: &str) -> Result<Option<Credentials>, Invalid> {
    match (user.is_empty(), password.is_empty()) {
        (true, true) => return Ok(None),
        (true, false) => return Err(Invalid::NoUser),
        (false, _) => {}
    }
    let fits = |text: &str| (1..=LONGEST_SOCKS).contains(&text.len());
    match protocol {
        Protocol::Socks5 if !(fits(user) && fits(password)) => return Err(Invalid::SocksCredentials),
        Protocol::Http if user.contains(':') => return Err(Invalid::Colon),
        Protocol::Socks5 | Protocol::Http => {}
    }
    Ok(Some(Credentials { user: user.to_owned(), password: password.to_owned() }))
}

/// Returns the proxy that an instance dials through: its own if `row` is there and enabled, else the one of the service, else none.
///
/// # Errors
/// The instance's own proxy is enabled, but cannot be used. Then nothing may be dialled: neither the proxy of the service nor the
/// direct way is what the operator has chosen.
pub fn effective(row: Option<(bool, Fields<'_>)>, service: Option<&Proxy>) -> Result<Option<Proxy>, Invalid> {
    match row {
        Some((true, fields)) => Proxy::parse(fields).map(Some),
        Some((false, _)) | None => Ok(service.cloned()),
    }
}

/// Where on its way through a proxy a dial failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// What is stored of it cannot be used.
    Settings,
    /// There was no connection to it, or it gave the connection up.
    Unreachable,
    /// It took the connection and said nothing in time.
    Silent,
    /// It wants other credentials.
    Credentials,
    /// It does not connect to WhatsApp.
    Target,
    /// What answered does not speak the protocol.
    Protocol,
}

impl Fault {
    /// Every one, in the order of the documentation.
    pub const ALL: [Self; 6] =
        [Self::Settings, Self::Unreachable, Self::Silent, Self::Credentials, Self::Target, Self::Protocol];

    /// Returns the stage as one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Unreachable => "unreachable",
            Self::Silent => "silent",
            Self::Credentials => "credentials",
            Self::Target => "target",
            Self::Protocol => "protocol",
        }
    }

    /// Returns a sentence for people.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Settings => {
                "The proxy that is set for this instance cannot be used as it is stored; nothing goes around it."
            }
            Self::Unreachable => "The proxy could not be reached, or gave the connection up.",
            Self::Silent => "The proxy took the connection but did not answer in time.",
            Self::Credentials => "The proxy does not accept the user and password.",
            Self::Target => "The proxy answered, but does not let the connection to WhatsApp through.",
            Self::Protocol => "What answers at the proxy's address does not speak the protocol that is set.",
        }
    }
}

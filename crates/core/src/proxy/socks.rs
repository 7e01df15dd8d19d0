//! The client's half of SOCKS5 (RFC 1928, RFC 1929), as bytes: what is said, and what the answers mean.

use super::{Credentials, Fault};

const VERSION: u8 = 5;
const AUTHENTICATION_VERSION: u8 = 1;
const NOTHING: u8 = 0;
const PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xff;

/// How long the beginning of the last answer is, from which its length follows.
pub const BEGINNING: usize = 5;

/// Returns the first words: which ways of authentication there are.
pub fn greeting(credentials: Option<&Credentials>) -> Vec<u8> {
    match credentials {
        // Some that let this host in by its address want none, although the operator has some.
        Some(_) => vec![VERSION, 2, NOTHING, PASSWORD],
        None => vec![VERSION, 1, NOTHING],
    }
}

/// Reads the answer to the greeting; tells whether the credentials are wanted next.
pub fn chosen(answer: [u8; 2], credentials: Option<&Credentials>) -> Result<bool, Fault> {
    match (answer, credentials) {
        ([VERSION, PASSWORD], Some(_)) => Ok(true),
        ([VERSION, NOTHING], _) => Ok(false),
        ([VERSION, NO_METHOD], _) => Err(Fault::Credentials),
        _ => Err(Fault::Protocol),
    }
}

/// Returns the credentials as they are sent; [`super::Proxy::parse`] has seen to their lengths.
pub fn authentication(credentials: &Credentials) -> Vec<u8> {
    let mut said = vec![AUTHENTICATION_VERSION];
    for text in [credentials.user(), credentials.password()] {
        let bytes = &text.as_bytes()[..text.len().min(usize::from(u8::MAX))];
        said.push(bytes.len() as u8);
        said.extend_from_slice(bytes);
    }
    said
}

/// Reads the answer to the credentials.
pub fn authenticated(answer: [u8; 2]) -> Result<(), Fault> {
    match answer {
        [AUTHENTICATION_VERSION, 0] => Ok(()),
        [AUTHENTICATION_VERSION, _] => Err(Fault::Credentials),
        _ => Err(Fault::Protocol),
    }
}

/// Asks for a connection to a name or an address. A name goes as it is: the proxy resolves it, nobody else.
///
/// # Errors
/// The name is too long to be asked for.
pub fn request(host: &str, port: u16) -> Result<Vec<u8>, Fault> {
    let mut said = vec![VERSION, 1, 0];
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse() {
        Ok(std::net::IpAddr::V4(address)) => {
            said.push(1);
            said.extend_from_slice(&address.octets());
        }
        Ok(std::net::IpAddr::V6(address)) => {
            said.push(4);
            said.extend_from_slice(&address.octets());
        }
        Err(_) => {
            said.push(3);
            said.push(u8::try_from(host.len()).map_err(|_too_long| Fault::Target)?);
            said.extend_from_slice(host.as_bytes());
        }
    }
    said.extend_from_slice(&port.to_be_bytes());
    Ok(said)
}

/// Reads the beginning of the answer to a request; returns how many more bytes belong to it.
pub fn connected(beginning: [u8; BEGINNING]) -> Result<usize, Fault> {
    let [version, code, _reserved, kind, first] = beginning;
    if version != VERSION {
        return Err(Fault::Protocol);
    }
    if code != 0 {
        return Err(Fault::Target);
    }
    // The address from which the proxy has connected, which nobody needs, and two bytes of its port.
    let address = match kind {
        1 => 4,
        4 => 16,
        3 => usize::from(first) + 1,
        _ => return Err(Fault::Protocol),
    };
    Ok(address + 2 - 1)
}

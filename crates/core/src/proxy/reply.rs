//! What an HTTP proxy answers to `CONNECT`.

use super::Fault;

/// The largest head that is read of an answer. Honest ones have a few hundred bytes.
pub const LONGEST_HEAD: usize = 8 * 1024;

/// How far the reading of an answer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// The head is not complete.
    More,
    /// The tunnel is open.
    Open,
    /// There is no tunnel; the status is the proxy's.
    Refused {
        /// What that means.
        fault: Fault,
        /// The HTTP status.
        status: u16,
    },
    /// This is no answer of a proxy.
    Garbage,
}

/// Reads what has come so far.
///
/// An open tunnel has nothing behind its head: we speak first in it, so what stands there comes from nobody who could be trusted.
pub fn read(received: &[u8]) -> Reply {
    if !is_http(received) {
        return Reply::Garbage;
    }
    let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4) else {
        return if received.len() >= LONGEST_HEAD { Reply::Garbage } else { Reply::More };
    };
    match status(received) {
        Some(200..=299) if end == received.len() => Reply::Open,
        Some(status @ (401 | 407)) => Reply::Refused { fault: Fault::Credentials, status },
        Some(status @ (300..=599)) => Reply::Refused { fault: Fault::Target, status },
        Some(_) | None => Reply::Garbage,
    }
}

/// Tells whether it begins, as far as it has come, like HTTP: anything else is not waited for.
fn is_http(received: &[u8]) -> bool {
    const BEGINNING: &[u8] = b"HTTP/1.";
    let known = received.len().min(BEGINNING.len());
    received[..known] == BEGINNING[..known]
}

fn status(received: &[u8]) -> Option<u16> {
    let line = received.split(|byte| *byte == b'\r').next()?;
    let mut words = line.split(|byte| *byte == b' ');
    let (_version, digits) = (words.next()?, words.next()?);
    let three = digits.len() == 3 && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| three)?.parse().ok()
}

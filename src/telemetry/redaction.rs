//! Phone numbers in the log: each that is recognised as one is replaced by a hash, by which lines of one process can be matched and nobody be called.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};

use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use super::bar;

/// The shortest number that is taken for one of a phone, where nothing else says that it is.
const SHORTEST: usize = 8;
/// The longest (E.164), and the identifiers that WhatsApp has besides.
const LONGEST: usize = 15;
/// The shortest number in front of a server's name.
const SHORTEST_USER: usize = 5;
/// Where the lines of crates come through that do not use tracing.
const OTHERS: &str = "log";

/// Writes lines to standard error, without numbers.
pub(super) struct Redacted {
    /// Made anew by each process: there are too few numbers for a hash without a secret.
    secret: RandomState,
}

impl Redacted {
    pub(super) fn new() -> Self {
        Self { secret: RandomState::new() }
    }
}

impl<'a> MakeWriter<'a> for Redacted {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { secret: &self.secret, foreign: true }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line<'a> {
        Line { secret: &self.secret, foreign: metadata.target() == OTHERS }
    }
}

/// Writes one line.
pub(super) struct Line<'a> {
    secret: &'a RandomState,
    /// Whether another crate has written it, of which nothing is known.
    foreign: bool,
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let shown = match std::str::from_utf8(line) {
            Ok(text) => redact(text, self.foreign, self.secret),
            Err(_) => Cow::Borrowed("(a line that is no text)\n"),
        };
        bar::beside(|| io::stderr().write_all(shown.as_bytes()))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Replaces the number in front of each server's name, and in lines of others whatever may be a phone's.
fn redact<'a>(line: &'a str, foreign: bool, secret: &RandomState) -> Cow<'a, str> {
    let bytes = line.as_bytes();
    let mut out = String::new();
    let (mut done, mut at) = (0, 0);
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let from = at;
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        let inside = from > 0 && (bytes[from - 1].is_ascii_alphanumeric() || bytes[from - 1] == b'.');
        let user = user_ends(bytes, at);
        let bare = foreign
            && !inside
            && (SHORTEST..=LONGEST).contains(&(at - from))
            && !bytes.get(at).is_some_and(u8::is_ascii_alphanumeric);
        if bare || user.is_some() && at - from >= SHORTEST_USER {
            out.push_str(&line[done..from]);
            // Writing to a String cannot fail.
            let _ = write!(out, "#{:08x}", secret.hash_one(&line[from..at]) as u32);
            done = at;
            // What stands between the number and the name of the server belongs to it: a device, or the number of a group.
            if let Some(end) = user {
                done = end;
                at = end;
            }
        }
    }
    if done == 0 {
        return Cow::Borrowed(line);
    }
    out.push_str(&line[done..]);
    Cow::Owned(out)
}

/// Returns where the part in front of an `@` ends, if a server's name follows.
fn user_ends(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while bytes.get(at).is_some_and(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b':' | b'_' | b'-')) {
        at += 1;
    }
    let named = bytes.get(at) == Some(&b'@') && bytes.get(at + 1).is_some_and(u8::is_ascii_alphabetic);
    named.then_some(at)
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;

    use super::redact;

    #[test]
    fn numbers_are_hashed_alike_and_everything_else_is_left() {
        let secret = RandomState::new();
        let said = |line: &str, foreign| redact(line, foreign, &secret).into_owned();
        for line in [
            "Sent to 5511999999999@s.whatsapp.net",
            "from 5511999999999:12@s.whatsapp.net in 5511888888888-1600000000@g.us",
            r#"{"jid":"123456789012345.1:3@lid"}"#,
            "5511999999999@c.us",
        ] {
            let hidden = said(line, false);
            assert!(!hidden.contains("5511") && !hidden.contains("12345") && hidden.contains('@'), "{hidden}");
        }
        let (one, other) = (said("to 5511999999999@lid", false), said("5511999999999:4@s.whatsapp.net", false));
        assert_eq!(one.split(['#', '@']).nth(1), other.split(['#', '@']).nth(1), "{one} {other}");

        assert!(!said("peer +5511999999999 is gone", true).contains("99999"));
        for line in [
            "2026-11-27T03:35:46.123456Z INFO ready in 1200 ms",
            "id 3EB0A1B2C3D4E5F60718",
            "a1234567890b",
            "port 65535",
        ] {
            assert_eq!(said(line, true), line);
        }
        let ours = "instance 12345678 of 5511999999999, dialled in 123456789 ns";
        assert_eq!(said(ours, false), ours);
    }
}

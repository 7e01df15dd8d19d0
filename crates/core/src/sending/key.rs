//! A request's idempotency key, and what is done when it comes again.

use std::fmt;

/// The text by which a client tells that two requests are one (`Idempotency-Key`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key(String);

/// What is wrong with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    #[error("the key is empty")]
    Empty,
    #[error("the key is longer than {} characters", Key::LONGEST)]
    TooLong,
    #[error("the key has characters that cannot be printed, or are not ASCII")]
    Unprintable,
    #[error("the key begins with a quotation mark and is not one text in quotation marks")]
    Quotes,
}

impl Key {
    /// The most characters that a key may have.
    pub const LONGEST: usize = 255;

    /// Reads the header, whose value stands in quotation marks by its specification, and bare with most clients. Both are the same key.
    ///
    /// # Errors
    /// See [`InvalidKey`].
    pub fn parse(header: &str) -> Result<Self, InvalidKey> {
        let header = header.trim_matches([' ', '\t']);
        let text = if header.starts_with('"') { unquoted(header)? } else { header.to_owned() };
        if text.is_empty() {
            return Err(InvalidKey::Empty);
        }
        if !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(InvalidKey::Unprintable);
        }
        if text.len() > Self::LONGEST {
            return Err(InvalidKey::TooLong);
        }
        Ok(Self(text))
    }

    /// Returns the key without quotation marks.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Takes a structured header's text out of its quotation marks.
fn unquoted(header: &str) -> Result<String, InvalidKey> {
    let mut text = String::new();
    let mut rest = header.chars().skip(1);
    loop {
        match rest.next() {
            Some('"') => break,
            Some('\\') => match rest.next() {
                Some(escaped @ ('"' | '\\')) => text.push(escaped),
                Some(_) | None => return Err(InvalidKey::Quotes),
            },
            Some(plain) => text.push(plain),
            None => return Err(InvalidKey::Quotes),
        }
    }
    if rest.next().is_some() { Err(InvalidKey::Quotes) } else { Ok(text) }
}

/// What is kept of an earlier request with the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Earlier {
    /// Whether it asked for the same.
    pub same_request: bool,
    /// Whether its answer is final.
    pub answered: bool,
}

/// What is done about a request with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// The message is sent, under the id that is kept with the key.
    Send,
    /// Nothing is sent; the answer is given again.
    Replay,
    /// Nothing is sent: one key cannot stand for two requests.
    Mismatch,
}

impl Repeat {
    /// Decides by what is kept; `None` for the first request with the key.
    pub fn of(earlier: Option<Earlier>) -> Self {
        match earlier {
            None => Self::Send,
            Some(Earlier { same_request: false, .. }) => Self::Mismatch,
            Some(Earlier { same_request: true, answered: true }) => Self::Replay,
            // It may have left or not. Under the same id it does no harm a second time: the recipient's WhatsApp knows it.
            Some(Earlier { same_request: true, answered: false }) => Self::Send,
        }
    }
}

/// What is known of a message after a request with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its answer would be the same at any later time.
    Final,
    /// WhatsApp has refused it for now.
    Refused,
    /// It has not left in this request.
    NotSent,
    /// It may have left, or not.
    Unknown,
}

/// What is kept of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The answer, to be given again.
    Answer,
    /// That the message has not left.
    NotLeft,
    /// Nothing more than there is.
    Nothing,
}

impl Fate {
    /// Decides what is kept; `left_before` says whether the message may have left in an earlier request.
    pub fn keep(self, left_before: bool) -> Keep {
        match self {
            Self::Final => Keep::Answer,
            Self::Refused | Self::NotSent if !left_before => Keep::NotLeft,
            Self::Refused | Self::NotSent | Self::Unknown => Keep::Nothing,
        }
    }

    /// Tells whether nobody knows if the message arrives, over all requests with its key.
    pub fn is_unconfirmed(self, left_before: bool) -> bool {
        match self {
            Self::Unknown => true,
            Self::NotSent => left_before,
            // WhatsApp has the last word.
            Self::Final | Self::Refused => false,
        }
    }
}

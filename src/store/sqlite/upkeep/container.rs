//! The encrypted file of a backup.
//!
//! A first line, the length of a header, the header as JSON, and then everything else in pieces of 64 KiB, each encrypted with
//! XChaCha20-Poly1305 in the STREAM construction: a piece that was changed, moved, left out or cut off does not open. The key is made of
//! the passphrase by Argon2id, with the parameters in the header. The header is bound to every piece.

use std::io::{self, Read, Write};

use aead_stream::{DecryptorBE32, EncryptorBE32, NewStream as _, Nonce, StreamBE32, StreamPrimitive as _};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::XChaCha20Poly1305;
use secrecy::{ExposeSecret, SecretBox, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::BackupError;

const FIRST_LINE: &[u8; 16] = b"holdfast-backup\n";
/// The format of header and content.
const FORMAT: u32 = 1;
const MOST_HEADER: u32 = 64 * 1024;
const PIECE: usize = 64 * 1024;
const TAG: usize = 16;
const SALT: usize = 16;
/// The nonce of XChaCha20 without the counter and the mark of the last piece.
const NONCE: usize = 19;

type Stream = StreamBE32<XChaCha20Poly1305>;
type StreamNonce = Nonce<XChaCha20Poly1305, Stream>;

/// What can be read of a backup without its passphrase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Header {
    format: u32,
    /// When it was begun, in RFC 3339.
    pub(super) created_at: String,
    /// The version of Holdfast that wrote it.
    pub(super) engine: String,
    key: Derivation,
    nonce: String,
}

/// How the key is made of the passphrase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Derivation {
    function: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
}

impl Derivation {
    /// Derives the key. A file of somebody else's making must not cost more memory or time than it may.
    fn key(&self, passphrase: &SecretString) -> Result<SecretBox<[u8; 32]>, BackupError> {
        let bearable = self.function == "argon2id"
            && (8..=1024 * 1024).contains(&self.memory_kib)
            && (1..=16).contains(&self.passes)
            && (1..=16).contains(&self.lanes);
        if !bearable {
            return Err(BackupError::Damaged("its key is derived in a way that is not known".to_owned()));
        }
        let unusable = |_| BackupError::Damaged("its key cannot be derived".to_owned());
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).map_err(unusable)?;
        let salt = STANDARD.decode(&self.salt).unwrap_or_default();
        let mut key = Box::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.expose_secret().as_bytes(), &salt, &mut *key)
            .map_err(unusable)?;
        Ok(SecretBox::new(key))
    }
}

fn stream(key: &SecretBox<[u8; 32]>, nonce: [u8; NONCE]) -> Stream {
    Stream::new(key.expose_secret().into(), &StreamNonce::from(nonce))
}

/// Encrypts what is written to it.
pub(super) struct Sealing<W: Write> {
    into: W,
    encryptor: Option<EncryptorBE32<XChaCha20Poly1305>>,
    header: [u8; 32],
    piece: Vec<u8>,
}

impl<W: Write> Sealing<W> {
    /// Writes the beginning.
    pub(super) fn begin(mut into: W, created_at: String, passphrase: &SecretString) -> Result<Self, BackupError> {
        let (mut salt, mut nonce) = ([0; SALT], [0; NONCE]);
        getrandom::fill(&mut salt).and_then(|()| getrandom::fill(&mut nonce)).map_err(|error| BackupError::Files {
            doing: "the system has no randomness".to_owned(),
            cause: io::Error::other(error),
        })?;
        let key = Derivation {
            function: "argon2id".to_owned(),
            memory_kib: 64 * 1024,
            passes: 3,
            lanes: 1,
            salt: STANDARD.encode(salt),
        };
        let encryptor = stream(&key.key(passphrase)?, nonce).encryptor();
        let engine = env!("CARGO_PKG_VERSION").to_owned();
        let header = Header { format: FORMAT, created_at, engine, key, nonce: STANDARD.encode(nonce) };
        let text = serde_json::to_vec(&header).map_err(|error| BackupError::Damaged(error.to_string()))?;
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes();
        let writing = || BackupError::files("the backup cannot be written");
        into.write_all(FIRST_LINE).map_err(writing())?;
        into.write_all(&length).map_err(writing())?;
        into.write_all(&text).map_err(writing())?;
        Ok(Self {
            into,
            encryptor: Some(encryptor),
            header: Sha256::digest(&text).into(),
            piece: Vec::with_capacity(PIECE + TAG),
        })
    }

    /// Writes the last piece, and returns what it was written to.
    pub(super) fn finish(mut self) -> io::Result<W> {
        if let Some(encryptor) = self.encryptor.take() {
            encryptor.encrypt_last_in_place(&self.header, &mut self.piece).map_err(|_too_long| too_long())?;
        }
        self.into.write_all(&self.piece)?;
        Ok(self.into)
    }
}

impl<W: Write> Write for Sealing<W> {
    fn write(&mut self, plain: &[u8]) -> io::Result<usize> {
        // A full piece leaves only when more comes: the last one is sealed otherwise.
        if self.piece.len() == PIECE {
            let encryptor = self.encryptor.as_mut().ok_or_else(too_long)?;
            encryptor.encrypt_next_in_place(&self.header, &mut self.piece).map_err(|_too_long| too_long())?;
            self.into.write_all(&self.piece)?;
            self.piece.clear();
        }
        let taken = plain.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&plain[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.into.flush()
    }
}

fn too_long() -> io::Error {
    io::Error::other("more than a backup can hold")
}

/// Decrypts what is read from it.
pub(super) struct Opening<R: Read> {
    from: R,
    decryptor: Option<DecryptorBE32<XChaCha20Poly1305>>,
    header: [u8; 32],
    /// The first byte of the next piece, which tells that there is one.
    ahead: Option<u8>,
    piece: Vec<u8>,
    read: usize,
    first: bool,
}

impl<R: Read> Opening<R> {
    /// Reads the beginning.
    pub(super) fn begin(mut from: R, passphrase: &SecretString) -> Result<(Self, Header), BackupError> {
        let mut first_line = [0; FIRST_LINE.len()];
        let short = |error: io::Error| {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                return BackupError::NotABackup;
            }
            BackupError::Files { doing: "the backup cannot be read".to_owned(), cause: error }
        };
        from.read_exact(&mut first_line).map_err(short)?;
        if first_line != *FIRST_LINE {
            return Err(BackupError::NotABackup);
        }
        let mut length = [0; 4];
        from.read_exact(&mut length).map_err(short)?;
        let length = u32::from_le_bytes(length);
        let unreadable = || BackupError::Damaged("its header cannot be read".to_owned());
        if length > MOST_HEADER {
            return Err(unreadable());
        }
        let mut text = vec![0; length as usize];
        from.read_exact(&mut text).map_err(|_cut| unreadable())?;
        let fields: serde_json::Value = serde_json::from_slice(&text).map_err(|_no_json| unreadable())?;
        if fields["format"].as_u64().is_some_and(|format| format > u64::from(FORMAT)) {
            return Err(BackupError::Newer(fields["engine"].as_str().unwrap_or("unknown").to_owned()));
        }
        let header: Header = serde_json::from_value(fields).map_err(|_other_fields| unreadable())?;
        let nonce: Option<[u8; NONCE]> = STANDARD.decode(&header.nonce).ok().and_then(|bytes| bytes.try_into().ok());
        let decryptor = stream(&header.key.key(passphrase)?, nonce.ok_or_else(unreadable)?).decryptor();
        let opening = Self {
            from,
            decryptor: Some(decryptor),
            header: Sha256::digest(&text).into(),
            ahead: None,
            piece: Vec::new(),
            read: 0,
            first: true,
        };
        Ok((opening, header))
    }

    /// Reads and decrypts the next piece; false if the last one was read.
    fn next_piece(&mut self) -> Result<bool, BackupError> {
        if self.decryptor.is_none() {
            return Ok(false);
        }
        let reading = || BackupError::files("the backup cannot be read");
        let mut piece = Vec::with_capacity(PIECE + TAG + 1);
        piece.extend(self.ahead.take());
        let wanted = PIECE + TAG + 1 - piece.len();
        (&mut self.from).take(wanted as u64).read_to_end(&mut piece).map_err(reading())?;
        let last = piece.len() <= PIECE + TAG;
        if !last {
            self.ahead = piece.pop();
        }
        let opened = match (self.decryptor.take_if(|_| last), &mut self.decryptor) {
            (Some(decryptor), _) => decryptor.decrypt_last_in_place(&self.header, &mut piece),
            (None, Some(decryptor)) => decryptor.decrypt_next_in_place(&self.header, &mut piece),
            (None, None) => return Ok(false),
        };
        match opened {
            Ok(()) => {}
            Err(_wrong_tag) if self.first => return Err(BackupError::WrongPassphrase),
            Err(_wrong_tag) => return Err(BackupError::Damaged("a piece of it does not decrypt".to_owned())),
        }
        (self.piece, self.read, self.first) = (piece, 0, false);
        Ok(true)
    }

    /// Fills the buffer, or errs.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Result<(), BackupError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.some(&mut buffer[filled..])? {
                0 => return Err(BackupError::Damaged("it ends too early".to_owned())),
                taken => filled += taken,
            }
        }
        Ok(())
    }

    /// Reads some bytes; none at the end, which is proven to be the end.
    pub(super) fn some(&mut self, buffer: &mut [u8]) -> Result<usize, BackupError> {
        while self.read == self.piece.len() {
            if !self.next_piece()? {
                return Ok(0);
            }
        }
        let taken = buffer.len().min(self.piece.len() - self.read);
        buffer[..taken].copy_from_slice(&self.piece[self.read..self.read + taken]);
        self.read += taken;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(plain: &[u8]) -> Vec<u8> {
        let mut sealing = Sealing::begin(Vec::new(), "now".to_owned(), &SecretString::from("right")).unwrap();
        sealing.write_all(plain).unwrap();
        sealing.finish().unwrap()
    }

    fn opened(file: &[u8], passphrase: &str) -> Result<Vec<u8>, BackupError> {
        let (mut opening, header) = Opening::begin(file, &SecretString::from(passphrase))?;
        assert_eq!(header.created_at, "now");
        let (mut plain, mut buffer) = (Vec::new(), vec![0; 10_000]);
        loop {
            match opening.some(&mut buffer)? {
                0 => return Ok(plain),
                taken => plain.extend_from_slice(&buffer[..taken]),
            }
        }
    }

    #[test]
    fn what_was_written_is_read_whatever_its_length() {
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 7] {
            let plain: Vec<u8> = (0..length).map(|at| at as u8).collect();
            assert_eq!(opened(&sealed(&plain), "right").unwrap(), plain, "{length} bytes");
        }
    }

    #[test]
    fn damage_anywhere_and_every_cut_is_noticed() {
        let file = sealed(&vec![7; 2 * PIECE + 100]);
        let step = file.len() / 40;
        for at in (0..file.len()).step_by(step) {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(opened(&changed, "right").is_err(), "byte {at} changed");
            assert!(opened(&file[..at], "right").is_err(), "cut at {at}");
        }
        // A cut between two pieces leaves only whole ones.
        let beginning = file.len() - (2 * PIECE + 100 + 3 * TAG);
        for pieces in 0..3 {
            let at = beginning + pieces * (PIECE + TAG);
            assert!(opened(&file[..at], "right").is_err(), "cut after {pieces} pieces");
        }
        assert!(opened(&[file.as_slice(), &[0]].concat(), "right").is_err(), "something follows");
    }

    #[test]
    fn each_failure_says_what_it_is() {
        let file = sealed(b"plain");
        assert!(matches!(opened(&file, "wrong"), Err(BackupError::WrongPassphrase)));
        for other in [&b""[..], b"PK", b"SQLite format 3\0 and so on"] {
            assert!(matches!(opened(other, "right"), Err(BackupError::NotABackup)));
        }
        let with = |from: &str, to: &str| {
            let at = file.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
            [&file[..at], to.as_bytes(), &file[at + from.len()..]].concat()
        };
        let Err(BackupError::Newer(engine)) = opened(&with("\"format\":1", "\"format\":9"), "right") else {
            panic!("a newer format")
        };
        assert_eq!(engine, env!("CARGO_PKG_VERSION"));
        for (from, to) in [("65536", "99999"), ("argon2id", "argon2xx"), ("\"passes\":3", "\"passes\":99")] {
            let other = with(from, to);
            assert!(opened(&other, "right").is_err(), "{to}");
        }
    }
}

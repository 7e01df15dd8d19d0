//! The form of a copy at rest, the same in every layer.
//!
//! ```text
//! "HFCOPY" version(u16) | length(u64) | header | device | values | particulars | SHA-256 of all before it
//! ```
//!
//! Numbers are little-endian; each part is preceded by its length. The length stands before what it counts, and nothing is looked at before
//! the checksum held: what is read here may come from a file that was cut, or from anybody who can write to the layer.

use sha2::{Digest as _, Sha256};

use super::{CopyHeader, SealedValue, SessionCopy};

/// The longest copy that is written or read. One that has its sessions with ten thousand people is a tenth of it.
pub const LONGEST_COPY: usize = 64 << 20;

const MAGIC: [u8; 6] = *b"HFCOPY";
const VERSION: u16 = 1;
const PREFIX: usize = MAGIC.len() + 2 + 8;
const CHECKSUM: usize = 32;
const LONGEST_HEADER: usize = 64 << 10;
/// What a value takes at least: two lengths of texts, a flag, a length.
const SMALLEST_VALUE: usize = 4 + 4 + 1 + 4;

/// Why bytes are no copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It does not begin as a copy.
    #[error("it does not begin as a copy of a session")]
    Foreign,
    /// A program of another version wrote it.
    #[error("its format {0} is unknown")]
    UnknownVersion(u16),
    /// It is shorter or longer than it says.
    #[error("it is not as long as it says")]
    Cut,
    /// Its checksum is that of something else.
    #[error("its checksum does not hold")]
    Damaged,
    /// It is whole, and makes no sense.
    #[error("it cannot be understood")]
    Senseless,
    /// It is longer than any copy may be.
    #[error("it is too long")]
    TooLong,
}

impl SessionCopy {
    /// Writes it.
    ///
    /// # Errors
    /// [`Malformed::TooLong`] if it is longer than any copy may be.
    pub fn encode(&self) -> Result<Vec<u8>, Malformed> {
        let mut body = self.content()?;
        put(&mut body, &self.particulars)?;
        let length = body.len() + CHECKSUM;
        if PREFIX + length > LONGEST_COPY {
            return Err(Malformed::TooLong);
        }
        let mut bytes = Vec::with_capacity(PREFIX + length);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&(length as u64).to_le_bytes());
        bytes.append(&mut body);
        let checksum = Sha256::digest(&bytes);
        bytes.extend_from_slice(&checksum);
        Ok(bytes)
    }

    /// Reads what [`SessionCopy::encode`] has written.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > LONGEST_COPY {
            return Err(Malformed::TooLong);
        }
        let (magic, rest) = bytes.split_first_chunk().ok_or(Malformed::Foreign)?;
        if *magic != MAGIC {
            return Err(Malformed::Foreign);
        }
        let (version, rest) = rest.split_first_chunk().ok_or(Malformed::Cut)?;
        let version = u16::from_le_bytes(*version);
        if version != VERSION {
            return Err(Malformed::UnknownVersion(version));
        }
        let (length, rest) = rest.split_first_chunk().ok_or(Malformed::Cut)?;
        if u64::from_le_bytes(*length) != rest.len() as u64 {
            return Err(Malformed::Cut);
        }
        let (checked, checksum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(Malformed::Cut)?;
        if Sha256::digest(checked)[..] != checksum[..] {
            return Err(Malformed::Damaged);
        }
        Parts(checked.get(PREFIX..).ok_or(Malformed::Cut)?).copy()
    }

    /// Returns the SHA-256 of everything but the particulars, which hold it.
    pub fn fingerprint(&self) -> Result<[u8; 32], Malformed> {
        Ok(Sha256::digest(self.content()?).into())
    }

    fn content(&self) -> Result<Vec<u8>, Malformed> {
        let header = serde_json::to_vec(&self.header).map_err(|_not_text| Malformed::Senseless)?;
        if header.len() > LONGEST_HEADER {
            return Err(Malformed::TooLong);
        }
        let mut content = Vec::new();
        put(&mut content, &header)?;
        put(&mut content, self.device.as_bytes())?;
        put_length(&mut content, self.values.len())?;
        for SealedValue { category, key, sealed, expires_at } in &self.values {
            put(&mut content, category.as_bytes())?;
            put(&mut content, key.as_bytes())?;
            match expires_at {
                None => content.push(0),
                Some(moment) => {
                    content.push(1);
                    content.extend_from_slice(&moment.to_le_bytes());
                }
            }
            put(&mut content, sealed)?;
        }
        Ok(content)
    }
}

fn put(into: &mut Vec<u8>, part: &[u8]) -> Result<(), Malformed> {
    put_length(into, part.len())?;
    into.extend_from_slice(part);
    Ok(())
}

fn put_length(into: &mut Vec<u8>, length: usize) -> Result<(), Malformed> {
    let length = u32::try_from(length).map_err(|_too_long| Malformed::TooLong)?;
    into.extend_from_slice(&length.to_le_bytes());
    Ok(())
}

/// What is still to be read.
struct Parts<'b>(&'b [u8]);

impl<'b> Parts<'b> {
    fn copy(mut self) -> Result<SessionCopy, Malformed> {
        let header = self.part()?;
        if header.len() > LONGEST_HEADER {
            return Err(Malformed::TooLong);
        }
        let header: CopyHeader = serde_json::from_slice(header).map_err(|_not_a_header| Malformed::Senseless)?;
        let device = self.text()?;
        let count = self.length()?;
        // Nothing is reserved for values that cannot be there.
        if count > self.0.len() / SMALLEST_VALUE {
            return Err(Malformed::Senseless);
        }
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            values.push(self.value()?);
        }
        let particulars = self.part()?.to_vec();
        if !self.0.is_empty() {
            return Err(Malformed::Senseless);
        }
        Ok(SessionCopy { header, device, values, particulars })
    }

    fn value(&mut self) -> Result<SealedValue, Malformed> {
        let (category, key) = (self.text()?, self.text()?);
        let expires_at = match self.take::<1>()? {
            [0] => None,
            [1] => Some(i64::from_le_bytes(*self.take()?)),
            [_] => return Err(Malformed::Senseless),
        };
        Ok(SealedValue { category, key, sealed: self.part()?.to_vec(), expires_at })
    }

    fn text(&mut self) -> Result<String, Malformed> {
        String::from_utf8(self.part()?.to_vec()).map_err(|_not_text| Malformed::Senseless)
    }

    fn part(&mut self) -> Result<&'b [u8], Malformed> {
        let length = self.length()?;
        let (part, rest) = self.0.split_at_checked(length).ok_or(Malformed::Senseless)?;
        self.0 = rest;
        Ok(part)
    }

    fn length(&mut self) -> Result<usize, Malformed> {
        usize::try_from(u32::from_le_bytes(*self.take()?)).map_err(|_too_long| Malformed::Senseless)
    }

    fn take<const N: usize>(&mut self) -> Result<&'b [u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed::Senseless)?;
        self.0 = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use holdfast_core::connection::Desired;
    use holdfast_core::id::{DatabaseId, Epoch, InstanceId, Revision};
    use proptest::prelude::*;

    use super::*;

    fn copies() -> impl Strategy<Value = SessionCopy> {
        let value = ("[a-z-]{1,12}", ".{0,20}", prop::collection::vec(any::<u8>(), 0..60), any::<Option<i64>>())
            .prop_map(|(category, key, sealed, expires_at)| SealedValue { category, key, sealed, expires_at });
        let database = prop::option::of(any::<[u8; 16]>().prop_map(DatabaseId::of));
        let times = (any::<i64>(), any::<Option<i64>>());
        let header = (".{1,20}", ".{0,20}", any::<[u64; 2]>(), database, times, any::<bool>());
        let header = header.prop_map(|(id, name, [epoch, revision], database, times, wanted)| CopyHeader {
            id: InstanceId::new(id),
            name,
            epoch: Epoch(epoch),
            revision: Revision(revision),
            database,
            taken_at_ms: times.0,
            last_online_ms: times.1,
            desired: if wanted { Desired::Connected } else { Desired::Stopped },
        });
        let particulars = prop::collection::vec(any::<u8>(), 0..60);
        (header, ".{0,60}", prop::collection::vec(value, 0..6), particulars)
            .prop_map(|(header, device, values, particulars)| SessionCopy { header, device, values, particulars })
    }

    /// Makes of any body what has passed the checksum.
    fn sealed(body: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&((body.len() + CHECKSUM) as u64).to_le_bytes());
        bytes.extend_from_slice(body);
        let checksum = Sha256::digest(&bytes);
        bytes.extend_from_slice(&checksum);
        bytes
    }

    proptest! {
        #[test]
        fn a_copy_comes_back_as_it_was(copy in copies()) {
            let bytes = copy.encode().unwrap();
            prop_assert_eq!(SessionCopy::decode(&bytes), Ok(copy));
        }

        #[test]
        fn arbitrary_bytes_are_no_copy(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(SessionCopy::decode(&bytes).is_err());
        }

        #[test]
        fn what_passes_the_checksum_is_read_without_harm(body in prop::collection::vec(any::<u8>(), 0..400)) {
            let _any_answer = SessionCopy::decode(&sealed(&body));
        }

        #[test]
        fn a_whole_copy_with_wrong_lengths_inside_is_read_without_harm(copy in copies(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let bytes = copy.encode().unwrap();
            let mut body = bytes[PREFIX..bytes.len() - CHECKSUM].to_vec();
            let at = at.index(body.len());
            body[at] = byte;
            if let Ok(read) = SessionCopy::decode(&sealed(&body)) {
                // Whatever was understood of it, it is not taken for the same copy.
                prop_assert_eq!(read.fingerprint() == copy.fingerprint() && read.particulars == copy.particulars, read == copy);
            }
        }

        #[test]
        fn every_changed_or_missing_byte_is_noticed(copy in copies(), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let bytes = copy.encode().unwrap();
            let at = at.index(bytes.len());
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            prop_assert!(SessionCopy::decode(&changed).is_err());
            prop_assert!(SessionCopy::decode(&bytes[..at]).is_err());
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let decode = |bytes: &[u8]| SessionCopy::decode(bytes).unwrap_err();
        assert_eq!(decode(b""), Malformed::Foreign);
        assert_eq!(decode(b"{\"creds\":1}"), Malformed::Foreign);
        assert_eq!(decode(b"HFCOPY"), Malformed::Cut);
        assert_eq!(decode(b"HFCOPY\x02\x00"), Malformed::UnknownVersion(2));
        assert_eq!(decode(b"HFCOPY\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff"), Malformed::Cut);
        assert_eq!(decode(&sealed(b"")), Malformed::Senseless);
        // Four thousand million values in no bytes at all.
        let mut many = Vec::new();
        put(
            &mut many,
            br#"{"id":"a","name":"a","epoch":1,"revision":1,"takenAtMs":1,"lastOnlineMs":null,"desired":"connected"}"#,
        )
        .unwrap();
        put(&mut many, b"").unwrap();
        many.extend_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(decode(&sealed(&many)), Malformed::Senseless);
    }
}

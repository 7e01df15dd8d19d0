//! Places beside the database that hold copies of sessions: a cache, files. What of them goes on at the start is decided in
//! [`holdfast_core::restoration`]; none of them is ever a source of truth.

mod form;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use holdfast_core::connection::Desired;
use holdfast_core::id::{DatabaseId, Epoch, InstanceId, Revision};
use holdfast_core::restoration::neighbours::Signs;
use holdfast_core::restoration::{Mark, Source, Standing};
use serde::{Deserialize, Serialize};

pub use self::form::{LONGEST_COPY, Malformed};

/// One instance with its whole session, so that it can go on from here alone. Whatever is secret is encrypted as it is in the database: a
/// layer sees names and times.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionCopy {
    /// What can be read without the key.
    pub header: CopyHeader,
    /// The text of `Session.creds`: the envelope of the device.
    pub device: String,
    /// The values, in the order of their categories and keys.
    pub values: Vec<SealedValue>,
    /// What else the instance is (token, settings, proxy, webhook) with the fingerprint of everything above, encrypted: whoever has not
    /// the key can neither read it nor put a copy together from others.
    pub particulars: Vec<u8>,
}

/// What can be read of a copy without the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CopyHeader {
    pub id: InstanceId,
    /// The instance's name.
    pub name: String,
    /// How often the session was claimed.
    pub epoch: Epoch,
    /// Which state of the session this is.
    pub revision: Revision,
    /// The database that the copy is from; none in one of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseId>,
    /// When the copy was made, in Unix milliseconds.
    pub taken_at_ms: i64,
    /// When the instance was online last, in Unix milliseconds.
    pub last_online_ms: Option<i64>,
    /// What the operator wants.
    pub desired: Desired,
}

/// A value of a session as its row has it.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedValue {
    pub category: String,
    pub key: String,
    /// The value, encrypted.
    pub sealed: Vec<u8>,
    /// Unix seconds after which it may be forgotten.
    pub expires_at: Option<i64>,
}

impl SessionCopy {
    /// Returns which state of the session it is.
    pub fn mark(&self) -> Mark {
        Mark { epoch: self.header.epoch, revision: self.header.revision }
    }

    /// Returns how old it is. One from the future, by a clock that was set back, is new.
    pub fn age_at(&self, now: DateTime<Utc>) -> Duration {
        Duration::from_millis(
            u64::try_from(now.timestamp_millis().saturating_sub(self.header.taken_at_ms)).unwrap_or(0),
        )
    }
}

/// Keys of values contain phone numbers.
impl fmt::Debug for SessionCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { header, values, .. } = self;
        write!(f, "SessionCopy {{ {header:?}, {} values }}", values.len())
    }
}

/// Neither the key, which may be a phone number, nor the value.
impl fmt::Debug for SealedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedValue {{ {}, {} bytes }}", self.category, self.sealed.len())
    }
}

/// What a layer has of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// A copy whose checksum holds.
    Found(Box<Found>),
    /// The layer answered that there is none.
    Absent,
    /// There is one, and it is damaged.
    Corrupt { why: String },
    /// It could not be read: whether there is one is not known.
    Unreadable { why: String },
}

/// A copy in a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub revision: Revision,
    pub age: Duration,
    pub copy: SessionCopy,
}

impl Reading {
    /// Reads the bytes that a layer has under the name of an instance.
    pub fn of(id: &InstanceId, bytes: &[u8], now: DateTime<Utc>) -> Self {
        match SessionCopy::decode(bytes) {
            Ok(copy) if copy.header.id == *id => {
                Self::Found(Box::new(Found { revision: copy.header.revision, age: copy.age_at(now), copy }))
            }
            Ok(_) => Self::Corrupt { why: "it is a copy of another instance".to_owned() },
            Err(malformed) => Self::Corrupt { why: malformed.to_string() },
        }
    }
}

/// Why a layer did not do what it was asked. What it should have kept can be given to it again at any time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayerError {
    /// It does not answer in time, or with an error.
    #[error("{layer} does not answer: {why}")]
    Unavailable { layer: &'static str, why: String },
    /// It was left alone, because it did not answer before.
    #[error("{layer} is left alone until it answers again")]
    LeftAlone { layer: &'static str },
    /// This copy can never be kept there.
    #[error("{layer} cannot keep this copy: {why}")]
    Unfit { layer: &'static str, why: String },
}

/// What became of a copy that was to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is there now.
    Written,
    /// A newer one was there already, and stays.
    Outdated,
}

/// A place that holds copies of sessions. Every call ends within a deadline of the layer's own.
#[async_trait]
pub trait Layer: Send + Sync {
    /// Returns which place it is.
    fn source(&self) -> Source;

    /// Lists the instances of which it has a copy, whole or not.
    async fn list(&self) -> Result<Vec<InstanceId>, LayerError>;

    /// Reads what it has of these instances, in their order.
    async fn read(&self, ids: &[InstanceId]) -> Vec<(InstanceId, Reading)>;

    /// Keeps a copy.
    async fn write(&self, copy: &SessionCopy) -> Result<Kept, LayerError>;

    /// Says that these instances live: their copies do not grow old. Returns those of which there is no copy.
    async fn refresh(&self, ids: &[InstanceId]) -> Result<Vec<InstanceId>, LayerError>;

    /// Forgets an instance that is gone. One of which there is no copy is no error.
    async fn remove(&self, id: &InstanceId) -> Result<(), LayerError>;

    /// Removes the copy of a login that the database, which holds this state, has seen end. A newer one stays, which `false` tells, and so does a
    /// damaged one: a person looks at that.
    async fn remove_ended(&self, id: &InstanceId, held: Mark) -> Result<bool, LayerError> {
        match self.read(std::slice::from_ref(id)).await.pop().map(|(_, reading)| reading) {
            Some(Reading::Found(found)) if found.copy.mark().against(held) == Standing::Newer => Ok(false),
            Some(Reading::Found(_)) => self.remove(id).await.map(|()| true),
            Some(Reading::Absent | Reading::Corrupt { .. }) | None => Ok(true),
            Some(Reading::Unreadable { why }) => Err(LayerError::Unavailable { layer: self.source().word(), why }),
        }
    }

    /// Puts a damaged copy by the side, for a person to look at, and returns where; `None` if there is none.
    async fn set_aside(&self, id: &InstanceId) -> Result<Option<String>, LayerError>;

    /// Leaves a new sign that the engine of this database lives.
    async fn show_life(&self, database: &DatabaseId, sign: &str) -> Result<(), LayerError>;

    /// Returns the signs that engines have left, this one's too.
    async fn signs_of_life(&self) -> Result<Signs, LayerError>;

    /// Removes the sign of this database: its engine ends in order.
    async fn end_life(&self, database: &DatabaseId) -> Result<(), LayerError>;
}

//! A layer under test, and ways to break what it stands on.

use std::time::Duration;

use async_trait::async_trait;
use holdfast::ports::clock::Clock;
use holdfast::ports::layer::{CopyHeader, Layer, Reading, SealedValue, SessionCopy};
use holdfast_core::connection::Desired;
use holdfast_core::id::{Epoch, InstanceId, Revision};

/// A layer, and what it stands on.
#[async_trait]
pub(super) trait Place: Send + Sync {
    fn layer(&self) -> &dyn Layer;
    /// Damages what is stored of an instance.
    async fn damage(&self, id: &str) -> anyhow::Result<()>;
    /// Stores what is stored of one instance under the name of another, too.
    async fn misplace(&self, from: &str, to: &str) -> anyhow::Result<()>;
    /// Makes it unreadable.
    async fn break_off(&self) -> anyhow::Result<()>;
    /// Counts what was set aside.
    async fn set_aside(&self) -> anyhow::Result<usize>;
}

pub(super) fn id(name: &str) -> InstanceId {
    InstanceId::new(name)
}

/// Makes a copy of so many bytes in its values. A layer understands nothing of them.
pub(super) fn copy_of(name: &str, epoch: u64, revision: u64, bytes: usize) -> SessionCopy {
    let value = SealedValue {
        category: "session".to_owned(),
        key: "5511.0".to_owned(),
        sealed: (0..bytes).map(|at| (at % 251) as u8).collect(),
        expires_at: Some(7),
    };
    SessionCopy {
        header: CopyHeader {
            id: id(name),
            name: name.to_owned(),
            epoch: Epoch(epoch),
            revision: Revision(revision),
            database: None,
            taken_at_ms: (Clock::start().wall() - Duration::from_secs(60)).timestamp_millis(),
            last_online_ms: Some(5),
            desired: Desired::Connected,
        },
        device: "{\"format\":\"holdfast/1\"}".to_owned(),
        values: vec![value],
        particulars: vec![1, 2, 3],
    }
}

pub(super) fn copy(name: &str, epoch: u64, revision: u64) -> SessionCopy {
    copy_of(name, epoch, revision, 2_000)
}

/// Reads what a layer has of one instance.
pub(super) async fn read(layer: &dyn Layer, name: &str) -> Reading {
    let (found, reading) = layer.read(&[id(name)]).await.pop().expect("an answer for each");
    assert_eq!(found, id(name));
    reading
}

/// Returns the revision that a layer has of one instance.
pub(super) async fn revision(layer: &dyn Layer, name: &str) -> Option<u64> {
    match read(layer, name).await {
        Reading::Found(found) => Some(found.revision.0),
        Reading::Absent | Reading::Corrupt { .. } | Reading::Unreadable { .. } => None,
    }
}

//! What is counted for each device.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The counts of one device, or of several together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Tally {
    /// Connections that this device opened.
    pub connects: u64,
    /// Logins that were accepted.
    pub logins: u64,
    /// Pings received.
    pub pings: u64,
    /// When the last ping came, in milliseconds since 1970.
    pub last_ping_at: Option<u64>,
    /// The most connections that one device had alive at a moment.
    pub peak_concurrent: u64,
    /// Whether two connections of one device were ever alive at the same moment.
    pub overlapped: bool,
    /// Frames received on a connection after a newer one had replaced it.
    pub stale_frames: u64,
    /// Logins with another Noise key than the one that was paired.
    pub static_mismatches: u64,
    /// Messages that the device refused.
    pub nacked: u64,
    /// Requests to encrypt a message again.
    pub retry_receipts: u64,
    /// Message keys that were used for a second, different message.
    pub counters_reused: u64,
    /// Messages that arrived a second time, byte for byte.
    pub counters_repeated: u64,
    /// Messages of this device that their recipient could not open.
    pub undecryptable: u64,
    /// Messages whose content the device has asked its phone for.
    pub resends_asked: u64,
    /// Pairings whose device signature did not verify.
    pub pairings_refused: u64,
}

impl Tally {
    /// Adds the counts of another device.
    pub fn add(&mut self, other: &Self) {
        self.connects += other.connects;
        self.logins += other.logins;
        self.pings += other.pings;
        self.last_ping_at = self.last_ping_at.max(other.last_ping_at);
        self.peak_concurrent = self.peak_concurrent.max(other.peak_concurrent);
        self.overlapped |= other.overlapped;
        self.stale_frames += other.stale_frames;
        self.static_mismatches += other.static_mismatches;
        self.nacked += other.nacked;
        self.retry_receipts += other.retry_receipts;
        self.counters_reused += other.counters_reused;
        self.counters_repeated += other.counters_repeated;
        self.undecryptable += other.undecryptable;
        self.resends_asked += other.resends_asked;
        self.pairings_refused += other.pairings_refused;
    }
}

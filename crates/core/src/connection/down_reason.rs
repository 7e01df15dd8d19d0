//! Why a link ended: one exhaustive table from what was seen to what is done about it.
//!
//! The origin comes first. A status of 401 or 403 from an HTTP upgrade, a proxy or TLS is a network failure; only a `<failure>` or a
//! `<stream:error>` that was read inside the Noise channel can log an instance out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::proxy::Fault;

/// Why a link ended, as classified from the evidence of its transport and its last stanzas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum DownReason {
    /// We closed it ourselves.
    Requested,
    /// The name of the server could not be resolved.
    Dns,
    /// No TCP connection could be made, or not in time.
    Unreachable,
    /// The proxy cannot be used, could not be reached, or refused.
    Proxy {
        /// Where on the way through it.
        fault: Fault,
    },
    /// TLS failed.
    Tls,
    /// The WebSocket upgrade was answered with another HTTP status.
    UpgradeRefused { status: u16 },
    /// The socket opened, but the Noise handshake did not finish.
    Handshake,
    /// The login took longer than it may.
    LoginTimeout,
    /// The socket ended, by close frame (with its code), end of file or error.
    SocketLost { code: Option<u16> },
    /// Nothing was heard in the time in which something had to be.
    Silent,
    /// Stream error 515: normal right after pairing.
    RestartRequired,
    /// A failure or stream error that passes by itself: 500, 503, bad XML, an ending without a code.
    Transient { code: Option<u16> },
    /// Stream error 429.
    RateLimited,
    /// WhatsApp has removed this device: failure 401, 403, 406; stream error 401, 516; conflict `device_removed`.
    LoggedOut { code: u16 },
    /// Another connection uses the same credentials: stream error 409, 440, conflict `replaced`.
    Replaced,
    /// Failure 402: the number is banned for a while.
    TemporaryBan { seconds: Option<u64> },
    /// Failure 405: this client version is no longer accepted.
    Outdated,
    /// Any other failure.
    Refused { code: u16 },
    /// All QR codes of this connection were shown and none was scanned.
    QrExhausted,
    /// A store operation failed or hung beyond the grace.
    StoreUnavailable,
    /// What is stored of the login cannot be understood.
    CredentialsCorrupt,
    /// This process may not act for the instance: its lease has ended, or another node owns it.
    LeaseLost,
    /// A task of the link panicked.
    Panicked,
}

/// What is done about an ended link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Dial again at once; not a failure.
    RedialNow,
    /// Dial again after the backoff.
    Backoff,
    /// Dial again after a much longer backoff, which a short stable connection does not reset.
    LongBackoff,
    /// Archive the credentials and park, unless this is the doubtful moment after a pairing.
    LogOut,
    /// Park, and try again on a slow growing schedule while the lease is ours.
    Yield,
    /// Park until the ban is over, then try once.
    WaitOut(Duration),
    /// Look up the version once, then park.
    Upgrade,
    /// Park.
    Park,
    /// Wait until the store is back, then dial with a new client.
    AwaitStore,
    /// Park, and look every few minutes whether somebody has mended it.
    AwaitRepair,
    /// Wait until the lease is free.
    AwaitLease,
    /// End the actor; the supervisor counts it as a crash.
    Crash,
}

/// What a person can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UserAction {
    /// Nothing: it is being worked on.
    Wait,
    /// Read the log, then restart the instance.
    Restart,
    /// Pair the number again.
    Relogin,
    /// Open WhatsApp on the phone; it says why.
    OpenPhone,
    /// Update Holdfast, or set the client version.
    Upgrade,
    /// Check the network, the proxy or the firewall of this host.
    CheckNetwork,
    /// Check the database.
    CheckStore,
    /// End the other connection that uses these credentials.
    CloseOther,
}

/// How long an unexplained ban is waited out.
const DEFAULT_BAN: Duration = Duration::from_secs(3_600);
/// The longest ban that is believed, in seconds: what comes from the network must not reach beyond what a calendar can hold.
const LONGEST_BAN: u64 = 10 * 366 * 86_400;

impl DownReason {
    /// Classifies a `<failure reason="..">` that was read inside the Noise channel.
    pub fn from_failure(code: u16, expire_seconds: Option<u64>) -> Self {
        match code {
            401 | 403 | 406 => Self::LoggedOut { code },
            402 => Self::TemporaryBan { seconds: expire_seconds.map(|seconds| seconds.min(LONGEST_BAN)) },
            405 | 409 => Self::Outdated,
            429 => Self::RateLimited,
            500 | 501 | 503 => Self::Transient { code: Some(code) },
            other => Self::Refused { code: other },
        }
    }

    /// Classifies a `<stream:error>` by its code and the `type` of its `<conflict>` child.
    ///
    /// Returns `None` for one that does not end the stream (no code, no conflict, only an `<ack>`).
    pub fn from_stream_error(code: Option<u16>, conflict: Option<&str>) -> Option<Self> {
        match (code, conflict) {
            (_, Some("device_removed")) => Some(Self::LoggedOut { code: 401 }),
            (_, Some(_)) | (Some(409 | 440), None) => Some(Self::Replaced),
            (Some(515), None) => Some(Self::RestartRequired),
            (Some(429), None) => Some(Self::RateLimited),
            (Some(code @ (401 | 516)), None) => Some(Self::LoggedOut { code }),
            (Some(code), None) => Some(Self::Transient { code: Some(code) }),
            (None, None) => None,
        }
    }

    /// Returns what is done about it.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::RestartRequired => Verdict::RedialNow,
            Self::Requested
            | Self::Dns
            | Self::Unreachable
            | Self::Proxy { .. }
            | Self::Tls
            | Self::UpgradeRefused { .. }
            | Self::Handshake
            | Self::LoginTimeout
            | Self::SocketLost { .. }
            | Self::Silent
            | Self::QrExhausted
            | Self::Transient { .. } => Verdict::Backoff,
            Self::RateLimited => Verdict::LongBackoff,
            Self::LoggedOut { .. } => Verdict::LogOut,
            Self::Replaced => Verdict::Yield,
            Self::TemporaryBan { seconds } => Verdict::WaitOut(seconds.map_or(DEFAULT_BAN, Duration::from_secs)),
            Self::Outdated => Verdict::Upgrade,
            Self::Refused { .. } => Verdict::Park,
            Self::StoreUnavailable => Verdict::AwaitStore,
            Self::CredentialsCorrupt => Verdict::AwaitRepair,
            Self::LeaseLost => Verdict::AwaitLease,
            Self::Panicked => Verdict::Crash,
        }
    }

    /// Returns the stable code that the API, the events and the documentation share.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Dns => "net-dns",
            Self::Unreachable => "net-unreachable",
            Self::Proxy { .. } => "net-proxy",
            Self::Tls => "net-tls",
            Self::UpgradeRefused { .. } => "net-upgrade-refused",
            Self::Handshake => "wa-handshake",
            Self::LoginTimeout => "wa-login-timeout",
            Self::SocketLost { .. } => "net-lost",
            Self::Silent => "net-silent",
            Self::RestartRequired => "wa-restart-required",
            Self::Transient { .. } => "wa-unavailable",
            Self::RateLimited => "wa-rate-limited",
            Self::LoggedOut { .. } => "wa-logged-out",
            Self::Replaced => "wa-replaced",
            Self::TemporaryBan { .. } => "wa-temporary-ban",
            Self::Outdated => "wa-client-outdated",
            Self::Refused { .. } => "wa-refused",
            Self::QrExhausted => "wa-qr-exhausted",
            Self::StoreUnavailable => "store-unavailable",
            Self::CredentialsCorrupt => "credentials-corrupt",
            Self::LeaseLost => "lease-lost",
            Self::Panicked => "internal-panic",
        }
    }

    /// Returns a sentence for people.
    pub fn sentence(&self) -> &'static str {
        match self {
            Self::Requested => "The connection was closed on request.",
            Self::Dns => "The name of the WhatsApp server could not be resolved.",
            Self::Unreachable => "The WhatsApp server could not be reached.",
            Self::Proxy { fault } => fault.sentence(),
            Self::Tls => "The encrypted connection to the server could not be made.",
            Self::UpgradeRefused { .. } => {
                "The server, or something in between, answered the WebSocket upgrade with an HTTP error."
            }
            Self::Handshake => "The server did not finish the Noise handshake.",
            Self::LoginTimeout => "The login was not finished in time.",
            Self::SocketLost { .. } => "The connection was lost.",
            Self::Silent => "The connection was open but nothing was heard on it any more.",
            Self::RestartRequired => "WhatsApp asked for a new connection, as it does after pairing.",
            Self::Transient { .. } => "WhatsApp ended the connection with an error that passes by itself.",
            Self::RateLimited => "WhatsApp asks for fewer connections; the next attempt waits longer.",
            Self::LoggedOut { .. } => "WhatsApp has unlinked this device. The credentials are archived for 30 days.",
            Self::Replaced => "Another connection with the same credentials has taken over.",
            Self::TemporaryBan { .. } => "WhatsApp has banned this number for a while.",
            Self::Outdated => "WhatsApp does not accept this client version any more.",
            Self::Refused { .. } => "WhatsApp has refused the login.",
            Self::QrExhausted => "No QR code was scanned in time.",
            Self::StoreUnavailable => "The database does not answer; WhatsApp keeps the messages until it does.",
            Self::CredentialsCorrupt => "What is stored of this login is damaged and cannot be read.",
            Self::LeaseLost => {
                "This process may not act for the instance: its lease has ended, or another node owns it."
            }
            Self::Panicked => "An internal error ended the connection; it is started again.",
        }
    }

    /// Returns what a person can do about it.
    pub fn user_action(&self) -> UserAction {
        match self {
            Self::Requested
            | Self::Handshake
            | Self::LoginTimeout
            | Self::SocketLost { .. }
            | Self::Silent
            | Self::RestartRequired
            | Self::Transient { .. }
            | Self::RateLimited
            | Self::LeaseLost
            | Self::Panicked => UserAction::Wait,
            Self::Dns | Self::Unreachable | Self::Proxy { .. } | Self::Tls | Self::UpgradeRefused { .. } => {
                UserAction::CheckNetwork
            }
            Self::LoggedOut { .. } | Self::QrExhausted => UserAction::Relogin,
            Self::Replaced => UserAction::CloseOther,
            Self::TemporaryBan { .. } | Self::Refused { .. } => UserAction::OpenPhone,
            Self::Outdated => UserAction::Upgrade,
            Self::StoreUnavailable | Self::CredentialsCorrupt => UserAction::CheckStore,
        }
    }

    /// Returns the number that Evolution's clients know as `statusReason`.
    pub fn status_reason(&self) -> u16 {
        match self {
            Self::LoggedOut { code } | Self::Refused { code } => *code,
            Self::Transient { code } => code.unwrap_or(500),
            Self::TemporaryBan { .. } => 402,
            Self::Outdated => 405,
            Self::RateLimited => 429,
            Self::Replaced => 440,
            Self::RestartRequired => 515,
            Self::StoreUnavailable | Self::CredentialsCorrupt | Self::LeaseLost | Self::Panicked => 503,
            Self::Requested | Self::SocketLost { .. } => 428,
            Self::Dns
            | Self::Unreachable
            | Self::Proxy { .. }
            | Self::Tls
            | Self::UpgradeRefused { .. }
            | Self::Handshake
            | Self::LoginTimeout
            | Self::Silent
            | Self::QrExhausted => 408,
        }
    }

    /// Returns the number that the other side gave, and the key under which it is told.
    pub fn detail(&self) -> Option<(&'static str, u16)> {
        match self {
            Self::LoggedOut { code } | Self::Refused { code } | Self::Transient { code: Some(code) } => {
                Some(("whatsappCode", *code))
            }
            Self::UpgradeRefused { status } => Some(("httpStatus", *status)),
            Self::SocketLost { code: Some(code) } => Some(("closeCode", *code)),
            Self::Requested
            | Self::Dns
            | Self::Unreachable
            | Self::Proxy { .. }
            | Self::Tls
            | Self::Handshake
            | Self::LoginTimeout
            | Self::SocketLost { code: None }
            | Self::Silent
            | Self::RestartRequired
            | Self::Transient { code: None }
            | Self::RateLimited
            | Self::Replaced
            | Self::TemporaryBan { .. }
            | Self::Outdated
            | Self::QrExhausted
            | Self::StoreUnavailable
            | Self::CredentialsCorrupt
            | Self::LeaseLost
            | Self::Panicked => None,
        }
    }

    /// Returns where on its way through a proxy a dial failed, if that is what happened.
    pub fn proxy_fault(&self) -> Option<Fault> {
        if let Self::Proxy { fault } = self { Some(*fault) } else { None }
    }

    /// Tells whether what the link knew was saved: it saves before it says that it has ended, unless that is why it has.
    pub fn left_it_saved(&self) -> bool {
        !matches!(self, Self::StoreUnavailable | Self::CredentialsCorrupt | Self::LeaseLost | Self::Panicked)
    }

    /// Tells whether it speaks of the network of this host as a whole, so that many at once mean an outage.
    ///
    /// A proxy speaks of itself: instances behind a dead one must not hold back those that dial directly.
    pub fn is_outage_sign(&self) -> bool {
        matches!(
            self,
            Self::Dns
                | Self::Unreachable
                | Self::Tls
                | Self::UpgradeRefused { .. }
                | Self::SocketLost { .. }
                | Self::Silent
        )
    }

    /// Tells whether the failure is of the network between this host and WhatsApp, so that many at once mean an outage of the host.
    pub fn is_network(&self) -> bool {
        matches!(
            self,
            Self::Dns
                | Self::Unreachable
                | Self::Proxy { .. }
                | Self::Tls
                | Self::UpgradeRefused { .. }
                | Self::Handshake
        )
    }
}

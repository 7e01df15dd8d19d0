//! The connection of one instance to WhatsApp, as its actor sees it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use holdfast_core::conduct::Presence;
use holdfast_core::connection::{Event, Method};
use holdfast_core::event::{EngineEvent, Owner};
use holdfast_core::id::{Generation, InstanceId, LinkId};
use serde_json::Value;
use tokio::sync::mpsc;

/// What a link tells its actor.
#[derive(Debug, Clone)]
pub enum Report {
    /// Something that the machine decides about.
    Fact(Event),
    /// Whose account it is.
    Owner { link: LinkId, owner: Owner },
    /// Something for the sinks that is not covered by the durability hook: at most once.
    Event { link: LinkId, event: EngineEvent },
    /// Somebody is to get a text that the settings ask for, within the rate at which the instance may send.
    Reply { link: LinkId, to: String, text: String },
}

/// Why nothing may leave a link any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealReason {
    /// A store operation failed or hung beyond the grace.
    StoreUnavailable,
    /// What is stored cannot be understood.
    Corrupt,
    /// Another owner has written.
    FencedOff,
    /// The lease was not renewed in time.
    LeaseEnded,
    /// A task of the link panicked.
    Panicked,
    /// The actor that owned it is gone, or does not turn any more.
    ActorGone,
    /// The machine gave it up, because its close did not come to an end.
    Abandoned,
}

/// A text to send.
#[derive(Debug, Clone)]
pub struct OutgoingText {
    /// The id under which it is sent, if it has one already: a message that is sent again keeps it. Otherwise it is given a new one.
    pub id: Option<String>,
    /// The recipient as the client wrote it.
    pub number: String,
    /// The text.
    pub text: String,
    /// How long "composing" is shown first.
    pub delay: Duration,
    /// Whether a preview may be made of a link in it.
    pub link_preview: bool,
    /// JIDs or numbers that are mentioned.
    pub mentioned: Vec<String>,
    /// The message that this one answers, in the API's shape.
    pub quoted: Option<Value>,
}

/// A message that WhatsApp has acknowledged.
#[derive(Debug, Clone)]
pub struct SentMessage {
    /// The message in the API's shape (the `data` of `send.message` too).
    pub body: Value,
}

/// Why a message was not sent.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SendError {
    /// There is no connection that could carry it.
    #[error("Connection Closed")]
    NotConnected,
    /// The recipient has no WhatsApp account.
    #[error("the number {number} is not on WhatsApp")]
    NotOnWhatsApp {
        /// The JID that was asked for.
        jid: String,
        /// The recipient as the client wrote it.
        number: String,
    },
    /// The request cannot be carried out as it is.
    #[error("{0}")]
    Invalid(String),
    /// WhatsApp has refused it.
    #[error("WhatsApp refused the message with code {code}")]
    Refused {
        /// The code in the acknowledgement.
        code: u16,
    },
    /// The instance has sent as much as it may; nothing has left.
    #[error("the instance has sent as many messages as SEND_RATE_PER_MINUTE allows")]
    Limited {
        /// How long until it may send again.
        retry_after: Duration,
    },
    /// It was sent, but no acknowledgement came in time: it may or may not arrive.
    #[error("WhatsApp has not confirmed message {id}; it may still arrive")]
    Unconfirmed {
        /// The message's id.
        id: String,
    },
    /// The protocol library failed.
    #[error("the message could not be sent: {0}")]
    Failed(String),
}

/// What a driver needs to know of an instance.
#[derive(Debug, Clone)]
pub struct LinkSpec {
    /// The instance.
    pub instance: InstanceId,
    /// Its name, for logs.
    pub name: String,
    /// The incarnation of its actor.
    pub generation: Generation,
}

/// Makes drivers; one for the whole service.
pub trait Links: Send + Sync {
    /// Makes the driver of one actor incarnation. Nothing is dialled or read yet.
    fn make(&self, spec: LinkSpec, reports: mpsc::Sender<Report>) -> Arc<dyn Link>;
}

/// Drives the connection of one actor incarnation. The calls that return nothing answer with a [`Report`] that names the link.
#[async_trait]
pub trait Link: Send + Sync {
    /// Claims the session and dials once. Ends, in every case, with exactly one `LinkDown` for this link, after its socket is gone.
    ///
    /// `method` pairs a new device; `rebuild` drops the present client, if any, and makes a new one over the store.
    fn dial(&self, link: LinkId, method: Option<Method>, rebuild: bool, refresh_version: bool);

    /// Asks for a pairing code on a link that shows QR codes.
    fn request_code(&self, link: LinkId, number: String);

    /// Closes the socket, in bounded time.
    fn close(&self, link: LinkId);

    /// Tells WhatsApp that the device is gone, then closes; reports `Unlinked` if WhatsApp has confirmed it.
    fn log_out(&self, link: LinkId);

    /// Pings; answers with `Pong` or `PingFailed`.
    fn ping(&self, link: LinkId, within: Duration);

    /// Makes durable what the client holds in memory; answers with `Saved`.
    fn save(&self, link: LinkId);

    /// Seals the link: nothing leaves its socket from here on, the socket is cut, and no store call succeeds.
    fn seal(&self, why: SealReason);

    /// The settings of the instance have changed: reads them, and lets them hold on the present connection. Returns when they do, or
    /// when they could not be read; then they are read again later.
    async fn settings_changed(&self);

    /// Shows that the account is there or not, until the settings change or the connection ends.
    async fn show(&self, link: LinkId, presence: Presence) -> Result<(), SendError>;

    /// Sends a text and waits for WhatsApp's acknowledgement.
    async fn send_text(&self, link: LinkId, message: OutgoingText) -> Result<SentMessage, SendError>;
}

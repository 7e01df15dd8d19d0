//! Why an instance is not open, in the words and keys that every read and every event shares.

use serde_json::{Value, json};

use crate::connection::DownReason;
use crate::connection::down_reason::UserAction;
use crate::status::TurnWait;
use crate::time::Timestamp;

/// When the next dial comes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextTry {
    /// At this moment.
    At(Timestamp),
    /// One is under way.
    UnderWay,
    /// None does: somebody has to do what the user action says.
    Never,
}

/// Why an instance is not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explanation {
    /// The stable code.
    pub code: &'static str,
    /// A sentence for people.
    pub sentence: &'static str,
    /// What a person can do.
    pub user_action: UserAction,
    /// The number that Evolution's clients know as `statusReason`.
    pub status_reason: u16,
    /// The number that the other side gave, and the key under which it is told.
    pub detail: Option<(&'static str, u16)>,
    /// When the next dial comes by itself.
    pub next_try: NextTry,
    /// Whether the matter is over at the time of the next dial, as a ban is.
    pub expires: bool,
}

/// Writes a moment of the monotonic clock as people read it.
pub type Date<'a> = &'a dyn Fn(Timestamp) -> String;

impl Explanation {
    /// The keys that an explanation may add to what is told; not all of them are always there.
    pub const KEYS: &'static [&'static str] =
        &["code", "message", "userAction", "nextTryAt", "expiresAt", "whatsappCode", "httpStatus", "closeCode"];

    /// Explains the end of a link.
    pub fn of(why: &DownReason, next_try: NextTry) -> Self {
        Self {
            code: why.code(),
            sentence: why.sentence(),
            user_action: why.user_action(),
            status_reason: why.status_reason(),
            detail: why.detail(),
            next_try,
            expires: matches!((why, next_try), (DownReason::TemporaryBan { seconds: Some(_) }, NextTry::At(_))),
        }
    }

    /// Explains a quarantine.
    pub fn quarantined() -> Self {
        Self {
            code: "instance-quarantined",
            sentence: "The instance crashed too often and is parked; restart it after reading the log.",
            user_action: UserAction::Restart,
            status_reason: 503,
            detail: None,
            next_try: NextTry::Never,
            expires: false,
        }
    }

    /// Explains why an instance that could dial does not yet.
    pub fn waiting(turn: TurnWait) -> Self {
        Self {
            code: turn.code(),
            sentence: turn.sentence(),
            user_action: turn.user_action(),
            status_reason: 503,
            detail: None,
            next_try: NextTry::UnderWay,
            expires: false,
        }
    }

    /// Explains why a connection whose proof of life is too old is not called open.
    pub fn suspect() -> Self {
        Self {
            code: "proof-overdue",
            sentence: "The last sign of life is older than it may be; the connection is not called open until there is a new one.",
            user_action: UserAction::Wait,
            status_reason: 408,
            detail: None,
            next_try: NextTry::UnderWay,
            expires: false,
        }
    }

    /// Adds what is to be told to an object. `nextTryAt` is null when none comes by itself, and absent while one is under way.
    pub fn write(&self, data: &mut Value, date: Date<'_>) {
        data["code"] = json!(self.code);
        data["message"] = json!(self.sentence);
        data["userAction"] = json!(self.user_action);
        match self.next_try {
            NextTry::At(at) => {
                data["nextTryAt"] = json!(date(at));
                if self.expires {
                    data["expiresAt"] = json!(date(at));
                }
            }
            NextTry::UnderWay => {}
            NextTry::Never => data["nextTryAt"] = Value::Null,
        }
        if let Some((key, number)) = self.detail {
            data[key] = json!(number);
        }
    }
}

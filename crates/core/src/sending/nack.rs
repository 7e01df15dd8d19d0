//! Why WhatsApp refused a message: the codes of its acknowledgements in one table.
//!
//! WhatsApp documents none of them. What is known comes from what its own web client does and from what others have seen; a code that
//! is in neither is [`Nack::Other`], which claims nothing.

/// What a refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nack {
    /// The recipient or the group does not take messages from this number.
    Forbidden,
    /// The chat does not exist.
    NoSuchChat,
    /// The number may not write to people who have not written to it.
    Restricted,
    /// Too many messages in too short a time.
    TooFast,
    /// The group has changed since it was last looked at.
    GroupChanged,
    /// WhatsApp has not understood the message.
    NotUnderstood,
    /// WhatsApp has a problem of its own.
    Unavailable,
    /// Anything else.
    Other,
}

impl Nack {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 8] = [
        Self::Forbidden,
        Self::NoSuchChat,
        Self::Restricted,
        Self::TooFast,
        Self::GroupChanged,
        Self::NotUnderstood,
        Self::Unavailable,
        Self::Other,
    ];

    /// Reads the code of an acknowledgement.
    pub fn of(code: u16) -> Self {
        match code {
            401 | 403 | 405 | 406 => Self::Forbidden,
            404 | 410 => Self::NoSuchChat,
            // The time in which new people may be written to, and their number.
            463 | 475 => Self::Restricted,
            420 | 429 => Self::TooFast,
            421 => Self::GroupChanged,
            400 | 479 | 487..=491 => Self::NotUnderstood,
            500..=599 => Self::Unavailable,
            _ => Self::Other,
        }
    }

    /// Returns the stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Forbidden => "message-forbidden",
            Self::NoSuchChat => "message-chat-unknown",
            Self::Restricted => "message-account-restricted",
            Self::TooFast => "message-too-fast",
            Self::GroupChanged => "message-group-changed",
            Self::NotUnderstood => "message-not-understood",
            Self::Unavailable => "message-whatsapp-unavailable",
            Self::Other => "message-refused",
        }
    }

    /// Returns a sentence for people.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Forbidden => "The recipient or the group does not take messages from this number.",
            Self::NoSuchChat => "WhatsApp knows no such recipient or group.",
            Self::Restricted => "WhatsApp does not let this number write to people who have not written to it.",
            Self::TooFast => "WhatsApp takes no more messages from this number for now.",
            Self::GroupChanged => "The group has changed since it was last looked at.",
            Self::NotUnderstood => "WhatsApp has not understood the message.",
            Self::Unavailable => "WhatsApp has a problem of its own and did not take the message.",
            Self::Other => "WhatsApp has refused the message.",
        }
    }

    /// Returns what a person can do about it, as one word.
    pub fn user_action(self) -> &'static str {
        match self {
            Self::Forbidden | Self::NoSuchChat | Self::Other => "check_recipient",
            Self::Restricted => "open_phone",
            Self::TooFast => "wait",
            Self::GroupChanged | Self::Unavailable => "retry",
            Self::NotUnderstood => "read_log",
        }
    }

    /// Tells whether the same message may be taken later. Then its answer is not the last word about its key.
    pub fn may_pass(self) -> bool {
        match self {
            Self::Restricted | Self::TooFast | Self::GroupChanged | Self::Unavailable => true,
            Self::Forbidden | Self::NoSuchChat | Self::NotUnderstood | Self::Other => false,
        }
    }
}

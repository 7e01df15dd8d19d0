//! How a connection behaves towards others, by the settings of its instance: whether it shows itself, reads, answers calls, and what of
//! groups it tells.

/// What an operator wants of a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "the settings are these switches")]
pub struct Conduct {
    /// Incoming calls are rejected.
    pub reject_call: bool,
    /// Whoever was rejected gets this text; none if it is blank.
    pub msg_call: String,
    /// What is said in groups is not told.
    pub groups_ignore: bool,
    /// The account is shown as online for as long as the connection lasts.
    pub always_online: bool,
    /// Messages are marked as read as soon as they are stored.
    pub read_messages: bool,
    /// Status posts are told, and marked as seen.
    pub read_status: bool,
    /// A new device asks its phone for the whole history.
    pub sync_full_history: bool,
}

/// Where a message was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Chat {
    /// With one person, or whatever else is neither of the others.
    Direct,
    /// In a group.
    Group,
    /// For everybody: a status post.
    Status,
}

impl Chat {
    /// Tells it from the chat's JID.
    pub fn of(jid: &str) -> Self {
        if jid == "status@broadcast" {
            Self::Status
        } else if jid.ends_with("@g.us") {
            Self::Group
        } else {
            Self::Direct
        }
    }
}

/// Whether an account shows that it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is there; its phone makes no noise meanwhile.
    Available,
    /// It is not, and its phone tells of what comes.
    Unavailable,
}

impl Presence {
    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Unavailable => "unavailable",
        }
    }
}

/// What was heard of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ring {
    /// Somebody calls.
    Offer,
    /// Somebody called while the connection was away: nobody waits any more.
    Missed,
    /// This call was heard of before.
    Again,
    /// What became of a call.
    Later,
}

/// What is done about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Response<'a> {
    /// It is rejected.
    pub reject: bool,
    /// The caller gets this text.
    pub text: Option<&'a str>,
}

impl Conduct {
    /// Returns what the account shows of itself.
    pub fn presence(&self) -> Presence {
        if self.always_online { Presence::Available } else { Presence::Unavailable }
    }

    /// Tells whether what happens in a chat is told.
    pub fn tells(&self, chat: Chat) -> bool {
        match chat {
            Chat::Direct => true,
            Chat::Group => !self.groups_ignore,
            Chat::Status => self.read_status,
        }
    }

    /// Tells whether somebody's message is marked as read. What is not told is not read either.
    pub fn reads(&self, chat: Chat, from_me: bool) -> bool {
        let wanted = if chat == Chat::Status { self.read_status } else { self.read_messages };
        wanted && !from_me && self.tells(chat)
    }

    /// Returns what is done about a call: at most once for each, and only while the caller waits.
    pub fn responds(&self, ring: Ring) -> Response<'_> {
        let reject = self.reject_call && ring == Ring::Offer;
        let text = Some(self.msg_call.as_str()).filter(|text| reject && !text.trim().is_empty());
        Response { reject, text }
    }
}

//! What of a login may go on after it came back from a backup.
//!
//! A backup is older than what was last used, by definition. A ratchet that is taken up again from an older state uses keys a second
//! time, so every chain of our own is given up; the identity stays, and new chains grow from it. What others encrypt for us can be
//! read from an older state without harm.

/// How many ids of one-time pre-keys are passed over: those that may have been given to others since the backup was taken. A full
/// upload is 812 of them.
pub const PRE_KEYS_PASSED_OVER: u32 = 131_072;

/// How many ids of signed pre-keys are passed over; one is used up in a week.
pub const SIGNED_PRE_KEYS_PASSED_OVER: u32 = 1_024;

/// How far the epoch of a session is raised, and its revision where the clock does not do more ([`crate::id::Revision::begun_at`]): beyond any that
/// the database it comes from can have reached since. A copy of that
/// other history, kept elsewhere, must never pass for this one because their numbers meet.
pub const REVISIONS_PASSED_OVER: i64 = 1 << 32;

/// The largest id of a pre-key; the next one is 1.
const LAST_ID: u32 = 16_777_215;

/// What becomes of a stored value of a restored login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It stays as it is.
    Kept,
    /// It is forgotten: it is a ratchet of ours, belongs to one, or is a copy of what WhatsApp tells again.
    GivenUp,
    /// It is forgotten if it is our own sender key; those of others are only read with.
    KeptIfOthers,
}

/// Decides about a value by its category. `None` is a category that nobody has decided about.
pub fn fate(category: &str) -> Option<Fate> {
    match category {
        // Ratchets, who has ours, and what is remembered of their repairs.
        "session" | "sender-key-device" | "base-key" | "asked-inbound" => Some(Fate::GivenUp),
        "sender-key" => Some(Fate::KeptIfOthers),
        // Copies of what WhatsApp knows: changes since the backup were not told to this copy.
        "devices" | "group" => Some(Fate::GivenUp),
        // Who others are, and what only decrypts. A pre-key that was used up since then opens nothing but what it opened before.
        "identity" | "pre-key" | "signed-pre-key" | "message-secret" | "privacy-token" | "lid" | "lid-of-phone" => {
            Some(Fate::Kept)
        }
        // Keys and versions of app state went back together: the changes since then are fetched again.
        "app-state-key" | "app-state-latest-key" | "app-state-version" | "app-state-mac" => Some(Fate::Kept),
        // Messages: what was sent, for those who ask again, and what was not handed over. One that is owed goes out under the id that it had.
        "sent-message" | "owed-message" | "pending-inbound" | "dead-inbound" | "last-words" => Some(Fate::Kept),
        _ => None,
    }
}

/// Tells whether a sender key, stored as `GROUP:SENDER`, may be one of ours. `own` are the users that we are: number and LID.
///
/// A key that cannot be understood may be ours.
pub fn may_be_own_sender_key(key: &str, own: &[String]) -> bool {
    let Some((_group, sender)) = key.split_once(':') else { return true };
    let user = sender.split([':', '@', '_', '.']).next().unwrap_or_default();
    user.is_empty() || own.iter().any(|one| one == user)
}

/// Returns the next id of a one-time pre-key that no earlier key can have had.
pub fn next_pre_key_id(next: u32) -> u32 {
    later(next, PRE_KEYS_PASSED_OVER)
}

/// Returns an id for a new signed pre-key that no earlier key can have had.
pub fn next_signed_pre_key_id(current: u32) -> u32 {
    later(current, SIGNED_PRE_KEYS_PASSED_OVER)
}

fn later(id: u32, by: u32) -> u32 {
    let later = u64::from(id.max(1)) + u64::from(by);
    u32::try_from((later - 1) % u64::from(LAST_ID) + 1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_chain_of_ours_goes_on_and_the_identity_stays() {
        for ours in ["session", "sender-key-device", "base-key"] {
            assert_eq!(fate(ours), Some(Fate::GivenUp), "{ours}");
        }
        for kept in ["identity", "pre-key", "signed-pre-key", "app-state-key", "pending-inbound"] {
            assert_eq!(fate(kept), Some(Fate::Kept), "{kept}");
        }
        assert_eq!(fate("something-new"), None);
    }

    #[test]
    fn a_sender_key_is_ours_on_any_device_of_ours_or_if_it_cannot_be_read() {
        let own = ["5511999990001".to_owned(), "900001".to_owned()];
        for ours in [
            "120@g.us:5511999990001:7@s.whatsapp.net.0",
            "120@g.us:900001:7@lid.0",
            "120@g.us:900001@lid.0",
            "status@broadcast:5511999990001_1:2@s.whatsapp.net.0",
            "120@g.us",
            "120@g.us:",
            "",
        ] {
            assert!(may_be_own_sender_key(ours, &own), "{ours}");
        }
        for others in ["120@g.us:5511977770001@s.whatsapp.net.0", "120@g.us:9000011:7@lid.0"] {
            assert!(!may_be_own_sender_key(others, &own), "{others}");
        }
    }

    #[test]
    fn ids_go_forwards_and_stay_within_their_range() {
        assert_eq!(next_pre_key_id(813), 813 + PRE_KEYS_PASSED_OVER);
        assert_eq!(next_pre_key_id(0), 1 + PRE_KEYS_PASSED_OVER);
        assert_eq!(next_signed_pre_key_id(1), 1 + SIGNED_PRE_KEYS_PASSED_OVER);
        assert_eq!(next_pre_key_id(LAST_ID), PRE_KEYS_PASSED_OVER);
        assert_eq!(next_pre_key_id(LAST_ID - PRE_KEYS_PASSED_OVER), LAST_ID);
        assert_eq!(next_pre_key_id(u32::MAX), later(u32::MAX, PRE_KEYS_PASSED_OVER));
    }
}

//! `holdfast rotate-key`: everything under a new session key.

use std::process::ExitCode;

use holdfast::app::upkeep;
use holdfast::config::Settings;

use super::{ended, say};

pub(super) fn rotate_key(settings: &Settings) -> ExitCode {
    ended(upkeep::rotate_key(settings).map(|rotated| {
        say(&format!("{} values are under the new key, and none under the old one", rotated.rewritten));
        if rotated.unreadable > 0 {
            say(&format!("warning: {} values open with neither key, and are left as they are", rotated.unreadable));
        }
        if settings.old_session_key.is_some() {
            say("Remove SESSION_ENCRYPTION_KEY_OLD now.");
        }
    }))
}

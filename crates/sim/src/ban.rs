//! Accounts that are banned for a while.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::address::Phone;
use crate::api::Problem;
use crate::events::EventKind;
use crate::link::Link;
use crate::signal::SignalError;
use crate::world::{Closing, World};

/// The failure that tells a client of a ban.
pub(crate) const BANNED: u16 = 402;
/// Why, unless asked for otherwise: sent too many messages to strangers.
pub(crate) const DEFAULT_CODE: u16 = 101;
/// The longest ban, in seconds: a year.
const LONGEST: u64 = 366 * 24 * 3600;

/// A ban that ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// Until when, in milliseconds since 1970.
    pub until: u64,
    /// WhatsApp's number for the cause.
    pub code: u16,
}

/// Looks at the length of a ban.
pub(crate) fn check(seconds: u64) -> Result<(), Problem> {
    if (1..=LONGEST).contains(&seconds) {
        return Ok(());
    }
    Err(Problem::bad_request(format!("a ban takes 1 to {LONGEST} seconds, not {seconds}")))
}

impl World {
    /// Bans an account: its connections end, and its logins are refused until the time is over. Says how many devices it has.
    pub(crate) fn ban(&mut self, phone: &Phone, seconds: u64, code: u16) -> Result<usize, SignalError> {
        let ban = Ban { until: self.now + seconds * 1000, code };
        self.person(phone)?.banned = Some(ban);
        self.touch();
        self.log(EventKind::Banned, Some(crate::address::Address::new(phone.clone(), 0)), None, json!(ban));
        let devices: Vec<_> = self.people.get(phone).into_iter().flat_map(crate::person::Person::linked).collect();
        for link in devices.iter().flat_map(|device| self.live_links(device)).collect::<Vec<_>>() {
            if self.links.get(&link).is_some_and(Link::online) {
                self.close(link, Closing::Polite);
            }
        }
        Ok(devices.len())
    }

    /// Takes a ban back.
    pub(crate) fn pardon(&mut self, phone: &Phone) {
        if let Some(person) = self.people.get_mut(phone) {
            person.banned = None;
        }
    }

    /// What the refusal of a login says about a ban that is in force; its seconds are those that are left.
    pub(crate) fn ban_in_force(&self, phone: &Phone) -> Option<BTreeMap<String, String>> {
        let Ban { until, code } = self.people.get(phone)?.banned?;
        let left = until.checked_sub(self.now).filter(|left| *left > 0)?.div_ceil(1000);
        Some(BTreeMap::from([("code".to_owned(), code.to_string()), ("expire".to_owned(), left.to_string())]))
    }
}

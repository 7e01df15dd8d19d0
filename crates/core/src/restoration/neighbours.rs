//! Which other databases are at work at the same places.
//!
//! Two engines that share a session key and a place for copies look to each other like one whose database was emptied. What tells them apart is
//! that the other one lives: while it does, it leaves a new sign of life at every place, again and again. Only changes of a sign count, and only
//! the clock of whoever looks: the clocks of two machines may differ.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Source;
use crate::id::DatabaseId;
use crate::time::Timestamp;

/// How often an engine leaves a new sign of life.
pub const SIGN_EVERY: Duration = Duration::from_secs(5);
/// How long a sign has not changed of an engine that is gone.
pub const GONE_AFTER: Duration = Duration::from_secs(20);

/// The latest sign of each database at one place.
pub type Signs = BTreeMap<DatabaseId, String>;

/// Whether an engine works with another database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is another installation: it was seen alive while this database had logins of its own.
    Neighbour,
    /// It lives, or has until a moment ago.
    Lives,
    /// It has ended, or was not heard of for long enough.
    Gone,
}

/// What is known of other databases.
#[derive(Debug, Clone, Default)]
pub struct Neighbours {
    remembered: BTreeSet<DatabaseId>,
    heard: BTreeMap<(Source, DatabaseId), Heard>,
}

#[derive(Debug, Clone)]
struct Heard {
    sign: String,
    since: Timestamp,
}

impl Neighbours {
    /// Takes another database for that of another installation, from now on.
    pub fn remember(&mut self, database: DatabaseId) {
        self.remembered.insert(database);
    }

    /// Takes in the signs that are at a place now; returns the databases whose engine is seen to live, because their sign has changed.
    pub fn hear(&mut self, place: Source, signs: &Signs, now: Timestamp) -> Vec<DatabaseId> {
        self.heard.retain(|(source, database), _| *source != place || signs.contains_key(database));
        let mut living = Vec::new();
        for (database, sign) in signs {
            let fresh = || Heard { sign: sign.clone(), since: now };
            let heard = self.heard.entry((place, database.clone())).or_insert_with(fresh);
            if heard.sign != *sign {
                *heard = fresh();
                living.push(database.clone());
            }
        }
        living
    }

    /// Tells how it is with another database.
    pub fn presence(&self, database: &DatabaseId, now: Timestamp) -> Presence {
        if self.remembered.contains(database) {
            return Presence::Neighbour;
        }
        let fresh = |heard: &Heard| now.since(heard.since) < GONE_AFTER;
        let lives = self.heard.iter().any(|((_, other), heard)| other == database && fresh(heard));
        if lives { Presence::Lives } else { Presence::Gone }
    }
}

//! The engines of other databases at the places of this one, as this process has heard of them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_core::id::DatabaseId;
use holdfast_core::restoration::Source;
use holdfast_core::restoration::neighbours::{self, Presence, Signs};
use holdfast_core::time::Timestamp;
use tracing::{debug, warn};

use super::copies::Copies;

/// How often the database is told that another one still lives.
const NOTE_EVERY: Duration = Duration::from_secs(60);

/// Written by whoever reads signs of life; read by whoever decides about copies.
#[derive(Debug, Default)]
pub struct Neighbours {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    heard: neighbours::Neighbours,
    noted: BTreeMap<DatabaseId, Timestamp>,
}

impl Neighbours {
    /// Takes these for other installations: the database remembers them.
    pub fn remember(&self, databases: Vec<DatabaseId>) {
        let mut state = self.lock();
        for database in databases {
            state.heard.remember(database);
        }
    }

    /// Takes in what a place shows of other databases. One that lives while this one has logins of its own is remembered.
    pub async fn hear(&self, place: Source, signs: &Signs, copies: &dyn Copies, now: Timestamp) {
        for database in self.take_in(place, signs, now) {
            match copies.note_neighbour(&database).await {
                Ok(true) => {
                    warn!(
                        database = database.as_str(),
                        "Another installation keeps copies at the places of this one, under the same session key; give each a CACHE_REDIS_PREFIX_KEY, PROVIDER_DIR or PROVIDER_PREFIX of its own"
                    );
                    self.remember(vec![database]);
                }
                // It has no login yet: the other one may be the process before it.
                Ok(false) => {}
                Err(error) => debug!(%error, "Another installation was not noted"),
            }
        }
    }

    /// Tells how it is with another database.
    pub fn presence(&self, database: &DatabaseId, now: Timestamp) -> Presence {
        self.lock().heard.presence(database, now)
    }

    /// Returns those of which the database is to be told.
    fn take_in(&self, place: Source, signs: &Signs, now: Timestamp) -> Vec<DatabaseId> {
        let mut state = self.lock();
        let mut living = state.heard.hear(place, signs, now);
        living.retain(|database| state.noted.get(database).is_none_or(|noted| now.since(*noted) >= NOTE_EVERY));
        state.noted.extend(living.iter().map(|database| (database.clone(), now)));
        living
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

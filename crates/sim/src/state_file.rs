//! What survives a restart: keys, people, devices, queues, sessions and counts, in one file.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::address::Address;
use crate::cert::ServerIdentity;
use crate::counters::Tally;
use crate::groups::Group;
use crate::hub::Hub;
use crate::ledger::KeyLedger;
use crate::messages::SentMessage;
use crate::person::Person;
use crate::world::World;

const VERSION: u32 = 1;
/// Changes come in bursts; one write serves a whole burst.
const QUIET: Duration = Duration::from_millis(200);

/// Why the state could not be read or written.
#[derive(Debug, Error)]
pub enum StateError {
    /// The file system refused.
    #[error("cannot {doing} the state file {path}: {error}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The file is not ours, or damaged.
    #[error("the state file {path} cannot be used: {why}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Saved {
    version: u32,
    server: ServerIdentity,
    people: Vec<Person>,
    #[serde(default)]
    groups: Vec<Group>,
    tallies: BTreeMap<Address, Tally>,
    unattributed: Tally,
    ledger: KeyLedger,
    sent: Vec<SentMessage>,
}

/// The file that keeps a world.
pub struct StateFile {
    path: PathBuf,
    // One write at a time, so that an older state cannot replace a newer one.
    writing: Mutex<()>,
    // Held as long as this lives: two simulators would each undo what the other one keeps.
    _lock: File,
}

impl StateFile {
    /// Takes the file for this simulator alone, by a lock on a file beside it.
    ///
    /// # Errors
    /// When another simulator has it, or its place cannot be written to.
    pub fn take(path: PathBuf) -> Result<Self, StateError> {
        let mut beside = path.clone().into_os_string();
        beside.push(".lock");
        let failed = |error| StateError::Io { doing: "lock", path: path.clone(), error };
        let lock = File::options().create(true).truncate(false).write(true).open(&beside).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, writing: Mutex::default(), _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                Err(StateError::Unusable { path, why: "another simulator uses it".to_owned() })
            }
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Reads the world; none when there is no file yet.
    ///
    /// # Errors
    /// When the file is there and cannot be used: it is never overwritten silently.
    pub fn load(&self, rng: StdRng) -> Result<Option<World>, StateError> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed("read")(error)),
        };
        let saved: Saved = serde_json::from_slice(&bytes).map_err(|error| self.unusable(error.to_string()))?;
        if saved.version != VERSION {
            return Err(
                self.unusable(format!("it has version {}, this simulator reads version {VERSION}", saved.version))
            );
        }
        let mut world = World::new(saved.server, rng);
        saved.people.into_iter().for_each(|person| world.adopt_person(person));
        world.groups = saved.groups.into_iter().map(|group| (group.id.clone(), group)).collect();
        world.tallies = saved.tallies;
        world.unattributed = saved.unattributed;
        world.ledger = saved.ledger;
        world.sent = saved.sent;
        Ok(Some(world))
    }

    /// Writes the world; the file is replaced in one step.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn save(&self, hub: &Hub) -> Result<(), StateError> {
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = hub.with(|world| snapshot(world)).map_err(|error| self.unusable(error.to_string()))?;
        let mut beside = self.path.as_os_str().to_owned();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        let mut file = File::create(&beside).map_err(self.failed("create"))?;
        file.write_all(&bytes).map_err(self.failed("write"))?;
        file.sync_all().map_err(self.failed("write"))?;
        fs::rename(&beside, &self.path).map_err(self.failed("replace"))
    }

    fn failed(&self, doing: &'static str) -> impl Fn(io::Error) -> StateError + '_ {
        move |error| StateError::Io { doing, path: self.path.clone(), error }
    }

    fn unusable(&self, why: String) -> StateError {
        StateError::Unusable { path: self.path.clone(), why }
    }
}

/// Writes the state whenever it has changed, for ever.
pub async fn keep(hub: Arc<Hub>, file: Arc<StateFile>) {
    let mut changes = hub.changes();
    while changes.changed().await.is_ok() {
        tokio::time::sleep(QUIET).await;
        changes.mark_unchanged();
        let (hub, file) = (hub.clone(), file.clone());
        match tokio::task::spawn_blocking(move || file.save(&hub)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the state was not saved"),
            Err(error) => tracing::error!(%error, "saving the state failed"),
        }
    }
}

fn snapshot(world: &World) -> serde_json::Result<Vec<u8>> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Saving<'w> {
        version: u32,
        server: &'w ServerIdentity,
        people: Vec<&'w Person>,
        groups: Vec<&'w Group>,
        tallies: &'w BTreeMap<Address, Tally>,
        unattributed: &'w Tally,
        ledger: &'w KeyLedger,
        sent: &'w [SentMessage],
    }
    serde_json::to_vec(&Saving {
        version: VERSION,
        server: world.server.as_ref(),
        people: world.people.values().collect(),
        groups: world.groups.values().collect(),
        tallies: &world.tallies,
        unattributed: &world.unattributed,
        ledger: &world.ledger,
        sent: &world.sent,
    })
}

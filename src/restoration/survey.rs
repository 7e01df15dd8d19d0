//! What the places say of all instances.
//!
//! The layers are asked side by side, each within its time, and the database after them: what it has written meanwhile is newer than any copy,
//! so a copy that is newer than it proves that it was set back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::id::{DatabaseId, InstanceId};
use holdfast_core::restoration::neighbours::Presence;
use holdfast_core::restoration::{Layer as Says, Member, Restored, Silence, Source, decide_all};
use tokio::time::timeout;

use super::Tools;
use crate::ports::copies::Copies;
use crate::ports::layer::{Layer, LayerError, Reading};
use crate::ports::restoration::Answered;

/// Copies that are in memory at the same time: only what they say of themselves is kept.
const AT_ONCE: usize = 32;

/// Where sessions may be.
#[derive(Clone)]
pub struct Places {
    /// `None` while there is no connection to it.
    pub database: Option<Arc<dyn Copies>>,
    pub redis: Option<Arc<dyn Layer>>,
    pub files: Option<Arc<dyn Layer>>,
}

impl Places {
    /// Returns a layer.
    pub(super) fn layer(&self, source: Source) -> Option<&Arc<dyn Layer>> {
        match source {
            Source::Redis => self.redis.as_ref(),
            Source::Files => self.files.as_ref(),
            Source::Database => None,
        }
    }
}

/// What was found, and what is decided about it.
pub struct Survey {
    /// Those that were online last come first.
    pub restored: Vec<Restored>,
    pub answered: Vec<Answered>,
    /// The names that stand in the copies.
    pub names: BTreeMap<InstanceId, String>,
    /// Why a copy is damaged.
    pub(super) damaged: BTreeMap<(InstanceId, Source), String>,
    /// Whether a layer said nothing, or not all.
    pub layers_silent: bool,
    /// Why the database said nothing, if that is so.
    pub database_silent: Option<String>,
}

/// Asks every place. A layer that has not answered `within` that time is silent.
pub async fn survey(places: &Places, within: Duration, tools: &Tools) -> Survey {
    let (clock, database) = (tools.clock, places.database.as_deref());
    let ask = |layer| of_layer(layer, database, within, tools);
    let (redis, files) = tokio::join!(ask(places.redis.as_ref()), ask(places.files.as_ref()));
    let begun = clock.now();
    let states = match &places.database {
        Some(database) => database.states().await.map_err(|error| error.whole()),
        None => Err("there is no connection to it".to_owned()),
    };
    let database = Answered {
        source: Source::Database,
        took: clock.now().since(begun),
        instances: states.as_ref().map_or(0, Vec::len),
        problem: states.as_ref().err().cloned(),
    };
    let (database_silent, states) = match states {
        Ok(states) => (None, Ok(states.into_iter().collect::<BTreeMap<_, _>>())),
        Err(why) => (Some(why), Err(Silence::Down)),
    };
    let (in_redis, in_files) = (redis.as_ref().map(|asked| &asked.says), files.as_ref().map(|asked| &asked.says));
    let restored = tools.remembering(|memory| {
        let restored = decide_all(in_redis, &states, in_files, memory);
        for one in &restored {
            memory.learn(one);
        }
        restored
    });
    let mut found = Survey {
        restored,
        answered: vec![database],
        names: BTreeMap::new(),
        damaged: BTreeMap::new(),
        layers_silent: false,
        database_silent,
    };
    for asked in [files, redis].into_iter().flatten() {
        found.layers_silent |= asked.answered.problem.is_some();
        found.answered.insert(0, asked.answered);
        found.names.extend(asked.names);
        found.damaged.extend(asked.damaged);
    }
    found
}

/// What a layer has said.
struct Asked {
    says: Result<BTreeMap<InstanceId, Member<Says>>, Silence>,
    names: BTreeMap<InstanceId, String>,
    damaged: BTreeMap<(InstanceId, Source), String>,
    answered: Answered,
}

/// What has been heard so far.
#[derive(Default)]
struct Heard {
    /// Set once the layer has listed what it has.
    says: Option<BTreeMap<InstanceId, Member<Says>>>,
    names: BTreeMap<InstanceId, String>,
    damaged: BTreeMap<(InstanceId, Source), String>,
    unreadable: Option<String>,
    /// Which copies are from which database.
    of: BTreeMap<DatabaseId, Vec<InstanceId>>,
}

async fn of_layer(
    layer: Option<&Arc<dyn Layer>>,
    database: Option<&dyn Copies>,
    within: Duration,
    tools: &Tools,
) -> Option<Asked> {
    let layer = layer?;
    let clock = tools.clock;
    let begun = clock.now();
    let mut heard = Heard::default();
    let listening = async {
        listen(layer.as_ref(), &mut heard).await?;
        match database {
            Some(database) => tell_apart(layer.as_ref(), database, tools, &mut heard).await,
            None => Ok(()),
        }
    };
    let listened = timeout(within, listening).await;
    let (silence, problem) = match listened {
        Ok(Ok(())) => (Silence::Down, heard.unreadable),
        Ok(Err(error)) => (Silence::Down, Some(error.to_string())),
        Err(_elapsed) => (Silence::Slow, Some(format!("it has not answered within {} s", within.as_secs_f32()))),
    };
    let answered = Answered {
        source: layer.source(),
        took: clock.now().since(begun),
        instances: heard.says.as_ref().map_or(0, BTreeMap::len),
        problem,
    };
    Some(Asked { says: heard.says.ok_or(silence), names: heard.names, damaged: heard.damaged, answered })
}

async fn listen(layer: &dyn Layer, heard: &mut Heard) -> Result<(), LayerError> {
    let ids = layer.list().await?;
    // What is not read in time is silent, and never absent.
    let unread = Member { says: Says::Silent(Silence::Slow), last_online_ms: None };
    let says = heard.says.insert(ids.iter().map(|id| (id.clone(), unread)).collect());
    for chunk in ids.chunks(AT_ONCE) {
        for (id, reading) in layer.read(chunk).await {
            let member = match reading {
                Reading::Found(found) => {
                    let header = &found.copy.header;
                    heard.names.insert(id.clone(), header.name.clone());
                    if let Some(database) = &header.database {
                        heard.of.entry(database.clone()).or_default().push(id.clone());
                    }
                    let says = Says::Holds { mark: found.copy.mark(), age: found.age };
                    Member { says, last_online_ms: header.last_online_ms }
                }
                Reading::Absent => Member { says: Says::Absent, last_online_ms: None },
                Reading::Corrupt { why } => {
                    heard.damaged.insert((id.clone(), layer.source()), why);
                    Member { says: Says::Corrupt, last_online_ms: None }
                }
                Reading::Unreadable { why } => {
                    heard.unreadable = Some(why);
                    Member { says: Says::Silent(Silence::Down), last_online_ms: None }
                }
            };
            says.insert(id, member);
        }
    }
    Ok(())
}

/// Tells copies that somebody else keeps up to date from those that nobody does. The signs of life are read after the copies, whose
/// writers leave one when they begin.
async fn tell_apart(
    layer: &dyn Layer,
    database: &dyn Copies,
    tools: &Tools,
    heard: &mut Heard,
) -> Result<(), LayerError> {
    heard.of.remove(&database.database());
    let (Some(says), false) = (&mut heard.says, heard.of.is_empty()) else { return Ok(()) };
    let signs = layer.signs_of_life().await.inspect_err(|_silent| {
        // Whether they are in use is not known.
        for id in heard.of.values().flatten() {
            says.entry(id.clone()).and_modify(|member| member.says = Says::Silent(Silence::Down));
        }
    })?;
    let now = tools.clock.now();
    tools.neighbours.hear(layer.source(), &signs, database, now).await;
    for (other, ids) in &heard.of {
        let surely = match tools.neighbours.presence(other, now) {
            Presence::Gone => continue,
            Presence::Lives => false,
            Presence::Neighbour => true,
        };
        for id in ids {
            let Some(member) = says.get_mut(id) else { continue };
            if let Says::Holds { mark, .. } = member.says {
                member.says = Says::Used { mark, surely };
            }
        }
    }
    Ok(())
}

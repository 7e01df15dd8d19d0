//! The whole fleet: what each place says of all instances, put together.

use std::collections::{BTreeMap, BTreeSet};

use super::{Database, Decision, Facts, Layer, Memory, Silence, decide};
use crate::id::InstanceId;

/// What a place says of one instance, and when it believes that instance to have been online last, in Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<T> {
    pub says: T,
    pub last_online_ms: Option<i64>,
}

/// What becomes of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    pub id: InstanceId,
    /// What the places said.
    pub facts: Facts,
    pub decision: Decision,
    /// When it was online last, in Unix milliseconds, by whoever knows the latest time.
    pub last_online_ms: Option<i64>,
}

/// What a place said of the fleet: of each instance that it knows, or nothing.
type Answer<T> = Result<BTreeMap<InstanceId, Member<T>>, Silence>;

/// Decides about every instance that any place knows; those that were online last come first, then in the order of their ids. `None` is
/// a layer that this installation does not have.
pub fn decide_all(
    redis: Option<&Answer<Layer>>,
    database: &Answer<Database>,
    files: Option<&Answer<Layer>>,
    memory: &Memory,
) -> Vec<Restored> {
    let layers = [redis, files];
    let in_layers = layers.iter().flatten().filter_map(|answer| answer.as_ref().ok()).flat_map(BTreeMap::keys);
    let in_database = database.iter().flat_map(BTreeMap::keys);
    let ids: BTreeSet<&InstanceId> = in_layers.chain(in_database).collect();
    let mut fleet: Vec<Restored> = ids
        .into_iter()
        .map(|id| {
            let (redis, online_in_redis) = of_layer(redis, id);
            let (files, online_in_files) = of_layer(files, id);
            let (database, online_in_database) = match database {
                Err(silence) => (Database::Silent(*silence), None),
                Ok(known) => {
                    known.get(id).map_or((Database::Absent, None), |member| (member.says, member.last_online_ms))
                }
            };
            let facts = Facts { redis, database, files, before: memory.before(id) };
            let decision = decide(&facts);
            let last_online_ms = [online_in_redis, online_in_database, online_in_files].into_iter().flatten().max();
            Restored { id: id.clone(), facts, decision, last_online_ms }
        })
        .collect();
    // Never online comes last.
    fleet.sort_by(|a, b| b.last_online_ms.cmp(&a.last_online_ms).then_with(|| a.id.cmp(&b.id)));
    fleet
}

fn of_layer(answer: Option<&Answer<Layer>>, id: &InstanceId) -> (Layer, Option<i64>) {
    match answer {
        None => (Layer::Off, None),
        Some(Err(silence)) => (Layer::Silent(*silence), None),
        Some(Ok(known)) => known.get(id).map_or((Layer::Absent, None), |member| (member.says, member.last_online_ms)),
    }
}

//! What the whole fleet says of its instances, put together at the moment at which somebody asks.
//!
//! What is here hangs on the board. What is elsewhere is asked for at its owner: a state that nobody answers for is not called open.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;
use holdfast_core::connection::Desired;
use holdfast_core::connection::state::PublicState;
use holdfast_core::elsewhere::Absence;
use holdfast_core::event::Owner;
use holdfast_core::id::InstanceId;
use holdfast_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::warn;

use super::client::address;
use super::credential;
use crate::http::api::Api;
use crate::http::code::ErrorCode;
use crate::http::reply;
use crate::ports::board::Entry;
use crate::ports::leases::Node;
use crate::ports::store::{InstanceRecord, StoreError};

/// Where a node tells the others what hangs on its board.
pub(in crate::http) const BOARD: &str = "/engine/board";
/// The largest board: a hundred thousand instances.
const LARGEST_BOARD: usize = 64 * 1024 * 1024;

/// What may be said of one instance at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) struct Standing {
    pub(in crate::http) state: PublicState,
    /// Why it is not open, if there is something to explain.
    pub(in crate::http) code: Option<String>,
    pub(in crate::http) account: Owner,
}

/// An instance as its owner tells of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    id: InstanceId,
    state: PublicState,
    code: Option<String>,
    /// For how long the owner stands by `open`, in milliseconds.
    fresh_for_ms: Option<u64>,
    jid: Option<String>,
    profile_name: Option<String>,
    profile_picture: Option<String>,
}

/// What became of the question to a node.
enum Heard {
    Board(HashMap<InstanceId, Told>),
    Nothing(Absence),
}

/// The fleet at one moment.
pub(in crate::http) struct Fleet {
    asked_at: Timestamp,
    /// The answers of the other living nodes; `None` where no other process can exist.
    others: Option<Others>,
}

struct Others {
    heard: HashMap<String, Heard>,
    owners: HashMap<InstanceId, String>,
}

impl Fleet {
    /// Asks all other living nodes side by side; one that does not answer in its time is silent.
    pub(in crate::http) async fn ask(api: &Api) -> Result<Self, StoreError> {
        let asked_at = api.clock.now();
        if api.leases.lease_ttl().is_none() {
            return Ok(Self { asked_at, others: None });
        }
        let nodes = api.leases.nodes().await?;
        let others = nodes.into_iter().filter(|node| node.alive && node.name != api.settings.node.name);
        let questions = others.map(|node| async move {
            let heard = hear(api, &node).await;
            (node.name, heard)
        });
        let heard = join_all(questions).await.into_iter().collect();
        // Read last: an instance that has moved meanwhile is looked for where it is now.
        let owners = api.leases.owners().await?;
        Ok(Self { asked_at, others: Some(Others { heard, owners }) })
    }

    /// Tells whether every living node has answered.
    pub(in crate::http) fn is_complete(&self) -> bool {
        let silent = |heard: &Heard| matches!(heard, Heard::Nothing(_));
        self.others.as_ref().is_none_or(|others| !others.heard.values().any(silent))
    }

    /// Returns what may be said of an instance now.
    pub(in crate::http) fn standing(&self, api: &Api, record: &InstanceRecord) -> Standing {
        if let Some(entry) = api.board.get(&record.id) {
            return here(&entry, api.clock.now());
        }
        let absence = match &self.others {
            None => return Standing { state: PublicState::Close, code: None, account: Owner::default() },
            Some(others) => match others.look_up(&record.id, &api.settings.node.name) {
                Ok(told) => return told.standing(self.asked_at, api.clock.now()),
                Err(absence) => absence,
            },
        };
        let wanted = record.paired && record.desired == Desired::Connected;
        let (state, explained) = absence.state(wanted);
        let code = explained.then(|| ErrorCode::of_absence(absence).code().to_owned());
        Standing { state, code, account: Owner::default() }
    }
}

impl Others {
    /// Looks for an instance at its owner.
    fn look_up(&self, id: &InstanceId, own: &str) -> Result<&Told, Absence> {
        let owner = self.owners.get(id).ok_or(Absence::Unowned)?;
        if owner == own {
            return Err(Absence::Moving);
        }
        match self.heard.get(owner) {
            Some(Heard::Board(board)) => board.get(id).ok_or(Absence::Moving),
            Some(Heard::Nothing(why)) => Err(*why),
            // It is not among the living.
            None => Err(Absence::Unowned),
        }
    }
}

impl Told {
    fn of(id: InstanceId, entry: Entry, now: Timestamp) -> Self {
        let Standing { state, code, account } = here(&entry, now);
        let fresh_for = entry.status.fresh_until.filter(|_| state == PublicState::Open).map(|until| now.until(until));
        Self {
            id,
            state,
            code,
            fresh_for_ms: fresh_for.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            jid: account.jid,
            profile_name: account.name,
            profile_picture: account.picture,
        }
    }

    /// Returns what is left of it at `now`. Its time counts from the question, which was before the answer.
    fn standing(&self, asked_at: Timestamp, now: Timestamp) -> Standing {
        let account =
            Owner { jid: self.jid.clone(), name: self.profile_name.clone(), picture: self.profile_picture.clone() };
        let until = asked_at.after(Duration::from_millis(self.fresh_for_ms.unwrap_or(0)));
        if self.state == PublicState::Open && now >= until {
            let overdue = holdfast_core::explanation::Explanation::suspect().code;
            return Standing { state: PublicState::Connecting, code: Some(overdue.to_owned()), account };
        }
        Standing { state: self.state, code: self.code.clone(), account }
    }
}

pub(in crate::http) fn here(entry: &Entry, now: Timestamp) -> Standing {
    Standing {
        state: entry.status.state_at(now),
        code: entry.status.explanation_at(now).map(|why| why.code.to_owned()),
        account: entry.owner.clone(),
    }
}

/// Writes what hangs on this node's board, for the other nodes.
pub(in crate::http) fn board(api: &Api) -> Value {
    let now = api.clock.now();
    let told: Vec<Told> = api.board.all().into_iter().map(|(id, entry)| Told::of(id, entry, now)).collect();
    json!({ "node": api.settings.node.name, "at": reply::date(api.clock.wall()), "instances": told })
}

async fn hear(api: &Api, node: &Node) -> Heard {
    let Some(url) = &node.url else { return Heard::Nothing(Absence::WithoutUrl) };
    match told(api, node, url).await {
        Ok(told) => Heard::Board(told.into_iter().map(|one| (one.id.clone(), one)).collect()),
        Err(why) => {
            let name = &node.name;
            warn!(node = %name, "Node {name} does not tell what it knows of its instances: {why}");
            Heard::Nothing(Absence::Unreachable)
        }
    }
}

async fn told(api: &Api, node: &Node, url: &str) -> Result<Vec<Told>, String> {
    #[derive(Deserialize)]
    struct Board {
        node: String,
        instances: Vec<Told>,
    }
    let to = address(url, BOARD).ok_or("its address is none")?;
    let mut question = reqwest::Request::new(reqwest::Method::GET, to.url);
    for (name, value) in credential::headers(api, "GET", &to.arrives, &[]) {
        let value = reqwest::header::HeaderValue::from_str(&value).map_err(|cause| cause.to_string())?;
        question.headers_mut().insert(name, value);
    }
    let answered = api.neighbours.send(question, api.settings.limits.board_within, LARGEST_BOARD).await;
    let answered = answered.map_err(|failure| format!("{failure:?}"))?;
    if answered.status != 200 {
        return Err(format!("it answers with {}", answered.status));
    }
    let board: Board = serde_json::from_slice(&answered.body).map_err(|cause| cause.to_string())?;
    // What stands before two nodes may send the question to the wrong one.
    if board.node == node.name { Ok(board.instances) } else { Err(format!("node {} answers in its place", board.node)) }
}

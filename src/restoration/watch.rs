//! How long each instance takes to be open. Whoever is not in time is named with its reason, and watched on.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use holdfast_core::connection::state::PublicState;
use holdfast_core::event::{EngineEvent, EventName};
use holdfast_core::id::InstanceId;
use holdfast_core::restoration::Source;
use tokio::sync::watch::Receiver;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{info, warn};

use super::{Tools, view};
use crate::ports::board::{Board, Entry};
use crate::ports::restoration::{Count, Line, Outcome, Stage};
use crate::ports::store::{Store, StoreError};
use crate::telemetry::bar::Bar;

/// How often it is said how far the restoration is.
const SAID_EVERY: Duration = Duration::from_secs(5);
/// How many of those that are not open are named in the log.
const NAMED: usize = 20;

/// How long an instance whose login is in the database may take to be on the board, where the keeper of the leases puts it there.
const APPEARS_WITHIN: Duration = Duration::from_secs(30);
/// How often those are looked for that are not on the board: another node may have them.
const LOOK_ROUND: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// What is watched, and who is told.
pub struct Watched {
    /// The instances that dial, or will once their copy is written, and those that are not to be connected.
    pub ids: Vec<InstanceId>,
    pub board: Arc<Board>,
    /// This node's name.
    pub node: String,
    /// Takes the events, and knows the owners.
    pub store: Arc<dyn Store>,
    /// How long the last of them may take from now on.
    pub patience: Duration,
    pub tools: Tools,
}

/// Watches until each instance that dials is open or gone, and says how it went once all are or had their time.
pub async fn watch(watched: Watched) {
    let tools = &watched.tools;
    let since = tools.report.write(|report| {
        report.stage = Stage::Dialling;
        report.since
    });
    let mut awaited: FuturesUnordered<_> =
        watched.ids.iter().map(|id| async { (id.clone(), watched.until_open(id).await) }).collect();
    let mut said = interval(SAID_EVERY);
    said.set_missed_tick_behavior(MissedTickBehavior::Delay);
    said.tick().await;
    let mut round = interval(LOOK_ROUND);
    round.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let deadline = sleep(watched.patience);
    tokio::pin!(deadline);
    let mut bar = (!awaited.is_empty()).then(|| Bar::show("Restoring", awaited.len()));
    let mut over = awaited.is_empty();
    if over {
        watched.conclude();
    }
    loop {
        tokio::select! {
            next = awaited.next() => match next {
                Some((id, open)) => {
                    bar.iter().for_each(Bar::advance);
                    watched.came(&id, open.then(|| tools.clock.now().since(since))).await;
                }
                None if over => return,
                None => {
                    drop(bar);
                    watched.conclude();
                    return;
                }
            },
            _ = said.tick(), if !over => watched.say(),
            _ = round.tick(), if !over => watched.look_round().await,
            () = &mut deadline, if !over => {
                over = true;
                bar = None;
                watched.late().await;
                watched.conclude();
            }
        }
    }
}

impl Watched {
    /// Waits until an instance is open; false if it is not here, not to be connected, or gone.
    async fn until_open(&self, id: &InstanceId) -> bool {
        let Some(mut entry) = self.appears(id).await else { return false };
        entry.wait_for(|entry| entry.status.state_at(self.tools.clock.now()) == PublicState::Open).await.is_ok()
    }

    /// Waits until it hangs on the board, unless it turns out that it is not to be connected.
    async fn appears(&self, id: &InstanceId) -> Option<Receiver<Entry>> {
        let mut written = None;
        loop {
            let now = self.tools.clock.now();
            match self.tools.report.outcome(id)? {
                Outcome::Waiting => {}
                Outcome::Dialling | Outcome::Late { .. } => {
                    if let Some(entry) = self.board.watch(id) {
                        return Some(entry);
                    }
                    if now.since(*written.get_or_insert(now)) > APPEARS_WITHIN {
                        return None;
                    }
                }
                Outcome::NoLogin
                | Outcome::Elsewhere
                | Outcome::Refused { .. }
                | Outcome::Resting
                | Outcome::Open { .. } => return None,
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Notes which of those that are not on the board another node has.
    async fn look_round(&self) {
        let comes = |id: &&InstanceId| self.tools.report.outcome(id) == Some(Outcome::Dialling);
        let absent: Vec<&InstanceId> =
            self.ids.iter().filter(|id| self.board.get(id).is_none()).filter(comes).collect();
        if absent.is_empty() || self.store.lease_ttl().is_none() {
            return;
        }
        let store = Arc::clone(&self.store);
        let asking = self.tools.runtime.spawn(async move { store.owners().await });
        // One that is not found is not here either, in a while.
        let Ok(Ok(owners)) = asking.await else { return };
        for id in absent {
            if owners.get(id).is_some_and(|owner| *owner != self.node) {
                self.tools.report.amend(id, |line| {
                    if line.outcome == Outcome::Dialling {
                        line.outcome = Outcome::Elsewhere;
                    }
                });
            }
        }
    }

    /// Notes that one is open, or that it is not ours any more.
    async fn came(&self, id: &InstanceId, after: Option<Duration>) {
        self.tools.report.amend(id, |line| {
            line.outcome = match (after, &line.outcome) {
                (None, Outcome::Dialling | Outcome::Late { .. }) => Outcome::Elsewhere,
                (None, known) => known.clone(),
                (Some(after), Outcome::Late { .. }) => Outcome::Late { open_after: Some(after) },
                (Some(after), _) => Outcome::Open { after },
            };
        });
        // Nobody else tells of one that is not to come.
        let stays = matches!(self.tools.report.outcome(id), Some(Outcome::Resting | Outcome::Refused { .. }));
        if after.is_some() || stays {
            self.announce(id).await;
        }
    }

    /// Those that are not open have had their time.
    async fn late(&self) {
        for id in &self.ids {
            let late = self.tools.report.write(|report| match report.lines.get_mut(id) {
                Some(line) if line.outcome == Outcome::Dialling => {
                    line.outcome = Outcome::Late { open_after: None };
                    true
                }
                Some(_) | None => false,
            });
            if late {
                self.announce(id).await;
            }
        }
    }

    /// Tells the subscribers of an instance how it came back.
    async fn announce(&self, id: &InstanceId) {
        let Some(line) = self.tools.report.line(id) else { return };
        tell(id, &line);
        let event = EngineEvent { name: EventName::ApplicationStartup, data: view::line(id, &line) };
        let (store, id) = (Arc::clone(&self.store), id.clone());
        let appending = async move { (store.append(&id, vec![event]).await, id) };
        match self.tools.runtime.spawn(appending).await {
            // Another node owns it by now, and tells how it is there.
            Ok((Ok(_) | Err(StoreError::FencedOff(_)), _)) => {}
            Ok((Err(error), id)) => {
                warn!(instance.id = %id, %error, "How instance {id} came back is not told to its webhook");
            }
            Err(crashed) => warn!(%crashed, "Telling how an instance came back crashed"),
        }
    }

    fn say(&self) {
        let Count { wanted, open, waiting, .. } = self.tools.report.count().1;
        if waiting == 0 {
            info!(open, wanted, "Restored {open} of {wanted} instances");
        } else {
            info!(
                open,
                wanted, waiting, "Restored {open} of {wanted} instances; {waiting} more wait for what they go on from"
            );
        }
    }

    fn conclude(&self) {
        let now = self.tools.clock.now();
        let report = self.tools.report.write(|report| {
            report.stage = Stage::Over;
            report.over = Some(now);
            report.clone()
        });
        let Count { wanted, open, adopted, .. } = report.count();
        let took = now.since(report.since).as_secs_f32();
        let missing: Vec<String> = report
            .lines
            .iter()
            .filter(|(_, line)| line.outcome == Outcome::Late { open_after: None })
            .map(|(id, line)| {
                let why = self.board.get(id).and_then(|entry| Some(entry.status.why()?.code()));
                format!("{} ({})", line.name.as_deref().unwrap_or(id.as_str()), why.unwrap_or("no reason known"))
            })
            .collect();
        if missing.is_empty() {
            info!(open, wanted, adopted, "Restored {open} of {wanted} instances in {took:.1} s");
            return;
        }
        let (named, more) = (missing.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", "), missing.len());
        warn!(
            open,
            wanted,
            adopted,
            missing = more,
            "Restored {open} of {wanted} instances in {took:.1} s; not open: {named}"
        );
    }
}

/// Says in the log how an instance came back.
fn tell(id: &InstanceId, Line { name, decision, outcome, .. }: &Line) {
    let (open_after_ms, said) = match outcome {
        Outcome::Open { after } | Outcome::Late { open_after: Some(after) } => (Some(view::millis(*after)), "is back"),
        Outcome::Late { open_after: None } => (None, "is not back in its time"),
        Outcome::Resting => (None, "is not to be connected"),
        Outcome::NoLogin | Outcome::Waiting | Outcome::Elsewhere | Outcome::Refused { .. } | Outcome::Dialling => {
            (None, "is not back")
        }
    };
    let name = name.as_deref().unwrap_or(id.as_str());
    info!(
        instance.id = %id,
        verdict = decision.verdict.word(),
        source = decision.source.map(Source::word),
        revision = decision.mark.map(|mark| mark.revision.0),
        age_s = decision.age.map(|age| age.as_secs()),
        open_after_ms,
        "Instance {name} {said}"
    );
}

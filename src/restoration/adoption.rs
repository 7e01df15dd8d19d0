//! What is done about what was found: copies are written into the database, damaged ones are set aside. No instance dials before that is done
//! for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::StreamExt as _;
use futures_util::stream;
use holdfast_core::id::InstanceId;
use holdfast_core::restoration::{Action, Decision, Facts, Layer, Mark, Restored, Source, decide};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tracing::{debug, error, info, warn};

use super::Tools;
use super::survey::{Places, Survey};
use crate::failpoint::reach;
use crate::ports::copies::{Adopted, Adoption, Copies};
use crate::ports::layer::{Layer as LayerPort, Reading, SessionCopy};
use crate::ports::restoration::{Damaged, Line, Outcome, Stage};
use crate::ports::restore::Renewal;
use crate::ports::store::StoreError;

/// Copies that are written at the same time.
const AT_ONCE: usize = 8;

/// Writes copies into the database.
pub struct Adopter {
    pub places: Places,
    /// This node's name: what another one owns is left alone.
    pub node: String,
    pub renewal: Arc<dyn Renewal>,
    pub tools: Tools,
}

/// Work that goes on.
pub struct Settling {
    /// Instances whose login the database holds now, and did not before, as they come; no more than the survey has named.
    pub adopted: UnboundedReceiver<InstanceId>,
    /// Says, once all is done, whether something waits for a place that said nothing.
    pub waits: JoinHandle<bool>,
}

/// How it went with one copy.
enum Tried {
    Done(Adopted),
    /// It does not open: another place may have one that does.
    Unusable(String),
    /// It is not there any more, or not whole.
    Lost(Layer, String),
    /// Another node owns it.
    Elsewhere,
    /// The database has it by now, as when another node was faster: whoever comes to own it dials.
    Taken,
    /// An operator has deleted the instance meanwhile.
    Deleted,
    Failed(String),
    /// The database has gone, or goes on by itself.
    Waits,
}

impl Adopter {
    /// Says of each instance what was decided, and begins to do it; those that were online last come first. Those that are at work already
    /// (`running`) are left alone.
    pub fn settle(self, survey: Survey, running: &BTreeSet<InstanceId>) -> Settling {
        let Survey { restored, answered, names, mut damaged, database_silent, layers_silent } = survey;
        let open = restored.into_iter().enumerate().filter(|(_, one)| !running.contains(&one.id));
        let open: Vec<(usize, Restored)> = open.collect();
        self.tools.report.write(|report| {
            report.answered = answered;
            if database_silent.is_none() {
                report.stage = report.stage.max(Stage::Adopting);
            }
            for (place, one) in &open {
                let withheld = self.tools.withheld.has(&one.id);
                self.tools.withheld.set(&one.id, one.decision.withholds(withheld));
                // What the database named keeps its name, and what was damaged stays known.
                let known = report.lines.remove(&one.id);
                let (known, damaged) = known.map(|known| (known.name, known.damaged)).unwrap_or_default();
                let name = names.get(&one.id).cloned().or(known);
                let (decision, outcome) = (one.decision.clone(), at_first(one));
                report.lines.insert(one.id.clone(), Line { name, decision, outcome, damaged, place: *place });
            }
        });
        let work: Vec<(Restored, Vec<Damaged>)> = open
            .into_iter()
            .map(|(_, one)| {
                let found_damaged = [Source::Redis, Source::Files].into_iter().filter_map(|source| {
                    let why = damaged.remove(&(one.id.clone(), source))?;
                    Some(Damaged { source, why, aside: None })
                });
                let found_damaged = found_damaged.collect();
                (one, found_damaged)
            })
            .collect();
        let (told, adopted) = unbounded_channel();
        let silent = layers_silent || database_silent.is_some();
        let runtime = self.tools.runtime.clone();
        let waits = runtime.spawn(async move { self.each(work, &told).await || silent });
        Settling { adopted, waits }
    }

    /// Does what is to be done; returns whether one waits.
    async fn each(&self, work: Vec<(Restored, Vec<Damaged>)>, told: &UnboundedSender<InstanceId>) -> bool {
        reach!("restore.judged");
        let mut done = stream::iter(work)
            .map(|(one, damaged)| async move {
                let (decision, outcome, damaged) = self.one(&one, damaged).await;
                (one, decision, outcome, damaged)
            })
            .buffer_unordered(AT_ONCE);
        let mut waits = false;
        while let Some((one, decision, outcome, damaged)) = done.next().await {
            waits |= outcome == Outcome::Waiting;
            if outcome != Outcome::Waiting && one.decision.action.writes() {
                self.tools.withheld.set(&one.id, decision.withholds_for_good());
            }
            let adopted = outcome == Outcome::Dialling && one.decision.action.writes();
            self.tools.report.amend(&one.id, |line| {
                // Of the others it was known at once, and they may be open by now.
                if one.decision.action.writes() {
                    line.outcome = outcome;
                }
                line.decision = decision;
                // Of an earlier round only what was put by the side, which a person looks for.
                line.damaged.retain(|known| known.aside.is_some());
                line.damaged.extend(damaged);
            });
            if adopted {
                // Nobody may want to know.
                let _told = told.send(one.id);
            }
        }
        waits
    }

    async fn one(&self, one: &Restored, mut damaged: Vec<Damaged>) -> (Decision, Outcome, Vec<Damaged>) {
        let id = &one.id;
        let broken = damaged.len();
        let (decision, outcome) = if one.decision.action.writes() {
            self.adopt(id, one.facts, &mut damaged).await
        } else {
            (one.decision.clone(), at_first(one))
        };
        if matches!(decision.action, Action::Wait | Action::Leave) {
            return (decision, outcome, damaged);
        }
        // A person may want to look at what is damaged; until the login is safe it stays where it is. So does what is whole and does not
        // open: with another key it may.
        if outcome != Outcome::Waiting {
            for copy in damaged.iter_mut().take(broken) {
                self.set_aside(id, copy).await;
            }
        }
        if outcome == Outcome::NoLogin {
            self.clear(id, &decision, one.facts.seen()).await;
        }
        (decision, outcome, damaged)
    }

    /// Writes the best copy that opens.
    async fn adopt(&self, id: &InstanceId, mut facts: Facts, damaged: &mut Vec<Damaged>) -> (Decision, Outcome) {
        let mut unusable: Option<String> = None;
        loop {
            let mut decision = decide(&facts);
            let Some(source) = decision.source.filter(|_| decision.action.writes()) else {
                let outcome = match (decision.action, unusable) {
                    (Action::Wait, _) => Outcome::Waiting,
                    (Action::Leave, _) => Outcome::Elsewhere,
                    (Action::Nothing, None) => Outcome::NoLogin,
                    (Action::Nothing, Some(why)) => Outcome::Refused { why },
                    (Action::Park, _) => parked(&facts),
                    (Action::Dial | Action::Repair | Action::Adopt | Action::Renew, _) => Outcome::Dialling,
                };
                return (decision, outcome);
            };
            match self.try_copy(id, &facts, source).await {
                Tried::Done(adopted) => {
                    decision.mark = Some(adopted.mark());
                    tell(id, &decision, adopted);
                    return (decision, Outcome::Dialling);
                }
                Tried::Unusable(why) => {
                    if self.is_known(id, source, &why) {
                        debug!(instance.id = %id, why, "The copy of instance {id} in {} still cannot be used", source.word());
                    } else {
                        error!(instance.id = %id, why, "The copy of instance {id} in {} cannot be used", source.word());
                    }
                    damaged.push(Damaged { source, why: why.clone(), aside: None });
                    unusable = Some(why);
                    self.tools.remembering(|memory| memory.forget(id));
                    facts = facts.without(source);
                }
                Tried::Lost(now, why) => {
                    warn!(instance.id = %id, why, "The copy of instance {id} in {} is lost", source.word());
                    if now == Layer::Corrupt {
                        damaged.push(Damaged { source, why: why.clone(), aside: None });
                    }
                    unusable = Some(why);
                    facts = facts.lost(source, now);
                }
                Tried::Elsewhere => return (decision, Outcome::Elsewhere),
                Tried::Taken => {
                    // What the other one has made of it is not known here.
                    decision.mark = None;
                    return (decision, Outcome::Dialling);
                }
                Tried::Deleted => return (decision, Outcome::NoLogin),
                Tried::Failed(why) => {
                    error!(instance.id = %id, why, "A copy of instance {id} cannot be taken in");
                    return (decision, Outcome::Refused { why });
                }
                Tried::Waits => return (decision, Outcome::Waiting),
            }
        }
    }

    /// Tells whether an earlier round has found the same copy damaged in the same way.
    fn is_known(&self, id: &InstanceId, source: Source, why: &str) -> bool {
        let line = self.tools.report.line(id);
        line.is_some_and(|line| line.damaged.iter().any(|known| known.source == source && known.why == why))
    }

    async fn try_copy(&self, id: &InstanceId, facts: &Facts, source: Source) -> Tried {
        let Some(database) = &self.places.database else { return Tried::Waits };
        let copy = match self.places.layer(source) {
            Some(layer) => read_again(layer.as_ref(), id).await,
            // It goes on from itself.
            None => export(database.as_ref(), id, self.tools.clock.wall()).await,
        };
        let copy = match copy {
            Ok(copy) => copy,
            Err(tried) => return tried,
        };
        reach!("restore.adopting");
        let tried = self.write(database, id, copy, facts).await;
        reach!("restore.adopted");
        tried
    }

    async fn write(&self, database: &Arc<dyn Copies>, id: &InstanceId, copy: SessionCopy, facts: &Facts) -> Tried {
        let adoption = Adoption { node: self.node.clone(), seen: facts.seen(), proved: facts.before.proved };
        match database.adopt_copy(copy, adoption, Arc::clone(&self.renewal)).await {
            Ok(adopted) => Tried::Done(adopted),
            Err(error @ StoreError::Corrupt { .. }) => Tried::Unusable(error.whole()),
            Err(StoreError::LeaseHeld { by, .. }) => {
                debug!(instance.id = %id, node = by, "Node {by} owns instance {id}");
                Tried::Elsewhere
            }
            Err(StoreError::FencedOff(_)) => {
                info!(instance.id = %id, "The database has gone on with instance {id} since it was asked: its copy is not needed");
                Tried::Taken
            }
            Err(StoreError::NoSuchInstance(_)) => Tried::Deleted,
            Err(error @ (StoreError::NameTaken(_) | StoreError::NodeInUse { .. })) => Tried::Failed(error.whole()),
            Err(error @ StoreError::Unavailable { .. }) => {
                warn!(instance.id = %id, error = error.whole(), "A copy could not be written");
                Tried::Waits
            }
        }
    }

    async fn set_aside(&self, id: &InstanceId, copy: &mut Damaged) {
        let Some(layer) = self.places.layer(copy.source) else { return };
        let (place, why) = (copy.source.word(), &copy.why);
        match layer.set_aside(id).await {
            Ok(Some(aside)) => {
                warn!(instance.id = %id, why, aside, "The copy of instance {id} in {place} is damaged, and was set aside");
                copy.aside = Some(aside);
            }
            Ok(None) => {}
            Err(error) => {
                warn!(instance.id = %id, why, %error, "The copy of instance {id} in {place} is damaged, and stays");
            }
        }
    }

    /// Removes copies of a login that has ended.
    async fn clear(&self, id: &InstanceId, decision: &Decision, seen: Option<Mark>) {
        for source in &decision.outdated {
            let Some(layer) = self.places.layer(*source) else { continue };
            // Somebody may have paired it since.
            let removed = match seen {
                Some(held) => layer.remove_ended(id, held).await,
                None => layer.remove(id).await.map(|()| true),
            };
            match removed {
                Ok(false) => {}
                Ok(true) => {
                    info!(instance.id = %id, "The copy of instance {id} in {} is of a login that has ended, and was removed", source.word());
                }
                Err(error) => debug!(instance.id = %id, %error, "A copy of an ended login stays for now"),
            }
        }
    }
}

async fn read_again(layer: &dyn LayerPort, id: &InstanceId) -> Result<SessionCopy, Tried> {
    match layer.read(std::slice::from_ref(id)).await.pop().map(|(_, reading)| reading) {
        Some(Reading::Found(found)) => Ok(found.copy),
        Some(Reading::Corrupt { why }) => Err(Tried::Lost(Layer::Corrupt, why)),
        Some(Reading::Absent) | None => Err(Tried::Lost(Layer::Absent, "it is not there any more".to_owned())),
        Some(Reading::Unreadable { why }) => {
            debug!(instance.id = %id, why, "A copy could not be read again");
            Err(Tried::Waits)
        }
    }
}

async fn export(database: &dyn Copies, id: &InstanceId, now: DateTime<Utc>) -> Result<SessionCopy, Tried> {
    match database.export(id, now).await {
        Ok(Some(copy)) => Ok(copy),
        Ok(None) | Err(StoreError::NoSuchInstance(_)) => Err(Tried::Deleted),
        Err(error) => {
            warn!(instance.id = %id, error = error.whole(), "A login could not be read from the database");
            Err(Tried::Waits)
        }
    }
}

/// How it is with an instance before anything is done about it.
fn at_first(one: &Restored) -> Outcome {
    match one.decision.action {
        Action::Dial => Outcome::Dialling,
        Action::Park => parked(&one.facts),
        Action::Wait | Action::Adopt | Action::Repair | Action::Renew => Outcome::Waiting,
        Action::Leave => Outcome::Elsewhere,
        Action::Nothing => Outcome::NoLogin,
    }
}

/// What is damaged everywhere: its actor says so if the database knows the instance.
fn parked(facts: &Facts) -> Outcome {
    match facts.seen() {
        Some(_) => Outcome::Dialling,
        None => {
            Outcome::Refused { why: "every copy is damaged, and the database does not know the instance".to_owned() }
        }
    }
}

fn tell(id: &InstanceId, decision: &Decision, adopted: Adopted) {
    let (verdict, source) = (decision.verdict.word(), decision.source.map_or("", Source::word));
    let age = decision.age.unwrap_or_default().as_secs();
    match adopted {
        Adopted::Held(_) => info!(instance.id = %id, verdict, "Instance {id} is whole in the database"),
        Adopted::Repaired(_) => {
            warn!(instance.id = %id, verdict, source, age, "Instance {id} was damaged in the database, and goes on from the same state in {source}");
        }
        Adopted::Renewed(_) => {
            warn!(instance.id = %id, verdict, source, age, "Instance {id} goes on from the copy in {source}, {age} s old, with new keys");
        }
    }
}

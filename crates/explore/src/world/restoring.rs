//! Bringing instances back, as the real [`holdfast_core::restoration`] decides: the counterpart of `src/app/restoring.rs` and `src/restoration`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holdfast_core::backoff::Backoff;
use holdfast_core::connection::state::PublicState;
use holdfast_core::restoration::{
    Action, Database, Decision, Facts, Layer, Mark, Member, Memory, Restored, Silence, Source, Standing, Verdict,
    decide, decide_all,
};

use super::World;
use super::cell::{Row, Stored};
use super::fate::Due;
use super::gate::{name, number};
use super::places::{LAYERS, Login};
use crate::bugs::Bug;

const AGAIN: Backoff = Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(5) };
/// What may pass until a copy is written: many are at the same time.
const WRITTEN_WITHIN: u64 = 10_000;
const AGAIN_CALMLY: Backoff = Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(30) };

/// What is known of the places since the process began.
#[derive(Default)]
pub(crate) struct Restoration {
    pub(crate) memory: Memory,
    judged: BTreeMap<usize, Judged>,
    /// The newest state that a copy has shown, whatever is remembered of it.
    shown: BTreeMap<usize, Mark>,
    /// What must not dial yet.
    withheld: BTreeSet<usize>,
    /// Copies that are being written.
    writing: usize,
    tries: u32,
}

#[derive(Clone, Copy)]
struct Judged {
    action: Action,
    waits: bool,
    /// Whether a layer said nothing then.
    unheard: bool,
}

impl Restoration {
    fn is_settled(&self, i: usize) -> Option<bool> {
        self.judged.get(&i).map(|judged| !judged.waits && judged.action != Action::Park)
    }

    /// Tells whether a copy has shown a later state than this one.
    pub(crate) fn has_shown_later(&self, i: usize, than: Mark) -> bool {
        self.shown.get(&i).is_some_and(|shown| shown.against(than) == Standing::Newer)
    }

    /// An instance is new: of it the places are not asked.
    pub(crate) fn is_made(&mut self, i: usize) {
        self.judged.remove(&i);
        self.shown.remove(&i);
        self.withheld.remove(&i);
    }

    /// Tells whether a layer said nothing when the instance was judged.
    pub(crate) fn was_unheard(&self, i: usize) -> bool {
        self.judged.get(&i).is_some_and(|judged| judged.unheard)
    }
}

impl World<'_> {
    /// Asks all places what becomes of every instance of which that is not known yet.
    pub(crate) fn ask_places(&mut self) {
        let forgets = self.has(Bug::ProofForgotten);
        let layers = [0, 1].map(|layer| self.all_said_by(layer));
        let database = if self.weather.store_down(self.now) { Err(Silence::Down) } else { Ok(self.all_stored()) };
        let [redis, files] = &layers;
        let known = &mut self.service.restoration.memory;
        let restored = decide_all(Some(redis), &database, Some(files), known);
        if !forgets {
            for one in &restored {
                known.learn(one);
            }
        }
        for one in restored {
            let Some(i) = number(&one.id) else { continue };
            let settled = self.service.restoration.is_settled(i);
            if !settled.unwrap_or(self.cells[i].line.is_some()) {
                self.judge(i, &one);
            }
        }
        self.ask_places_again();
    }

    fn all_said_by(&self, layer: usize) -> Result<BTreeMap<holdfast_core::id::InstanceId, Member<Layer>>, Silence> {
        if self.is_silent(layer) {
            return if self.has(Bug::SilenceIsAbsence) { Ok(BTreeMap::new()) } else { Err(Silence::Down) };
        }
        let held = (0..self.cells.len()).filter(|i| self.cells[*i].copies[layer].is_some());
        Ok(held.map(|i| (name(i), Member { says: self.said_by(layer, i), last_online_ms: None })).collect())
    }

    fn all_stored(&self) -> BTreeMap<holdfast_core::id::InstanceId, Member<Database>> {
        let says = |i: usize| {
            let Stored { row, departed, .. } = &self.cells[i].stored;
            match row {
                None => departed.then_some(Database::Deleted),
                Some(row) if !row.paired => Some(Database::Unpaired(row.mark)),
                Some(row) if self.is_damaged(i) => Some(Database::Corrupt(Some(row.mark))),
                Some(row) => Some(Database::Holds(row.mark)),
            }
        };
        let known = (0..self.cells.len()).filter_map(|i| Some((i, says(i)?)));
        known.map(|(i, says)| (name(i), Member { says, last_online_ms: None })).collect()
    }

    /// Tells whether the login cannot be read.
    pub(crate) fn is_damaged(&self, i: usize) -> bool {
        self.now < self.cells[i].plan.unreadable_until || self.cells[i].stored.row.is_some_and(|row| row.damaged)
    }

    fn judge(&mut self, i: usize, one: &Restored) {
        let Restored { facts, decision, .. } = one;
        let (action, verdict) = (decision.action.word(), decision.verdict.word());
        if decision.verdict != Verdict::Newest && decision.verdict != Verdict::NoLogin {
            self.story(|| format!("instance {i}: {action}, {verdict}"));
        }
        self.digest(&[i as u64, decision.action as u64, decision.verdict as u64]);
        let unheard = !decision.silent.is_empty();
        let waits = decision.action == Action::Wait || decision.action.writes();
        let restoration = &mut self.service.restoration;
        restoration.judged.insert(i, Judged { action: decision.action, waits, unheard });
        let withheld = self.service.restoration.withheld.contains(&i);
        self.withhold(i, decision.withholds(withheld));
        for layer in [facts.redis, facts.files] {
            if let Layer::Holds { mark, .. } = layer {
                let shown = self.service.restoration.shown.entry(i).or_insert(mark);
                *shown = shown.latest(mark);
            }
        }
        if unheard
            && let Some(row) = self.cells[i].stored.row
            && !self.service.restoration.has_shown_later(i, row.mark)
        {
            // No place that could be read says otherwise.
            self.keys_count_as_unused(i, row.login);
        }
        if decision.action.writes() {
            self.service.restoration.writing += 1;
            let (epoch, facts) = (self.service.epoch, Box::new(*facts));
            let at = self.now + self.cells[i].random.between(5, WRITTEN_WITHIN);
            return self.later(at, Due::Adopted { i, epoch, facts });
        }
        self.park(i, decision);
        self.tidy(i, decision);
    }

    /// What a start has found to be damaged, and could not mend, does not become whole.
    fn park(&mut self, i: usize, decision: &Decision) {
        if let Some(row) = self.cells[i].stored.row.as_mut().filter(|_| decision.action == Action::Park) {
            row.damaged = true;
        }
    }

    fn withhold(&mut self, i: usize, withheld: bool) {
        if withheld && !self.has(Bug::WithheldIgnored) {
            self.service.restoration.withheld.insert(i);
        } else {
            self.service.restoration.withheld.remove(&i);
        }
    }

    /// Sets damaged copies aside, and removes those of a login that has ended.
    fn tidy(&mut self, i: usize, decision: &Decision) {
        if matches!(decision.action, Action::Wait | Action::Leave) {
            return;
        }
        let gone: &[Source] = if decision.action == Action::Nothing { &decision.outdated } else { &[] };
        for (layer, source) in LAYERS.into_iter().enumerate() {
            if !self.is_silent(layer) && (decision.corrupt.contains(&source) || gone.contains(&source)) {
                self.check_cleared(i, layer);
                self.cells[i].copies[layer] = None;
            }
        }
    }

    /// A copy is to be written into the database.
    pub(crate) fn adopted(&mut self, i: usize, epoch: u64, mut facts: Facts) {
        if epoch != self.service.epoch || self.service.draining {
            return;
        }
        self.service.restoration.writing -= 1;
        let decision = loop {
            let decision = decide(&facts);
            let Some(source) = decision.source.filter(|_| decision.action.writes()) else { break decision };
            if self.weather.store_down(self.now) {
                return;
            }
            let layer = LAYERS.into_iter().position(|layer| layer == source);
            let there = layer.map(|layer| self.said_by(layer, i));
            match there {
                Some(Layer::Silent(_)) => return,
                Some(lost @ (Layer::Absent | Layer::Corrupt)) => {
                    facts = facts.lost(source, lost);
                    continue;
                }
                Some(Layer::Holds { .. } | Layer::Used { .. } | Layer::Off) | None => {}
            }
            let there = self.cells[i].stored.row.map(|row| row.mark.revision);
            if there == facts.seen().map(|seen| seen.revision) && !self.cells[i].stored.departed {
                self.write(i, layer, &facts);
            }
            break decision;
        };
        self.withhold(i, decision.withholds_for_good());
        if let Some(judged) = self.service.restoration.judged.get_mut(&i) {
            judged.waits = decision.action == Action::Wait;
        }
        self.park(i, &decision);
        self.tidy(i, &decision);
        self.begin_what_may();
    }

    /// Writes what goes on, as the store does: the same state as it is, any other with new chains and numbers beyond all that was seen.
    fn write(&mut self, i: usize, layer: Option<usize>, facts: &Facts) {
        let cell = &mut self.cells[i];
        let row = cell.stored.row;
        let own = row.map(|row| (row.mark, row.login, row.desired));
        let copy = layer.and_then(|layer| cell.copies[layer]).map(|copy| (copy.mark, copy.login, copy.desired));
        let Some((mark, login, desired)) = copy.or(own) else { return };
        let proved = facts.before.proved;
        let set_back = row.is_some_and(|row| proved.is_some_and(|proved| proved.against(row.mark) == Standing::Newer));
        let standing = row.map_or(Standing::Newer, |row| mark.against(row.mark));
        let readable = !self.is_damaged(i);
        let (login, mark) = match (standing, row) {
            (Standing::Exact, Some(row)) if !set_back => {
                if readable {
                    return;
                }
                (login, row.mark.next())
            }
            (Standing::Older, _) if readable => return,
            (Standing::Exact | Standing::Newer | Standing::Older, _) => {
                let seen = [row.map(|row| row.mark), proved].into_iter().flatten().fold(mark, Mark::latest);
                (self.renewed(i, login), seen.begun_at(self.now))
            }
        };
        self.check_adoption(i, login);
        let state = row.map_or(PublicState::Close, |row| row.state);
        let desired = row.map_or(desired, |row| row.desired);
        let row = Row { paired: true, ever_paired: true, desired, state, mark, login, damaged: false };
        let cell = &mut self.cells[i];
        cell.stored.row = Some(row);
        cell.plan.unreadable_until = 0;
        self.outcome.adopted += 1;
        self.story(|| format!("instance {i}: a copy is written into the database"));
        self.changed(i);
    }

    fn renewed(&mut self, i: usize, login: Login) -> Login {
        if self.has(Bug::CopyGoesOnExactly) {
            return login;
        }
        let chains = self.cells[i].next_token();
        Login { chains, used: 0, ..login }
    }

    /// Starts what is stored, is not at work, and is not withheld.
    pub(crate) fn begin_what_may(&mut self) {
        for i in 0..self.cells.len() {
            if !self.service.restoration.withheld.contains(&i) {
                self.enlist(i);
            }
        }
    }

    fn ask_places_again(&mut self) {
        let restoration = &mut self.service.restoration;
        let awaited = restoration.judged.values().any(|judged| judged.waits);
        let silent = (0..LAYERS.len()).any(|layer| self.is_silent(layer)) && !self.has(Bug::SilenceIsAbsence);
        if !awaited && !silent {
            return;
        }
        self.service.restoration.tries += 1;
        let again = if awaited { AGAIN } else { AGAIN_CALMLY };
        let wait = again.delay(self.service.restoration.tries, self.random.unit());
        let epoch = self.service.epoch;
        self.later(self.now + wait.as_millis() as u64, Due::Asked { epoch });
    }

    /// Asks the places again, once everything of the last round is done.
    pub(crate) fn asked(&mut self, epoch: u64) {
        if epoch != self.service.epoch || self.service.draining {
            return;
        }
        if self.service.restoration.writing > 0 {
            return self.later(self.now + 100, Due::Asked { epoch });
        }
        self.ask_places();
        self.begin_what_may();
    }
}

//! What becomes of an instance at the start: which copy of its session goes on, how, and what is said of those that do not.
//!
//! Three places may hold a session: the database, Redis, and provider files. The database is the judge: a state of the session is known to be
//! the newest only if the database says so. A copy that holds the database's state goes on exactly; one that is newer, or the only one, keeps
//! its identity and gives up its Signal sessions ([`crate::restored`]), because keys that it still holds may have been used since. What
//! cannot be read is never taken for absent, what a place has said it does not take back by falling silent, and without the database nothing
//! dials.

mod fleet;
mod mark;
mod memory;
pub mod neighbours;
mod withholding;

use std::time::Duration;

pub use self::fleet::{Member, Restored, decide_all};
pub use self::mark::{Mark, Standing};
pub use self::memory::{Before, Memory};

/// Where a copy of a session can be. The order is that of their speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    Redis,
    Database,
    Files,
}

impl Source {
    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Database => "database",
            Self::Files => "files",
        }
    }
}

/// Why a place said nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Silence {
    /// It does not answer, or answers with errors.
    Down,
    /// It has not answered within its deadline.
    Slow,
}

/// What a layer beside the database says of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// A copy whose checksum holds.
    Holds { mark: Mark, age: Duration },
    /// A copy that the engine of another database keeps up to date. `surely` says that this is another installation; otherwise it may be the
    /// process before this one, of which it is not known yet that it is gone.
    Used { mark: Mark, surely: bool },
    /// It answered that it has none.
    Absent,
    /// It has one that is damaged.
    Corrupt,
    /// It could not be read.
    Silent(Silence),
    /// There is no such layer in this installation.
    Off,
}

/// What the database says of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// A login that can be read.
    Holds(Mark),
    /// A login that cannot be read; `None` if not even its state is known.
    Corrupt(Option<Mark>),
    /// It knows the instance, and that it has no login.
    Unpaired(Mark),
    /// It knows that an operator has deleted the instance.
    Deleted,
    /// It answered, and knows nothing of the instance.
    Absent,
    /// It could not be read.
    Silent(Silence),
}

/// What the places say of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    pub redis: Layer,
    pub database: Database,
    pub files: Layer,
    /// What earlier rounds have shown.
    pub before: Before,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It goes on exactly, from the database.
    Dial,
    /// A copy of the database's very state is written over what is damaged there; then it goes on exactly.
    Repair,
    /// The copy is written into the database with its identity and without its Signal sessions; then it goes on.
    Adopt,
    /// The database's own login goes on with its identity and without its Signal sessions: it was seen to be older than a copy that is not to
    /// be had any more.
    Renew,
    /// Nothing, until a place that said nothing can be read. Nothing dials, and no QR code is asked for.
    Wait,
    /// Nothing, until a person has looked: there was a login, and no place has it whole. No QR code is asked for.
    Park,
    /// Nothing: the login is another installation's.
    Leave,
    /// There is no login: whoever wants one pairs.
    Nothing,
}

impl Action {
    /// Returns the word for it, which is stable.
    pub fn word(self) -> &'static str {
        match self {
            Self::Dial => "dial",
            Self::Repair => "repair",
            Self::Adopt => "adopt",
            Self::Renew => "renew",
            Self::Wait => "wait",
            Self::Park => "park",
            Self::Leave => "leave",
            Self::Nothing => "nothing",
        }
    }

    /// Tells whether the instance may dial with a login once this is done.
    pub fn dials(self) -> bool {
        match self {
            Self::Dial | Self::Repair | Self::Adopt | Self::Renew => true,
            Self::Wait | Self::Park | Self::Leave | Self::Nothing => false,
        }
    }

    /// Tells whether the Signal sessions go on.
    pub fn keeps_sessions(self) -> bool {
        match self {
            Self::Dial | Self::Repair => true,
            Self::Adopt | Self::Renew | Self::Wait | Self::Park | Self::Leave | Self::Nothing => false,
        }
    }

    /// Tells whether a QR code may be shown.
    pub fn may_pair(self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Dial | Self::Repair | Self::Adopt | Self::Renew | Self::Wait | Self::Park | Self::Leave => false,
        }
    }

    /// Tells whether the database is written before the instance dials.
    pub fn writes(self) -> bool {
        match self {
            Self::Repair | Self::Adopt | Self::Renew => true,
            Self::Dial | Self::Wait | Self::Park | Self::Leave | Self::Nothing => false,
        }
    }
}

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// The database's state is whole.
    Newest,
    /// The database's copy is damaged, and another place holds the same state.
    DamageRepaired,
    /// The database's copy is damaged, and what another place holds is not the same state.
    DamageReplaced,
    /// A copy is newer than the database, which was set back.
    DatabaseSetBack,
    /// The database does not know the instance, and a copy does.
    DatabaseEmptied,
    /// The database cannot be read.
    DatabaseSilent,
    /// The only places that may hold a copy could not be read.
    LayersSilent,
    /// The engine of another database goes on with this login, or has until a moment ago.
    UsedElsewhere,
    /// What there is of a login is damaged.
    AllDamaged,
    /// There is no login.
    NoLogin,
    /// An operator has deleted the instance.
    Deleted,
}

impl Verdict {
    /// Returns the word for it, which is stable.
    pub fn word(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::DamageRepaired => "damage-repaired",
            Self::DamageReplaced => "damage-replaced",
            Self::DatabaseSetBack => "database-set-back",
            Self::DatabaseEmptied => "database-emptied",
            Self::DatabaseSilent => "store-unavailable",
            Self::LayersSilent => "layers-unavailable",
            Self::UsedElsewhere => "used-elsewhere",
            Self::AllDamaged => "credentials-corrupt",
            Self::NoLogin => "no-login",
            Self::Deleted => "deleted",
        }
    }
}

/// What becomes of one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub action: Action,
    pub verdict: Verdict,
    /// Where the session comes from. While the database is awaited, where its name and settings come from.
    pub source: Option<Source>,
    /// The state that goes on.
    pub mark: Option<Mark>,
    /// How old a copy is that goes on.
    pub age: Option<Duration>,
    /// Places whose copy is damaged: it is to be set aside there, and named.
    pub corrupt: Vec<Source>,
    /// Places that could not be read.
    pub silent: Vec<(Source, Silence)>,
    /// Layers that have no copy of the state that goes on, or one of an instance that is gone: they are to be written, or cleared.
    pub outdated: Vec<Source>,
}

impl Decision {
    /// Tells whether a place may yet have the login of an instance that has none, or none that is whole.
    pub fn may_change(&self) -> bool {
        match self.action {
            Action::Wait | Action::Park => true,
            Action::Nothing => self.verdict == Verdict::NoLogin && !self.silent.is_empty(),
            Action::Dial | Action::Repair | Action::Adopt | Action::Renew | Action::Leave => false,
        }
    }
}

/// Decides about one session.
pub fn decide(facts: &Facts) -> Decision {
    let (action, verdict, from) = judge(facts);
    let chosen = from.and_then(|source| facts.mark_in(source).map(|mark| (source, mark)));
    let (source, mark) = (chosen.map(|(source, _)| source), chosen.map(|(_, mark)| mark));
    Decision {
        action,
        verdict,
        source,
        mark,
        age: source.and_then(|source| facts.age_in(source)),
        corrupt: facts.corrupt(),
        silent: facts.silent(),
        outdated: facts.outdated(action, mark),
    }
}

fn judge(facts: &Facts) -> (Action, Verdict, Option<Source>) {
    if let Some(surely) = facts.used_elsewhere() {
        return (if surely { Action::Leave } else { Action::Wait }, Verdict::UsedElsewhere, None);
    }
    if facts.before.used && facts.is_a_layer_silent() && facts.database != Database::Deleted {
        return (Action::Wait, Verdict::UsedElsewhere, None);
    }
    let newest = facts.newest_copy();
    let copy = newest.map(|(source, _)| source);
    match facts.database {
        Database::Silent(_) => (Action::Wait, Verdict::DatabaseSilent, copy),
        Database::Holds(held) => match newest {
            Some((source, mark)) if mark.against(held) == Standing::Newer => {
                (Action::Adopt, Verdict::DatabaseSetBack, Some(source))
            }
            Some(_) | None if facts.was_set_back(held) && facts.is_a_layer_silent() => {
                (Action::Wait, Verdict::DatabaseSetBack, None)
            }
            Some(_) | None if facts.was_set_back(held) => {
                (Action::Renew, Verdict::DatabaseSetBack, Some(Source::Database))
            }
            // It is where the engine reads a login that is whole; a copy says no more than that it is the newest.
            Some(_) | None => (Action::Dial, Verdict::Newest, Some(Source::Database)),
        },
        Database::Corrupt(held) => match newest {
            Some((source, mark))
                if held.is_some_and(|held| mark.against(held) == Standing::Exact && !facts.was_set_back(held)) =>
            {
                (Action::Repair, Verdict::DamageRepaired, Some(source))
            }
            Some((source, _)) => (Action::Adopt, Verdict::DamageReplaced, Some(source)),
            // Should it be readable again, it is still too old.
            None if held.is_some_and(|held| facts.was_set_back(held)) && facts.is_a_layer_silent() => {
                (Action::Wait, Verdict::DatabaseSetBack, None)
            }
            None => facts.nowhere(),
        },
        Database::Unpaired(held) => match newest {
            Some((source, mark)) if mark.against(held) == Standing::Newer => {
                (Action::Adopt, Verdict::DatabaseSetBack, Some(source))
            }
            Some(_) | None if facts.was_set_back(held) && facts.is_a_layer_silent() => {
                (Action::Wait, Verdict::DatabaseSetBack, None)
            }
            // A login that the database has seen end does not come back.
            Some(_) | None => (Action::Nothing, Verdict::NoLogin, None),
        },
        Database::Absent => match copy {
            Some(source) => (Action::Adopt, Verdict::DatabaseEmptied, Some(source)),
            None => facts.nowhere(),
        },
        Database::Deleted => (Action::Nothing, Verdict::Deleted, None),
    }
}

impl Facts {
    /// Returns the state that the database said it holds.
    pub fn seen(&self) -> Option<Mark> {
        self.mark_in(Source::Database)
    }

    /// Takes back what a layer said: its copy does not open, and so proves nothing.
    #[must_use]
    pub fn without(mut self, source: Source) -> Self {
        self.before.proved = None;
        self.instead(source, Layer::Corrupt)
    }

    /// Takes in that a layer has lost its copy since. That there was such a state stays known.
    #[must_use]
    pub fn lost(mut self, source: Source, now: Layer) -> Self {
        if source != Source::Database {
            self.before.saw(self.mark_in(source));
        }
        self.instead(source, now)
    }

    fn instead(mut self, source: Source, says: Layer) -> Self {
        match source {
            Source::Redis => self.redis = says,
            Source::Files => self.files = says,
            // Of the database nothing is known before it has judged.
            Source::Database => {}
        }
        self
    }

    fn layers(&self) -> [(Source, Layer); 2] {
        [(Source::Redis, self.redis), (Source::Files, self.files)]
    }

    /// Returns the newest whole copy beside the database; of two alike the faster one. A later claim is a later history, whatever was
    /// written in the earlier one.
    fn newest_copy(&self) -> Option<(Source, Mark)> {
        let judge = self.seen();
        let worth = |mark: Mark| (judge.map(|database| mark.against(database)), mark);
        let copies = self.layers().into_iter().filter_map(|(source, layer)| Some((source, held(layer)?)));
        copies.reduce(|best, next| if worth(next.1) > worth(best.1) { next } else { best })
    }

    /// Tells whether the engine of another database has the login: its copy knows more than this database does. The answer says whether that is
    /// sure.
    fn used_elsewhere(&self) -> Option<bool> {
        let unknown_here = |mark: Mark| match self.database {
            Database::Absent | Database::Corrupt(None) => true,
            Database::Holds(held) | Database::Corrupt(Some(held)) | Database::Unpaired(held) => {
                mark.against(held) == Standing::Newer
            }
            // Nothing dials in any case.
            Database::Deleted | Database::Silent(_) => false,
        };
        let used = self.layers().into_iter().filter_map(|(_, layer)| match layer {
            Layer::Used { mark, surely } if unknown_here(mark) => Some(surely),
            Layer::Used { .. }
            | Layer::Holds { .. }
            | Layer::Absent
            | Layer::Corrupt
            | Layer::Silent(_)
            | Layer::Off => None,
        });
        used.reduce(|one, other| one || other)
    }

    /// Tells whether a copy was seen that is newer than what the database holds.
    fn was_set_back(&self, held: Mark) -> bool {
        self.before.proved.is_some_and(|proved| proved.against(held) == Standing::Newer)
    }

    fn is_a_layer_silent(&self) -> bool {
        self.layers().iter().any(|(_, layer)| matches!(layer, Layer::Silent(_)))
    }

    /// Decides where no place has a whole copy.
    fn nowhere(&self) -> (Action, Verdict, Option<Source>) {
        if self.is_a_layer_silent() {
            return (Action::Wait, Verdict::LayersSilent, None);
        }
        if !self.corrupt().is_empty() {
            return (Action::Park, Verdict::AllDamaged, None);
        }
        (Action::Nothing, Verdict::NoLogin, None)
    }

    fn mark_in(&self, source: Source) -> Option<Mark> {
        match source {
            Source::Redis => held(self.redis),
            Source::Files => held(self.files),
            Source::Database => match self.database {
                Database::Holds(mark) | Database::Unpaired(mark) => Some(mark),
                Database::Corrupt(mark) => mark,
                Database::Deleted | Database::Absent | Database::Silent(_) => None,
            },
        }
    }

    fn age_in(&self, source: Source) -> Option<Duration> {
        let layer = match source {
            Source::Redis => self.redis,
            Source::Files => self.files,
            Source::Database => return None,
        };
        match layer {
            Layer::Holds { age, .. } => Some(age),
            Layer::Used { .. } | Layer::Absent | Layer::Corrupt | Layer::Silent(_) | Layer::Off => None,
        }
    }

    fn corrupt(&self) -> Vec<Source> {
        let mut found = Vec::new();
        if self.redis == Layer::Corrupt {
            found.push(Source::Redis);
        }
        if matches!(self.database, Database::Corrupt(_)) {
            found.push(Source::Database);
        }
        if self.files == Layer::Corrupt {
            found.push(Source::Files);
        }
        found
    }

    fn silent(&self) -> Vec<(Source, Silence)> {
        let mut found = Vec::new();
        if let Layer::Silent(why) = self.redis {
            found.push((Source::Redis, why));
        }
        if let Database::Silent(why) = self.database {
            found.push((Source::Database, why));
        }
        if let Layer::Silent(why) = self.files {
            found.push((Source::Files, why));
        }
        found
    }

    /// Returns the layers that do not hold what goes on. An adopted or a repaired session is a new state, which no layer holds.
    fn outdated(&self, action: Action, mark: Option<Mark>) -> Vec<Source> {
        let differs = |layer: Layer| match (action, layer) {
            // Nobody writes to what does not answer; its turn comes with the next change. While the database is awaited nothing is known.
            (_, Layer::Silent(_) | Layer::Off) | (Action::Wait | Action::Park | Action::Leave, _) => false,
            (Action::Dial, Layer::Holds { mark: held, .. }) => {
                mark.is_none_or(|mark| held.against(mark) != Standing::Exact)
            }
            (Action::Dial | Action::Repair | Action::Adopt | Action::Renew, _) => true,
            (Action::Nothing, layer) => matches!(layer, Layer::Holds { .. } | Layer::Corrupt),
        };
        self.layers().into_iter().filter(|(_, layer)| differs(*layer)).map(|(source, _)| source).collect()
    }
}

fn held(layer: Layer) -> Option<Mark> {
    match layer {
        Layer::Holds { mark, .. } => Some(mark),
        Layer::Used { .. } | Layer::Absent | Layer::Corrupt | Layer::Silent(_) | Layer::Off => None,
    }
}

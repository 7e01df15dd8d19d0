//! The phases of the whole service, their budgets, and what was forced.

use std::time::Duration;

use serde::Serialize;

use crate::time::Timestamp;

/// Where the service is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Opening the stores, starting the actors.
    Boot,
    /// Serving.
    Running,
    /// Readiness is off and new commands are refused.
    Quiescing,
    /// Every instance saves, then closes.
    Draining,
    /// The outbox lanes finish what they are sending.
    Flushing,
    /// Pools and files are closed.
    Closing,
    /// The end.
    Stopped,
}

impl Phase {
    /// Returns the phase as one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::Running => "running",
            Self::Quiescing => "quiescing",
            Self::Draining => "draining",
            Self::Flushing => "flushing",
            Self::Closing => "closing",
            Self::Stopped => "stopped",
        }
    }
}

/// How long each phase may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budgets {
    /// Refusing new work while requests in flight end.
    pub quiescing: Duration,
    /// Saving and closing every instance.
    pub draining: Duration,
    /// Finishing deliveries in flight.
    pub flushing: Duration,
    /// Closing pools.
    pub closing: Duration,
}

impl Budgets {
    /// Divides the time in which everything must be over: five sixths are spent, the rest is the margin before it is forced.
    pub fn within(total: Duration) -> Self {
        let spend = total * 5 / 6;
        Self { quiescing: spend / 25, draining: spend * 16 / 25, flushing: spend * 5 / 25, closing: spend * 3 / 25 }
    }

    /// Returns the sum of all phases.
    pub fn total(&self) -> Duration {
        self.quiescing + self.draining + self.flushing + self.closing
    }

    fn of(&self, phase: Phase) -> Duration {
        match phase {
            Phase::Quiescing => self.quiescing,
            Phase::Draining => self.draining,
            Phase::Flushing => self.flushing,
            Phase::Closing => self.closing,
            Phase::Boot | Phase::Running | Phase::Stopped => Duration::ZERO,
        }
    }
}

/// How a shutdown went; the exit code follows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShutdownReport {
    /// Whether every phase ended by itself.
    pub clean: bool,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// What had to be forced.
    pub forced: Vec<String>,
}

/// What can happen to the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The parts are up.
    Booted,
    /// A signal, or a command.
    Begin,
    /// The present phase has nothing pending; `forced` names what was cut to get there.
    PhaseDone { phase: Phase, forced: Vec<String> },
    /// The deadline of the phase has come.
    Elapsed,
    /// The service cannot go on; it stops as after a signal, and says why.
    Fail { why: String },
    /// A second signal: no more waiting.
    Force,
}

/// What the shell does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Begin this phase, which has to be over within the time.
    Enter { phase: Phase, within: Duration },
    /// End the process as the report says.
    Exit(ShutdownReport),
}

/// The life of the service as a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shutdown {
    phase: Phase,
    budgets: Budgets,
    began: Option<Timestamp>,
    until: Option<Timestamp>,
    forced: Vec<String>,
}

impl Shutdown {
    /// Makes a service that is booting.
    pub fn new(budgets: Budgets) -> Self {
        Self { phase: Phase::Boot, budgets, began: None, until: None, forced: Vec::new() }
    }

    /// Returns the present phase.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Returns when the present phase is over whether it is done or not.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.until
    }

    /// Takes one event at `now` and returns what to do.
    #[must_use]
    pub fn step(mut self, event: Event, now: Timestamp) -> (Self, Vec<Effect>) {
        let mut effects = Vec::new();
        match (event, self.phase) {
            (_, Phase::Stopped) => {}
            (Event::Booted, Phase::Boot) => self.phase = Phase::Running,
            (Event::Begin, Phase::Boot | Phase::Running) => {
                self.began = Some(now);
                self.enter(Phase::Quiescing, now, &mut effects);
            }
            (Event::Fail { why }, phase) => {
                self.forced.push(why);
                if phase <= Phase::Running {
                    self.began = Some(now);
                    self.enter(Phase::Quiescing, now, &mut effects);
                }
            }
            (Event::PhaseDone { phase, forced }, present) if phase == present => {
                self.forced.extend(forced);
                self.advance(now, &mut effects);
            }
            (Event::Elapsed, present) if self.until.is_some_and(|until| now >= until) => {
                self.forced.push(format!("phase {} did not end in its time", present.as_str()));
                self.advance(now, &mut effects);
            }
            (Event::Force, _) => {
                self.forced.push(format!("a second signal came while {}", self.phase.as_str()));
                self.exit(now, &mut effects);
            }
            (Event::Booted | Event::Begin | Event::PhaseDone { .. } | Event::Elapsed, _) => {}
        }
        (self, effects)
    }

    fn advance(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        match self.phase {
            Phase::Quiescing => self.enter(Phase::Draining, now, effects),
            Phase::Draining => self.enter(Phase::Flushing, now, effects),
            Phase::Flushing => self.enter(Phase::Closing, now, effects),
            Phase::Closing => self.exit(now, effects),
            Phase::Boot | Phase::Running | Phase::Stopped => {}
        }
    }

    fn enter(&mut self, phase: Phase, now: Timestamp, effects: &mut Vec<Effect>) {
        let within = self.budgets.of(phase);
        self.phase = phase;
        self.until = Some(now.after(within));
        effects.push(Effect::Enter { phase, within });
    }

    fn exit(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.phase = Phase::Stopped;
        self.until = None;
        let took = self.began.map_or(Duration::ZERO, |began| now.since(began));
        effects.push(Effect::Exit(ShutdownReport {
            clean: self.forced.is_empty(),
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            forced: std::mem::take(&mut self.forced),
        }));
    }
}

//! Which calls of a store fail, and how.

use std::ops::RangeInclusive;

use holdfast::ports::session::SessionBatch;

/// A method of the ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    Insert,
    List,
    Get,
    Patch,
    SetDesired,
    Delete,
    Webhook,
    SetWebhook,
    Settings,
    SetSettings,
    SetProxy,
    Claim,
    Release,
    Device,
    Read,
    ReadMany,
    Scan,
    LastKey,
    Count,
    Commit,
    IsAccepted,
    TimesLost,
    Unrecovered,
    Archive,
    States,
    Export,
    AdoptCopy,
    Join,
    Renew,
    Survey,
    Adopt,
    LetGo,
    Retire,
    Leave,
    Whereabouts,
    Owners,
    Nodes,
    Append,
    Heads,
    Next,
    Settle,
    Lag,
    Lags,
    DeadLetters,
    Redrive,
    Discard,
    BeginSend,
    FinishSend,
    Unsent,
    Ping,
    Close,
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failing {
    /// It does nothing and says that the database does not answer.
    Unavailable,
    /// It does its work, and the answer is lost.
    AnswerLost,
    /// It says that the value cannot be read.
    Corrupt,
    /// It says that another owner has written.
    FencedOff,
    /// It says nothing until the store is healed, then works.
    Hang,
}

/// Which calls a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Everything,
    /// Calls of one method.
    Op(Op),
    /// Calls that read a session.
    Reads,
    /// Reads of one kind of value.
    ReadsOf(&'static str),
    /// Commits that write one kind of value.
    WritesOf(&'static str),
    /// Commits that hand messages over.
    Handover,
}

impl From<Op> for Scope {
    fn from(op: Op) -> Self {
        Self::Op(op)
    }
}

/// A call, as far as faults tell calls apart.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) op: Op,
    /// The kinds of value that it reads or writes.
    pub(super) categories: Vec<&'static str>,
    hands_over: bool,
}

impl From<Op> for Call {
    fn from(op: Op) -> Self {
        Self { op, categories: Vec::new(), hands_over: false }
    }
}

impl Call {
    pub(super) fn reading(op: Op, category: &'static str) -> Self {
        Self { op, categories: vec![category], hands_over: false }
    }

    pub(super) fn committing(batch: &SessionBatch) -> Self {
        let written = batch.writes.iter().filter(|write| write.value.is_some());
        let categories = written.map(|write| write.category).chain(batch.device.as_ref().map(|_| "device")).collect();
        Self { op: Op::Commit, categories, hands_over: !batch.accepted.is_empty() }
    }

    fn is_within(&self, scope: Scope) -> bool {
        let reads = matches!(
            self.op,
            Op::Device | Op::Read | Op::ReadMany | Op::Scan | Op::LastKey | Op::Count | Op::IsAccepted
        );
        match scope {
            Scope::Everything => true,
            Scope::Op(op) => self.op == op,
            Scope::Reads => reads,
            Scope::ReadsOf(category) => reads && self.categories.contains(&category),
            Scope::WritesOf(category) => self.op == Op::Commit && self.categories.contains(&category),
            Scope::Handover => self.hands_over,
        }
    }
}

/// Which calls fail, and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults(Vec<Fault>);

#[derive(Debug, Clone)]
struct Fault {
    scope: Scope,
    calls: RangeInclusive<u32>,
    failing: Failing,
    /// Calls within the scope so far.
    seen: u32,
}

impl Faults {
    /// Nothing fails.
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// The `nth` of these calls fails, counted from 1 since the faults were planned.
    #[must_use]
    pub(crate) fn nth(self, scope: impl Into<Scope>, nth: u32, failing: Failing) -> Self {
        self.plan(scope.into(), nth..=nth, failing)
    }

    /// The `nth` of these calls fails and every one after it.
    #[must_use]
    pub(crate) fn from(self, scope: impl Into<Scope>, nth: u32, failing: Failing) -> Self {
        self.plan(scope.into(), nth..=u32::MAX, failing)
    }

    /// Every call fails.
    #[must_use]
    pub(crate) fn outage(self, failing: Failing) -> Self {
        self.plan(Scope::Everything, 1..=u32::MAX, failing)
    }

    /// Returns how this call fails, and counts it.
    pub(super) fn strike(&mut self, call: &Call) -> Option<Failing> {
        let mut failing = None;
        for fault in self.0.iter_mut().filter(|fault| call.is_within(fault.scope)) {
            fault.seen += 1;
            if failing.is_none() && fault.calls.contains(&fault.seen) {
                failing = Some(fault.failing);
            }
        }
        failing
    }

    fn plan(mut self, scope: Scope, calls: RangeInclusive<u32>, failing: Failing) -> Self {
        self.0.push(Fault { scope, calls, failing, seen: 0 });
        self
    }
}

//! What a round does to which node. All of it follows from the seed.

use std::fmt;
use std::time::Duration;

use crate::torture::plan::Dice;

/// How many nodes there are.
pub(super) const NODES: usize = 3;

/// What happens to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blow {
    /// SIGKILL, and a start so much later.
    Kill(Duration),
    /// SIGTERM, and a start so long after its end.
    Terminate(Duration),
    /// SIGSTOP, and SIGCONT so much later.
    Freeze(Duration),
    /// The database is out of its reach for so long; `silent` says that its connections stay, and nothing comes over them.
    Cut { time: Duration, silent: bool },
    /// All nodes are stopped and started, one after the other.
    Renew,
}

impl Blow {
    /// Returns the kind, for a table.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kill(_) => "SIGKILL",
            Self::Terminate(_) => "SIGTERM",
            Self::Freeze(_) => "SIGSTOP",
            Self::Cut { .. } => "cut from the database",
            Self::Renew => "rolling restart",
        }
    }
}

/// One round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    pub(super) blow: Blow,
    pub(super) node: usize,
    /// For how long nothing happens before.
    pub(super) after: Duration,
}

/// The rounds to come.
pub(super) struct Plan {
    dice: Dice,
    lease: Duration,
    /// Numbers of the kinds that are to come before any comes again.
    bag: Vec<u64>,
}

impl Plan {
    pub(super) fn new(seed: u64, lease: Duration) -> Self {
        Self { dice: Dice::new(seed), lease, bag: Vec::new() }
    }

    pub(super) fn next(&mut self) -> Round {
        if self.bag.is_empty() {
            self.bag.extend(0..5);
        }
        let kind = self.bag.swap_remove(self.dice.below(self.bag.len() as u64) as usize);
        let blow = match kind {
            0 => {
                // Either it is back before its lease has ended, or others have taken over by then.
                let soon = self.dice.below(2) == 0;
                Blow::Kill(if soon { self.dice.millis(2_000) } else { self.lease + self.dice.millis(5_000) })
            }
            1 => Blow::Terminate(self.dice.millis(5_000)),
            // Others take over when the lease ends, a renewal earlier at most: what is left of this is shorter than the lease.
            2 => Blow::Freeze(self.lease * 8 / 5),
            3 => Blow::Cut { time: self.lease * 3 / 2 + self.dice.millis(2_000), silent: self.dice.below(2) == 0 },
            _ => Blow::Renew,
        };
        Round { blow, node: self.dice.below(NODES as u64) as usize, after: self.dice.millis(2_000) }
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { blow, node, .. } = self;
        match blow {
            Blow::Kill(time) => write!(f, "node {node}: SIGKILL, and a start {} ms later", time.as_millis()),
            Blow::Terminate(time) => {
                write!(f, "node {node}: SIGTERM, and a start {} ms after its end", time.as_millis())
            }
            Blow::Freeze(time) => write!(f, "node {node}: SIGSTOP for {} s", time.as_secs()),
            Blow::Cut { time, silent } => {
                let how = if *silent { "in silence" } else { "refused" };
                write!(f, "node {node}: cut from the database ({how}) for {} s", time.as_secs())
            }
            Blow::Renew => write!(f, "all nodes: SIGTERM and a start, one after the other"),
        }
    }
}

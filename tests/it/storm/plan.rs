//! What a storm consists of, and when. All of it follows from the seed.

#![expect(clippy::wildcard_enum_match_arm, reason = "a few kinds of many each time")]

use std::fmt;
use std::time::Duration;

use holdfast_sim::{Action, RefuseMode};

use crate::torture::plan::Dice;

/// What happens to one connection.
const SINGLE: &[Kind] = &[
    Kind::Rst,
    Kind::Fin,
    Kind::CloseFrame,
    Kind::Stall,
    Kind::Silence,
    Kind::Garbage,
    Kind::StreamError(Some(515)),
    Kind::StreamError(Some(503)),
    Kind::StreamError(Some(429)),
    Kind::StreamError(Some(500)),
    Kind::StreamError(None),
    Kind::Late,
    Kind::Panic,
];

/// What happens to the server, and so to whoever dials meanwhile.
const SERVER: &[Kind] = &[
    Kind::BlackHole,
    Kind::UpgradeRefused(503),
    Kind::UpgradeRefused(403),
    Kind::UpgradeRefused(401),
    Kind::UpgradeSilence,
    Kind::NoiseUnfinished,
    Kind::NothingAfterSuccess,
    Kind::SlowServer,
    Kind::ServerRestart,
    Kind::NetworkCut,
];

/// What only an operator ends.
pub(super) const TERMINAL: &[Kind] =
    &[Kind::DeviceRemoved, Kind::Banned, Kind::Replaced, Kind::Outdated, Kind::LoggedOut];

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Rst,
    Fin,
    CloseFrame,
    /// The server neither reads nor writes on that connection.
    Stall,
    /// It reads, and answers nothing.
    Silence,
    /// A frame comes that cannot be decrypted, and nothing after it can.
    Garbage,
    StreamError(Option<u16>),
    /// Everything comes late on that connection, and in time.
    Late,
    /// A task of the engine that serves a connection panics.
    Panic,
    /// Some connections are stalled, and new ones never answered.
    BlackHole,
    UpgradeRefused(u16),
    UpgradeSilence,
    NoiseUnfinished,
    NothingAfterSuccess,
    /// Every step of a login is slow.
    SlowServer,
    /// All connections are reset, and nobody listens for a while.
    ServerRestart,
    /// All connections are stalled, and new ones never answered.
    NetworkCut,
    Replaced,
    DeviceRemoved,
    Banned,
    Outdated,
    LoggedOut,
}

/// Whom a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    One,
    /// A tenth of the instances.
    Some,
    All,
}

impl Kind {
    /// What is done to the connections that are struck.
    pub(super) fn action(self) -> Option<Action> {
        let action = match self {
            Self::Panic => return None,
            Self::Fin => Action::Fin,
            Self::CloseFrame => Action::WsClose { code: Some(1011) },
            Self::Stall | Self::BlackHole | Self::NetworkCut => Action::Stall,
            Self::Silence => Action::Silent,
            Self::Garbage => Action::Garbage,
            Self::StreamError(code) => Action::StreamError { code, conflict: None, times: None },
            Self::Late => Action::Delay { ms: 300 },
            Self::Replaced => Action::Replaced,
            Self::DeviceRemoved => Action::DeviceRemoved,
            Self::Banned => Action::Ban { seconds: 3600, code: None },
            Self::Rst
            | Self::UpgradeRefused(_)
            | Self::UpgradeSilence
            | Self::NoiseUnfinished
            | Self::NothingAfterSuccess
            | Self::SlowServer
            | Self::ServerRestart
            | Self::Outdated
            | Self::LoggedOut => Action::Rst,
        };
        Some(action)
    }

    /// With which code the next login is refused.
    pub(super) fn next_login(self) -> Option<u16> {
        match self {
            Self::Outdated => Some(405),
            Self::LoggedOut => Some(403),
            _other => None,
        }
    }

    /// How newcomers are refused meanwhile.
    pub(super) fn door(self) -> Option<(RefuseMode, Option<u16>)> {
        match self {
            Self::BlackHole | Self::UpgradeSilence | Self::NetworkCut => Some((RefuseMode::Hang, None)),
            Self::UpgradeRefused(status) => Some((RefuseMode::Http, Some(status))),
            Self::ServerRestart => Some((RefuseMode::Listen, None)),
            _other => None,
        }
    }

    /// Whether the connection is lost by it.
    pub(super) fn cuts(self) -> bool {
        self != Self::Late
    }

    /// Whether the network tells of it at once: nobody has to find out that an answer does not come.
    pub(super) fn is_told(self) -> bool {
        matches!(self, Self::Rst | Self::Fin | Self::CloseFrame)
    }

    /// The code under which an instance stays parked.
    pub(super) fn parks(self) -> Option<&'static str> {
        match self {
            Self::Replaced => Some("wa-replaced"),
            Self::DeviceRemoved | Self::LoggedOut => Some("wa-logged-out"),
            Self::Banned => Some("wa-temporary-ban"),
            Self::Outdated => Some("wa-client-outdated"),
            _other => None,
        }
    }

    pub(super) fn reach(self) -> Reach {
        match self {
            Self::ServerRestart | Self::NetworkCut => Reach::All,
            _some if SERVER.contains(&self) => Reach::Some,
            _one => Reach::One,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Rst => "reset",
            Self::Fin => "FIN",
            Self::CloseFrame => "close frame",
            Self::Stall => "stalled connection",
            Self::Silence => "silent connection",
            Self::Garbage => "frames that do not decrypt",
            Self::StreamError(Some(code)) => return f.pad(&format!("stream error {code}")),
            Self::StreamError(None) => "stream error without a code",
            Self::Late => "late connection (300 ms)",
            Self::Panic => "panic in a task of a link",
            Self::BlackHole => "black hole",
            Self::UpgradeRefused(status) => return f.pad(&format!("upgrade refused with {status}")),
            Self::UpgradeSilence => "upgrade never answered",
            Self::NoiseUnfinished => "handshake never finished",
            Self::NothingAfterSuccess => "nothing after <success>",
            Self::SlowServer => "slow server",
            Self::ServerRestart => "server restart (all)",
            Self::NetworkCut => "network cut (all)",
            Self::Replaced => "replaced (terminal)",
            Self::DeviceRemoved => "device removed (terminal)",
            Self::Banned => "temporary ban (terminal)",
            Self::Outdated => "failure 405 (terminal)",
            Self::LoggedOut => "failure 403 (terminal)",
        };
        f.pad(name)
    }
}

/// One fault of a storm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Strike {
    /// When, from the beginning.
    pub(super) at: Duration,
    pub(super) kind: Kind,
    /// Whom it strikes first, if it does not strike all; the next one if that one is not connected.
    pub(super) who: usize,
    /// For how long newcomers are met differently, if they are.
    pub(super) lasts: Duration,
}

/// A whole storm, in order of time. The last instances are those that a terminal fault strikes.
pub(super) fn storm(seed: u64, instances: usize, time: Duration) -> Vec<Strike> {
    let mut dice = Dice::new(seed);
    let talkers = talkers(instances);
    let mut strikes = Vec::new();
    let every = (Duration::from_secs(5) / u32::try_from(talkers).unwrap_or(u32::MAX)).max(Duration::from_millis(200));
    let mut bag = Vec::new();
    let mut at = every;
    while at < time {
        let who = dice.below(talkers as u64) as usize;
        strikes.push(Strike { at, kind: draw(&mut bag, SINGLE, &mut dice), who, lasts: Duration::ZERO });
        at += every;
    }
    let between = (time / 10).clamp(Duration::from_secs(2), Duration::from_secs(12));
    let mut bag = Vec::new();
    let mut at = between / 2;
    while at < time {
        let who = dice.below(talkers as u64) as usize;
        let lasts = between.mul_f64(0.2) + dice.millis((between.as_millis() / 5) as u64);
        strikes.push(Strike { at, kind: draw(&mut bag, SERVER, &mut dice), who, lasts });
        at += between;
    }
    for (number, who) in (talkers..instances).enumerate() {
        let at = time / 10 + dice.millis((time.as_millis() * 8 / 10) as u64);
        strikes.push(Strike { at, kind: TERMINAL[number % TERMINAL.len()], who, lasts: Duration::ZERO });
    }
    strikes.sort_by_key(|strike| strike.at);
    strikes
}

/// How many instances are struck by nothing terminal.
pub(super) fn talkers(instances: usize) -> usize {
    instances - (instances / 10).max(TERMINAL.len()).min(instances / 2)
}

/// Takes a kind out of the bag, and fills it when it is empty: every kind comes as often as any other.
fn draw(bag: &mut Vec<Kind>, kinds: &[Kind], dice: &mut Dice) -> Kind {
    if bag.is_empty() {
        bag.extend_from_slice(kinds);
    }
    bag.swap_remove(dice.below(bag.len() as u64) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_storm_with_every_kind_in_it() {
        let time = Duration::from_secs(300);
        let whole = storm(1, 100, time);
        assert_eq!(whole, storm(1, 100, time));
        assert_ne!(whole, storm(2, 100, time));
        for kind in SINGLE.iter().chain(SERVER).chain(TERMINAL) {
            assert!(whole.iter().filter(|strike| strike.kind == *kind).count() >= 2, "{kind}");
        }
        assert!(whole.iter().all(|strike| strike.kind.parks().is_some() == (strike.who >= talkers(100))));
    }
}

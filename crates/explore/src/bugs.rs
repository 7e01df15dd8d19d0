//! Mistakes that are made on purpose, one at a time, to show that the search finds them. The decisions themselves stay as they are:
//! each mistake is made by the simulated shell round them.

/// A planted mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A fact about an old link is taken for one about the present link.
    StaleFacts,
    /// The timer of a longer backoff is not armed.
    TimerLost,
    /// Every connection resets the backoff, however short it was.
    FlappingResets,
    /// The end of a link is reported as soon as its close was asked for.
    DialBeforeDown,
    /// Whoever reads the status takes `open` for true although its proof has run out.
    FreshnessIgnored,
    /// A ping counts as answered once it was written.
    PingNotAwaited,
    /// A save is reported as done without having been made.
    SaveSkipped,
    /// What the operator wants is not written.
    DesireNotStored,
    /// A crash forgets what the operator wants.
    CrashForgetsDesire,
    /// The actor after a crash is told of the credentials what the last one believed.
    CrashForgetsPairing,
    /// A sign of life counts from when the actor takes it.
    ProofDatedLate,
    /// An actor takes it for told that its instance is closed, whatever was told last.
    ToldForgotten,
    /// A child that crashed too often is started again.
    QuarantineRestarts,
    /// The phases of a shutdown have no deadline.
    ShutdownWaits,
    /// A 401 of a proxy or an HTTP upgrade is taken for a logout.
    UpgradeLogsOut,
    /// A store that does not answer is taken for one without credentials.
    AbsenceOfStore,
    /// A link that is given up is not sealed.
    AbandonedUnsealed,
    /// An unreachable network parks the instance.
    NetworkParks,
    /// A ban has no end.
    BanForEver,
    /// The report of a shutdown leaves out what was forced.
    ReportKeepsSilent,
    /// An instance that crashes takes its neighbour's connection along.
    CrashSpreads,
    /// The watchdog asks for proof of life only when it is too late.
    PingLate,
    /// The watchdog does not look at a claim that has run out.
    LookForgotten,
    /// A layer of copies that does not answer is taken for an empty one.
    SilenceIsAbsence,
    /// What must not dial yet is started all the same.
    WithheldIgnored,
    /// A copy of an earlier state goes on with its chains of keys.
    CopyGoesOnExactly,
    /// What a copy has shown is forgotten when its layer falls silent.
    ProofForgotten,
    /// An actor that leaves does not wait until what it told last is written.
    LastWordLost,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 28] = [
        Self::StaleFacts,
        Self::TimerLost,
        Self::FlappingResets,
        Self::DialBeforeDown,
        Self::FreshnessIgnored,
        Self::PingNotAwaited,
        Self::SaveSkipped,
        Self::DesireNotStored,
        Self::CrashForgetsDesire,
        Self::CrashForgetsPairing,
        Self::ProofDatedLate,
        Self::ToldForgotten,
        Self::QuarantineRestarts,
        Self::ShutdownWaits,
        Self::UpgradeLogsOut,
        Self::AbsenceOfStore,
        Self::AbandonedUnsealed,
        Self::NetworkParks,
        Self::BanForEver,
        Self::ReportKeepsSilent,
        Self::CrashSpreads,
        Self::PingLate,
        Self::LookForgotten,
        Self::SilenceIsAbsence,
        Self::WithheldIgnored,
        Self::CopyGoesOnExactly,
        Self::ProofForgotten,
        Self::LastWordLost,
    ];

    /// Returns its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::StaleFacts => "stale-facts",
            Self::TimerLost => "timer-lost",
            Self::FlappingResets => "flapping-resets",
            Self::DialBeforeDown => "dial-before-down",
            Self::FreshnessIgnored => "freshness-ignored",
            Self::PingNotAwaited => "ping-not-awaited",
            Self::SaveSkipped => "save-skipped",
            Self::DesireNotStored => "desire-not-stored",
            Self::CrashForgetsDesire => "crash-forgets-desire",
            Self::CrashForgetsPairing => "crash-forgets-pairing",
            Self::ProofDatedLate => "proof-dated-late",
            Self::ToldForgotten => "told-forgotten",
            Self::QuarantineRestarts => "quarantine-restarts",
            Self::ShutdownWaits => "shutdown-waits",
            Self::UpgradeLogsOut => "upgrade-logs-out",
            Self::AbsenceOfStore => "absence-of-store",
            Self::AbandonedUnsealed => "abandoned-unsealed",
            Self::NetworkParks => "network-parks",
            Self::BanForEver => "ban-for-ever",
            Self::ReportKeepsSilent => "report-keeps-silent",
            Self::CrashSpreads => "crash-spreads",
            Self::PingLate => "ping-late",
            Self::LookForgotten => "look-forgotten",
            Self::SilenceIsAbsence => "silence-is-absence",
            Self::WithheldIgnored => "withheld-ignored",
            Self::CopyGoesOnExactly => "copy-goes-on-exactly",
            Self::ProofForgotten => "proof-forgotten",
            Self::LastWordLost => "last-word-lost",
        }
    }

    /// Finds one by its name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|bug| bug.name() == name)
    }
}

//! What holds in every history of an instance, whatever the network, WhatsApp, the store and the operator do.

use std::time::Duration;

use holdfast_core::backoff::Backoff;
use holdfast_core::connection::state::PublicState;
use holdfast_core::connection::{
    Desired, DownReason, Effect, Env, Event, Machine, Method, Notice, Phase, Policy, Refusal, State,
};
use holdfast_core::fleet::Standing;
use holdfast_core::id::LinkId;
use holdfast_core::time::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

/// One thing that happens in a history. Facts are about the newest link, or about one that many dials ago.
#[derive(Debug, Clone)]
enum Happening {
    Command(Event),
    Fact {
        age: u64,
        fact: Fact,
    },
    Wait(u64),
    Deadline,
    /// The turn comes that was asked for that many dials ago.
    Turn(u64),
    Hold(bool),
}

#[derive(Debug, Clone)]
enum Fact {
    Qr,
    Code,
    Paired,
    Authenticated,
    Ready,
    /// Seen at this many milliseconds from now.
    Proof(i64),
    Pong(i64),
    PingFailed,
    Saved(bool),
    Down(DownReason),
}

impl Fact {
    fn about(&self, link: LinkId, now: Timestamp) -> Event {
        let seen = |ms: &i64| Timestamp::from_millis(now.as_millis().saturating_add_signed(*ms));
        match self {
            Self::Qr => Event::QrShown { link, text: "qr".into(), valid: Duration::from_secs(20) },
            Self::Code => Event::CodeShown {
                link,
                number: "5511999999999".into(),
                code: "ABCD1234".into(),
                valid: Duration::from_secs(160),
            },
            Self::Paired => Event::Paired { link },
            Self::Authenticated => Event::Authenticated { link },
            Self::Ready => Event::Ready { link },
            Self::Proof(ms) => Event::Proof { link, at: seen(ms) },
            Self::Pong(ms) => Event::Pong { link, at: seen(ms) },
            Self::PingFailed => Event::PingFailed { link },
            Self::Saved(ok) => Event::Saved { link, ok: *ok },
            Self::Down(why) => Event::LinkDown { link, why: why.clone() },
        }
    }
}

fn down_reason() -> impl Strategy<Value = DownReason> {
    prop_oneof![
        Just(DownReason::Requested),
        Just(DownReason::Dns),
        Just(DownReason::UpgradeRefused { status: 401 }),
        Just(DownReason::SocketLost { code: None }),
        Just(DownReason::Silent),
        Just(DownReason::RestartRequired),
        Just(DownReason::RateLimited),
        Just(DownReason::LoggedOut { code: 401 }),
        Just(DownReason::Replaced),
        Just(DownReason::TemporaryBan { seconds: Some(300) }),
        Just(DownReason::Outdated),
        Just(DownReason::Refused { code: 411 }),
        Just(DownReason::QrExhausted),
        Just(DownReason::StoreUnavailable),
        Just(DownReason::CredentialsCorrupt),
        Just(DownReason::LeaseLost),
        Just(DownReason::Panicked),
    ]
}

/// Those that pass without a person.
fn passing_reason() -> impl Strategy<Value = DownReason> {
    down_reason().prop_filter("needs a person", |why| {
        !matches!(
            why,
            DownReason::LoggedOut { .. } | DownReason::Outdated | DownReason::Refused { .. } | DownReason::Panicked
        )
    })
}

/// Mostly just now; some waited in a mailbox, and some claim to be from the future.
fn seen() -> impl Strategy<Value = i64> {
    prop_oneof![4 => Just(0), 2 => -120_000_i64..0, 1 => 1_i64..120_000]
}

fn fact() -> impl Strategy<Value = Fact> {
    prop_oneof![
        1 => Just(Fact::Qr),
        1 => Just(Fact::Code),
        1 => Just(Fact::Paired),
        3 => Just(Fact::Authenticated),
        3 => Just(Fact::Ready),
        1 => seen().prop_map(Fact::Proof),
        3 => seen().prop_map(Fact::Pong),
        1 => Just(Fact::PingFailed),
        1 => any::<bool>().prop_map(Fact::Saved),
        6 => down_reason().prop_map(Fact::Down),
    ]
}

fn happening() -> impl Strategy<Value = Happening> {
    let command = prop_oneof![
        Just(Event::Connect { method: Method::Qr }),
        Just(Event::Connect { method: Method::Code("5511999999999".into()) }),
        Just(Event::Restart),
        Just(Event::Rerouted),
        Just(Event::LogOut),
        Just(Event::PingDue),
        Just(Event::Elapsed),
    ];
    prop_oneof![
        3 => command.prop_map(Happening::Command),
        12 => (prop_oneof![9 => Just(0_u64), 1 => 1_u64..4], fact()).prop_map(|(age, fact)| Happening::Fact { age, fact }),
        3 => (0_u64..120_000).prop_map(Happening::Wait),
        3 => Just(Happening::Deadline),
        6 => prop_oneof![5 => Just(0_u64), 1 => 1_u64..4].prop_map(Happening::Turn),
        1 => any::<bool>().prop_map(Happening::Hold),
    ]
}

fn history() -> impl Strategy<Value = (bool, Vec<Happening>)> {
    (any::<bool>(), prop::collection::vec(happening(), 0..80))
}

/// Runs a history and checks, after each step, what has to hold in all of them.
struct Run {
    machine: Machine,
    now: Timestamp,
    policy: Policy,
    jitter: f64,
    /// The socket that the world has: opened and not yet reported as ended or cut.
    socket: Option<LinkId>,
    /// Whether each turn that is asked for is granted at once.
    turns: bool,
    /// How the machine last said that it stands.
    stood: Standing,
    public: PublicState,
    /// When the newest sign of life of the present connection was seen.
    newest: Option<Timestamp>,
}

impl Run {
    fn new(paired: bool, jitter: f64) -> Self {
        Self::with_turns(paired, jitter, true)
    }

    fn with_turns(paired: bool, jitter: f64, turns: bool) -> Self {
        let mut run = Self {
            turns,
            stood: Standing::Out,
            machine: Machine::new(),
            now: Timestamp::from_millis(10_000),
            policy: Policy::default(),
            jitter,
            socket: None,
            public: PublicState::Close,
            newest: None,
        };
        run.step(Event::Booted { paired, desired: Desired::Connected });
        run
    }

    fn live(&mut self, happening: &Happening) -> Vec<Effect> {
        match happening {
            Happening::Command(event) => self.step(event.clone()),
            Happening::Fact { age, fact } => {
                let link = LinkId(self.machine.last_link().0.saturating_sub(*age));
                self.step(fact.about(link, self.now))
            }
            Happening::Turn(age) => {
                let link = LinkId(self.machine.last_link().0.saturating_sub(*age));
                self.step(Event::TurnGranted { link })
            }
            Happening::Hold(held) => self.step(Event::TurnHeld { link: self.machine.last_link(), held: *held }),
            Happening::Wait(ms) => {
                self.now = self.now.after(Duration::from_millis(*ms));
                Vec::new()
            }
            Happening::Deadline => match self.machine.deadline() {
                Some(due) => {
                    self.now = self.now.max(due);
                    self.step(Event::Elapsed)
                }
                None => Vec::new(),
            },
        }
    }

    fn step(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = self.one_step(event);
        if let (true, Standing::Asks { link, .. }) = (self.turns, self.machine.standing()) {
            effects.extend(self.one_step(Event::TurnGranted { link }));
        }
        effects
    }

    fn one_step(&mut self, event: Event) -> Vec<Effect> {
        let before = self.machine.clone();
        let stale = event.link().is_some_and(|link| before.link() != Some(link));
        let parked_for_good = matches!(before.state, State::Parked { retry: None, .. } | State::Unpaired);
        if let Event::LinkDown { link, .. } = &event
            && self.socket == Some(*link)
        {
            self.socket = None;
        }
        let env = Env { now: self.now, jitter: self.jitter, policy: &self.policy };
        let (machine, effects) = before.clone().step(event.clone(), env);
        self.machine = machine;

        if stale {
            assert_eq!((&self.machine, effects.len()), (&before, 0), "a stale fact changed something: {event:?}");
        }
        for effect in &effects {
            if let Effect::OpenLink { link, .. } = effect {
                assert_eq!(self.socket, None, "two sockets after {event:?} in {:?}", before.state);
                assert!(!parked_for_good, "a parked instance dialled after {event:?}");
                let asked = before.standing() == Standing::Asks { link: *link, urgent: true }
                    || before.standing() == Standing::Asks { link: *link, urgent: false };
                assert!(asked && event == Event::TurnGranted { link: *link }, "a dial without a turn after {event:?}");
                self.socket = Some(*link);
            } else if let Effect::AbandonLink { link } = effect {
                assert_eq!(self.socket, Some(*link));
                self.socket = None;
            } else if let Effect::CloseLink { link }
            | Effect::Ping { link, .. }
            | Effect::Save { link }
            | Effect::LogOutLink { link } = effect
            {
                assert_eq!(self.socket, Some(*link), "{effect:?} for a socket that is gone");
            }
        }
        assert_eq!(self.machine.link(), self.socket, "the machine and the world disagree about the socket");
        for effect in &effects {
            if let Effect::Stand(standing) = effect {
                self.stood = *standing;
            }
        }
        assert_eq!(self.stood, self.machine.standing(), "the fleet was not told");
        if let Some(leaves) =
            effects.iter().position(|effect| matches!(effect, Effect::Exit { .. } | Effect::Fail { .. }))
        {
            assert_eq!(leaves + 1, effects.len(), "what comes after it may not be written: {effects:?}");
        }
        self.check_deadline();
        self.check_notices(&effects);
        if let State::Stopped { .. } = before.state {
            assert_eq!(self.machine.state, before.state, "stopped is final");
        }
        if self.machine.state.phase() == Phase::Online && before.state.phase() != Phase::Online {
            assert!(matches!(event, Event::Pong { .. }), "online without an answered request");
        }
        self.check_freshness(&before, &event);
        effects
    }

    /// The claim of being open is as old as the newest thing that was seen, and no younger.
    fn check_freshness(&mut self, before: &Machine, event: &Event) {
        let State::Online { proof, fresh_until, .. } = self.machine.state else {
            self.newest = None;
            return;
        };
        let known = if let State::Online { proof, .. } = before.state { Some(proof) } else { None };
        let stale = event.link() != before.link();
        if let Event::Proof { at, .. } | Event::Pong { at, .. } = event
            && !stale
        {
            self.newest = self.newest.max(Some((*at).min(self.now)));
        }
        assert_eq!(Some(proof), self.newest, "the proof is not the newest that was seen after {event:?}");
        assert_eq!(fresh_until, proof.after(self.policy.proof_window()));
        assert!(known <= Some(proof), "a proof was taken back by {event:?}");
        assert!(known.is_some() || self.now < fresh_until, "opened by a proof that carries no further: {event:?}");
    }

    fn check_deadline(&self) {
        let waits =
            !matches!(self.machine.state, State::Unpaired | State::Stopped { .. } | State::Parked { retry: None, .. })
                || (self.socket.is_some() && !matches!(self.machine.state, State::Stopped { .. }));
        assert_eq!(waits, self.machine.deadline().is_some(), "{:?}", self.machine);
    }

    fn check_notices(&mut self, effects: &[Effect]) {
        let told: Vec<PublicState> = effects
            .iter()
            .filter_map(|effect| if let Effect::Publish(notice) = effect { public_state(notice) } else { None })
            .collect();
        let now = self.machine.state.phase().public();
        let expected = if now == self.public { vec![] } else { vec![now] };
        assert_eq!(told, expected, "each change of the public state is published once");
        self.public = now;
    }
}

/// Returns the state that a notice tells of, if it tells of one.
fn public_state(notice: &Notice) -> Option<PublicState> {
    match notice {
        Notice::Open => Some(PublicState::Open),
        Notice::Connecting { .. } => Some(PublicState::Connecting),
        Notice::Closed { .. } => Some(PublicState::Close),
        Notice::Qr { .. } | Notice::Code { .. } | Notice::QrLimit | Notice::LoggedOut { .. } => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))), ..ProptestConfig::default() })]

    /// Never two links open, no dial without a turn, stale links change nothing, parked instances never dial by themselves, every waiting state has a
    /// deadline, stopped is final, each state change is published once, open needs an answered request, and is as fresh as what was seen.
    #[test]
    fn s15_every_history_keeps_the_rules((paired, history) in history(), jitter in 0.0_f64..=1.0, turns in any::<bool>()) {
        let mut run = Run::with_turns(paired, jitter, turns);
        for happening in &history {
            run.live(happening);
        }
    }

    /// And what expired never dials again.
    #[test]
    fn s35_what_expires_was_never_paired_and_nobody_is_pairing_it((paired, history) in history(), after in prop::collection::vec(happening(), 0..20)) {
        let mut run = Run::new(paired, 0.5);
        let mut ever_paired = run.machine.paired;
        for happening in &history {
            run.live(happening);
            ever_paired |= run.machine.paired;
        }
        let (phase, socket) = (run.machine.state.phase(), run.socket);
        prop_assume!(phase != Phase::Stopped);
        let effects = run.step(Event::Expire);
        if !effects.contains(&Effect::Exit { clean: true }) {
            prop_assert_eq!(effects, vec![Effect::Refuse(Refusal::InUse)]);
            return Ok(());
        }
        prop_assert!(!ever_paired && socket.is_none() && matches!(phase, Phase::Unpaired | Phase::Parked));
        for happening in &after {
            let dials = run.live(happening).into_iter().any(|effect| matches!(effect, Effect::OpenLink { .. }));
            prop_assert!(!dials);
        }
    }

    #[test]
    fn shutdown_ends_within_its_budget_even_if_nobody_answers((paired, history) in history(), jitter in 0.0_f64..=1.0) {
        let mut run = Run::new(paired, jitter);
        for happening in &history {
            run.live(happening);
        }
        prop_assume!(!matches!(run.machine.state, State::Stopped { .. }));
        let end = run.now.after(Duration::from_secs(16));
        let mut effects = run.step(Event::Shutdown { within: Duration::from_secs(16) });
        while let Some(due) = run.machine.deadline() {
            prop_assert!(due <= end);
            run.now = run.now.max(due);
            effects.extend(run.step(Event::Elapsed));
        }
        prop_assert!(matches!(run.machine.state, State::Stopped { .. }), "{:?}", run.machine.state);
        prop_assert_eq!(effects.iter().filter(|effect| matches!(effect, Effect::Exit { .. })).count(), 1);
        prop_assert_eq!(run.socket, None);
    }

    #[test]
    fn save_comes_before_close_and_close_before_exit((paired, history) in history(), after in prop::collection::vec(happening(), 0..40)) {
        let mut run = Run::new(paired, 0.5);
        for happening in &history {
            run.live(happening);
        }
        let open = run.machine.state.phase() == Phase::Online;
        let mut effects = run.step(Event::Shutdown { within: Duration::from_secs(16) });
        for happening in &after {
            effects.extend(run.live(happening));
        }
        let at = |which: fn(&Effect) -> bool| effects.iter().position(which);
        let save = at(|effect| matches!(effect, Effect::Save { .. }));
        let close = at(|effect| matches!(effect, Effect::CloseLink { .. }));
        let exit = at(|effect| matches!(effect, Effect::Exit { clean: true }));
        prop_assert!(!open || save.is_some());
        if let (Some(save), Some(close)) = (save, close) {
            prop_assert!(save < close);
        }
        if let (Some(save), Some(exit)) = (save, exit) {
            prop_assert!(save < exit);
        }
        prop_assert!(!effects.iter().any(|effect| matches!(effect, Effect::OpenLink { .. })), "a draining instance dialled");
    }

    #[test]
    fn what_should_be_connected_keeps_trying(reasons in prop::collection::vec(passing_reason(), 1..40), jitter in 0.0_f64..=1.0) {
        let mut run = Run::new(true, jitter);
        for why in reasons {
            let link = run.machine.last_link();
            run.step(Event::LinkDown { link, why });
            if let Some(due) = run.machine.deadline() {
                prop_assert!(run.now.until(due) <= Duration::from_secs(3_600));
                run.now = run.now.max(due);
                run.step(Event::Elapsed);
            }
            prop_assert_eq!(run.machine.last_link(), link.next());
        }
    }

    #[test]
    fn backoff_is_monotone_and_capped(base in 1_u64..5_000, cap in 1_u64..600_000, attempt in 1_u32..64, jitter in 0.0_f64..=1.0) {
        let backoff = Backoff { base: Duration::from_millis(base), cap: Duration::from_millis(cap.max(base)) };
        prop_assert!(backoff.ceiling(attempt) <= backoff.ceiling(attempt + 1));
        prop_assert!(backoff.ceiling(attempt) <= backoff.cap);
        prop_assert!(backoff.delay(attempt, jitter) <= backoff.ceiling(attempt).max(backoff.base / 10));
        prop_assert!(backoff.delay(attempt, jitter) >= backoff.base / 10);
    }
}

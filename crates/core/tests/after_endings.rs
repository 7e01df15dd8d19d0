//! What an end leads to: over many connections, and over a restart of the process.

use std::time::Duration;

use holdfast_core::connection::{Desired, DownReason, Effect, Env, Event, Machine, Memory, Method, Phase, Policy};
use holdfast_core::explanation::NextTry;
use holdfast_core::fleet::Standing;
use holdfast_core::id::LinkId;
use holdfast_core::status::InstanceStatus;
use holdfast_core::time::Timestamp;

struct Life {
    machine: Machine,
    now: Timestamp,
    dials: Vec<u64>,
}

impl Life {
    fn after(why: DownReason, retry: Option<Timestamp>) -> Self {
        let machine = Machine::new().remembering(Some(Memory { why, retry }));
        Self { machine, now: Timestamp::from_millis(1_000_000), dials: Vec::new() }
    }

    /// What happens; a dial's turn comes at once.
    fn happens(&mut self, event: Event) {
        self.step(event);
        if let Standing::Asks { link, .. } = self.machine.standing() {
            self.step(Event::TurnGranted { link });
        }
    }

    fn step(&mut self, event: Event) {
        let policy = Policy::default();
        let env = Env { now: self.now, jitter: 0.5, policy: &policy };
        let (machine, effects) = std::mem::take(&mut self.machine).step(event, env);
        self.machine = machine;
        for effect in effects {
            if let Effect::OpenLink { link, .. } = effect {
                self.dials.push(link.0);
            }
        }
    }

    fn boots(&mut self, paired: bool, desired: Desired) {
        self.happens(Event::Booted { paired, desired });
    }

    fn comes_online(&mut self, link: u64) {
        let link = LinkId(link);
        self.happens(Event::Authenticated { link });
        self.happens(Event::Ready { link });
        self.happens(Event::Pong { link, at: self.now });
        assert_eq!(self.phase(), Phase::Online);
    }

    fn phase(&self) -> Phase {
        self.machine.state.phase()
    }

    fn trouble(&self) -> Option<&DownReason> {
        self.machine.trouble().map(|trouble| &trouble.why)
    }
}

#[test]
fn s16_an_error_on_each_connection_counts_however_often_it_comes_up_in_between() {
    let mut life = Life::after(DownReason::Silent, None);
    life.boots(true, Desired::Connected);
    life.comes_online(1);
    for round in 1..=5 {
        let why = DownReason::Transient { code: None };
        life.happens(Event::LinkDown { link: LinkId(u64::from(round)), why });
        assert_eq!((life.phase(), life.machine.failures()), (Phase::BackingOff, round));
        life.now = life.now.after(Duration::from_secs(300));
        life.happens(Event::Elapsed);
        life.comes_online(u64::from(round) + 1);
    }
    assert_eq!(life.machine.failures(), 5, "a brief open resets nothing");
}

#[test]
fn s10_a_ban_is_waited_out_over_a_restart_and_an_operator_wins_over_it() {
    let why = DownReason::TemporaryBan { seconds: Some(600) };
    let mut life = Life::after(why.clone(), Some(Timestamp::from_millis(1_300_000)));
    life.boots(true, Desired::Connected);
    assert_eq!(
        (life.phase(), &life.dials, life.trouble()),
        (Phase::Parked, &vec![], Some(&why)),
        "no attempt inside it"
    );
    let mut asked = Life { machine: life.machine.clone(), ..Life::after(DownReason::Dns, None) };
    asked.happens(Event::Connect { method: Method::Qr });
    assert_eq!(asked.dials, [1]);
    life.now = life.now.after(Duration::from_secs(301));
    life.happens(Event::Elapsed);
    assert_eq!(life.dials, [1], "one try at its end");
    let mut over = Life::after(why, Some(Timestamp::from_millis(999_999)));
    over.boots(true, Desired::Connected);
    assert_eq!(over.dials, [1], "it ended while nobody was there");
}

#[test]
fn s09_a_ban_that_ends_just_after_a_start_leaves_the_first_401_in_doubt() {
    let why = DownReason::TemporaryBan { seconds: Some(600) };
    let mut life = Life::after(why, Some(Timestamp::from_millis(1_020_000)));
    life.boots(true, Desired::Connected);
    life.now = life.now.after(Duration::from_secs(20));
    life.happens(Event::Elapsed);
    let refused = |link| Event::LinkDown { link: LinkId(link), why: DownReason::LoggedOut { code: 401 } };
    life.happens(refused(1));
    assert!(life.machine.paired, "the last process may have ended just after the pairing");
    assert_eq!(life.dials, [1, 2]);
    life.happens(refused(2));
    assert!(!life.machine.paired, "the second is believed");
}

#[test]
fn s09_a_removed_device_still_says_so_after_a_restart() {
    let mut life = Life::after(DownReason::LoggedOut { code: 401 }, None);
    life.boots(false, Desired::Connected);
    assert_eq!((life.phase(), &life.dials), (Phase::Parked, &vec![]));
    let status = InstanceStatus::of(&life.machine, Timestamp::default());
    let told = status.explanation_at(Timestamp::default()).unwrap();
    assert_eq!((told.code, told.next_try), ("wa-logged-out", NextTry::Never));
    life.happens(Event::Connect { method: Method::Qr });
    assert_eq!(life.dials, [1], "pairing again needs no more than the wish");
}

#[test]
fn other_ends_are_tried_anew_after_a_restart_and_explained_until_it_is_online() {
    for why in [DownReason::Outdated, DownReason::Refused { code: 411 }, DownReason::Replaced] {
        let mut life = Life::after(why.clone(), None);
        life.boots(true, Desired::Connected);
        assert_eq!((&life.dials, life.trouble()), (&vec![1], Some(&why)));
        life.comes_online(1);
        assert_eq!(life.trouble(), None);
    }
    let mut stopped = Life::after(DownReason::Replaced, None);
    stopped.boots(true, Desired::Stopped);
    assert_eq!((stopped.phase(), stopped.trouble()), (Phase::Parked, None), "an operator's stop needs no other reason");
}

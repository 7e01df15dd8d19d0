//! The proxy of an instance is changed: what is connected by another way does not stay so, and nothing else is disturbed.

use std::time::Duration;

use holdfast_core::connection::{Desired, DownReason, Effect, Env, Event, Machine, Phase, Policy};
use holdfast_core::fleet::Standing;
use holdfast_core::id::LinkId;
use holdfast_core::proxy::Fault;
use holdfast_core::time::Timestamp;

const NOW: Timestamp = Timestamp::from_millis(1_000);

/// A machine, and the links that it has dialled and closed.
#[derive(Default)]
struct Story {
    machine: Machine,
    dialled: Vec<u64>,
    closed: Vec<u64>,
}

impl Story {
    fn booted(desired: Desired) -> Self {
        Self::default().then(Event::Booted { paired: true, desired })
    }

    fn online() -> Self {
        let link = LinkId(1);
        let story = Self::booted(Desired::Connected).then(Event::Authenticated { link });
        story.then(Event::Ready { link }).then(Event::Pong { link, at: NOW })
    }

    /// What happens next; a dial's turn comes at once.
    fn then(self, event: Event) -> Self {
        let story = self.step(event);
        let Standing::Asks { link, .. } = story.machine.standing() else { return story };
        story.step(Event::TurnGranted { link })
    }

    fn step(mut self, event: Event) -> Self {
        let policy = Policy::default();
        let env = Env { now: NOW, jitter: 0.5, policy: &policy };
        let (machine, effects) = self.machine.step(event, env);
        self.machine = machine;
        for effect in effects {
            if let Effect::OpenLink { link, .. } = effect {
                self.dialled.push(link.0);
            } else if let Effect::CloseLink { link } = effect {
                self.closed.push(link.0);
            }
        }
        self
    }

    fn down(self, link: u64, why: DownReason) -> Self {
        self.then(Event::LinkDown { link: LinkId(link), why })
    }

    fn phase(&self) -> Phase {
        self.machine.state.phase()
    }
}

#[test]
fn s48_a_changed_proxy_closes_the_old_way_first_and_is_no_failure() {
    let story = Story::online();
    assert_eq!(story.phase(), Phase::Online);
    let story = story.then(Event::Rerouted).then(Event::Rerouted);
    assert_eq!((&story.closed[..], &story.dialled[..]), (&[1][..], &[1][..]));
    let story = story.down(1, DownReason::Requested);
    assert_eq!((&story.dialled[..], story.machine.failures()), (&[1, 2][..], 0));
}

#[test]
fn a_changed_proxy_ends_the_wait_for_the_old_one() {
    let story = Story::online().down(1, DownReason::Proxy { fault: Fault::Unreachable });
    assert_eq!((story.phase(), story.machine.failures()), (Phase::BackingOff, 1));
    let story = story.then(Event::Rerouted);
    assert_eq!((&story.dialled[..], story.machine.failures()), (&[1, 2][..], 0));
}

#[test]
fn a_changed_proxy_dials_nothing_that_waits_for_something_else() {
    let ends = [
        (Story::default(), Phase::Unpaired),
        (Story::booted(Desired::Stopped), Phase::Parked),
        (Story::online().down(1, DownReason::Replaced), Phase::Parked),
        (Story::online().down(1, DownReason::StoreUnavailable), Phase::Waiting),
        (Story::online().then(Event::Shutdown { within: Duration::from_secs(5) }), Phase::Draining),
        (Story::online().then(Event::LogOut), Phase::Draining),
    ];
    for (story, phase) in ends {
        assert_eq!(story.phase(), phase);
        let before = story.dialled.clone();
        let story = story.then(Event::Rerouted);
        assert_eq!((story.phase(), &story.dialled, &story.closed[..]), (phase, &before, &[][..]));
    }
}

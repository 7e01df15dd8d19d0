//! WhatsApp asks for a new connection: once that is normal, again and again it is a failure.

use holdfast_core::connection::{Desired, DownReason, Env, Event, Machine, Phase, Policy};
use holdfast_core::fleet::Standing;
use holdfast_core::time::Timestamp;

struct Asked {
    machine: Machine,
    now: Timestamp,
    policy: Policy,
}

impl Asked {
    /// What happens; a dial's turn comes at once.
    fn happens(&mut self, event: Event) {
        self.step(event);
        if let Standing::Asks { link, .. } = self.machine.standing() {
            self.step(Event::TurnGranted { link });
        }
    }

    fn step(&mut self, event: Event) {
        let env = Env { now: self.now, jitter: 1.0, policy: &self.policy };
        self.machine = std::mem::take(&mut self.machine).step(event, env).0;
    }

    fn again(&mut self) -> (u64, Phase, u32) {
        let link = self.machine.last_link();
        self.happens(Event::LinkDown { link, why: DownReason::RestartRequired });
        (self.machine.last_link().0, self.machine.state.phase(), self.machine.failures())
    }

    fn is_due(&mut self) {
        self.now = self.machine.deadline().expect("it waits for the next dial");
        self.happens(Event::Elapsed);
    }

    fn stays_online(&mut self) {
        let link = self.machine.last_link();
        for event in [Event::Authenticated { link }, Event::Ready { link }, Event::Pong { link, at: self.now }] {
            self.happens(event);
        }
        self.now = self.now.after(self.policy.stable_after);
    }
}

#[test]
fn a_restart_that_is_asked_for_again_and_again_backs_off() {
    let mut asked = Asked { machine: Machine::new(), now: Timestamp::from_millis(1_000), policy: Policy::default() };
    asked.happens(Event::Booted { paired: true, desired: Desired::Connected });
    assert_eq!(asked.again(), (2, Phase::Connecting, 0), "once it is done at once");
    assert_eq!(asked.again(), (2, Phase::BackingOff, 1));
    asked.is_due();
    assert_eq!(asked.again(), (3, Phase::BackingOff, 2), "and its backoff grows");
    asked.is_due();
    asked.stays_online();
    assert_eq!(asked.again(), (5, Phase::Connecting, 0), "a stable connection lies between");
    assert_eq!(asked.again(), (5, Phase::BackingOff, 1));
    let link = asked.machine.last_link().next();
    asked.is_due();
    asked.happens(Event::Paired { link });
    assert_eq!(asked.again(), (7, Phase::Connecting, 1), "after a pairing it is expected");
}

//! An instance is deleted: by an operator, who is told whether the phone still lists its device, or because nobody ever paired it.

use std::time::Duration;

use holdfast_core::connection::{Desired, DownReason, Effect, Env, Event, Machine, Method, Phase, Policy, Refusal};
use holdfast_core::fleet::Standing;
use holdfast_core::id::LinkId;
use holdfast_core::time::Timestamp;

const FIRST: LinkId = LinkId(1);

/// A machine, and what its last step has brought.
#[derive(Default)]
struct Story {
    machine: Machine,
    effects: Vec<Effect>,
}

impl Story {
    fn booted(paired: bool) -> Self {
        Self::default().then(Event::Booted { paired, desired: Desired::Connected })
    }

    fn online() -> Self {
        let story = Self::booted(true).then(Event::Authenticated { link: FIRST });
        story.then(Event::Ready { link: FIRST }).then(Event::Pong { link: FIRST, at: Timestamp::from_millis(1_000) })
    }

    fn pairing() -> Self {
        let story = Self::booted(false).then(Event::Connect { method: Method::Qr });
        story.then(Event::QrShown { link: FIRST, text: "qr".into(), valid: Duration::from_secs(20) })
    }

    /// What happens next; a dial's turn comes at once.
    fn then(self, event: Event) -> Self {
        let story = self.step(event);
        let Standing::Asks { link, .. } = story.machine.standing() else { return story };
        story.step(Event::TurnGranted { link })
    }

    fn step(mut self, event: Event) -> Self {
        let policy = Policy { qr_limit: 1, ..Policy::default() };
        let env = Env { now: Timestamp::from_millis(1_000), jitter: 0.5, policy: &policy };
        (self.machine, self.effects) = self.machine.step(event, env);
        self
    }

    fn deleted(self) -> Self {
        self.then(Event::Delete { within: Duration::from_secs(15) })
    }

    fn down(self, why: DownReason) -> Self {
        self.then(Event::LinkDown { link: FIRST, why })
    }

    fn phase(&self) -> Phase {
        self.machine.state.phase()
    }
}

const REMOVED: DownReason = DownReason::LoggedOut { code: 401 };

fn second(why: DownReason) -> Event {
    Event::LinkDown { link: LinkId(2), why }
}

/// So soon after the start the first removal is doubted.
fn logged_out() -> Story {
    Story::online().down(REMOVED).then(second(REMOVED))
}

fn refused() -> DownReason {
    DownReason::Refused { code: 499 }
}

#[test]
fn s35_only_what_is_idle_and_was_never_paired_expires() {
    let asking = || Story::booted(false).step(Event::Connect { method: Method::Qr });
    let shown = Event::QrShown { link: FIRST, text: "again".into(), valid: Duration::from_secs(20) };
    let limit = || Story::pairing().then(shown.clone());
    let idle = [
        ("nobody asked for codes", Story::booted(false)),
        ("nobody scanned one", limit().down(DownReason::Requested)),
        ("the pairing was refused", Story::pairing().down(refused())),
    ];
    for (what, story) in idle {
        let story = story.then(Event::Expire);
        assert_eq!(
            (story.phase(), story.effects.last()),
            (Phase::Stopped, Some(&Effect::Exit { clean: true })),
            "{what}"
        );
        let late = story.then(Event::Connect { method: Method::Qr });
        assert_eq!(late.effects, [Effect::Refuse(Refusal::Stopping)], "{what}: nothing dials from there on");
    }
    let in_use = [
        ("it waits for its turn to dial", asking()),
        ("it dials", Story::booted(false).then(Event::Connect { method: Method::Qr })),
        ("a code is shown", Story::pairing()),
        ("the phone has just scanned", Story::pairing().then(Event::Paired { link: FIRST })),
        ("its socket is not gone yet", limit()),
        ("the phone scanned while the socket was closed", limit().then(Event::Paired { link: FIRST }).down(refused())),
        ("the network is away while somebody pairs", Story::pairing().down(DownReason::Dns)),
        ("it is online", Story::online()),
        ("it is paired and cannot connect", Story::booted(true).down(DownReason::Unreachable)),
        ("it was paired once", logged_out()),
        ("its removal is doubted", Story::online().down(REMOVED)),
    ];
    for (what, story) in in_use {
        let before = story.machine.clone();
        let story = story.step(Event::Expire);
        assert_eq!((&story.machine, &story.effects[..]), (&before, &[Effect::Refuse(Refusal::InUse)][..]), "{what}");
    }
}

#[test]
fn a_deleted_device_is_on_no_list_once_whatsapp_has_confirmed_it() {
    let requested = DownReason::Requested;
    let unlinked = |story: Story| story.then(Event::Unlinked { link: FIRST });
    let table = [
        ("confirmed", unlinked(Story::online().deleted()).down(requested.clone()), false),
        ("ended as removed", Story::online().deleted().down(REMOVED), false),
        ("not confirmed", Story::online().deleted().down(requested.clone()), true),
        ("the connection was lost first", Story::online().deleted().down(DownReason::SocketLost { code: None }), true),
        ("not logged in", Story::booted(true).deleted().down(requested.clone()), true),
        ("waiting to dial again", Story::booted(true).down(DownReason::Dns).deleted(), true),
        ("never paired", Story::pairing().deleted().down(requested.clone()), false),
        ("logged out before", logged_out().deleted(), false),
        ("its removal was doubted", Story::online().down(REMOVED).deleted().then(second(DownReason::Requested)), true),
        (
            "scanned while it was closed",
            Story::pairing().deleted().then(Event::Paired { link: FIRST }).down(requested),
            true,
        ),
    ];
    for (what, story, listed) in table {
        assert_eq!((story.phase(), story.machine.may_be_listed()), (Phase::Stopped, listed), "{what}");
    }
}

#[test]
fn a_delete_during_a_logout_waits_for_whatsapps_answer() {
    let story = Story::online().then(Event::LogOut).deleted();
    assert_eq!((story.phase(), &story.effects[..]), (Phase::Draining, &[][..]), "the socket is needed for the answer");
    let story = story.then(Event::Unlinked { link: FIRST }).down(DownReason::Requested);
    assert!(story.phase() == Phase::Stopped && !story.machine.may_be_listed());
}

//! Waiting to dial: for a turn, for a backoff, and for neither when an operator asks.

use super::*;

#[test]
fn a_dial_waits_for_its_turn_and_its_deadline_begins_with_it() {
    let mut story = Story::new();
    story.turns = false;
    story.happens(Event::Booted { paired: true, desired: Desired::Connected });
    let asks = |urgent| Effect::Stand(Standing::Asks { link: LinkId(1), urgent });
    assert!(story.did(&asks(false)) && story.dialled().is_empty());
    let told = |story: &Story| {
        let status = InstanceStatus::of(&story.machine, story.now);
        (status.code(), status.state_at(story.now))
    };
    assert_eq!(told(&story), (Some("waiting-for-turn"), PublicState::Connecting));
    story.happens(Event::TurnHeld { link: LinkId(1), held: true });
    assert_eq!(told(&story).0, Some("host-outage"));
    for _ in 0..60 {
        story.passes(secs(60));
        story.happens(Event::Elapsed);
    }
    assert_eq!(story.count(|effect| *effect == asks(false)), 61, "who waits long asks again");
    story.happens(Event::TurnGranted { link: LinkId(2) });
    assert!(story.dialled().is_empty(), "a turn of another dial is none");
    story.happens(Event::TurnGranted { link: LinkId(1) });
    assert_eq!(story.dialled(), [1]);
    assert_eq!(story.machine.deadline(), Some(story.now.after(story.policy.connect_timeout)));
    assert_eq!(told(&story).0, None);
    story.happens(Event::TurnGranted { link: LinkId(1) });
    assert_eq!(story.dialled(), [1], "a turn is used once");
    story.down(1, DownReason::LoggedOut { code: 401 });
    assert!(!story.did(&Effect::ArchiveCredentials), "the doubt of a boot waits for the turn too");
}

#[test]
fn s17_an_operator_makes_a_waiting_dial_urgent_and_can_always_end_it() {
    let waiting = || {
        let mut story = Story::online();
        story.turns = false;
        story.down(1, DownReason::Unreachable);
        story.passes(secs(300));
        story.happens(Event::Elapsed);
        story.happens(Event::TurnHeld { link: LinkId(2), held: true });
        assert_eq!(story.machine.standing(), Standing::Asks { link: LinkId(2), urgent: false });
        story
    };
    for command in [Event::Restart, Event::Connect { method: Method::Qr }] {
        let mut story = waiting();
        story.happens(command);
        assert_eq!(story.machine.standing(), Standing::Asks { link: LinkId(2), urgent: true });
        assert_eq!(story.machine.failures(), 0);
        assert_eq!(InstanceStatus::of(&story.machine, story.now).code(), Some("waiting-for-turn"));
    }
    let mut story = waiting();
    story.happens(Event::LogOut);
    assert_eq!((story.phase(), story.machine.standing()), (Phase::Unpaired, Standing::Out));
    let mut story = waiting();
    story.happens(Event::Delete { within: secs(15) });
    assert_eq!(story.exits(), [true]);
    let mut story = waiting();
    story.happens(Event::Shutdown { within: secs(15) });
    story.happens(Event::TurnGranted { link: LinkId(2) });
    assert_eq!((story.exits(), story.dialled()), (vec![true], vec![1]));
}

#[test]
fn s26_a_dial_that_nobody_answers_is_superseded_by_an_operator() {
    let mut story = Story::paired();
    story.happens(Event::Connect { method: Method::Qr });
    assert_eq!((story.dialled(), story.phase()), (vec![1], Phase::Connecting), "connecting already");
    story.happens(Event::Restart);
    assert_eq!(story.closed(), [1]);
    story.passes(story.policy.close_timeout);
    story.happens(Event::Elapsed);
    story.happens(Event::Elapsed);
    assert_eq!(story.dialled(), [1, 2], "even if its socket never ends");
}

#[test]
fn s08_refused_dials_follow_the_curve() {
    let mut story = Story::paired();
    story.policy.redial.base = secs(1);
    for (link, ceiling) in (1..).zip([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]) {
        story.down(link, DownReason::UpgradeRefused { status: 503 });
        // Half of the ceiling, as the jitter of this story is.
        let wait = story.now.until(story.machine.deadline().unwrap());
        assert_eq!(wait, secs(ceiling) / 2, "try {link}");
        story.passes(wait);
        story.happens(Event::Elapsed);
        assert_eq!(story.dialled().len() as u64, link + 1);
    }
}

#[test]
fn s13_ten_minutes_of_flapping_reset_nothing() {
    let mut story = Story::online();
    let began = story.now;
    let mut link = 1;
    while story.now.since(began) < secs(600) {
        story.passes(secs(2));
        story.down(link, DownReason::SocketLost { code: None });
        assert_eq!(u64::from(story.machine.failures()), link);
        let wait = story.now.until(story.machine.deadline().unwrap());
        assert_eq!(wait, story.policy.redial.ceiling(story.machine.failures()) / 2);
        story.passes(wait);
        story.happens(Event::Elapsed);
        link += 1;
        story.comes_online(link);
    }
    assert!(story.policy.redial.ceiling(story.machine.failures()) >= secs(89), "{} failures", story.machine.failures());
}

#[test]
fn an_operator_wins_over_every_wait() {
    for why in [DownReason::Unreachable, DownReason::RateLimited, DownReason::Replaced, DownReason::StoreUnavailable] {
        let mut story = Story::online();
        story.down(1, why.clone());
        story.happens(Event::Restart);
        assert_eq!(story.dialled(), [1, 2], "{why:?}");
        assert_eq!(story.machine.failures(), 0);
    }
}

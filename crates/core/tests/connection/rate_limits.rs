//! What a rate limit adds to the waits, and how that is forgotten.

use super::*;

/// Half of the ceiling, for the jitter of these stories is a half.
fn waits(story: &Story) -> Duration {
    story.machine.state.next_try().map(|at| story.now.until(at)).expect("it waits for a dial")
}

fn comes_back(story: &mut Story) {
    story.passes(secs(400));
    story.happens(Event::Elapsed);
    let link = story.machine.link().expect("it dials").0;
    story.comes_online(link);
}

fn falls(story: &mut Story, why: DownReason) {
    let link = story.machine.link().expect("a link").0;
    story.down(link, why);
}

#[test]
fn a_rate_limit_is_forgotten_step_by_step_over_stable_connections() {
    // Seconds online after it, and the wait after the next loss.
    let table = [
        (0, Duration::from_secs(32)),
        (29, Duration::from_secs(32)),
        (30, Duration::from_secs(8)),
        (59, Duration::from_secs(8)),
        (60, Duration::from_secs(4)),
        (90, Duration::from_secs(2)),
        (120, Duration::from_secs(1)),
        (150, Duration::from_millis(500)),
        (86_400, Duration::from_millis(500)),
    ];
    for (online, wait) in table {
        let mut story = Story::online();
        falls(&mut story, DownReason::RateLimited);
        assert_eq!(waits(&story), Duration::from_secs(16));
        comes_back(&mut story);
        story.passes(secs(online));
        falls(&mut story, DownReason::SocketLost { code: None });
        assert_eq!(waits(&story), wait, "after {online} s");
    }
}

#[test]
fn many_rate_limits_wait_no_longer_than_the_cap_and_are_forgotten_in_minutes() {
    let mut story = Story::online();
    for _ in 0..1_000 {
        falls(&mut story, DownReason::RateLimited);
        assert!(waits(&story) <= story.policy.redial.cap);
        comes_back(&mut story);
    }
    story.passes(secs(29));
    falls(&mut story, DownReason::SocketLost { code: None });
    assert_eq!(waits(&story), story.policy.redial.cap / 2, "what was no stable connection takes nothing off");
    comes_back(&mut story);
    story.passes(secs(300));
    falls(&mut story, DownReason::SocketLost { code: None });
    assert_eq!(waits(&story), Duration::from_millis(500));
}

#[test]
fn an_operator_ends_the_wait_of_a_rate_limit_at_once() {
    let mut story = Story::online();
    falls(&mut story, DownReason::RateLimited);
    story.happens(Event::Restart);
    let link = story.machine.link().expect("it dials").0;
    story.comes_online(link);
    falls(&mut story, DownReason::SocketLost { code: None });
    assert_eq!(waits(&story), Duration::from_millis(500));
}

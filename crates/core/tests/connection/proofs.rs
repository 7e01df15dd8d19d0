//! How long a claim is believed, and that it is taken back.

use super::*;

#[test]
fn s20_what_was_last_told_of_an_instance_is_put_right_when_its_next_actor_boots() {
    for told in [PublicState::Open, PublicState::Connecting, PublicState::Close] {
        for (paired, desired) in [(false, Desired::Stopped), (true, Desired::Stopped), (true, Desired::Connected)] {
            let mut story = Story::new();
            story.machine = Machine::new().having_told(told);
            story.happens(Event::Booted { paired, desired });
            let (is, connects) = (story.public(), desired == Desired::Connected);
            let notices = story.count(|effect| matches!(effect, Effect::Publish(_)));
            assert_eq!(notices, usize::from(is != told), "{told:?} {paired} {desired:?}");
            assert_eq!(story.published(&Notice::Connecting { why: None }), connects && told != PublicState::Connecting);
            assert_eq!(story.published(&Notice::Closed { why: None }), !connects && told != PublicState::Close);
        }
    }
}

#[test]
fn a_proof_that_lay_in_a_mailbox_is_as_old_as_it_is() {
    let mut story = Story::online();
    let (seen, window) = (story.now.after(secs(5)), story.policy.proof_window());
    story.passes(secs(35));
    story.happens(Event::Proof { link: LinkId(1), at: seen });
    let fresh_until = |story: &Story| InstanceStatus::of(&story.machine, story.now).fresh_until;
    assert_eq!(fresh_until(&story), Some(seen.after(window)));
    story.happens(Event::Proof { link: LinkId(1), at: Timestamp::from_millis(0) });
    assert_eq!(fresh_until(&story), Some(seen.after(window)), "an older one takes nothing back");
    story.happens(Event::Proof { link: LinkId(1), at: story.now.after(secs(60)) });
    assert_eq!(fresh_until(&story), Some(story.now.after(window)), "none is from the future");
}

#[test]
fn an_answer_that_was_taken_too_late_opens_nothing_and_one_to_an_earlier_ping_answers_no_later_one() {
    let mut story = Story::paired();
    story.happens(Event::Authenticated { link: LinkId(1) });
    story.happens(Event::Ready { link: LinkId(1) });
    let seen = story.now.after(secs(1));
    story.passes(secs(90));
    story.happens(Event::Pong { link: LinkId(1), at: seen });
    assert_eq!((story.phase(), story.published(&Notice::Open)), (Phase::Syncing, false));
    story.happens(Event::Elapsed);
    assert_eq!((story.phase(), story.closed()), (Phase::BackingOff, vec![1]));

    let mut story = Story::online();
    let earlier = story.now;
    story.passes(secs(30));
    story.happens(Event::PingDue);
    story.passes(secs(2));
    story.happens(Event::Pong { link: LinkId(1), at: earlier });
    assert_eq!(story.machine.deadline(), Some(story.now.after(secs(8))), "the ping in flight is still to be answered");
    story.happens(Event::Pong { link: LinkId(1), at: story.now });
    assert_eq!(story.machine.deadline(), Some(story.now.after(story.policy.proof_window())));
}

//! QR codes that nobody scans.

use holdfast_core::connection::down_reason::UserAction;
use holdfast_core::explanation::NextTry;

use super::*;

#[test]
fn s45_codes_stop_at_the_limit_and_a_later_connect_starts_over() {
    let mut story = Story::unpaired();
    story.policy.qr_limit = 3;
    story.happens(Event::Connect { method: Method::Qr });
    for _ in 0..3 {
        story.happens(Event::QrShown { link: LinkId(1), text: "qr".into(), valid: secs(20) });
    }
    assert!(!story.published(&Notice::QrLimit));
    story.happens(Event::QrShown { link: LinkId(1), text: "qr".into(), valid: secs(20) });
    assert!(story.published(&Notice::QrLimit));
    assert_eq!((story.phase(), story.closed()), (Phase::Unpaired, vec![1]));
    assert!(story.did(&Effect::SetDesired(Desired::Stopped)));
    story.down(1, DownReason::Requested);
    story.happens(Event::Connect { method: Method::Qr });
    story.happens(Event::QrShown { link: LinkId(2), text: "qr".into(), valid: secs(20) });
    assert!(story.published(&Notice::Qr { text: "qr".into(), count: 1 }));
}

#[test]
fn used_up_codes_are_followed_by_new_ones_on_a_new_client() {
    let mut story = Story::unpaired();
    story.happens(Event::Connect { method: Method::Qr });
    story.happens(Event::QrShown { link: LinkId(1), text: "qr".into(), valid: secs(20) });
    story.down(1, DownReason::QrExhausted);
    assert!(story.did(&Effect::OpenLink {
        link: LinkId(2),
        method: Some(Method::Qr),
        rebuild: true,
        refresh_version: false
    }));
}

#[test]
fn s45_codes_that_are_used_up_at_the_limit_are_the_end_without_another_dial() {
    let mut story = Story::unpaired();
    story.policy.qr_limit = 2;
    story.happens(Event::Connect { method: Method::Qr });
    for _ in 0..2 {
        story.happens(Event::QrShown { link: LinkId(1), text: "qr".into(), valid: secs(20) });
    }
    story.down(1, DownReason::QrExhausted);
    assert!(story.published(&Notice::QrLimit) && story.did(&Effect::SetDesired(Desired::Stopped)));
    assert_eq!((story.phase(), story.dialled(), story.machine.deadline()), (Phase::Unpaired, vec![1], None));
    let told = InstanceStatus::of(&story.machine, story.now).explanation_at(story.now).unwrap();
    assert_eq!((told.code, told.user_action, told.next_try), ("wa-qr-exhausted", UserAction::Relogin, NextTry::Never));
    story.happens(Event::Connect { method: Method::Qr });
    assert_eq!(story.machine.trouble(), None, "somebody is there again");
    story.happens(Event::QrShown { link: LinkId(2), text: "qr".into(), valid: secs(20) });
    assert!(story.published(&Notice::Qr { text: "qr".into(), count: 1 }));
}

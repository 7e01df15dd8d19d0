//! A login over a row that says that there are no credentials: a pairing was cut short after they were on disk.

use super::*;

/// Asks for codes and is logged in instead.
fn logged_in() -> Story {
    let mut story = Story::unpaired();
    story.happens(Event::Connect { method: Method::Qr });
    assert!(!story.machine.paired);
    story.comes_online(1);
    story
}

#[test]
fn a_login_tells_that_there_are_credentials() {
    let mut story = logged_in();
    assert!(story.machine.paired);
    story.down(1, DownReason::SocketLost { code: None });
    story.passes(secs(400));
    story.happens(Event::Elapsed);
    let login = Effect::OpenLink { link: LinkId(2), method: None, rebuild: false, refresh_version: false };
    assert!(story.did(&login), "it logs in again, and asks for no code");
}

#[test]
fn credentials_that_a_login_told_of_are_archived_when_they_are_void() {
    let mut story = logged_in();
    story.passes(story.policy.doubt_window);
    story.down(1, DownReason::LoggedOut { code: 401 });
    assert!(story.did(&Effect::ArchiveCredentials), "the next pairing would find them and be refused");
    assert!(!story.machine.paired);

    let mut story = logged_in();
    story.happens(Event::LogOut);
    story.down(1, DownReason::LoggedOut { code: 401 });
    assert!(story.did(&Effect::ArchiveCredentials));
}

#[test]
fn what_such_a_login_is_told_first_is_doubted_once() {
    let mut story = logged_in();
    story.down(1, DownReason::LoggedOut { code: 401 });
    assert_eq!((story.dialled(), story.machine.paired), (vec![1, 2], true));
}

#[test]
fn a_pairing_that_is_told_twice_does_not_come_back_after_a_logout() {
    let mut story = Story::unpaired();
    story.happens(Event::Connect { method: Method::Qr });
    story.happens(Event::Paired { link: LinkId(1) });
    story.happens(Event::LogOut);
    assert!(story.did(&Effect::ArchiveCredentials));
    story.happens(Event::Paired { link: LinkId(1) });
    assert!(!story.machine.paired, "its credentials are archived");
}

//! What a connection does by the settings of its instance, as tables.

use holdfast_core::conduct::{Chat, Conduct, Presence, Response, Ring};

#[test]
fn a_chat_is_told_from_its_jid() {
    for (jid, chat) in [
        ("5511@s.whatsapp.net", Chat::Direct),
        ("111@lid", Chat::Direct),
        ("1-2@g.us", Chat::Group),
        ("120363@g.us", Chat::Group),
        ("status@broadcast", Chat::Status),
        ("123@broadcast", Chat::Direct),
        ("g.us@s.whatsapp.net", Chat::Direct),
    ] {
        assert_eq!(Chat::of(jid), chat, "{jid}");
    }
}

#[test]
fn without_settings_nothing_is_shown_read_or_rejected_and_groups_are_told() {
    let conduct = Conduct::default();
    assert_eq!(conduct.presence(), Presence::Unavailable);
    for (chat, told) in [(Chat::Direct, true), (Chat::Group, true), (Chat::Status, false)] {
        assert_eq!(conduct.tells(chat), told, "{chat:?}");
        assert!(!conduct.reads(chat, false), "{chat:?}");
    }
    assert_eq!(conduct.responds(Ring::Offer), Response { reject: false, text: None });
}

#[test]
fn each_switch_reads_and_tells_its_own_chats() {
    let on = |read_messages, read_status, groups_ignore| Conduct {
        read_messages,
        read_status,
        groups_ignore,
        ..Conduct::default()
    };
    // The settings; then for direct chats, groups and status posts whether they are told, and whether they are read.
    let table = [
        (on(true, false, false), [(true, true), (true, true), (false, false)]),
        (on(false, true, false), [(true, false), (true, false), (true, true)]),
        (on(true, true, true), [(true, true), (false, false), (true, true)]),
        (on(false, false, true), [(true, false), (false, false), (false, false)]),
    ];
    for (conduct, expected) in table {
        for (chat, (told, read)) in [Chat::Direct, Chat::Group, Chat::Status].into_iter().zip(expected) {
            assert_eq!((conduct.tells(chat), conduct.reads(chat, false)), (told, read), "{conduct:?} {chat:?}");
            assert!(!conduct.reads(chat, true), "what we wrote ourselves is not read: {conduct:?} {chat:?}");
        }
    }
}

#[test]
fn a_call_is_rejected_and_answered_once_and_only_while_it_rings() {
    let conduct = |reject_call, msg: &str| Conduct { reject_call, msg_call: msg.to_owned(), ..Conduct::default() };
    let nothing = Response { reject: false, text: None };
    let table = [
        (conduct(true, "later"), Ring::Offer, Response { reject: true, text: Some("later") }),
        (conduct(true, ""), Ring::Offer, Response { reject: true, text: None }),
        (conduct(true, " \n"), Ring::Offer, Response { reject: true, text: None }),
        (conduct(false, "later"), Ring::Offer, nothing),
        (conduct(true, "later"), Ring::Missed, nothing),
        (conduct(true, "later"), Ring::Again, nothing),
        (conduct(true, "later"), Ring::Later, nothing),
    ];
    for (conduct, ring, expected) in table {
        assert_eq!(conduct.responds(ring), expected, "{conduct:?} {ring:?}");
    }
}

#[test]
fn always_online_is_shown() {
    let conduct = Conduct { always_online: true, ..Conduct::default() };
    assert_eq!(conduct.presence(), Presence::Available);
    assert_eq!((Presence::Available.as_str(), Presence::Unavailable.as_str()), ("available", "unavailable"));
}

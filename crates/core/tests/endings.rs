//! The exhaustive table of endings: what was seen, what it means, what is done about it.

use std::time::Duration;

use holdfast_core::connection::down_reason::UserAction;
use holdfast_core::connection::{DownReason, Verdict};
use holdfast_core::event::{EngineEvent, disconnection_object, remembered_end};
use holdfast_core::explanation::{Explanation, NextTry};
use holdfast_core::proxy::Fault;
use holdfast_core::time::Timestamp;
use serde_json::{Value, json};

fn all() -> Vec<DownReason> {
    vec![
        DownReason::Requested,
        DownReason::Dns,
        DownReason::Unreachable,
        DownReason::Proxy { fault: Fault::Unreachable },
        DownReason::Tls,
        DownReason::UpgradeRefused { status: 403 },
        DownReason::Handshake,
        DownReason::LoginTimeout,
        DownReason::SocketLost { code: Some(1006) },
        DownReason::Silent,
        DownReason::RestartRequired,
        DownReason::Transient { code: Some(503) },
        DownReason::RateLimited,
        DownReason::LoggedOut { code: 401 },
        DownReason::Replaced,
        DownReason::TemporaryBan { seconds: Some(90) },
        DownReason::Outdated,
        DownReason::Refused { code: 411 },
        DownReason::QrExhausted,
        DownReason::StoreUnavailable,
        DownReason::CredentialsCorrupt,
        DownReason::LeaseLost,
        DownReason::Panicked,
    ]
}

#[test]
fn a_failure_stanza_is_classified_by_its_code() {
    for (code, expected) in [
        (400, DownReason::Refused { code: 400 }),
        (401, DownReason::LoggedOut { code: 401 }),
        (402, DownReason::TemporaryBan { seconds: Some(60) }),
        (403, DownReason::LoggedOut { code: 403 }),
        (405, DownReason::Outdated),
        (406, DownReason::LoggedOut { code: 406 }),
        (409, DownReason::Outdated),
        (411, DownReason::Refused { code: 411 }),
        (413, DownReason::Refused { code: 413 }),
        (429, DownReason::RateLimited),
        (500, DownReason::Transient { code: Some(500) }),
        (503, DownReason::Transient { code: Some(503) }),
    ] {
        assert_eq!(DownReason::from_failure(code, Some(60)), expected, "failure {code}");
    }
}

#[test]
fn a_stream_error_is_classified_by_its_conflict_before_its_code() {
    for (code, conflict, expected) in [
        (Some(515), None, Some(DownReason::RestartRequired)),
        (Some(503), None, Some(DownReason::Transient { code: Some(503) })),
        (Some(429), None, Some(DownReason::RateLimited)),
        (Some(401), None, Some(DownReason::LoggedOut { code: 401 })),
        (Some(516), None, Some(DownReason::LoggedOut { code: 516 })),
        (Some(409), None, Some(DownReason::Replaced)),
        (Some(440), None, Some(DownReason::Replaced)),
        (Some(401), Some("device_removed"), Some(DownReason::LoggedOut { code: 401 })),
        (Some(401), Some("replaced"), Some(DownReason::Replaced)),
        (None, Some("replaced"), Some(DownReason::Replaced)),
        (None, None, None),
    ] {
        assert_eq!(DownReason::from_stream_error(code, conflict), expected, "{code:?} {conflict:?}");
    }
}

#[test]
fn each_reason_has_its_verdict() {
    let verdicts: Vec<Verdict> = all().iter().map(DownReason::verdict).collect();
    let backoff = Verdict::Backoff;
    assert_eq!(
        verdicts,
        [
            backoff,
            backoff,
            backoff,
            backoff,
            backoff,
            backoff,
            backoff,
            backoff,
            backoff,
            backoff,
            Verdict::RedialNow,
            backoff,
            Verdict::LongBackoff,
            Verdict::LogOut,
            Verdict::Yield,
            Verdict::WaitOut(Duration::from_secs(90)),
            Verdict::Upgrade,
            Verdict::Park,
            backoff,
            Verdict::AwaitStore,
            Verdict::AwaitRepair,
            Verdict::AwaitLease,
            Verdict::Crash,
        ]
    );
}

/// The same numbers mean a logout inside the Noise channel and nothing of the kind on an HTTP upgrade.
#[test]
fn no_network_failure_ever_logs_out() {
    for status in 100..600 {
        let why = DownReason::UpgradeRefused { status };
        assert_eq!(why.verdict(), Verdict::Backoff);
        assert!(why.is_network());
        assert_ne!(why.status_reason(), 401);
    }
}

#[test]
fn codes_are_unique_and_everything_is_explained() {
    let mut codes: Vec<&str> = all().iter().map(DownReason::code).collect();
    for why in all() {
        assert!(why.sentence().ends_with('.'), "{why:?}");
        assert!(why.status_reason() >= 400, "{why:?}");
    }
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), all().len());
    assert_eq!(DownReason::LoggedOut { code: 401 }.user_action(), UserAction::Relogin);
}

#[test]
fn every_failure_code_of_the_table_has_its_meaning() {
    // 400 to 418 and 500 to 503, and what is done about each: as in whatsmeow and the library.
    for (code, verdict, action) in [
        (400, Verdict::Park, UserAction::OpenPhone),
        (401, Verdict::LogOut, UserAction::Relogin),
        (403, Verdict::LogOut, UserAction::Relogin),
        (405, Verdict::Upgrade, UserAction::Upgrade),
        (406, Verdict::LogOut, UserAction::Relogin),
        (409, Verdict::Upgrade, UserAction::Upgrade),
        (411, Verdict::Park, UserAction::OpenPhone),
        (413, Verdict::Park, UserAction::OpenPhone),
        (414, Verdict::Park, UserAction::OpenPhone),
        (415, Verdict::Park, UserAction::OpenPhone),
        (418, Verdict::Park, UserAction::OpenPhone),
        (500, Verdict::Backoff, UserAction::Wait),
        (501, Verdict::Backoff, UserAction::Wait),
        (503, Verdict::Backoff, UserAction::Wait),
        (999, Verdict::Park, UserAction::OpenPhone),
    ] {
        let why = DownReason::from_failure(code, None);
        assert_eq!((why.verdict(), why.user_action()), (verdict, action), "failure {code}");
        if matches!(verdict, Verdict::LogOut | Verdict::Park) {
            assert_eq!(why.detail(), Some(("whatsappCode", code)), "what WhatsApp said is told");
        }
    }
}

#[test]
fn s10_a_ban_without_end_is_not_believed_beyond_what_a_calendar_holds() {
    let why = DownReason::from_failure(402, Some(u64::MAX));
    let Verdict::WaitOut(wait) = why.verdict() else { panic!("{why:?}") };
    assert!(wait <= Duration::from_secs(10 * 366 * 86_400));
}

/// Keys of ours in what is told may be these and no others, and Evolution's are untouched.
#[test]
fn events_tell_the_code_the_sentence_the_action_and_when_it_is_tried_again() {
    let date = |at: Timestamp| format!("t{}", at.as_millis());
    let next = Timestamp::from_millis(7);
    for why in all() {
        for (next_try, told) in
            [(NextTry::At(next), Some(json!("t7"))), (NextTry::Never, Some(Value::Null)), (NextTry::UnderWay, None)]
        {
            let explained = Explanation::of(&why, next_try);
            let object = disconnection_object(&why, "2026-01-01T00:00:00.000Z");
            let ended = EngineEvent::ended("shop", &explained, &date, "2026-01-01T00:00:00.000Z", &object);
            let connecting = EngineEvent::connecting("shop", Some(&explained), &date);
            let closed = EngineEvent::closed("shop", Some(&explained), &date);
            for (event, own) in [
                (&connecting, &["instance", "state", "statusReason"][..]),
                (&closed, &["instance", "state", "statusReason"]),
                (&ended, &["instance", "status", "disconnectionAt", "disconnectionReasonCode", "disconnectionObject"]),
            ] {
                let data = event.data.as_object().unwrap();
                for key in own {
                    assert!(data.contains_key(*key), "{key} is Evolution's: {data:?}");
                }
                for key in data.keys().filter(|key| !own.contains(&key.as_str())) {
                    assert!(Explanation::KEYS.contains(&key.as_str()), "{key} is nobody's: {data:?}");
                }
                assert_eq!(data["code"], why.code());
                assert_eq!(data["message"], why.sentence());
                assert_eq!(data["userAction"], json!(why.user_action()));
                assert_eq!(data.get("nextTryAt"), told.as_ref(), "{why:?}");
                let expires = matches!((&why, next_try), (DownReason::TemporaryBan { .. }, NextTry::At(_)));
                assert_eq!(data.get("expiresAt").is_some(), expires, "a ban shows its end: {data:?}");
            }
            assert_eq!(connecting.data["statusReason"], why.status_reason());
            assert_eq!(ended.data["disconnectionReasonCode"], why.status_reason());
            assert_eq!(remembered_end(&object), Some(why.clone()), "what is stored is understood after a restart");
            assert_eq!(remembered_end(&Value::String(object).to_string()), Some(why.clone()), "as Evolution stores it");
        }
    }
    let foreign = r#"{"error":{"data":{"tag":"stream:error"}},"date":"2025-01-01T00:00:00.000Z"}"#;
    assert_eq!((remembered_end(foreign), remembered_end("no json")), (None, None));
}

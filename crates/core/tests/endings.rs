//! The exhaustive table of endings: what was seen, what it means, what is done about it.

use std::time::Duration;

use holdfast_core::connection::down_reason::UserAction;
use holdfast_core::connection::{DownReason, Verdict};
use holdfast_core::proxy::Fault;

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

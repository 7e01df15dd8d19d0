//! The documentation of the codes says what the code says.

use holdfast::http::code::ErrorCode;
use holdfast_core::connection::DownReason;
use holdfast_core::explanation::Explanation;
use holdfast_core::proxy::Fault;
use holdfast_core::sending::nack::Nack;
use holdfast_core::status::TurnWait;
use serde_json::json;

const DOCUMENT: &str = include_str!("../../../docs/errors.md");

/// One of each; the match makes the compiler ask for a new one.
fn reasons() -> Vec<DownReason> {
    let mut all = vec![
        DownReason::Requested,
        DownReason::Dns,
        DownReason::Unreachable,
        DownReason::Tls,
        DownReason::UpgradeRefused { status: 403 },
        DownReason::Handshake,
        DownReason::LoginTimeout,
        DownReason::SocketLost { code: None },
        DownReason::Silent,
        DownReason::RestartRequired,
        DownReason::Transient { code: None },
        DownReason::RateLimited,
        DownReason::LoggedOut { code: 401 },
        DownReason::Replaced,
        DownReason::TemporaryBan { seconds: None },
        DownReason::Outdated,
        DownReason::Refused { code: 1 },
        DownReason::QrExhausted,
        DownReason::StoreUnavailable,
        DownReason::CredentialsCorrupt,
        DownReason::LeaseLost,
        DownReason::Panicked,
    ];
    // One code, and a sentence for each stage.
    let proxy = Fault::ALL.map(|fault| DownReason::Proxy { fault });
    all.splice(3..3, proxy);
    for reason in &all {
        match reason {
            DownReason::Requested
            | DownReason::Dns
            | DownReason::Unreachable
            | DownReason::Proxy { .. }
            | DownReason::Tls
            | DownReason::UpgradeRefused { .. }
            | DownReason::Handshake
            | DownReason::LoginTimeout
            | DownReason::SocketLost { .. }
            | DownReason::Silent
            | DownReason::RestartRequired
            | DownReason::Transient { .. }
            | DownReason::RateLimited
            | DownReason::LoggedOut { .. }
            | DownReason::Replaced
            | DownReason::TemporaryBan { .. }
            | DownReason::Outdated
            | DownReason::Refused { .. }
            | DownReason::QrExhausted
            | DownReason::StoreUnavailable
            | DownReason::CredentialsCorrupt
            | DownReason::LeaseLost
            | DownReason::Panicked => {}
        }
    }
    all
}

/// The tables of one section: code, user action, sentence.
fn documented(heading: &str) -> Vec<(String, String, String)> {
    let section = DOCUMENT.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let code = |cell: &str| cell.trim_matches('`').to_owned();
        assert!(cells.len() == 4 && !cells[3].is_empty(), "{row}");
        (code(cells[0]), code(cells[1]), cells[2].to_owned())
    })
    .collect()
}

#[test]
fn the_codes_of_connections_are_documented() {
    let mut expected: Vec<_> = reasons()
        .iter()
        .map(|reason| {
            let action = json!(reason.user_action()).as_str().unwrap().to_owned();
            (reason.code().to_owned(), action, reason.sentence().to_owned())
        })
        .collect();
    for other in
        [Explanation::quarantined(), Explanation::suspect()].into_iter().chain(TurnWait::ALL.map(Explanation::waiting))
    {
        let action = json!(other.user_action).as_str().unwrap().to_owned();
        expected.push((other.code.to_owned(), action, other.sentence.to_owned()));
    }
    assert_eq!(documented("Why an instance is not open"), expected);
}

#[test]
fn the_codes_of_requests_are_documented() {
    let expected: Vec<_> = ErrorCode::ALL
        .iter()
        .map(|code| (code.code().to_owned(), code.user_action().to_owned(), code.sentence().to_owned()))
        .collect();
    assert_eq!(documented("Why a request was refused"), expected);
}

#[test]
fn the_codes_of_refused_messages_are_documented() {
    let expected: Vec<_> = Nack::ALL
        .iter()
        .map(|nack| (nack.code().to_owned(), nack.user_action().to_owned(), nack.sentence().to_owned()))
        .collect();
    assert_eq!(documented("Why WhatsApp refused a message"), expected);
}

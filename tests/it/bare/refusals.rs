//! Logins that are refused, and keys of the server that are new.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use holdfast_sim::{Action, LoginFailure, RefuseMode, RefuseRequest, Rules};
use serde_json::json;
use wacore::types::events::Event;

use super::Stage;
use crate::harness::eventually::eventually;

/// What the client says of a refusal.
#[expect(clippy::wildcard_enum_match_arm, reason = "only refusals are told")]
fn refusal(event: &Event) -> Option<(&'static str, Option<Duration>)> {
    match event {
        Event::LoggedOut(_) => Some(("logged out", None)),
        Event::ConnectFailure(_) => Some(("refused", None)),
        Event::ClientOutdated(_) => Some(("outdated", None)),
        Event::TemporaryBan(ban) => Some(("banned", ban.expire.to_std().ok())),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bare_client_is_told_why_a_login_is_refused() -> Result<()> {
    let stage = Stage::linked().await?;
    for (reason, said) in [(401, "logged out"), (403, "logged out"), (405, "outdated"), (500, "refused")] {
        stage.fault(Action::Failure { reason, times: None }).await?;
        stage.fault(Action::Fin).await?;
        stage.bare.ended().await?;
        stage.bare.dial();
        assert_eq!(stage.bare.next("a refusal", refusal).await?, (said, None), "{reason}");
        stage.bare.ended().await?;
        stage.dial().await?;
    }
    stage.talks().await?;

    let attrs = BTreeMap::from([("code".to_owned(), "102".to_owned()), ("expire".to_owned(), "3600".to_owned())]);
    let banned = LoginFailure { reason: 402, count: Some(1), jid: None, attrs };
    stage.sim.set_rules(Rules { login_failure: Some(banned), ..Rules::default() })?;
    stage.fault(Action::Fin).await?;
    stage.bare.ended().await?;
    stage.bare.dial();
    assert_eq!(stage.bare.next("a ban", refusal).await?, ("banned", Some(Duration::from_secs(3600))));
    stage.bare.ended().await?;
    stage.comes_back().await?;
    stage.is_blameless(6)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_ends_the_connection_of_the_bare_client_and_is_over_by_itself() -> Result<()> {
    let stage = Stage::linked().await?;
    stage.fault(Action::Ban { seconds: 1, code: None }).await?;
    stage.bare.ended().await?;
    let asked = async || {
        stage.bare.dial();
        let answer = |event: &Event| {
            if matches!(event, Event::Connected(_)) { Some(None) } else { refusal(event).map(Some) }
        };
        stage.bare.next("an answer", answer).await
    };
    assert_eq!(asked().await?, Some(("banned", Some(Duration::from_secs(1)))));
    stage.bare.ended().await?;
    while asked().await?.is_some() {
        stage.bare.ended().await?;
    }
    stage.talks().await?;
    stage.is_blameless(2)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bare_client_falls_back_to_the_full_handshake_and_remembers_the_new_key() -> Result<()> {
    let stage = Stage::linked().await?;
    let redial = async |pattern| {
        stage.fault(Action::Fin).await?;
        stage.bare.ended().await?;
        stage.comes_back().await?;
        assert_eq!(stage.sim.sessions()[0].handshake, Some(pattern));
        anyhow::Ok(())
    };
    redial("IK").await?;
    stage.sim.change_rules(&json!({ "declineIk": true }))?;
    redial("XXfallback").await?;
    stage.sim.change_rules(&json!({ "declineIk": false }))?;
    redial("IK").await?;
    stage.sim.rotate_static()?;
    redial("XXfallback").await?;
    redial("IK").await?;
    stage.is_blameless(6)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bare_client_cannot_connect_while_newcomers_are_refused_and_can_afterwards() -> Result<()> {
    let stage = Stage::linked().await?;
    stage.fault(Action::Fin).await?;
    stage.bare.ended().await?;
    let refuse =
        async |mode, seconds| stage.sim.refuse(&RefuseRequest { mode, seconds, ..RefuseRequest::default() }).await;
    for mode in [RefuseMode::Listen, RefuseMode::Http, RefuseMode::Rst, RefuseMode::Hang] {
        refuse(Some(mode), 60.0).await?;
        let before = stage.sim.counters(None)?.tally.connects;
        stage.bare.dial();
        if mode == RefuseMode::Hang {
            // It would wait for some seconds.
            let called_off = async || {
                stage.bare.cut();
                stage.bare.has_ended().then_some(())
            };
            eventually("an end of the dial", called_off).await;
        }
        stage.bare.ended().await?;
        assert_eq!(stage.sim.counters(None)?.tally.connects, before, "{mode:?}: nothing became a connection");
    }
    refuse(None, 0.0).await?;
    stage.comes_back().await?;
    stage.is_blameless(2)
}

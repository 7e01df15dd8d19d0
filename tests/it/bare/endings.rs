//! Connections that end, and what the client says about it.

use anyhow::Result;
use holdfast_sim::{Action, RefuseMode, RefuseRequest};
use wacore::net::DisconnectReason;
use wacore::types::events::Event;

use super::Stage;

/// What the client says of an ending.
#[expect(clippy::wildcard_enum_match_arm, reason = "only endings are told")]
fn ending(event: &Event) -> Option<String> {
    match event {
        Event::Disconnected(lost) => Some(match &lost.reason {
            DisconnectReason::ServerClose { code, .. } => format!("closed with {code:?}"),
            DisconnectReason::ReadError(_) | DisconnectReason::StreamEnded => "lost".to_owned(),
            DisconnectReason::Unknown => "unknown".to_owned(),
        }),
        Event::StreamReplaced(_) => Some("replaced".to_owned()),
        Event::LoggedOut(_) => Some("logged out".to_owned()),
        Event::StreamError(error) => Some(format!("stream error {}", error.code)),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bare_client_tells_the_endings_apart_and_can_dial_again_after_each() -> Result<()> {
    let stage = Stage::linked().await?;
    let mut logins = 1;
    for (action, said) in [
        (Action::Rst, "lost"),
        (Action::Fin, "lost"),
        (Action::WsClose { code: None }, "closed with Some(1000)"),
        (Action::WsClose { code: Some(1011) }, "closed with Some(1011)"),
        (Action::StreamError { code: Some(500), conflict: None, times: None }, "stream error 500"),
        (Action::Replaced, "replaced"),
    ] {
        stage.fault(action.clone()).await?;
        assert_eq!(stage.bare.next("an ending", ending).await?, said, "{action:?}");
        stage.bare.ended().await?;
        stage.comes_back().await?;
        logins += 1;
        stage.is_blameless(logins)?;
    }
    // Of these it says nothing at all.
    for code in [503, 429] {
        stage.fault(Action::StreamError { code: Some(code), conflict: None, times: None }).await?;
        stage.bare.ended().await?;
        stage.comes_back().await?;
        logins += 1;
        stage.is_blameless(logins)?;
    }
    stage.fault(Action::DeviceRemoved).await?;
    assert_eq!(stage.bare.next("an ending", ending).await?, "logged out");
    stage.bare.ended().await?;
    assert!(stage.sim.accounts()[0].devices.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bare_client_comes_back_by_itself_unless_it_was_replaced() -> Result<()> {
    let stage = Stage::linked().await?;
    stage.fault(Action::Fin).await?;
    stage.bare.ended().await?;
    stage.bare.reconnects(true);
    stage.comes_back().await?;
    for action in [Action::StreamError { code: Some(515), conflict: None, times: None }, Action::Rst] {
        stage.fault(action).await?;
        stage.bare.connected().await?;
        stage.talks().await?;
    }
    let refuse = RefuseRequest { seconds: 0.5, mode: Some(RefuseMode::Http), status: None };
    stage.sim.refuse(&refuse).await?;
    stage.fault(Action::Rst).await?;
    stage.bare.connected().await?;
    stage.talks().await?;
    stage.fault(Action::Replaced).await?;
    stage.bare.ended().await?;
    stage.is_blameless(5)
}

//! Servers that are there and do not answer. The client would notice within one or two minutes; these tests ask it.

use std::time::Duration;

use anyhow::Result;
use holdfast_sim::{Action, FaultRequest};

use super::{PHONE, Stage};
use crate::harness::eventually::PATIENCE;

/// Long enough for an answer on loopback, on a machine that has other things to do.
const SOON: Duration = Duration::from_millis(500);

impl Stage {
    async fn takes_no_ping_after(&self, action: Action) -> Result<()> {
        self.bare.ping(PATIENCE).await?;
        self.fault(action.clone()).await?;
        assert!(self.bare.ping(SOON).await.is_err(), "{action:?}");
        Ok(())
    }

    async fn redials(&self) -> Result<()> {
        self.bare.cut();
        self.bare.ended().await?;
        self.comes_back().await
    }

    async fn clear(&self) -> Result<()> {
        self.sim.fault(FaultRequest { target: PHONE.to_owned(), action: Action::Clear }).await?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bare_client_finds_a_server_that_does_not_answer_with_a_ping() -> Result<()> {
    let stage = Stage::linked().await?;
    let mut logins = 1;
    for action in [Action::Silent, Action::Stall, Action::MutePings, Action::Delay { ms: 60_000 }] {
        stage.takes_no_ping_after(action).await?;
        stage.redials().await?;
        logins += 1;
        stage.is_blameless(logins)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bare_client_bears_delays_and_silences_that_end() -> Result<()> {
    let stage = Stage::linked().await?;
    stage.fault(Action::Delay { ms: 100 }).await?;
    stage.bare.ping(PATIENCE).await?;
    stage.talks().await?;
    for action in [Action::Silent, Action::Stall, Action::MutePings] {
        stage.takes_no_ping_after(action).await?;
        stage.clear().await?;
        stage.bare.ping(PATIENCE).await?;
        stage.talks().await?;
    }
    stage.is_blameless(1)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bare_client_says_nothing_of_what_it_cannot_decrypt_but_hears_nothing_more() -> Result<()> {
    let stage = Stage::linked().await?;
    stage.takes_no_ping_after(Action::Garbage).await?;
    stage.redials().await?;
    stage.is_blameless(2)
}

//! Pairing, texts, the offline queue.

use anyhow::Result;
use futures_util::future::try_join_all;
use holdfast_sim::{
    Action, DirtyRequest, EventKind, EventQuery, FaultRequest, Options, PairingCodeRequest, PingRequest, Simulator,
};

use super::{PHONE, Stage};
use crate::harness::bare::BareClient;
use crate::harness::eventually::PATIENCE;

#[tokio::test(flavor = "multi_thread")]
async fn the_bare_client_pairs_and_talks_in_both_directions() -> Result<()> {
    let stage = Stage::linked().await?;
    let device = stage.bare.client().pn().map(|jid| jid.to_string());
    assert_eq!(device, Some(stage.sim.accounts()[0].devices[0].jid.to_string()));
    stage.talks().await?;
    let before = stage.sim.counters(Some(PHONE))?.tally.pings;
    stage.bare.ping(PATIENCE).await?;
    assert_eq!(stage.sim.counters(Some(PHONE))?.tally.pings, before + 1);

    // What is written while the client is away comes once it is back, in order and in the same session.
    stage.fault(Action::Rst).await?;
    stage.bare.ended().await?;
    for text in ["one", "two", "three"] {
        stage.write(text).await?;
    }
    stage.bare.dial();
    assert_eq!(stage.drained(3).await?, ["one", "two", "three"]);
    stage.sends("and so am I").await?;
    assert_eq!(stage.sim.sessions()[0].handshake, Some("IK"));
    stage.is_blameless(2)?;

    Box::pin(stage.bare.client().logout()).await;
    stage.bare.ended().await?;
    assert!(stage.sim.accounts()[0].devices.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bare_client_answers_pings_and_looks_at_what_it_is_told_has_changed() -> Result<()> {
    let stage = Stage::linked().await?;
    let target = PHONE.to_owned();
    stage.sim.ping(&PingRequest { target: target.clone() })?;
    stage.sim.wait(&happened(EventKind::Pong)).await?;
    stage.sim.dirty(&DirtyRequest { target, kind: "account_sync".to_owned() })?;
    stage.sim.wait(&happened(EventKind::Cleaned)).await?;
    stage.is_blameless(1)
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_bare_clients_are_linked_and_struck_at_once_and_none_is_mistaken_for_another() -> Result<()> {
    let sim = Simulator::start(Options::default()).await?;
    let phones: Vec<String> = (0..20).map(|number| format!("55117000000{number:02}")).collect();
    let clients = try_join_all(phones.iter().map(|phone| BareClient::pair(&sim, phone))).await?;
    let so_far = |phone: &str| sim.counters(Some(phone)).map(|counts| (counts.tally.logins, counts.tally.pings));
    let first = phones.iter().map(|phone| so_far(phone)).collect::<Result<Vec<_>, _>>()?;
    sim.fault(FaultRequest { target: "open".to_owned(), action: Action::Rst }).await?;
    for bare in &clients {
        bare.ended().await?;
        bare.dial();
    }
    for ((bare, phone), first) in clients.iter().zip(&phones).zip(first) {
        bare.connected().await?;
        bare.ping(PATIENCE).await?;
        let counts = sim.counters(Some(phone))?;
        assert_eq!((counts.current, counts.tally.logins, counts.tally.pings), (1, first.0 + 1, first.1 + 1), "{phone}");
        assert_eq!((counts.tally.overlapped, counts.tally.static_mismatches), (false, 0), "{phone}");
    }
    Ok(())
}

fn happened(kind: EventKind) -> EventQuery {
    EventQuery { kind: Some(kind), ..EventQuery::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bare_client_pairs_by_a_code_that_is_typed_on_the_phone() -> Result<()> {
    let sim = Simulator::start(Options::default()).await?;
    let bare = BareClient::new(sim.ws_url()).await?;
    bare.reconnects(true);
    bare.dial();
    let code = bare.code(PHONE).await?;
    let wrong = if code.starts_with('A') { code.replacen('A', "B", 1) } else { format!("A{}", &code[1..]) };
    let types = |code| PairingCodeRequest { phone: PHONE.to_owned(), code };
    assert_eq!(sim.pairing_code(&types(wrong)).await.map_err(|problem| problem.status), Err(409));
    sim.pairing_code(&types(code)).await?;
    // With its own loop it comes back by itself after the restart that follows a pairing.
    bare.connected().await?;
    let stage = Stage::over(sim, bare)?;
    stage.talks().await?;
    stage.is_blameless(1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_client_that_was_adopted_logs_in_and_talks() -> Result<()> {
    let sim = Simulator::start(Options::default()).await?;
    let bare = BareClient::adopted(&sim, PHONE).await?;
    bare.dial();
    bare.connected().await?;
    let stage = Stage::over(sim, bare)?;
    assert_eq!(stage.first, 1, "nothing went before the login");
    stage.talks().await?;
    stage.is_blameless(1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_client_that_is_built_anew_over_its_store_is_the_same_device() -> Result<()> {
    let mut stage = Stage::linked().await?;
    stage.bare.cut();
    stage.bare.ended().await?;
    stage.bare = stage.bare.anew(stage.sim.ws_url()).await?;
    stage.comes_back().await?;
    stage.is_blameless(2)
}

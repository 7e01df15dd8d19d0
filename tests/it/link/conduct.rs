//! What a link does by the settings of its instance, while the store fails.

use anyhow::Result;
use holdfast::ports::store::{Instances as _, SettingsSpec};
use holdfast_core::connection::DownReason;
use holdfast_sim::{Event, EventKind, EventQuery};
use serde_json::json;

use super::bench::{ANA, Bench, spec};
use crate::harness::faulty_store::{Failing, Faults, Op, Scope};

fn events(bench: &Bench, kind: EventKind) -> Vec<Event> {
    bench.sim.events(&EventQuery { kind: Some(kind), ..EventQuery::default() }).expect("the event log")
}

/// The messages that were marked as read.
fn read(bench: &Bench) -> Vec<String> {
    let receipts = events(bench, EventKind::Receipt).into_iter().filter(|event| event.detail["kind"] == "read");
    let ids = receipts.flat_map(|event| event.detail["ids"].as_array().cloned().unwrap_or_default());
    ids.filter_map(|id| id.as_str().map(str::to_owned)).collect()
}

fn shown(bench: &Bench) -> Option<String> {
    events(bench, EventKind::Presence).last().and_then(|event| event.detail["state"].as_str().map(str::to_owned))
}

async fn set(bench: &Bench, spec_of: SettingsSpec) -> Result<()> {
    bench.store.faulty.set_settings(&spec().instance, spec_of).await?;
    bench.link.settings_changed().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_dialled_while_the_settings_cannot_be_read() -> Result<()> {
    let (mut bench, link) = Bench::impatient().await?;
    bench.link.close(link);
    bench.down(link).await?;
    let connects = bench.counters().tally.connects;
    for failing in [Failing::Unavailable, Failing::Corrupt, Failing::Hang] {
        bench.store.break_with(Faults::none().from(Op::Get, 1, failing));
        let link = bench.dial(None, false);
        assert_eq!(bench.down(link).await?, DownReason::StoreUnavailable, "{failing:?}");
        bench.store.heal();
    }
    assert_eq!(bench.counters().tally.connects, connects, "nobody was dialled");
    let link = bench.dial(None, false);
    bench.ready(link).await?;
    bench.assert_harmless();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_settings_that_cannot_be_read_hold_as_soon_as_they_can() -> Result<()> {
    let (bench, _) = Bench::online().await?;
    bench.eventually("the account to be away", |bench| shown(bench).as_deref() == Some("unavailable")).await?;
    bench.store.break_with(Faults::none().nth(Op::Get, 1, Failing::Unavailable));
    set(&bench, SettingsSpec { always_online: true, ..SettingsSpec::default() }).await?;
    assert_eq!(bench.store.faulty.struck(), 1);
    bench.eventually("the account to be there", |bench| shown(bench).as_deref() == Some("available")).await?;
    bench.assert_harmless();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_not_marked_as_read_before_it_is_on_disk() -> Result<()> {
    let (mut bench, link) = Bench::impatient().await?;
    set(&bench, SettingsSpec { read_messages: true, ..SettingsSpec::default() }).await?;
    bench.store.break_with(Faults::none().from(Scope::Handover, 1, Failing::Unavailable));
    let id = bench.receive(ANA, "hello").await?;
    assert_eq!(bench.down(link).await?, DownReason::StoreUnavailable);
    assert!(read(&bench).is_empty(), "{:?}", read(&bench));
    assert!(!bench.store.accepted().contains(&id));

    bench.store.heal();
    let link = bench.dial(None, true);
    bench.ready(link).await?;
    bench.eventually("the receipt", |bench| read(bench) == [id.as_str()]).await?;
    assert!(bench.store.accepted().contains(&id));
    bench.assert_harmless();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_is_read_after_the_next_login() -> Result<()> {
    let (mut bench, link) = Bench::online().await?;
    set(&bench, SettingsSpec { read_messages: true, ..SettingsSpec::default() }).await?;
    bench.link.close(link);
    bench.down(link).await?;
    let mut written = Vec::new();
    for number in 0..5 {
        written.push(bench.receive(ANA, &format!("text {number}")).await?);
    }
    let link = bench.dial(None, false);
    bench.ready(link).await?;
    bench
        .eventually("all receipts", |bench| {
            let mut read = read(bench);
            read.sort();
            let mut written = written.clone();
            written.sort();
            read == written
        })
        .await?;
    let receipts = events(&bench, EventKind::Receipt);
    let receipts: Vec<_> = receipts.iter().filter(|event| event.detail["kind"] == "read").collect();
    assert!(receipts.iter().all(|event| event.detail["group"] == json!(null)), "{receipts:?}");
    bench.assert_harmless();
    Ok(())
}

/// The library says by itself that an account with a name is there, at each login, and there is no switch for it.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_to_be_away_is_shown_once_at_most_at_each_login_and_then_away() -> Result<()> {
    let (mut bench, mut link) = Bench::online().await?;
    let away = |bench: &Bench| shown(bench).as_deref() == Some("unavailable");
    for login in 1..=3 {
        bench.eventually("the account to be away", away).await?;
        let said = events(&bench, EventKind::Presence).len();
        bench.link.close(link);
        bench.down(link).await?;
        link = bench.dial(None, false);
        bench.ready(link).await?;
        let news = |bench: &Bench| {
            let all = events(bench, EventKind::Presence);
            all[said..].iter().filter_map(|event| event.detail["state"].as_str().map(str::to_owned)).collect::<Vec<_>>()
        };
        // The end of a connection is such a word too, from the server.
        let there = |bench: &Bench| news(bench).iter().filter(|state| *state == "available").count();
        bench.eventually("a word about the new login", |bench| !news(bench).is_empty() && away(bench)).await?;
        assert!(there(&bench) <= 1, "login {login}: {:?}", news(&bench));
    }
    bench.assert_harmless();
    Ok(())
}

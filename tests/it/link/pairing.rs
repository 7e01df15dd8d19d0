//! Pairing by QR code, the restart that follows, and the login.

use anyhow::{Result, bail};
use holdfast::ports::link::Report;
use holdfast_core::connection::{DownReason, Event, Method};
use holdfast_sim::ScanRequest;

use super::bench::Bench;

#[tokio::test(flavor = "multi_thread")]
async fn a_scanned_code_leads_over_the_restart_to_a_ready_link() -> Result<()> {
    let (bench, _) = Bench::online().await?;
    assert!(bench.store.is_paired());
    let owner = bench
        .story
        .iter()
        .find_map(|report| if let Report::Owner { owner, .. } = report { owner.jid.clone() } else { None });
    let own = bench.jid.split([':', '@']).next().unwrap_or_default();
    assert_eq!(owner, Some(format!("{own}@s.whatsapp.net")));
    let order: Vec<&str> = bench.story.iter().filter_map(step).collect();
    let steps = ["paired", "down", "authenticated", "ready"];
    assert_eq!(order, steps, "{:?}", bench.story);
    assert_eq!(bench.sim.sessions().len(), 1);
    bench.assert_harmless();
    Ok(())
}

#[expect(clippy::wildcard_enum_match_arm, reason = "only the steps of a login are told")]
fn step(report: &Report) -> Option<&'static str> {
    match report {
        Report::Fact(Event::Paired { .. }) => Some("paired"),
        Report::Fact(Event::Authenticated { .. }) => Some("authenticated"),
        Report::Fact(Event::Ready { .. }) => Some("ready"),
        Report::Fact(Event::LinkDown { .. }) => Some("down"),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_stored_of_a_device_that_nobody_scanned() -> Result<()> {
    let mut bench = Bench::start().await?;
    let link = bench.dial(Some(Method::Qr), false);
    bench.until(|event| matches!(event, Event::QrShown { .. })).await?;
    bench.link.close(link);
    assert_eq!(bench.down(link).await?, DownReason::Requested);
    assert!(!bench.store.has_device());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_with_a_wrong_secret_pairs_nothing() -> Result<()> {
    let mut bench = Bench::start().await?;
    bench.dial(Some(Method::Qr), false);
    let Event::QrShown { text, .. } = bench.until(|event| matches!(event, Event::QrShown { .. })).await? else {
        bail!("no QR")
    };
    let qr = text.as_str().to_owned();
    assert!(bench.sim.scan(&ScanRequest { qr, bad_secret: true, ..ScanRequest::default() }).await.is_err());
    assert!(!bench.store.has_device());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn s28_a_missing_device_never_becomes_a_new_identity() -> Result<()> {
    let (mut bench, link) = Bench::online().await?;
    bench.link.close(link);
    bench.down(link).await?;
    bench.store.drop_device()?;
    let connects = bench.counters().tally.connects;
    for method in [None, Some(Method::Qr)] {
        let link = bench.dial(method, true);
        assert_eq!(bench.down(link).await?, DownReason::CredentialsCorrupt);
    }
    assert!(!bench.store.has_device());
    assert_eq!(bench.counters().tally.connects, connects, "nothing was dialled");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_driver_over_the_same_store_logs_in_without_a_scan() -> Result<()> {
    let (mut bench, link) = Bench::online().await?;
    bench.link.save(link);
    let saved = bench.until(|event| matches!(event, Event::Saved { .. })).await?;
    assert_eq!(saved, Event::Saved { link, ok: true });
    bench.link.close(link);
    bench.down(link).await?;
    bench.restart();
    let link = bench.dial(None, false);
    bench.ready(link).await?;
    bench.assert_harmless();
    Ok(())
}

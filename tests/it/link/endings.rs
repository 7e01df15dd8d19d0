//! How links end, and what is made of it.

use std::time::Duration;

use anyhow::Result;
use holdfast::ports::link::SealReason;
use holdfast_core::connection::{DownReason, Event, Method};
use holdfast_sim::Action;

use super::bench::Bench;

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_is_a_lost_socket_and_the_same_client_logs_in_again() -> Result<()> {
    let (mut bench, mut link) = Bench::online().await?;
    for action in [Action::Rst, Action::Fin] {
        bench.fault(action).await?;
        assert_eq!(bench.down(link).await?, DownReason::SocketLost { code: None });
        link = bench.dial(None, false);
        bench.ready(link).await?;
    }
    bench.assert_harmless();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_ending_has_its_reason() -> Result<()> {
    let endings = [
        (Action::StreamError { code: Some(503), conflict: None }, DownReason::Transient { code: Some(503) }),
        (Action::StreamError { code: Some(429), conflict: None }, DownReason::RateLimited),
        (Action::StreamError { code: Some(515), conflict: None }, DownReason::RestartRequired),
        (Action::Replaced, DownReason::Replaced),
    ];
    let (mut bench, mut link) = Bench::online().await?;
    for (action, why) in endings {
        bench.fault(action).await?;
        assert_eq!(bench.down(link).await?, why);
        link = bench.dial(None, false);
        bench.ready(link).await?;
    }
    bench.assert_harmless();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_has_its_reason() -> Result<()> {
    let (mut bench, mut link) = Bench::online().await?;
    for (reason, why) in [
        (503, DownReason::Transient { code: Some(503) }),
        (405, DownReason::Outdated),
        (402, DownReason::TemporaryBan { seconds: None }),
        (403, DownReason::LoggedOut { code: 403 }),
    ] {
        bench.fault(Action::Failure { reason, times: None }).await?;
        bench.link.close(link);
        bench.down(link).await?;
        link = bench.dial(None, false);
        let ended = bench.down(link).await?;
        assert_eq!(std::mem::discriminant(&ended), std::mem::discriminant(&why), "{ended:?}");
        link = bench.dial(None, false);
        bench.ready(link).await?;
    }
    assert!(bench.store.rows("last-words") > 0, "what the server said once is kept");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_device_is_logged_out() -> Result<()> {
    let (mut bench, link) = Bench::online().await?;
    bench.fault(Action::DeviceRemoved).await?;
    assert!(matches!(bench.down(link).await?, DownReason::LoggedOut { .. }));
    let link = bench.dial(None, true);
    assert!(matches!(bench.down(link).await?, DownReason::LoggedOut { .. }));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_finds_a_silent_server() -> Result<()> {
    let (mut bench, link) = Bench::online().await?;
    bench.link.ping(link, Duration::from_secs(5));
    bench.until(|event| matches!(event, Event::Pong { .. })).await?;
    bench.fault(Action::Silent).await?;
    bench.link.ping(link, Duration::from_millis(300));
    bench.until(|event| matches!(event, Event::PingFailed { .. })).await?;
    bench.link.close(link);
    assert_eq!(bench.down(link).await?, DownReason::Requested);
    bench.clear_faults().await?;
    let link = bench.dial(None, false);
    bench.ready(link).await?;
    bench.assert_harmless();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_logout_unlinks_the_device() -> Result<()> {
    let (mut bench, link) = Bench::online().await?;
    bench.link.log_out(link);
    bench.down(link).await?;
    bench
        .eventually("the end of the device", |bench| {
            bench.sim.accounts().iter().all(|account| account.devices.is_empty())
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dial_can_be_called_off_at_any_moment() -> Result<()> {
    let mut bench = Bench::start().await?;
    for wait in [0_u64, 1, 2, 4, 8, 16, 32] {
        let link = bench.dial(Some(Method::Qr), false);
        tokio::time::sleep(Duration::from_millis(wait)).await;
        bench.link.close(link);
        assert_eq!(bench.down(link).await?, DownReason::Requested);
    }
    bench.eventually("no open socket", |bench| bench.sim.sessions().is_empty()).await?;
    assert!(!bench.counters().tally.overlapped);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_open_when_the_actor_is_gone() -> Result<()> {
    let (mut bench, _) = Bench::online().await?;
    bench.restart();
    bench.eventually("no open socket", |bench| bench.sim.sessions().is_empty()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_link_is_cut_and_its_successor_waits_for_its_end() -> Result<()> {
    let (mut bench, first) = Bench::online().await?;
    bench.fault(Action::Silent).await?;
    bench.link.seal(SealReason::Abandoned);
    let second = bench.dial(None, true);
    let ended = bench.until(|event| matches!(event, Event::LinkDown { .. })).await?;
    assert_eq!(ended, Event::LinkDown { link: first, why: DownReason::Requested });
    bench.clear_faults().await?;
    bench.ready(second).await?;
    assert!(!bench.counters().tally.overlapped);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_unreachable() -> Result<()> {
    let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut bench = Bench::at(format!("ws://{free}/ws/chat")).await?;
    let link = bench.dial(Some(Method::Qr), false);
    assert_eq!(bench.down(link).await?, DownReason::Unreachable);
    Ok(())
}

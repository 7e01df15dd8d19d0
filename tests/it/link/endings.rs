//! How links end, and what is made of it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use holdfast::ports::link::SealReason;
use holdfast_core::connection::{DownReason, Event, Method};
use holdfast_sim::{Action, LoginFailure, Rules};

use super::bench::Bench;

#[tokio::test(flavor = "multi_thread")]
async fn s05_a_reset_is_a_lost_socket_and_the_same_client_logs_in_again() -> Result<()> {
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

/// Every stream error of the table, over the wire.
#[tokio::test(flavor = "multi_thread")]
async fn every_stream_error_has_its_reason() -> Result<()> {
    let error =
        |code, conflict: Option<&str>| Action::StreamError { code, conflict: conflict.map(str::to_owned), times: None };
    let passing = |code| DownReason::Transient { code };
    let removed = |code| DownReason::LoggedOut { code };
    let endings = [
        (error(Some(401), None), removed(401)),
        (error(Some(401), Some("device_removed")), removed(401)),
        (error(None, Some("device_removed")), removed(401)),
        (error(Some(516), None), removed(516)),
        (error(Some(409), None), DownReason::Replaced),
        (error(Some(440), None), DownReason::Replaced),
        (error(Some(401), Some("replaced")), DownReason::Replaced),
        (Action::Replaced, DownReason::Replaced),
        (error(Some(429), None), DownReason::RateLimited),
        (error(Some(500), None), passing(Some(500))),
        (error(Some(503), None), passing(Some(503))),
        (error(Some(515), None), DownReason::RestartRequired),
        (error(Some(999), None), passing(Some(999))),
        (Action::WsClose { code: Some(1011) }, DownReason::SocketLost { code: Some(1011) }),
    ];
    let (mut bench, mut link) = Bench::online().await?;
    for (action, why) in endings {
        bench.fault(action.clone()).await?;
        assert_eq!(bench.down(link).await?, why, "{action:?}");
        link = bench.dial(None, false);
        bench.ready(link).await?;
    }
    bench.assert_harmless();
    Ok(())
}

/// Every refusal of a login of the table, over the wire.
#[tokio::test(flavor = "multi_thread")]
async fn every_refused_login_has_its_reason() -> Result<()> {
    let (mut bench, mut link) = Bench::online().await?;
    for reason in [400, 401, 402, 403, 405, 406, 409, 411, 413, 414, 415, 418, 429, 500, 501, 503, 999] {
        let attrs = BTreeMap::from([("expire".to_owned(), "90".to_owned())]);
        let login_failure = Some(LoginFailure { reason, count: Some(1), jid: None, attrs });
        bench.sim.set_rules(Rules { login_failure, ..Rules::default() })?;
        bench.link.close(link);
        bench.down(link).await?;
        link = bench.dial(None, false);
        assert_eq!(bench.down(link).await?, DownReason::from_failure(reason, Some(90)), "failure {reason}");
        link = bench.dial(None, false);
        bench.ready(link).await?;
    }
    assert!(bench.store.rows("last-words") > 0, "what the server said once is kept");
    bench.assert_harmless();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn s09_a_removed_device_is_logged_out() -> Result<()> {
    let (mut bench, link) = Bench::online().await?;
    bench.fault(Action::DeviceRemoved).await?;
    assert!(matches!(bench.down(link).await?, DownReason::LoggedOut { .. }));
    let link = bench.dial(None, true);
    assert!(matches!(bench.down(link).await?, DownReason::LoggedOut { .. }));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn s01_a_ping_finds_a_silent_server() -> Result<()> {
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

//! Redials as their curve says, dials that an operator supersedes, and instances that nobody dials.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use holdfast::ports::clock::Clock;
use holdfast_sim::{Action, FaultRequest, Options, RefuseMode, RefuseRequest, Simulator};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::harness::engine::Home;
use crate::harness::eventually::{PATIENCE, eventually, eventually_within};

const SHOP: &str = "5511999990001";
const OTHER: &str = "5511999990002";
/// The base of the curve that is looked at.
const BASE: Duration = Duration::from_millis(100);
/// What a dial and a busy machine add to a wait.
const SLACK: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn s08_dials_that_are_refused_follow_the_curve_one_at_a_time() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url());
    let engine = home.start().await;
    engine.pair(&sim, "shop", SHOP, None).await;
    engine.kill_9().await;

    let refusing = Refusing::start().await;
    let home = home
        .set("WHATSAPP_WEBSOCKET_URL", &refusing.url)
        .set("RECONNECT_BASE_MS", &BASE.as_millis().to_string())
        .set("RECONNECT_MAX_SECONDS", "60");
    let engine = home.start().await;
    eventually("seven dials", || async { (refusing.dials().len() >= 7).then_some(()) }).await;
    let dials = refusing.dials();
    assert!(dials.iter().all(|dial| dial.beside == 0), "two at a time");
    for (failures, pair) in (1..).zip(dials.windows(2)) {
        let (wait, ceiling) = (pair[1].at - pair[0].at, BASE * 2_u32.pow(failures - 1));
        assert!(wait >= BASE / 10, "after {failures} failures it waited {wait:?}");
        assert!(wait <= ceiling + SLACK, "after {failures} failures it waited {wait:?}, longer than {ceiling:?}");
    }
    let said = engine.state("shop").await;
    assert_eq!((&said["state"], &said["code"]), (&"connecting".into(), &"net-upgrade-refused".into()), "{said}");
    engine.kill_9().await;

    let home = home.set("WHATSAPP_WEBSOCKET_URL", sim.ws_url());
    home.start().await.reaches("shop", "open").await;
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "how long an answer took, which no decision depends on")]
async fn s26_an_operator_supersedes_a_dial_that_would_hang_for_minutes() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url()).set("CONNECT_TIMEOUT_SECONDS", "300").set("LOGIN_TIMEOUT_SECONDS", "600");
    let engine = home.start().await;
    engine.pair(&sim, "shop", SHOP, None).await;
    lost_and_hanging(&sim).await;
    let hangs = || async { (engine.state("shop").await["phase"] == "connecting").then_some(()) };
    eventually("a dial that hangs", hangs).await;

    // Connecting is what it does already: no conflict, no code, and no word of being connected.
    let api = engine.api();
    let said = api.get("/instance/connect/shop").await.good();
    assert!(said["code"].is_null() && said["instance"]["state"] != "open", "{said}");
    let asked = Instant::now();
    let said = api.post("/instance/restart/shop", json!({})).await.good();
    assert!(asked.elapsed() < SLACK, "{said}");
    assert_ne!(said["instance"]["state"], "open", "{said}");
    eventually("another dial that hangs", hangs).await;

    // The host is back, and the dial of before would not notice.
    sim.refuse(&RefuseRequest { seconds: 0.0, mode: None, status: None }).await.unwrap();
    api.post("/instance/restart/shop", json!({})).await.good();
    engine.reaches("shop", "open").await;
    eventually("one connection", || async { (sim.sessions().len() == 1).then_some(()) }).await;
    assert!(!sim.counters(None).unwrap().tally.overlapped);
}

/// The server takes every login and ends it a moment later. Only a stable connection takes a failure back.
#[tokio::test(flavor = "multi_thread")]
async fn s13_connections_that_end_at_once_are_waited_for_longer_and_longer() {
    const FLAPS: u32 = 12;
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url())
        .set("RECONNECT_BASE_MS", &BASE.as_millis().to_string())
        .set("RECONNECT_MAX_SECONDS", "60");
    let engine = home.start().await;
    engine.pair(&sim, "shop", SHOP, None).await;
    let (clock, logins) = (Clock::start(), || sim.counters(Some(SHOP)).unwrap().tally.logins);
    // No wait after a first failure is longer than the base.
    let long = TimeDelta::from_std(BASE * 10).unwrap();
    let mut flaps = 0;
    let wait = loop {
        assert!(flaps < FLAPS, "{flaps} connections were lost, and none was waited for longer than {long}");
        flaps += 1;
        engine.reaches("shop", "open").await;
        let before = logins();
        let fault = FaultRequest { target: SHOP.to_owned(), action: Action::Fin };
        assert_eq!(sim.fault(fault).await.unwrap().hit, 1);
        let wait = eventually("the next dial, or when it comes", || async {
            let said = engine.state("shop").await;
            let due: Option<DateTime<Utc>> = said["nextTryAt"].as_str().and_then(|due| due.parse().ok());
            match due {
                Some(due) if said["phase"] == "backing-off" => Some(due - clock.wall()),
                _ => (logins() > before).then_some(TimeDelta::zero()),
            }
        })
        .await;
        if wait > long {
            break wait;
        }
    };
    println!("after {flaps} flaps the next dial comes in {wait}");
    assert!(flaps > 3, "it waits so long after {flaps} failures");
}

/// Cuts the connection of the shop, and lets the dials that follow hang.
async fn lost_and_hanging(sim: &Simulator) {
    sim.refuse(&RefuseRequest { seconds: 600.0, mode: Some(RefuseMode::Hang), status: None })
        .await
        .expect("it refuses");
    let fault = FaultRequest { target: SHOP.to_owned(), action: Action::Rst };
    assert_eq!(sim.fault(fault).await.expect("the fault strikes").hit, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn s33_a_kill_amid_a_dial_leaves_what_was_wanted_and_not_what_was_seen() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url());
    let engine = home.start().await;
    engine.pair(&sim, "shop", SHOP, None).await;
    lost_and_hanging(&sim).await;
    eventually("a dial that hangs", || async { (engine.state("shop").await["phase"] == "connecting").then_some(()) })
        .await;
    engine.kill_9().await;
    sim.refuse(&RefuseRequest { seconds: 0.0, mode: None, status: None }).await.unwrap();
    let engine = home.start().await;
    engine.reaches("shop", "open").await;
    assert!(!sim.counters(None).unwrap().tally.overlapped);
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "how long an answer took, which no decision depends on")]
async fn s17_operator_commands_are_answered_at_once_and_win_over_a_long_wait() {
    const NAMES: [&str; 4] = ["restarted", "polled", "logged-out", "deleted"];
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url()).set("RECONNECT_BASE_MS", "60000").set("RECONNECT_MAX_SECONDS", "3600");
    let engine = home.start().await;
    for (number, name) in NAMES.iter().enumerate() {
        engine.pair(&sim, name, &format!("551199999000{number}"), None).await;
    }
    sim.refuse(&RefuseRequest { seconds: 600.0, mode: Some(RefuseMode::Http), status: Some(503) }).await.unwrap();
    for number in 0..NAMES.len() {
        let fault = FaultRequest { target: format!("551199999000{number}"), action: Action::Rst };
        assert_eq!(sim.fault(fault).await.unwrap().hit, 1);
    }
    let clock = Clock::start();
    // All at one moment: while one still waits for its long turn, that of another would come.
    let wait_long = || async {
        let mut dues = Vec::new();
        for name in NAMES {
            let said = engine.state(name).await;
            let due: DateTime<Utc> = said["nextTryAt"].as_str()?.parse().ok()?;
            (said["phase"] == "backing-off" && due > clock.wall() + TimeDelta::seconds(15)).then(|| dues.push(due))?;
        }
        Some(dues)
    };
    let dues = eventually_within(4 * PATIENCE, "long waits of all", wait_long).await;
    sim.refuse(&RefuseRequest { seconds: 0.0, mode: None, status: None }).await.unwrap();

    let api = engine.api();
    let commands = [
        (Method::POST, "/instance/restart/restarted"),
        // Clients ask for codes every few seconds: of who has credentials that is no order to dial.
        (Method::GET, "/instance/connect/polled"),
        (Method::DELETE, "/instance/logout/logged-out"),
        (Method::DELETE, "/instance/delete/deleted"),
    ];
    for (method, path) in commands {
        let asked = Instant::now();
        api.call(method, path, None).await.good();
        assert!(asked.elapsed() < SLACK, "{path} took {:?}", asked.elapsed());
    }
    engine.reaches("restarted", "open").await;
    assert!(clock.wall() < dues[0], "it only came back when it would have by itself");
    assert_eq!(engine.state("polled").await["phase"], "backing-off");
    assert_eq!(engine.state("logged-out").await["state"], "close");
    assert_eq!(api.get("/instance/connectionState/deleted").await.status, 404);
    assert_eq!(sim.sessions().len(), 1, "nobody else has dialled");
}

/// WhatsApp does not hear of the logout in its time: what is known of the socket comes when everything is decided.
#[tokio::test(flavor = "multi_thread")]
async fn s19_what_an_operator_stopped_stays_stopped_after_a_late_end_and_a_restart() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url());
    let engine = home.start().await;
    engine.pair(&sim, "shop", SHOP, None).await;
    engine.pair(&sim, "other", OTHER, None).await;
    let connects = || sim.counters(Some(SHOP)).unwrap().tally.connects;
    let before = connects();
    // Longer than a logout may take, and then the end of the dial is not told at once either.
    home.order("link.log-out=1*sleep(10500)\ndial.over=1*sleep(1500)");
    home.obeyed().await;
    engine.api().call(Method::DELETE, "/instance/logout/shop", None).await.good();
    let ended = || home.log().lines().filter(|line| line.contains("Link 2 is down")).count();
    assert_eq!(engine.state("shop").await["state"], "close");
    assert_eq!(ended(), 0, "the end has still to come");
    eventually("the late end", || async { (ended() == 1).then_some(()) }).await;
    assert_eq!(engine.state("shop").await["state"], "close");

    let mut engine = engine;
    for signal in [Signal::TERM, Signal::KILL] {
        engine.signal(signal);
        engine.end().await;
        engine = home.start().await;
        // Its turn to dial would have come before.
        engine.reaches("other", "open").await;
        assert_eq!(engine.state("shop").await["state"], "close", "after {signal:?}");
        let listed = engine.api().get("/instance/fetchInstances").await.good();
        let shop = listed.as_array().unwrap().iter().find(|instance| instance["name"] == "shop").cloned();
        assert_eq!(shop.expect("it is listed")["connectionStatus"], "close", "after {signal:?}");
        assert_eq!(connects(), before, "it was dialled after {signal:?}");
    }
}

/// A server that answers every WebSocket upgrade with 503.
struct Refusing {
    url: String,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    dials: Vec<Refused>,
    open: usize,
}

/// One dial: when it came, and how many others were there.
#[derive(Clone, Copy)]
struct Refused {
    at: Instant,
    beside: usize,
}

impl Refusing {
    #[expect(clippy::disallowed_methods, reason = "when a dial came, which no decision depends on")]
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("ws://{}/ws/chat", listener.local_addr().expect("its address"));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let told = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                note(&told, |seen| {
                    seen.dials.push(Refused { at: Instant::now(), beside: seen.open });
                    seen.open += 1;
                });
                let told = Arc::clone(&told);
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    // What comes of it is for the other side to find out.
                    let _asked = socket.read(&mut request).await;
                    let _said =
                        socket.write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").await;
                    drop(socket);
                    note(&told, |seen| seen.open -= 1);
                });
            }
        });
        Self { url, seen }
    }

    fn dials(&self) -> Vec<Refused> {
        note(&self.seen, |seen| seen.dials.clone())
    }
}

fn note<T>(seen: &Mutex<Seen>, change: impl FnOnce(&mut Seen) -> T) -> T {
    change(&mut seen.lock().unwrap_or_else(PoisonError::into_inner))
}

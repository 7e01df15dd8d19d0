//! What happens in the demo: instances pair themselves, people write, and now and then something goes wrong.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use holdfast_sim::{Action, FaultRequest, Operator, ScanRequest, TrafficRequest};
use serde_json::json;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep, timeout};

use super::screen::Screen;
use crate::cli::engine::Engine;

const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How long the engine may take to start, or an instance to pair.
const PATIENCE: Duration = Duration::from_secs(30);
const SEND_EVERY: Duration = Duration::from_secs(3);
const FIRST_PHONE: u64 = 5_511_900_000_001;
const CONTACT: &str = "5511777000001";

/// Everything that takes part.
pub(super) struct Play {
    pub(super) engine: Engine,
    pub(super) simulator: Operator,
    pub(super) screen: Screen,
    /// Where the engine sends its events.
    pub(super) hook: String,
    pub(super) instances: u32,
    pub(super) fault_every: Duration,
    pub(super) ends_after: Option<Duration>,
}

impl Play {
    /// Plays until the time is over, or for ever.
    pub(super) async fn run(self) -> Result<()> {
        timeout(PATIENCE, self.ready()).await.context("the engine is not ready")?;
        for number in 1..=self.instances {
            timeout(PATIENCE, self.pair(number)).await.with_context(|| format!("{} did not pair", name(number)))??;
        }
        let load = TrafficRequest {
            per_second: f64::from(self.instances) / 3.0,
            groups: true,
            answers: true,
            ..TrafficRequest::default()
        };
        self.simulator.start_traffic(&load)?;
        match self.ends_after {
            Some(time) => {
                // What is under way when the time is over is given up.
                let _ = timeout(time, self.go_on()).await;
            }
            None => self.go_on().await,
        }
        self.simulator.stop_traffic();
        Ok(())
    }

    async fn ready(&self) {
        while self.engine.get(&["health", "ready"], &[]).await.is_err() {
            sleep(LOOK_AGAIN).await;
        }
    }

    async fn pair(&self, number: u32) -> Result<()> {
        let name = name(number);
        let body = json!({
            "instanceName": name,
            "integration": "WHATSAPP-BAILEYS",
            "webhook": { "url": self.hook, "events": [] },
        });
        let (status, answer) = self.engine.post(&["instance", "create"], body).await?;
        if !status.is_success() {
            bail!("the engine answered {status}: {}", answer["response"]["message"]);
        }
        let qr = loop {
            let shown = self.engine.connect(&name, None).await?;
            match shown["code"].as_str() {
                Some(code) => break code.to_owned(),
                None => sleep(LOOK_AGAIN).await,
            }
        };
        let phone = (FIRST_PHONE + u64::from(number)).to_string();
        self.screen.line(&name, &format!("shows a QR code, which the phone {phone} scans"));
        self.simulator.scan(&ScanRequest { qr, phone: Some(phone), bad_secret: false }).await?;
        while self.engine.state(&name).await?["instance"]["state"] != "open" {
            sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    async fn go_on(&self) {
        tokio::join!(self.send_now_and_then(), self.strike_now_and_then());
    }

    async fn send_now_and_then(&self) {
        let mut ticks = ticks(SEND_EVERY);
        for count in 0.. {
            ticks.tick().await;
            self.send(count).await;
        }
    }

    async fn strike_now_and_then(&self) {
        if self.fault_every.is_zero() {
            return;
        }
        let mut ticks = ticks(self.fault_every);
        ticks.tick().await;
        for count in 0.. {
            ticks.tick().await;
            self.strike(count).await;
        }
    }

    async fn send(&self, count: usize) {
        let name = self.turn(count);
        let body = json!({ "number": CONTACT, "text": format!("Hello, this is {name} for the {}. time", count + 1) });
        match self.engine.post(&["message", "sendText", &name], body).await {
            Ok((status, _)) if status.is_success() => {}
            Ok((_, answer)) => {
                let why = answer["response"]["code"].as_str().unwrap_or("refused");
                self.screen.line(&name, &format!("-> {CONTACT}: not sent ({why})"));
            }
            Err(error) => self.screen.line(&name, &format!("-> {CONTACT}: not sent ({error})")),
        }
    }

    async fn strike(&self, count: usize) {
        let faults = faults();
        let (what, action) = &faults[count % faults.len()];
        let name = self.turn(count);
        let number = u64::try_from(count).unwrap_or_default() % u64::from(self.instances);
        let target = (FIRST_PHONE + 1 + number).to_string();
        match self.simulator.fault(FaultRequest { target, action: action.clone() }).await {
            Ok(_) => self.screen.fault(&name, what),
            Err(problem) => self.screen.fault(&name, &problem.sentence),
        }
    }

    /// The instance whose turn it is.
    fn turn(&self, count: usize) -> String {
        name(u32::try_from(count).unwrap_or_default() % self.instances + 1)
    }
}

fn name(number: u32) -> String {
    format!("shop-{number}")
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// What goes wrong, one after the other.
fn faults() -> Vec<(&'static str, Action)> {
    vec![
        ("its connection is reset", Action::Rst),
        ("WhatsApp falls silent: the connection is there, and nothing comes", Action::Silent),
        ("WhatsApp ends the stream with 503", Action::StreamError { code: Some(503), conflict: None, times: None }),
        ("a frame comes that cannot be decrypted", Action::Garbage),
        ("its connection is closed without a word", Action::Fin),
        ("WhatsApp stops reading as well as writing", Action::Stall),
        ("the WebSocket is closed with the code 1011", Action::WsClose { code: Some(1011) }),
    ]
}

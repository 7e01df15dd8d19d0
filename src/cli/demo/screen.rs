//! What the demo shows: a line for each event that the engine publishes, as a webhook gets it.

use std::io::IsTerminal;
use std::net::TcpListener;

use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::{Context, Result};
use holdfast::ports::clock::Clock;
use holdfast_core::time::Timestamp;
use holdfast_sim::Simulator;
use serde_json::Value;

use crate::cli::say;

const GREEN: u8 = 32;
const YELLOW: u8 = 33;
const RED: u8 = 31;
const CYAN: u8 = 36;

/// The terminal.
#[derive(Clone)]
pub(super) struct Screen {
    clock: Clock,
    began: Timestamp,
    color: bool,
}

impl Screen {
    pub(super) fn new() -> Self {
        let clock = Clock::start();
        let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { began: clock.now(), clock, color }
    }

    pub(super) fn color(&self) -> bool {
        self.color
    }

    /// Says what was done to the network or the server.
    pub(super) fn fault(&self, whom: &str, what: &str) {
        self.line(whom, &self.paint(CYAN, &format!("! {what}")));
    }

    /// Says something about an instance.
    pub(super) fn line(&self, whom: &str, what: &str) {
        let seconds = self.clock.now().since(self.began).as_secs_f64();
        say(&format!("{seconds:>7.1} s  {whom:<9} {what}"));
    }

    /// Starts a receiver of webhooks on the current actix system and returns its address.
    pub(super) fn receive(&self) -> Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").context("no port is free")?;
        let url = format!("http://{}/", listener.local_addr()?);
        let screen = web::Data::new(self.clone());
        let receiver = HttpServer::new(move || {
            App::new()
                .app_data(screen.clone())
                .app_data(web::JsonConfig::default().limit(1 << 20))
                .default_service(web::post().to(take))
        });
        actix::spawn(receiver.workers(1).disable_signals().listen(listener)?.run());
        Ok(url)
    }

    fn event(&self, envelope: &Value) {
        let data = &envelope["data"];
        let what = match envelope["event"].as_str().unwrap_or_default() {
            "connection.update" => self.state(data),
            "messages.upsert" => {
                format!("<- {}: {}", number(&data["key"]["remoteJid"]), shown(&data["message"]))
            }
            "send.message" => format!("-> {}: {}", number(&data["key"]["remoteJid"]), shown(&data["message"])),
            _ => return,
        };
        self.line(envelope["instance"].as_str().unwrap_or_default(), &what);
    }

    fn state(&self, data: &Value) -> String {
        let state = data["state"].as_str().unwrap_or_default();
        let color = match state {
            "open" => GREEN,
            "connecting" => YELLOW,
            _ => RED,
        };
        match (data["code"].as_str(), data["message"].as_str()) {
            (Some(code), Some(message)) => format!("{}  {code}: {message}", self.paint(color, state)),
            _ => self.paint(color, state),
        }
    }

    fn paint(&self, color: u8, text: &str) -> String {
        if self.color { format!("\u{1b}[{color}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Says what the server has counted.
pub(super) fn counters(simulator: &Simulator) {
    let Ok(counts) = simulator.counters(None) else { return };
    let tally = &counts.tally;
    say(&format!(
        "\nWhat the server counted: {} logins, {} texts decrypted by their recipients, {} messages still queued;\n\
         messages refused: {}, message keys used twice: {}, two sockets of one device at a moment: {}",
        tally.logins,
        simulator.messages().len(),
        counts.queued,
        tally.nacked,
        tally.counters_reused,
        if tally.overlapped { "yes" } else { "never" },
    ));
}

async fn take(screen: web::Data<Screen>, envelope: web::Json<Value>) -> HttpResponse {
    screen.event(&envelope);
    HttpResponse::Ok().finish()
}

fn number(jid: &Value) -> &str {
    match jid.as_str().and_then(|jid| jid.split_once('@')) {
        Some((_, "g.us")) => "in its group",
        Some((number, _)) => number,
        None => "somebody",
    }
}

fn shown(message: &Value) -> &str {
    message["conversation"].as_str().or_else(|| message["extendedTextMessage"]["text"].as_str()).unwrap_or("(no text)")
}

//! The real Baileys client as a process that takes orders and reports.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use holdfast_sim::{
    Action, EventKind, EventQuery, FaultRequest, MessageRequest, ScanAnswer, ScanRequest, SentMessage, Simulator,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

pub(crate) const PHONE: &str = "5511999990001";
pub(crate) const CONTACT: &str = "5511888880001";
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

pub(crate) struct Baileys {
    // Killed when dropped.
    _process: Child,
    /// Its keys, which go with it.
    _keys: TempDir,
    commands: ChildStdin,
    reports: Lines<BufReader<ChildStdout>>,
    /// Reports that were passed over.
    kept: Vec<Value>,
    phone: String,
}

impl Baileys {
    /// Starts a client that has no account, with these further arguments.
    pub(crate) fn start(simulator: &Simulator, phone: &str, more: &[&str]) -> Self {
        let folder = folder();
        assert!(
            folder.join("node_modules/baileys").is_dir(),
            "Baileys is not installed: run `npm ci --ignore-scripts --prefix tests/baileys` in the repository (Node 20 or newer)"
        );
        let keys = tempfile::tempdir().unwrap();
        let mut node = Command::new("node");
        if let Some(authority) = &simulator.health().authority {
            node.env("NODE_EXTRA_CA_CERTS", authority);
        }
        let mut process = node
            .arg(folder.join("client.mjs"))
            .args(["--url", simulator.ws_url(), "--root", simulator.root_public_key(), "--limit-ms", "120000"])
            .arg("--auth")
            .arg(keys.path())
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("cannot run `node`: install Node 20 or newer");
        let commands = process.stdin.take().unwrap();
        let reports = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { _process: process, _keys: keys, commands, reports, kept: Vec::new(), phone: phone.to_owned() }
    }

    /// Starts a client and links it by its QR code.
    pub(crate) async fn linked(simulator: &Simulator, phone: &str, more: &[&str]) -> Self {
        let mut baileys = Self::start(simulator, phone, more);
        let linked = baileys.scanned(simulator).await;
        let open = baileys.next("open").await;
        assert_eq!((&open["jid"], &open["lid"]), (&json!(linked.jid), &json!(linked.lid)));
        baileys
    }

    pub(crate) async fn scanned(&mut self, simulator: &Simulator) -> ScanAnswer {
        let qr = self.next("qr").await["qr"].as_str().unwrap().to_owned();
        let scan = ScanRequest { qr, phone: Some(self.phone.clone()), ..ScanRequest::default() };
        let linked = simulator.scan(&scan).await.unwrap();
        self.restarts().await;
        linked
    }

    pub(crate) async fn tell(&mut self, command: Value) {
        self.commands.write_all(format!("{command}\n").as_bytes()).await.unwrap();
    }

    /// Gives an order and returns the report of it.
    pub(crate) async fn ask(&mut self, command: Value, event: &str) -> Value {
        self.tell(command).await;
        self.next(event).await
    }

    /// The first report of this kind that was not asked for yet.
    pub(crate) async fn next(&mut self, event: &str) -> Value {
        let Self { reports, kept, .. } = self;
        if let Some(place) = kept.iter().position(|report| report["event"] == event) {
            return kept.remove(place);
        }
        let wanted = async {
            loop {
                let line = reports.next_line().await.unwrap().expect("Baileys has ended");
                let report: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"));
                if report["event"] == event {
                    return report;
                }
                kept.push(report);
            }
        };
        let report = tokio::time::timeout(PATIENCE, wanted).await;
        report.unwrap_or_else(|_| panic!("no '{event}' within {PATIENCE:?}, only {:?}", self.kept))
    }

    /// Lets something go wrong with its connections.
    pub(crate) async fn suffers(&self, simulator: &Simulator, action: Action) {
        let hit = simulator.fault(FaultRequest { target: self.phone.clone(), action }).await.unwrap().hit;
        assert_eq!(hit, 1);
    }

    /// Takes back whatever goes wrong with it.
    pub(crate) async fn suffers_nothing_more(&self, simulator: &Simulator) -> usize {
        simulator.fault(FaultRequest { target: self.phone.clone(), action: Action::Clear }).await.unwrap().hit
    }

    /// Waits for the end of its connection and returns the code that Baileys gives for it.
    pub(crate) async fn closes(&mut self) -> u64 {
        self.closed().await["code"].as_u64().unwrap()
    }

    /// Waits for the end of its connection and returns all that Baileys says of it.
    pub(crate) async fn closed(&mut self) -> Value {
        let close = self.next("close").await;
        self.kept.retain(|report| report["event"] != "ending");
        close
    }

    /// Waits for the end after which Baileys comes back by itself.
    pub(crate) async fn restarts(&mut self) {
        self.next("restart").await;
        self.kept.retain(|report| report["event"] != "ending");
    }

    /// Connects again, and talks in both directions.
    pub(crate) async fn comes_back(&mut self, simulator: &Simulator) {
        self.tell(json!({ "connect": true })).await;
        self.next("open").await;
        self.talks(simulator).await;
    }

    /// Exchanges a text in each direction and pings.
    pub(crate) async fn talks(&mut self, simulator: &Simulator) {
        self.receives(simulator, "hello from a contact").await;
        self.sends(simulator, "hello back").await;
        self.ask(json!({ "ping": true }), "pong").await;
    }

    pub(crate) async fn receives(&mut self, simulator: &Simulator, text: &str) -> String {
        write(simulator, &self.phone, text).await;
        let message = self.next("message").await;
        assert_eq!((&message["text"], &message["from"]), (&json!(text), &json!(format!("{CONTACT}@s.whatsapp.net"))));
        message["type"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn sends(&mut self, simulator: &Simulator, text: &str) {
        let before = simulator.last_event();
        let sent = self.ask(json!({ "send": { "to": CONTACT, "text": text } }), "sent").await;
        let message = arrived(simulator, before, &sent).await;
        assert_eq!(message.text.as_deref(), Some(text));
    }

    /// Nothing that the simulator counts speaks against this client.
    pub(crate) fn is_blameless(&self, simulator: &Simulator, logins: u64) {
        let counts = simulator.counters(Some(&self.phone)).unwrap();
        let tally = &counts.tally;
        assert_eq!((tally.logins, counts.current), (logins, 1), "{counts:?}");
        assert_eq!((tally.counters_reused, tally.undecryptable, tally.nacked), (0, 0, 0), "{counts:?}");
        assert_eq!((tally.static_mismatches, tally.stale_frames, tally.overlapped), (0, 0, false), "{counts:?}");
    }
}

/// What the contact read of the message that Baileys reported as sent.
pub(crate) async fn arrived(simulator: &Simulator, before: u64, sent: &Value) -> SentMessage {
    let mut since = before;
    // Others may write at the same time.
    loop {
        let query = EventQuery { kind: Some(EventKind::MessageIn), since: Some(since), ..EventQuery::default() };
        let event = simulator.wait(&query).await.unwrap();
        if event.detail["id"] == sent["id"] {
            break;
        }
        since = event.seq;
    }
    let messages = simulator.messages();
    messages.into_iter().find(|message| json!(message.id) == sent["id"]).expect("decrypted by the contact")
}

/// A contact writes to this phone.
pub(crate) async fn write(simulator: &Simulator, phone: &str, text: &str) {
    let request = MessageRequest {
        from: CONTACT.to_owned(),
        to: phone.to_owned(),
        text: text.to_owned(),
        ..MessageRequest::default()
    };
    simulator.message(request).await.unwrap();
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/baileys")
}

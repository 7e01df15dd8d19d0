//! The real Baileys client (Node) against the simulator.

#![expect(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use holdfast_sim::{
    Action, EventKind, EventQuery, FaultRequest, MessageRequest, Options, PairingCodeRequest, ScanRequest, Simulator,
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

const PHONE: &str = "5511999990001";
const CONTACT: &str = "5511888880001";
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn baileys_pairs_and_talks_in_both_directions() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let mut baileys = Baileys::start(&simulator, &[]);
    let qr = baileys.next("qr").await["qr"].as_str().unwrap().to_owned();
    let linked =
        simulator.scan(&ScanRequest { qr, phone: Some(PHONE.to_owned()), ..ScanRequest::default() }).await.unwrap();
    baileys.next("restart").await;
    let open = baileys.next("open").await;
    assert_eq!((&open["jid"], &open["lid"]), (&json!(linked.jid), &json!(linked.lid)));

    assert_eq!(baileys.receives(&simulator, "hello from a contact").await, "notify");
    baileys.sends(&simulator, "hello back").await;

    // What is written while the client is away comes once it is back, in the same session.
    simulator.fault(FaultRequest { target: PHONE.to_owned(), action: Action::Rst }).await.unwrap();
    baileys.next("close").await;
    write(&simulator, "while you were away").await;
    baileys.tell(json!({ "connect": true })).await;
    let message = baileys.next("message").await;
    assert_eq!((&message["text"], &message["type"]), (&json!("while you were away"), &json!("append")));
    baileys.next("open").await;
    baileys.sends(&simulator, "and so am I").await;

    let counts = simulator.counters(Some(PHONE)).unwrap();
    assert_eq!((counts.tally.logins, counts.tally.counters_reused, counts.tally.undecryptable), (2, 0, 0));
    assert!(!counts.tally.overlapped);

    baileys.tell(json!({ "logout": true })).await;
    baileys.next("close").await;
    assert!(simulator.accounts()[0].devices.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn baileys_pairs_by_a_code_that_is_typed_on_the_phone() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let mut baileys = Baileys::start(&simulator, &["--number", PHONE]);
    let code = baileys.next("code").await["code"].as_str().unwrap().to_owned();
    // Baileys does not wait for the answer to its request.
    let asked = EventQuery { kind: Some(EventKind::CodeRequested), ..EventQuery::default() };
    simulator.wait(&asked).await.unwrap();

    let types = |code: String| PairingCodeRequest { phone: PHONE.to_owned(), code };
    let wrong = if code.starts_with('A') { code.replacen('A', "B", 1) } else { format!("A{}", &code[1..]) };
    let problem = simulator.pairing_code(&types(wrong)).await.unwrap_err();
    assert_eq!(problem.status, 409, "{problem}");
    let linked = simulator.pairing_code(&types(code)).await.unwrap();
    baileys.next("restart").await;
    let open = baileys.next("open").await;
    assert_eq!((&open["jid"], &open["lid"]), (&json!(linked.jid), &json!(linked.lid)));
    assert_eq!(baileys.receives(&simulator, "hello from a contact").await, "notify");
    baileys.sends(&simulator, "hello back").await;
}

async fn write(simulator: &Simulator, text: &str) {
    let request =
        MessageRequest { from: CONTACT.to_owned(), to: PHONE.to_owned(), text: text.to_owned(), id: None, group: None };
    simulator.message(request).await.unwrap();
}

struct Baileys {
    // Killed when dropped.
    _process: Child,
    commands: ChildStdin,
    reports: Lines<BufReader<ChildStdout>>,
    /// Reports that were passed over.
    kept: Vec<Value>,
}

impl Baileys {
    fn start(simulator: &Simulator, more: &[&str]) -> Self {
        let folder = folder();
        assert!(
            folder.join("node_modules/baileys").is_dir(),
            "Baileys is not installed: run `npm ci --ignore-scripts --prefix tests/baileys` in the repository (Node 20 or newer)"
        );
        let mut process = Command::new("node")
            .arg(folder.join("client.mjs"))
            .args(["--url", simulator.ws_url(), "--root", simulator.root_public_key(), "--limit-ms", "120000"])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("cannot run `node`: install Node 20 or newer");
        let commands = process.stdin.take().unwrap();
        let reports = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { _process: process, commands, reports, kept: Vec::new() }
    }

    async fn tell(&mut self, command: Value) {
        self.commands.write_all(format!("{command}\n").as_bytes()).await.unwrap();
    }

    /// The first report of this kind that was not asked for yet.
    async fn next(&mut self, event: &str) -> Value {
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

    async fn receives(&mut self, simulator: &Simulator, text: &str) -> String {
        write(simulator, text).await;
        let message = self.next("message").await;
        assert_eq!((&message["text"], &message["from"]), (&json!(text), &json!(format!("{CONTACT}@s.whatsapp.net"))));
        message["type"].as_str().unwrap().to_owned()
    }

    async fn sends(&mut self, simulator: &Simulator, text: &str) {
        let before = simulator.last_event();
        self.tell(json!({ "send": { "to": CONTACT, "text": text } })).await;
        let sent = self.next("sent").await;
        let kind = Some(EventKind::MessageIn);
        simulator.wait(&EventQuery { kind, since: Some(before), ..EventQuery::default() }).await.unwrap();
        let messages = simulator.messages();
        let message =
            messages.iter().find(|message| json!(message.id) == sent["id"]).expect("decrypted by the contact");
        assert_eq!(message.text.as_deref(), Some(text));
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/baileys")
}

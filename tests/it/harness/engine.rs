//! The engine as a real process, under real signals.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use diesel::{Connection as _, RunQueryDsl as _, SqliteConnection};
use holdfast_sim::{ScanRequest, Simulator};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::client::Api;
use super::eventually::{PATIENCE, eventually};

/// The global key of every engine under test.
pub(crate) const KEY: &str = "a-key-for-tests-only";

/// Returns a binary of this workspace: named by the environment, or beside the one that cargo has built for this test.
pub(crate) fn binary(variable: &str, name: &str) -> PathBuf {
    match std::env::var_os(variable) {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_BIN_EXE_holdfast")).with_file_name(name),
    }
}

/// An engine's home: its data directory and settings, which outlive its processes.
pub(crate) struct Home {
    directory: TempDir,
    port: u16,
    settings: Vec<(String, String)>,
    program: PathBuf,
}

impl Home {
    /// Makes a home whose engine dials `url`, with quick timings.
    pub(crate) fn new(url: &str) -> Self {
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
        let settings = [
            ("SERVER_HOST", "127.0.0.1"),
            ("AUTHENTICATION_API_KEY", KEY),
            ("WHATSAPP_WEBSOCKET_URL", url),
            ("WHATSAPP_WEB_VERSION", "2.3000.1029"),
            ("RECONNECT_BASE_MS", "50"),
            ("RECONNECT_MAX_SECONDS", "1"),
            ("HEALTH_CHECK_INTERVAL_SECONDS", "2"),
            ("HEALTH_PING_TIMEOUT_SECONDS", "1"),
            ("WEBHOOK_RETRY_INITIAL_DELAY_SECONDS", "1"),
            ("WEBHOOK_ALLOWED_NETWORKS", "127.0.0.0/8"),
            ("LOG_FORMAT", "json"),
            ("RUST_LOG", "warn,holdfast=debug"),
        ];
        let home = Self {
            directory: TempDir::new().expect("a temporary directory"),
            port,
            settings: Vec::new(),
            program: binary("HOLDFAST_BIN", "holdfast"),
        };
        let home = settings.into_iter().fold(home, |home, (name, value)| home.set(name, value));
        let port = port.to_string();
        let data = home.data_dir().display().to_string();
        let orders = home.orders().display().to_string();
        home.set("SERVER_PORT", &port).set("DATA_DIR", &data).set("HOLDFAST_FAILPOINTS", &orders)
    }

    pub(crate) fn set(self, name: &str, value: &str) -> Self {
        let mut home = self.unset(name);
        home.settings.push((name.to_owned(), value.to_owned()));
        home
    }

    pub(crate) fn unset(mut self, name: &str) -> Self {
        self.settings.retain(|(set, _)| set != name);
        self
    }

    pub(crate) fn program(mut self, program: PathBuf) -> Self {
        self.program = program;
        self
    }

    pub(crate) fn path_of_program(&self) -> &Path {
        &self.program
    }

    /// The settings as variables of the environment.
    pub(crate) fn settings(&self) -> Vec<(String, String)> {
        self.settings.clone()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Does something to the embedded database from outside; returns how many rows it concerned.
    pub(crate) fn execute(&self, sql: &str) -> usize {
        let path = self.data_dir().join("holdfast.db").display().to_string();
        let mut database = SqliteConnection::establish(&path).expect("the database");
        diesel::sql_query("PRAGMA busy_timeout = 5000").execute(&mut database).expect("a patient connection");
        diesel::sql_query(sql).execute(&mut database).expect("a statement")
    }

    /// Where its engine is reached.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Gives orders to the fail points; they hold from the next start on, or as soon as [`Self::obeyed`] says.
    pub(crate) fn order(&self, orders: &str) {
        let beside = self.directory.path().join("orders.new");
        fs::write(&beside, orders).expect("the orders are written");
        fs::rename(&beside, self.orders()).expect("the orders are given");
    }

    /// Takes orders back that nobody has obeyed.
    pub(crate) fn withdraw_orders(&self) {
        // There are none, or the engine has just taken them.
        let _gone = fs::remove_file(self.orders());
    }

    /// Waits until the running engine has put the orders into force.
    pub(crate) async fn obeyed(&self) {
        eventually("orders to the fail points to be obeyed", || async { (!self.orders().exists()).then_some(()) })
            .await;
    }

    fn orders(&self) -> PathBuf {
        self.directory.path().join("orders")
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// Makes a command over this home, with nothing of the caller's environment but the path.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments);
        self.at_home(command)
    }

    fn at_home(&self, mut command: Command) -> Command {
        command.env_clear().envs(self.settings.iter().cloned()).current_dir(self.directory.path());
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Starts the engine and waits until it is ready.
    pub(crate) async fn start(&self) -> Engine<'_> {
        self.ready(self.spawn()).await
    }

    /// Starts it so that a file that may not grow is an error, as on a full disk, and not the end of the process.
    pub(crate) async fn start_with_full_disks_told(&self) -> Engine<'_> {
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"trap "" XFSZ; exec "$0" serve"#]).arg(&self.program);
        self.ready(self.run(self.at_home(shell))).await
    }

    /// Starts it where so many files may be open at first, and no more than `most` however it asks.
    pub(crate) async fn start_with_open_files(&self, at_first: u32, most: u32) -> Engine<'_> {
        let mut shell = Command::new("sh");
        let limits = format!(r#"ulimit -Sn {at_first} && ulimit -Hn {most} && exec "$0" serve"#);
        shell.args(["-c", &limits]).arg(&self.program);
        self.ready(self.run(self.at_home(shell))).await
    }

    async fn ready<'a>(&self, engine: Engine<'a>) -> Engine<'a> {
        let api = engine.api();
        eventually("a ready engine", || async {
            let ready = api.try_call(reqwest::Method::GET, "/health/ready", None).await;
            ready.is_ok_and(|answer| answer.status == 200).then_some(())
        })
        .await;
        engine
    }

    /// Starts the engine and does not wait.
    pub(crate) fn spawn(&self) -> Engine<'_> {
        self.run(self.command(&["serve"]))
    }

    fn run(&self, mut command: Command) -> Engine<'_> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_file()).expect("a log file");
        let child = command.stdout(Stdio::null()).stderr(log).spawn().expect("the engine");
        Engine { home: self, child }
    }
}

impl Home {
    /// Leaves the directory where it is, for whoever wants to know what happened, and returns it.
    pub(crate) fn keep(mut self) -> PathBuf {
        self.directory.disable_cleanup(true);
        self.directory.path().to_owned()
    }
}

impl Drop for Home {
    /// Shows the end of the log of a test that fails.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the engine's last words:\n{}", lines[lines.len().saturating_sub(80)..].join("\n"));
        }
    }
}

/// A running engine. Dropping it kills it.
pub(crate) struct Engine<'a> {
    home: &'a Home,
    child: Child,
}

impl Engine<'_> {
    pub(crate) fn api(&self) -> Api {
        Api::new(self.home.url(), KEY)
    }

    /// The process, for those who look at what it uses.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("a running engine")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.id().cast_signed()).expect("a process id");
        kill_process(pid, signal).expect("the signal arrives");
    }

    /// Returns how many files the process may have open, and how many it could have if it asked.
    pub(crate) fn open_files_allowed(&self) -> (u32, u32) {
        let limits = fs::read_to_string(format!("/proc/{}/limits", self.id())).expect("the limits of a process");
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("its open files");
        let mut numbers = line.split_whitespace().map(|word| word.parse().expect("a number"));
        (numbers.next().expect("the soft limit"), numbers.next().expect("the hard limit"))
    }

    /// Returns how much memory the process has resident, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let id = self.child.id().expect("a running engine");
        let status = fs::read_to_string(format!("/proc/{id}/status")).expect("the status of a process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its resident memory");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Waits for the end of the process and returns its exit code, `None` if a signal has ended it.
    pub(crate) async fn end(self) -> Option<i32> {
        self.ended().await.code()
    }

    /// Waits for the end of the process and returns how it ended.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        timeout(PATIENCE, self.child.wait()).await.expect("the engine ends").expect("how it ended")
    }

    /// Tells whether the process has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("how it ended").is_some()
    }

    /// Ends the process as a power cut would.
    pub(crate) async fn kill_9(self) {
        self.signal(Signal::KILL);
        assert_eq!(self.end().await, None);
    }

    /// Creates an instance, with a webhook if there is a receiver.
    pub(crate) async fn create(&self, name: &str, webhook: Option<&str>) -> Value {
        let mut body = json!({ "instanceName": name, "integration": "WHATSAPP-BAILEYS", "qrcode": true });
        if let Some(url) = webhook {
            body["webhook"] = json!({ "url": url, "events": [] });
        }
        self.api().post("/instance/create", body).await.good()
    }

    /// Lets a simulated phone scan what the instance shows.
    pub(crate) async fn scan(&self, sim: &Simulator, name: &str, phone: &str) {
        let qr = eventually("a QR code", || async {
            let shown = self.api().get(&format!("/instance/connect/{name}")).await.good();
            shown["code"].as_str().map(ToOwned::to_owned)
        })
        .await;
        let request = ScanRequest { qr, phone: Some(phone.to_owned()), ..ScanRequest::default() };
        sim.scan(&request).await.expect("the phone links the device");
    }

    /// Creates an instance and pairs it.
    pub(crate) async fn pair(&self, sim: &Simulator, name: &str, phone: &str, webhook: Option<&str>) {
        self.create(name, webhook).await;
        self.scan(sim, name, phone).await;
        self.reaches(name, "open").await;
    }

    pub(crate) async fn state(&self, name: &str) -> Value {
        self.api().get(&format!("/instance/connectionState/{name}")).await.good()["instance"].clone()
    }

    /// Waits until the instance says that it is in this state, and returns all that it says.
    pub(crate) async fn reaches(&self, name: &str, state: &str) -> Value {
        eventually(&format!("instance {name} to be {state}"), || async {
            let said = self.state(name).await;
            (said["state"] == state).then_some(said)
        })
        .await
    }

    /// Sends a text and returns the whole answer.
    pub(crate) async fn send(&self, name: &str, number: &str, text: &str) -> super::client::Answer {
        self.api().post(&format!("/message/sendText/{name}"), json!({ "number": number, "text": text })).await
    }
}

/// How long a shutdown may take in which nothing is in the way.
pub(crate) const PROMPT: Duration = Duration::from_secs(10);

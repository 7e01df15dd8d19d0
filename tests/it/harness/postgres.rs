//! A PostgreSQL server of a test's own: started as an unprivileged user from a prepared data directory, broken at will, gone with the test.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, getuid, kill_process};
use tempfile::TempDir;
use tokio::time::sleep;
use tokio_postgres::{NoTls, SimpleQueryMessage};

use super::eventually::PATIENCE;

/// The superuser of every server.
const USER: &str = "holdfast";
/// Enough for a test; durability against a power loss is nothing that a test can show.
const SETTINGS: &[&str] = &[
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "fsync=off",
    "shared_buffers=16MB",
    "max_connections=60",
    "max_wal_size=64MB",
    "log_min_messages=fatal",
    "timezone=America/Bogota",
];

/// A server and its data.
pub(crate) struct Server {
    folder: TempDir,
    port: Mutex<u16>,
    process: Mutex<Option<Child>>,
    settings: Mutex<Vec<String>>,
}

impl Server {
    /// Starts one, with nothing in it but the databases that every server has.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        Self::start_with(&[]).await
    }

    /// Starts one where these settings replace the usual ones.
    pub(crate) async fn start_with(settings: &[&str]) -> anyhow::Result<Self> {
        let template = tokio::task::spawn_blocking(template).await??;
        let folder = TempDir::new()?;
        give(folder.path())?;
        let copied =
            as_somebody(Command::new("cp").arg("-a").arg(&template).arg(folder.path().join("data"))).status()?;
        ensure!(copied.success(), "the data directory could not be copied");
        let server = Self { folder, port: Mutex::new(0), process: Mutex::new(None), settings: Mutex::default() };
        server.settings.lock().unwrap_or_else(PoisonError::into_inner).extend(settings.iter().map(ToString::to_string));
        server.run().await?;
        Ok(server)
    }

    /// Starts the process, on a port that may be another than before, and waits until it answers.
    pub(crate) async fn run(&self) -> anyhow::Result<()> {
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            let mut command = Command::new(program("postgres")?);
            command.arg("-D").arg(self.folder.path().join("data")).arg("-p").arg(port.to_string());
            let settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone();
            for setting in SETTINGS.iter().copied().chain(settings.iter().map(String::as_str)) {
                command.args(["-c", setting]);
            }
            let log = File::options().create(true).append(true).open(self.folder.path().join("log"))?;
            command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
            let child = as_somebody(&mut command).spawn().context("postgres cannot be started")?;
            *self.process() = Some(child);
            *self.port.lock().unwrap_or_else(PoisonError::into_inner) = port;
            if self.answers().await? {
                return Ok(());
            }
        }
        bail!("postgres does not start: {}", fs::read_to_string(self.folder.path().join("log")).unwrap_or_default())
    }

    /// Waits until it answers; false if its process has ended instead.
    async fn answers(&self) -> anyhow::Result<bool> {
        let waiting = async {
            loop {
                if self.ask("postgres", "SELECT 1").await.is_ok() {
                    return Ok(true);
                }
                if let Some(child) = self.process().as_mut()
                    && child.try_wait()?.is_some()
                {
                    return Ok(false);
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.context("postgres never answered")?
    }

    /// Gives it a certificate and its key, both in PEM, and starts it again.
    pub(crate) async fn encrypt(&self, certificate: &str, key: &str) -> anyhow::Result<()> {
        let mut settings = vec!["ssl=on".to_owned()];
        for (setting, name, text) in [("ssl_cert_file", "server.crt", certificate), ("ssl_key_file", "server.key", key)]
        {
            let path = self.folder.path().join(name);
            fs::write(&path, text)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            give(&path)?;
            settings.push(format!("{setting}={}", path.display()));
        }
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).extend(settings);
        self.stop();
        self.run().await
    }

    pub(crate) fn port(&self) -> u16 {
        *self.port.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the address of a database, as Prisma writes it.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgresql://{USER}:unused@127.0.0.1:{}/{database}", self.port())
    }

    /// Runs statements, and returns the first column of what the last one answered.
    pub(crate) async fn ask(&self, database: &str, sql: &str) -> anyhow::Result<Vec<String>> {
        ask(&self.url(database), sql).await
    }

    /// Kills it, as a machine does that runs out of memory.
    pub(crate) fn kill(&self) {
        self.end(Signal::KILL);
    }

    /// Stops it as an operator does: connections are ended at once.
    pub(crate) fn stop(&self) {
        self.end(Signal::INT);
    }

    fn end(&self, signal: Signal) {
        if let Some(mut child) = self.process().take() {
            let _ended = kill_process(Pid::from_child(&child), signal);
            let _status = child.wait();
        }
    }

    /// Returns where its files are.
    pub(crate) fn files(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn process(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // At once: nobody needs the data any more, and its folder is about to go.
        self.end(Signal::QUIT);
    }
}

/// Runs statements on a connection of their own, and returns the first column of what they answered.
pub(crate) async fn ask(url: &str, sql: &str) -> anyhow::Result<Vec<String>> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    let traffic = tokio::spawn(connection);
    let answers = client.simple_query(sql).await;
    drop(client);
    traffic.await??;
    let column = |message| {
        let SimpleQueryMessage::Row(row) = message else { return None };
        row.get(0).map(ToOwned::to_owned)
    };
    Ok(answers?.into_iter().filter_map(column).collect())
}

/// Finds a program of the server: Debian keeps them beside the path.
fn program(name: &str) -> anyhow::Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        versions.map(|version| version.path().join("bin").join(name)).filter(|path| path.exists()).collect();
    found.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut elsewhere = std::env::split_paths(&path).map(|folder| folder.join(name)).filter(|path| path.exists());
    found.pop().or_else(|| elsewhere.next()).with_context(|| format!("{name} is missing: run scripts/setup"))
}

/// The user whose the server is: it refuses to run as root.
fn somebody() -> Option<(u32, u32)> {
    if !getuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let ids = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let (user, group) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        (name == "postgres").then_some((user, group))
    });
    Some(ids.unwrap_or((65_534, 65_534)))
}

fn as_somebody(command: &mut Command) -> &mut Command {
    match somebody() {
        Some((user, group)) => command.uid(user).gid(group).current_dir("/"),
        None => command,
    }
}

fn give(path: &Path) -> anyhow::Result<()> {
    if let Some((user, group)) = somebody() {
        chown(path, Some(user), Some(group))?;
    }
    Ok(())
}

/// Returns a data directory to copy, made by the first test that needs one: making one takes longer than most tests.
fn template() -> anyhow::Result<PathBuf> {
    let initdb = program("initdb")?;
    let version = Command::new(&initdb).arg("--version").output()?;
    let version: String = String::from_utf8_lossy(&version.stdout).chars().filter(char::is_ascii_digit).collect();
    let owner = somebody().map_or_else(|| getuid().as_raw(), |(user, _)| user);
    let folder = std::env::temp_dir().join(format!("holdfast-postgres-{version}-{owner}"));
    let lock = File::create(folder.with_extension("lock"))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    let ready = folder.join("ready");
    if !ready.exists() {
        let making = folder.with_extension("making");
        let _left_over = fs::remove_dir_all(&making);
        let _left_over = fs::remove_dir_all(&folder);
        fs::create_dir(&making)?;
        give(&making)?;
        let mut command = Command::new(&initdb);
        command.args([
            "--no-sync",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--wal-segsize=1",
            "-U",
            USER,
            "-D",
        ]);
        let made = as_somebody(command.arg(making.join("ready"))).output()?;
        ensure!(made.status.success(), "initdb failed: {}", String::from_utf8_lossy(&made.stderr));
        fs::rename(&making, &folder)?;
    }
    ensure!(fs::metadata(&ready)?.uid() == owner, "{} is somebody else's", ready.display());
    Ok(ready)
}

//! A Redis server of a test's own, broken at will, gone with the test.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::sleep;

use super::eventually::PATIENCE;

/// A server that keeps nothing on disk: killed, it has forgotten everything.
pub(crate) struct Redis {
    folder: TempDir,
    port: u16,
    tls: bool,
    settings: Vec<String>,
    process: Mutex<Option<Child>>,
}

impl Redis {
    /// Starts one.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        Self::start_with(&[]).await
    }

    /// Starts one with these settings, each as on its command line.
    pub(crate) async fn start_with(settings: &[&str]) -> anyhow::Result<Self> {
        for _ in 0..10 {
            let server = Self {
                folder: TempDir::new()?,
                port: TcpListener::bind("127.0.0.1:0")?.local_addr()?.port(),
                tls: false,
                settings: settings.iter().map(ToString::to_string).collect(),
                process: Mutex::default(),
            };
            if server.run().await? {
                return Ok(server);
            }
        }
        bail!("redis-server does not start")
    }

    /// Starts one that speaks TLS alone, with this certificate and its key in PEM.
    pub(crate) async fn start_with_tls(certificate: &str, key: &str) -> anyhow::Result<Self> {
        for _ in 0..10 {
            let folder = TempDir::new()?;
            let (certificate_file, key_file) = (folder.path().join("server.crt"), folder.path().join("server.key"));
            fs::write(&certificate_file, certificate)?;
            fs::write(&key_file, key)?;
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            let settings = vec![
                "--tls-port".to_owned(),
                port.to_string(),
                "--tls-cert-file".to_owned(),
                certificate_file.display().to_string(),
                "--tls-key-file".to_owned(),
                key_file.display().to_string(),
                "--tls-auth-clients".to_owned(),
                "no".to_owned(),
            ];
            let server = Self { folder, port, tls: true, settings, process: Mutex::default() };
            if server.run().await? {
                return Ok(server);
            }
        }
        bail!("redis-server does not start with TLS")
    }

    /// Starts the process again, on the same port, and waits until it listens; false if it ended instead.
    pub(crate) async fn run(&self) -> anyhow::Result<bool> {
        let port = if self.tls { 0 } else { self.port };
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &port.to_string()]);
        command.arg("--dir").arg(self.folder.path()).args(&self.settings);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().context("redis-server cannot be started: run scripts/setup")?;
        *self.process() = Some(child);
        let waiting = async {
            loop {
                if tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
                    return Ok(true);
                }
                if let Some(child) = self.process().as_mut()
                    && child.try_wait()?.is_some()
                {
                    return Ok(false);
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.context("redis-server never listened")?
    }

    /// Returns the address of its first database.
    pub(crate) fn uri(&self) -> String {
        self.uri_as("", 0)
    }

    /// Returns the address of a database for somebody: `user:password@`, or nothing.
    pub(crate) fn uri_as(&self, who: &str, database: u8) -> String {
        let scheme = if self.tls { "rediss" } else { "redis" };
        format!("{scheme}://{who}localhost:{}/{database}", self.port)
    }

    /// Asks it something on a connection of its own, and returns the answer as text.
    pub(crate) async fn ask(&self, database: u8, question: &[&str]) -> anyhow::Result<Vec<String>> {
        let output = tokio::process::Command::new("redis-cli")
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-n", &database.to_string()])
            .args(question)
            .output()
            .await?;
        ensure!(output.status.success(), "redis-cli: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).lines().map(ToOwned::to_owned).collect())
    }

    /// Kills it.
    pub(crate) fn kill(&self) {
        if let Some(mut child) = self.process().take() {
            let _ended = kill_process(Pid::from_child(&child), Signal::KILL);
            let _status = child.wait();
        }
    }

    /// Lets it stand still: its connections stay, and nothing is answered.
    pub(crate) fn freeze(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let process = self.process();
        let child = process.as_ref().context("it does not run")?;
        Ok(kill_process(Pid::from_child(child), signal)?)
    }

    fn process(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

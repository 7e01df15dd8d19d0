//! A server as a process of its own, and what the system says about it.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// The system counts processor time in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// A running server; killed when dropped.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts a program and waits for its first line.
    pub(crate) async fn start(program: &str, arguments: &[&str]) -> anyhow::Result<(Self, String)> {
        let mut child = Command::new(program)
            .args(arguments)
            .env("RUST_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{program} cannot be started"))?;
        let output = child.stdout.take().context("its output")?;
        let line = BufReader::new(output).lines().next_line().await?;
        Ok((Self { child }, line.context("it has ended")?))
    }

    /// Its resident memory, in kB.
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        let status = self.read("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse()?)
    }

    /// The processor time that it has used.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = self.read("stat")?;
        // The name of the program, which stands in brackets, may hold spaces.
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks = |place: usize| -> anyhow::Result<u32> { Ok(fields.get(place).context("a short stat")?.parse()?) };
        Ok(TICK * (ticks(11)? + ticks(12)?))
    }

    fn read(&self, what: &str) -> anyhow::Result<String> {
        let id = self.child.id().context("it has ended")?;
        std::fs::read_to_string(format!("/proc/{id}/{what}")).context("the process cannot be looked at")
    }
}

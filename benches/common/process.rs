//! What the system says about a process.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// The system counts processor time in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// A process that somebody else started and will end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    /// Its resident memory, in kB.
    pub(crate) fn memory(self) -> anyhow::Result<u64> {
        let status = self.read("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse()?)
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(self) -> anyhow::Result<u64> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.0)).context("the process cannot be looked at")?.count() as u64)
    }

    /// The processor time that it has used.
    pub(crate) fn cpu(self) -> anyhow::Result<Duration> {
        let stat = self.read("stat")?;
        // The name of the program, which stands in brackets, may hold spaces.
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks = |place: usize| -> anyhow::Result<u32> { Ok(fields.get(place).context("a short stat")?.parse()?) };
        Ok(TICK * (ticks(11)? + ticks(12)?))
    }

    fn read(self, what: &str) -> anyhow::Result<String> {
        fs::read_to_string(format!("/proc/{}/{what}", self.0)).context("the process cannot be looked at")
    }
}

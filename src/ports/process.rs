//! What this process uses of its host.

use std::fs;
use std::io;

use rustix::process::{Resource, getrlimit};
use serde::Serialize;
use tokio::runtime::Handle;

/// What the process uses at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Resident memory in KiB.
    pub resident_kib: u64,
    /// Open descriptors: files and sockets.
    pub open_files: u64,
    /// How many may be open; `None` if nothing limits them.
    pub open_files_limit: Option<u64>,
    /// Threads.
    pub threads: u64,
    /// Tasks that live on the shared runtime, on which sockets, cryptography and SQL run.
    pub tasks: u64,
}

impl Usage {
    /// Reads what the process uses now. Does file IO that never waits for a disk.
    ///
    /// # Errors
    /// If the host has no `/proc`, or does not let the process look at itself.
    pub fn now(runtime: &Handle) -> io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/self/status has no {name}")))
        };
        // The descriptor that reads the folder is in it.
        let open_files = fs::read_dir("/proc/self/fd")?.count().saturating_sub(1) as u64;
        Ok(Self {
            resident_kib: number("VmRSS")?,
            open_files,
            open_files_limit: getrlimit(Resource::Nofile).current,
            threads: number("Threads")?,
            tasks: runtime.metrics().num_alive_tasks() as u64,
        })
    }
}

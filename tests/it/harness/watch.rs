//! Watching which sockets a process has, from outside: what it does, not what it says.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

/// Between two looks. A dial that was missed is still counted by the server.
const EVERY: Duration = Duration::from_millis(2);

/// The ports of others to which a process had a connection, be it an attempt, and whether it asked a name server.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) ports: BTreeSet<u16>,
    pub(crate) name_server: bool,
}

/// Looks all the time, on a thread of its own.
pub(crate) struct Watch {
    over: Arc<AtomicBool>,
    looking: JoinHandle<Seen>,
}

impl Watch {
    #[expect(clippy::disallowed_methods, reason = "the thread is its own, and nothing else waits on it")]
    pub(crate) fn start(process: u32) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&over);
        let looking = spawn(move || {
            let mut seen = Seen::default();
            while !until.load(Ordering::Relaxed) {
                look(process, &mut seen);
                sleep(EVERY);
            }
            seen
        });
        Self { over, looking }
    }

    /// Ends it and returns all that was seen.
    pub(crate) fn end(self) -> Seen {
        self.over.store(true, Ordering::Relaxed);
        self.looking.join().expect("what was seen")
    }
}

fn look(process: u32, seen: &mut Seen) {
    let own = sockets(process);
    for (table, is_name_server) in [("tcp", false), ("tcp6", false), ("udp", true), ("udp6", true)] {
        let Ok(lines) = fs::read_to_string(format!("/proc/{process}/net/{table}")) else { continue };
        for line in lines.lines().skip(1) {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let (Some(remote), Some(inode)) = (columns.get(2), columns.get(9)) else { continue };
            if !own.contains(*inode) {
                continue;
            }
            let port = remote.rsplit(':').next().and_then(|port| u16::from_str_radix(port, 16).ok()).unwrap_or(0);
            if is_name_server {
                seen.name_server |= port == 53;
            } else if port != 0 {
                seen.ports.insert(port);
            }
        }
    }
}

/// The inodes of its sockets.
fn sockets(process: u32) -> BTreeSet<String> {
    let Ok(files) = fs::read_dir(format!("/proc/{process}/fd")) else { return BTreeSet::new() };
    let links = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    links.filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())).collect()
}

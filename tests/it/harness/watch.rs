//! Watching which sockets a process has, from outside: what it does, not what it says.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

/// Between two looks. A dial that was missed is still counted by the server.
const EVERY: Duration = Duration::from_millis(2);

/// The ports of others that a process has dialled, be it in vain, and whether it asked a name server.
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
        let rows: Vec<(u16, u16)> = lines.lines().skip(1).filter_map(|line| row(line, &own)).collect();
        // What came to a port that it listens on was dialled by others.
        let listens: BTreeSet<u16> = rows.iter().filter(|(_, remote)| *remote == 0).map(|(local, _)| *local).collect();
        for (_, remote) in rows.iter().filter(|(local, remote)| *remote != 0 && !listens.contains(local)) {
            if is_name_server {
                seen.name_server |= *remote == 53;
            } else {
                seen.ports.insert(*remote);
            }
        }
    }
}

/// The local and the remote port of a line, if the socket is one of these.
fn row(line: &str, own: &BTreeSet<String>) -> Option<(u16, u16)> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let port = |column: &str| u16::from_str_radix(column.rsplit(':').next()?, 16).ok();
    let (local, remote, inode) = (columns.get(1)?, columns.get(2)?, columns.get(9)?);
    own.contains(*inode).then_some((port(local)?, port(remote)?))
}

/// The inodes of its sockets.
fn sockets(process: u32) -> BTreeSet<String> {
    let Ok(files) = fs::read_dir(format!("/proc/{process}/fd")) else { return BTreeSet::new() };
    let links = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    links.filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())).collect()
}

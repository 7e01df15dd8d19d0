//! What a service manager is told (`sd_notify`): when the service is ready, what it is doing, that it stops, and that it is alive.

use std::io;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::Recipient;
use holdfast_core::connection::state::PublicState;
use holdfast_core::shutdown::Phase;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::actors::supervisor::protocol::AreYouThere;
use crate::actors::system::protocol::GetSystemStatus;
use crate::config;
use crate::ports::board::Board;
use crate::ports::clock::Clock;

/// How often the manager is told what the service is doing, if that has changed.
const TELLS: Duration = Duration::from_secs(5);
/// How much longer than its own limit the stop may take: HTTP and the last tasks.
const LAST_STEPS: Duration = Duration::from_secs(5);

/// The way to the manager, if there is one.
#[derive(Clone, Default)]
pub(super) struct Manager {
    way: Option<Arc<(UnixDatagram, SocketAddr)>>,
    watchdog: Option<Duration>,
}

/// Who has to answer before the manager hears that the process is alive.
pub(super) struct Witnesses {
    pub(super) system: Recipient<GetSystemStatus>,
    pub(super) supervisor: Recipient<AreYouThere>,
    pub(super) board: Arc<Board>,
    pub(super) clock: Clock,
    /// After this time a stop is forced.
    pub(super) forced_after: Duration,
}

impl Manager {
    /// Finds the way to the manager. Without one, or if it cannot be reached, nobody is told anything.
    pub(super) fn find(settings: &config::Manager) -> Self {
        let way = settings.socket.as_deref().and_then(|socket| match open(socket) {
            Ok(way) => Some(Arc::new(way)),
            Err(error) => {
                warn!(%error, "NOTIFY_SOCKET cannot be used; the service manager is told nothing");
                None
            }
        });
        Self { way, watchdog: settings.watchdog }
    }

    /// Tells the manager; one that does not listen is no reason to stop.
    pub(super) fn tell(&self, words: &str) {
        if let Some(way) = &self.way
            && let Err(error) = way.0.send_to_addr(words.as_bytes(), &way.1)
        {
            info!(%error, "The service manager did not take a notice");
        }
    }

    /// Tells that the service is ready, and from then on what it is doing, for as long as it lives.
    pub(super) async fn keep_told(self, witnesses: Witnesses) {
        if self.way.is_none() {
            return;
        }
        let mut told = tally(&witnesses);
        self.tell(&format!("READY=1\nSTATUS={told}"));
        let every = self.watchdog.map_or(TELLS, |watchdog| (watchdog / 2).min(TELLS));
        let mut stopping = false;
        loop {
            let phase = answer(&witnesses, every).await;
            if phase.is_some() && self.watchdog.is_some() {
                self.tell("WATCHDOG=1");
            }
            if phase.is_some_and(|phase| phase > Phase::Running) && !stopping {
                stopping = true;
                let micros = (witnesses.forced_after + LAST_STEPS).as_micros();
                self.tell(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={micros}\nSTATUS=Stopping"));
            }
            let now = tally(&witnesses);
            if !stopping && now != told {
                self.tell(&format!("STATUS={now}"));
                told = now;
            }
            sleep(every).await;
        }
    }
}

/// Asks both actors on which everything depends; `None` if one of them does not answer within the time.
async fn answer(witnesses: &Witnesses, within: Duration) -> Option<Phase> {
    let asked = async {
        witnesses.supervisor.send(AreYouThere).await.ok()?;
        witnesses.system.send(GetSystemStatus).await.ok()
    };
    let Ok(Some(status)) = timeout(within, asked).await else {
        warn!("The system actor or the supervisor does not answer; the service manager is not told that all is well");
        return None;
    };
    Some(status.phase)
}

fn tally(witnesses: &Witnesses) -> String {
    let now = witnesses.clock.now();
    let all = witnesses.board.all();
    let count = |state| all.iter().filter(|(_, entry)| entry.status.state_at(now) == state).count();
    let (open, connecting) = (count(PublicState::Open), count(PublicState::Connecting));
    format!("{} instances: {open} open, {connecting} connecting, {} closed", all.len(), all.len() - open - connecting)
}

fn open(socket: &str) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match socket.strip_prefix('@') {
        #[cfg(target_os = "linux")]
        Some(name) => SocketAddr::from_abstract_name(name)?,
        #[cfg(not(target_os = "linux"))]
        Some(_) => return Err(io::ErrorKind::Unsupported.into()),
        None => SocketAddr::from_pathname(socket)?,
    };
    let way = UnixDatagram::unbound()?;
    // A manager that does not read must not hold up the service.
    way.set_nonblocking(true)?;
    Ok((way, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_arrive_on_a_path_and_in_the_abstract_namespace() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify").display().to_string();
        let name = format!("@holdfast-test-{}", std::process::id());
        for (socket, bound) in [
            (path.clone(), UnixDatagram::bind(&path).unwrap()),
            (name.clone(), UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name[1..]).unwrap()).unwrap()),
        ] {
            let manager = Manager::find(&config::Manager { socket: Some(socket), watchdog: None });
            manager.tell("READY=1");
            let mut read = [0; 16];
            let length = bound.recv(&mut read).unwrap();
            assert_eq!(&read[..length], b"READY=1");
        }
    }

    #[test]
    fn without_a_manager_or_with_one_that_is_gone_nothing_happens() {
        Manager::find(&config::Manager::default()).tell("READY=1");
        let gone = config::Manager { socket: Some("/nowhere/notify".to_owned()), watchdog: None };
        Manager::find(&gone).tell("READY=1");
    }
}

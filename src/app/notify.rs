//! What the service manager is told, in systemd's protocol (sd_notify(3)): datagrams to the socket that it names.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::Recipient;
use holdfast_core::connection::state::PublicState;
use holdfast_core::id::InstanceId;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use crate::actors::supervisor::protocol::WhereIs;
use crate::actors::system::protocol::GetSystemStatus;
use crate::config;
use crate::ports::board::Board;
use crate::ports::clock::Clock;

/// How often the status is looked at when no watchdog asks for more.
const LOOK: Duration = Duration::from_secs(5);
/// How long the actors may take to show that they turn.
const TURNS_WITHIN: Duration = Duration::from_secs(2);

/// The service manager; nobody, if the process was started by none.
#[derive(Clone)]
pub(super) struct Manager {
    socket: Option<Arc<UnixDatagram>>,
    watchdog: Option<Duration>,
}

/// What shows that the service is alive, and how it is doing.
pub(super) struct Vitals {
    pub(super) system: Recipient<GetSystemStatus>,
    pub(super) supervisor: Recipient<WhereIs>,
    pub(super) board: Arc<Board>,
    pub(super) clock: Clock,
}

impl Manager {
    /// Finds the manager that the environment names. One that cannot be reached is warned about: the service runs all the same.
    pub(super) fn find(settings: &config::Manager) -> Self {
        let socket = settings.socket.as_ref().and_then(|name| {
            let found = connect(name);
            found.inspect_err(|error| warn!("The service manager cannot be told anything: {error}")).ok()
        });
        Self { socket: socket.map(Arc::new), watchdog: settings.watchdog }
    }

    /// Tells that instances are being restored and requests are served.
    pub(super) fn ready(&self) {
        self.tell("READY=1");
    }

    /// Tells that the shutdown has begun, and how long it may take at most.
    pub(super) fn stopping(&self, within: Duration) {
        self.tell(&format!("STOPPING=1\nSTATUS=Stopping\nEXTEND_TIMEOUT_USEC={}", within.as_micros()));
    }

    /// Tells how many instances are connected whenever that has changed, and that the service lives at half of the time that the
    /// watchdog gives it. Ends only with the service.
    pub(super) async fn keep_informed(self, vitals: Vitals) {
        if self.socket.is_none() {
            return;
        }
        let mut ticks = interval(self.watchdog.map_or(LOOK, |every| (every / 2).min(LOOK)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = String::new();
        loop {
            ticks.tick().await;
            if self.watchdog.is_some() && vitals.turns().await {
                self.tell("WATCHDOG=1");
            }
            let status = vitals.status();
            if status != told && !vitals.stops().await {
                self.tell(&format!("STATUS={status}"));
                told = status;
            }
        }
    }

    fn tell(&self, what: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(what.as_bytes()) {
            warn!("The service manager was not told {what:?}: {error}");
        }
    }
}

impl Vitals {
    /// Tells whether the actors that everything hangs on answer.
    async fn turns(&self) -> bool {
        let nobody = WhereIs { id: InstanceId::new("nobody") };
        let (system, supervisor) = tokio::join!(
            self.system.send(GetSystemStatus).timeout(TURNS_WITHIN),
            self.supervisor.send(nobody).timeout(TURNS_WITHIN)
        );
        system.is_ok() && supervisor.is_ok()
    }

    async fn stops(&self) -> bool {
        let status = self.system.send(GetSystemStatus).timeout(TURNS_WITHIN).await;
        status.is_ok_and(|status| status.phase > holdfast_core::shutdown::Phase::Running)
    }

    /// One line for people.
    fn status(&self) -> String {
        let now = self.clock.now();
        let (mut open, mut connecting, mut closed) = (0, 0, 0);
        for (_, entry) in self.board.all() {
            match entry.status.state_at(now) {
                PublicState::Open => open += 1,
                PublicState::Connecting => connecting += 1,
                PublicState::Close => closed += 1,
            }
        }
        format!("{open} of {} instances open, {connecting} connecting, {closed} closed", open + connecting + closed)
    }
}

/// Connects to a path, or, if it begins with `@`, to a name in the abstract namespace. Never blocks later on.
fn connect(name: &str) -> io::Result<UnixDatagram> {
    let address = match name.strip_prefix('@') {
        Some(abstract_name) => SocketAddr::from_abstract_name(abstract_name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

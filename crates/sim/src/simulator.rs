//! A running simulator.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::api::Health;
use crate::cert::ServerIdentity;
use crate::control::{self, ControlServer};
use crate::door::Door;
use crate::encoding::hex;
use crate::hub::Hub;
use crate::media_host;
use crate::operator::Operator;
use crate::server;
use crate::state_file::{self, StateError, StateFile};
use crate::time::Clock;
use crate::tls::{TlsError, Transport};
use crate::world::World;

/// The path that clients ask for; any other works as well.
const WS_PATH: &str = "/ws/chat";

/// Where a simulator listens, and what it remembers.
#[derive(Clone, Debug)]
pub struct Options {
    /// For clients. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// For the control interface. Port 0 takes a free one.
    pub control: SocketAddr,
    /// For files that clients upload and download. Port 0 takes a free one.
    pub media: SocketAddr,
    /// Speak TLS to clients, and write the certificate of the authority that they have to trust to this file.
    pub tls: Option<PathBuf>,
    /// The file that keeps everything over a restart.
    pub state: Option<PathBuf>,
    /// Makes runs repeatable: all keys, numbers and ids follow from the seed, and the time from what happens. Not together
    /// with a state file.
    pub seed: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self { listen: free, control: free, media: free, tls: None, state: None, seed: None }
    }
}

/// Why a simulator did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Others could reach it there.
    #[error("{0} can be reached from outside; the simulator listens on loopback addresses only, such as 127.0.0.1")]
    NotLoopback(SocketAddr),
    /// The port is taken, or not ours to take.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    /// The state file cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// There is no TLS to be had.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A run cannot both begin afresh and go on.
    #[error("a seed makes a run that begins the same each time; leave out either the seed or the state file")]
    SeedWithState,
    /// The server's keys cannot be used.
    #[error("cannot use the server's keys: {0}")]
    Keys(String),
}

/// A running simulator; it stops when dropped. Everything that can be asked of it is on [`Operator`].
pub struct Simulator {
    operator: Operator,
    hub: Arc<Hub>,
    state: Option<Arc<StateFile>>,
    control: ControlServer,
    tasks: Vec<JoinHandle<()>>,
}

impl Simulator {
    /// Starts a simulator on the current tokio runtime.
    ///
    /// # Errors
    /// When an address or the state file cannot be used.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let Options { listen, control, media, tls, state, seed } = options;
        if let Some(address) = [listen, control, media].into_iter().find(|address| !server::is_loopback(address)) {
            return Err(StartError::NotLoopback(address));
        }
        if state.is_some() && seed.is_some() {
            return Err(StartError::SeedWithState);
        }
        let state = state.map(StateFile::take).transpose()?.map(Arc::new);
        let clock = if seed.is_some() { Clock::Logical } else { Clock::Machine };
        let world = world(state.as_deref(), seed, clock)?;
        let root = world.server.root_public_key().map_err(|error| StartError::Keys(error.to_string()))?;
        let hub = Hub::new(world, clock);

        let (listener, ws) = listen_on(listen).await?;
        let (media_listener, media) = listen_on(media).await?;
        let control_listener =
            std::net::TcpListener::bind(control).map_err(|error| StartError::Listen(control, error))?;
        let control_address = control_listener.local_addr().map_err(|error| StartError::Listen(control, error))?;
        let transport = tls.as_deref().map(Transport::tls).transpose()?.unwrap_or_default();
        let health = Health {
            ws: format!("{}://{ws}{WS_PATH}", transport.scheme("ws")),
            control: format!("http://{control_address}"),
            media: format!("{}://{media}", transport.scheme("http")),
            authority: tls.map(|file| file.display().to_string()),
            root_public_key: hex(&root),
        };
        hub.with(|world| world.set_media_host(&transport.scheme("http"), &media.to_string()));
        let (door, door_orders) = Door::new();
        let operator = Operator::new(hub.clone(), health, door);
        let control = control::serve(control_listener, operator.clone())
            .map_err(|error| StartError::Listen(control_address, error))?;

        let mut tasks = vec![
            tokio::spawn(server::accept(listener, ws, transport.clone(), hub.clone(), door_orders)),
            tokio::spawn(media_host::accept(media_listener, transport, hub.clone())),
        ];
        if let Some(file) = &state {
            file.save(&hub)?;
            tasks.push(tokio::spawn(state_file::keep(hub.clone(), file.clone())));
        }
        Ok(Self { operator, hub, state, control, tasks })
    }

    /// The address for clients.
    #[must_use]
    pub fn ws_url(&self) -> &str {
        &self.operator.health().ws
    }

    /// The address of the control interface.
    #[must_use]
    pub fn control_url(&self) -> &str {
        &self.operator.health().control
    }

    /// The key that signs the certificate chain, in hexadecimal.
    #[must_use]
    pub fn root_public_key(&self) -> &str {
        &self.operator.health().root_public_key
    }

    /// A handle that can be given away.
    #[must_use]
    pub fn operator(&self) -> Operator {
        self.operator.clone()
    }

    /// Stops, after saving the state.
    ///
    /// # Errors
    /// When the state cannot be saved.
    pub async fn stop(mut self) -> Result<(), StateError> {
        for task in self.tasks.drain(..) {
            task.abort();
            // A task that was told to end reports just that.
            let _ = task.await;
        }
        self.operator.stop_traffic();
        self.control.stop();
        match self.state.take() {
            Some(file) => file.save(&self.hub),
            None => Ok(()),
        }
    }
}

impl Deref for Simulator {
    type Target = Operator;

    fn deref(&self) -> &Operator {
        &self.operator
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.operator.stop_traffic();
        self.control.stop();
    }
}

async fn listen_on(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let refused = |error| StartError::Listen(address, error);
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok((listener, address))
}

fn world(state: Option<&StateFile>, seed: Option<u64>, clock: Clock) -> Result<World, StartError> {
    let mut rng: StdRng = seed.map_or_else(rand::make_rng, StdRng::seed_from_u64);
    if let Some(world) = state.map(|file| file.load(rand::make_rng())).transpose()?.flatten() {
        return Ok(world);
    }
    let server = ServerIdentity::generate(clock.now_ms(0) / 1000, &mut rng)
        .map_err(|error| StartError::Keys(error.to_string()))?;
    Ok(World::new(server, rng))
}

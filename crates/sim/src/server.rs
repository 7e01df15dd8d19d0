//! Listens for clients.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::connection;
use crate::door::{DoorOrder, Refusal, RefuseMode};
use crate::events::EventKind;
use crate::hub::Hub;
use crate::peer::Watch;
use crate::socket::Socket;
use crate::tls::Transport;
use crate::upgrade;
use crate::wire::Wire;

/// How long to wait when the system has no file handle left for another connection, or a port is not free.
const PAUSE: Duration = Duration::from_millis(50);
const BACKLOG: u32 = 1024;

/// Accepts connections for ever; dropping the future ends them all.
pub async fn accept(
    listener: TcpListener,
    address: SocketAddr,
    transport: Transport,
    hub: Arc<Hub>,
    mut orders: mpsc::Receiver<DoorOrder>,
) {
    let mut connections = JoinSet::new();
    let mut port = Port { address, state: PortState::Listening(listener) };
    let mut refusal: Option<(Refusal, Instant)> = None;
    loop {
        tokio::select! {
            accepted = port.accept() => match accepted {
                Ok(tcp) => meet(tcp, &transport, refusal.map(|(refusal, _)| refusal), &hub, &mut connections),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(PAUSE).await;
                }
            },
            () = until(refusal.map(|(_, end)| end)) => {
                port.open().await;
                refusal = None;
                tell(&hub, None);
            }
            Some(DoorOrder { refusal: new, done }) = orders.recv() => {
                match new.map(|new| new.mode) {
                    Some(RefuseMode::Listen) => port.close(),
                    Some(RefuseMode::Http | RefuseMode::Rst | RefuseMode::Hang) | None => port.open().await,
                }
                if new.is_some() || refusal.is_some() {
                    tell(&hub, new.as_ref());
                }
                refusal = new.map(|new| (new, Instant::now() + new.time));
                // Whoever asked may have left.
                let _ = done.send(());
            }
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "the task of a connection failed");
                }
            }
        }
    }
}

fn meet(
    tcp: TcpStream,
    transport: &Transport,
    refusal: Option<Refusal>,
    hub: &Arc<Hub>,
    connections: &mut JoinSet<()>,
) {
    let Some(Refusal { mode, status, .. }) = refusal else {
        connections.spawn(connection::serve(tcp, transport.clone(), hub.clone()));
        return;
    };
    match mode {
        // One that was accepted just before the port was closed.
        RefuseMode::Listen | RefuseMode::Rst => Wire::new(Socket::Plain(tcp)).reset_on_drop(),
        RefuseMode::Http => {
            let transport = transport.clone();
            connections.spawn(async move {
                if let Some(socket) = transport.accept(tcp).await {
                    upgrade::refuse(Wire::new(socket), status).await;
                }
            });
        }
        RefuseMode::Hang => {
            connections.spawn(hang(tcp));
        }
    }
}

/// Keeps a connection, without reading or writing, until its client has enough.
async fn hang(tcp: TcpStream) {
    match Watch::new(&tcp) {
        Ok(watch) => {
            watch.left().await;
        }
        Err(error) => tracing::warn!(%error, "cannot keep a client waiting"),
    }
}

fn tell(hub: &Hub, refusal: Option<&Refusal>) {
    let (kind, detail) = match refusal {
        Some(Refusal { mode, time, .. }) => {
            (EventKind::Refusing, json!({ "mode": mode, "seconds": time.as_secs_f64() }))
        }
        None => (EventKind::Accepting, Value::Null),
    };
    hub.with(|world| world.log(kind, None, None, detail));
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => pending().await,
    }
}

/// A port that can be closed for a while without being given away.
struct Port {
    address: SocketAddr,
    state: PortState,
}

enum PortState {
    Listening(TcpListener),
    /// Nobody can connect, and nobody else can listen.
    Reserved(TcpSocket),
    Free,
}

impl Port {
    async fn accept(&self) -> io::Result<TcpStream> {
        match &self.state {
            PortState::Listening(listener) => Ok(listener.accept().await?.0),
            PortState::Reserved(_) | PortState::Free => pending().await,
        }
    }

    fn close(&mut self) {
        if matches!(self.state, PortState::Listening(_)) {
            self.state = PortState::Free;
            match reserve(self.address) {
                Ok(socket) => self.state = PortState::Reserved(socket),
                Err(error) => tracing::warn!(%error, "a closed port might be taken by somebody else"),
            }
        }
    }

    async fn open(&mut self) {
        loop {
            let reserved = match std::mem::replace(&mut self.state, PortState::Free) {
                PortState::Listening(listener) => {
                    self.state = PortState::Listening(listener);
                    return;
                }
                PortState::Reserved(socket) => Ok(socket),
                PortState::Free => reserve(self.address),
            };
            match reserved.and_then(|socket| socket.listen(BACKLOG)) {
                Ok(listener) => self.state = PortState::Listening(listener),
                Err(error) => {
                    tracing::warn!(%error, "cannot listen again yet");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Binds without listening. Connections that live on at the port do not matter.
fn reserve(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Whether only this machine can reach an address.
#[must_use]
pub fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().is_loopback()
}

//! The cable between a program and a server: a TCP proxy that can be cut, that can fall silent, and whose other end can move.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What the cable does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Carries,
    /// Connections are accepted, and nothing comes or goes.
    Silent,
    /// Whoever comes is turned away.
    Unplugged,
}

pub(crate) struct Cable {
    port: u16,
    target: Arc<AtomicU16>,
    state: watch::Sender<State>,
    connections: Arc<Mutex<CancellationToken>>,
    life: CancellationToken,
}

impl Cable {
    /// Lays a cable to a port of this machine.
    pub(crate) async fn lay(target: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let cable = Self {
            port: listener.local_addr()?.port(),
            target: Arc::new(AtomicU16::new(target)),
            state: watch::Sender::new(State::Carries),
            connections: Arc::default(),
            life: CancellationToken::new(),
        };
        let (target, state, connections) =
            (Arc::clone(&cable.target), cable.state.clone(), Arc::clone(&cable.connections));
        let serving = async move {
            while let Ok((near, _)) = listener.accept().await {
                let life = connections.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let carrying = carry(near, target.load(Ordering::Relaxed), state.subscribe());
                tokio::spawn(life.run_until_cancelled_owned(carrying));
            }
        };
        tokio::spawn(cable.life.clone().run_until_cancelled_owned(serving));
        Ok(cable)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Plugs the far end in elsewhere, for connections to come.
    pub(crate) fn moves_to(&self, target: u16) {
        self.target.store(target, Ordering::Relaxed);
    }

    pub(crate) fn be(&self, state: State) {
        self.state.send_replace(state);
    }

    /// Cuts every connection.
    pub(crate) fn cut(&self) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *connections).cancel();
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.cut();
        self.life.cancel();
    }
}

/// Carries bytes while the state says so; while it is silent they wait.
async fn carry(mut near: TcpStream, target: u16, mut state: watch::Receiver<State>) {
    if *state.borrow() == State::Unplugged {
        return;
    }
    let mut far = None;
    loop {
        if *state.borrow_and_update() == State::Carries {
            if far.is_none() {
                far = TcpStream::connect(("127.0.0.1", target)).await.ok();
            }
            let Some(far) = &mut far else { return };
            tokio::select! {
                // Whoever goes away is no failure of the test.
                _ = copy_bidirectional(&mut near, far) => return,
                changed = state.changed() => if changed.is_err() { return },
            }
        } else if state.changed().await.is_err() {
            return;
        }
    }
}

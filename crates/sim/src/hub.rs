//! Where the world meets its surroundings: one lock, the clock, and a way to each connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use tokio::sync::{mpsc, watch};
use wacore_binary::Node;

use crate::conduct::Conduct;
use crate::link::LinkId;
use crate::noise::Responder;
use crate::time::Clock;
use crate::world::{Closing, Effect, World};

/// An order to the task that serves a connection.
#[derive(Debug)]
pub enum Command {
    /// Send a stanza. Boxed, as each connection has room for a block of orders.
    Send(Box<Node>),
    /// End the connection.
    Close(Closing),
    /// Treat the client like this from now on.
    Treat(Conduct),
    /// Send nothing for so long.
    Hold(Duration),
    /// Send a frame that cannot be decrypted.
    Garbage,
    /// Find out whether the client has closed this connection; report it if not.
    Supersede,
}

/// What a new connection is given.
pub struct Opening {
    /// Its name.
    pub id: LinkId,
    /// What it is ordered to do.
    pub orders: mpsc::UnboundedReceiver<Command>,
    /// What it answers handshakes with.
    pub responder: Responder,
    /// Its source of randomness.
    pub rng: StdRng,
}

/// The world, shared by connections and the control interface.
pub struct Hub {
    world: Mutex<World>,
    clock: Clock,
    links: Mutex<HashMap<LinkId, mpsc::UnboundedSender<Command>>>,
    events: watch::Sender<u64>,
    changes: watch::Sender<u64>,
}

impl Hub {
    /// Shares a world.
    #[must_use]
    pub fn new(world: World, clock: Clock) -> Arc<Self> {
        let events = watch::Sender::new(world.events.last());
        let (world, links, changes) = (Mutex::new(world), Mutex::default(), watch::Sender::new(0));
        Arc::new(Self { world, clock, links, events, changes })
    }

    /// Lets something happen in the world, and carries out what follows from it.
    pub fn with<T>(&self, happening: impl FnOnce(&mut World) -> T) -> T {
        // Orders are passed on before the lock is given up, so that two happenings cannot swap the order of their stanzas.
        let mut world = lock(&self.world);
        world.now = self.clock.now_ms(world.events.last());
        let result = happening(&mut world);
        self.carry_out(world.take_effects());
        let (last, changed) = (world.events.last(), world.take_changed());
        drop(world);
        self.events.send_if_modified(|seen| std::mem::replace(seen, last) != last);
        if changed {
            self.changes.send_modify(|version| *version += 1);
        }
        result
    }

    /// Registers a new connection.
    pub fn open(&self) -> Opening {
        let (sender, orders) = mpsc::unbounded_channel();
        self.with(|world| {
            let id = world.opened();
            lock(&self.links).insert(id, sender);
            Opening { id, orders, responder: world.responder(), rng: world.fork_rng() }
        })
    }

    /// Forgets a connection that its client closed, or that was reset.
    pub fn closed(&self, id: LinkId, how: &str) {
        lock(&self.links).remove(&id);
        self.with(|world| world.closed(id, how));
    }

    /// Tells the number of the newest event whenever it grows.
    #[must_use]
    pub fn events(&self) -> watch::Receiver<u64> {
        self.events.subscribe()
    }

    /// Tells whenever something changed that the state file keeps.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn carry_out(&self, effects: Vec<Effect>) {
        if effects.is_empty() {
            return;
        }
        let links = lock(&self.links);
        for effect in effects {
            let (id, command) = match effect {
                Effect::Send(id, node) => (id, Command::Send(Box::new(node))),
                Effect::Close(id, closing) => (id, Command::Close(closing)),
                Effect::Treat(id, conduct) => (id, Command::Treat(conduct)),
                Effect::Hold(id, ms) => (id, Command::Hold(Duration::from_millis(ms))),
                Effect::Garbage(id) => (id, Command::Garbage),
                Effect::Supersede(id) => (id, Command::Supersede),
            };
            if let Some(link) = links.get(&id) {
                // A connection that is just ending takes no orders, and needs none.
                let _ = link.send(command);
            }
        }
    }
}

/// A panic elsewhere is reported there; here the simulator goes on with what there is.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

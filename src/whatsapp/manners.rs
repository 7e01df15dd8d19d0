//! What a link does by the settings of its instance: they are read before each dial, and change while it lasts.
//!
//! What is decided stands in [`holdfast_core::conduct`]; here it is carried out, on the connection that is there.

use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use holdfast_core::conduct::{Conduct, Presence};
use holdfast_core::id::InstanceId;
use tokio::runtime::Handle;
use whatsapp_rust::Client;

use super::calls::Calls;
use super::presence::Shown;
use super::reading::Reading;
use crate::ports::link::SendError;

/// How long after a new name the library may take to say that the account is there.
const LIBRARY_SAYS_WITHIN: Duration = Duration::from_secs(1);

/// What one driver keeps about the conduct of its links.
pub(super) struct Manners {
    conduct: RwLock<Arc<Conduct>>,
    /// The client of the present connection, while it is connected.
    connected: Mutex<Weak<Client>>,
    shown: Shown,
    pub(super) reading: Reading,
    pub(super) calls: Calls,
    handle: Handle,
}

impl Manners {
    pub(super) fn new(instance: InstanceId, handle: Handle) -> Arc<Self> {
        Arc::new(Self {
            conduct: RwLock::default(),
            connected: Mutex::default(),
            shown: Shown::new(instance.clone()),
            reading: Reading::new(instance.clone()),
            calls: Calls::new(instance),
            handle,
        })
    }

    /// Returns what holds now.
    pub(super) fn conduct(&self) -> Arc<Conduct> {
        Arc::clone(&self.conduct.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets something else hold from now on, on the present connection too.
    pub(super) fn adopt(self: &Arc<Self>, conduct: Conduct) {
        *self.conduct.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(conduct);
        self.show(Duration::ZERO, false);
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(super) fn client(&self) -> Option<Arc<Client>> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    /// The client is connected: what it shows is said, and what waited is read.
    pub(super) fn connected(self: &Arc<Self>, client: &Arc<Client>) {
        *self.connected.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(client);
        self.show(Duration::ZERO, true);
        self.read_on();
    }

    /// The connection is over, or not there yet.
    pub(super) fn apart(&self) {
        *self.connected.lock().unwrap_or_else(PoisonError::into_inner) = Weak::new();
    }

    /// The account has another name. The library then says by itself that the account is there, which may not be wanted.
    pub(super) fn renamed(self: &Arc<Self>) {
        self.show(LIBRARY_SAYS_WITHIN, true);
    }

    fn show(self: &Arc<Self>, after: Duration, anew: bool) {
        if self.client().is_none() {
            return;
        }
        let manners = Arc::clone(self);
        self.handle.spawn(async move {
            tokio::time::sleep(after).await;
            let Some(client) = manners.client() else { return };
            manners.shown.show(&client, || manners.conduct().presence(), anew).await;
        });
    }

    /// Shows what somebody asks for, until the settings or a new connection say otherwise.
    pub(super) async fn show_as(&self, client: &Client, presence: Presence) -> Result<(), SendError> {
        self.shown.show_as(client, presence).await
    }
}

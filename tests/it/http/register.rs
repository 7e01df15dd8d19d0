//! Leases as a test writes them down.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use chrono::{DateTime, Utc};
use holdfast::ports::leases::{Leases, Node, Owner, Profile, Whereabouts};
use holdfast::ports::store::{Instances as _, StoreError};
use holdfast_core::id::InstanceId;
use holdfast_core::tenancy::Survey;

use super::service::Service;
use crate::harness::faulty_store::FaultyStore;

/// What one node reads about the fleet.
#[derive(Default)]
pub(super) struct Register {
    /// `None` where no other process can exist.
    store: Option<Arc<FaultyStore>>,
    book: Mutex<Book>,
}

#[derive(Default)]
pub(super) struct Book {
    pub(super) nodes: Vec<Node>,
    pub(super) owners: HashMap<InstanceId, String>,
    /// Whether the database does not answer.
    pub(super) unavailable: bool,
}

impl Register {
    pub(super) fn alone() -> Self {
        Self::default()
    }

    pub(super) fn over(store: Arc<FaultyStore>) -> Arc<Self> {
        Arc::new(Self { store: Some(store), ..Self::default() })
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    /// Writes a node down, or replaces what is written of it.
    pub(super) fn node(&self, name: &str, url: Option<&str>, alive: bool) {
        let mut book = self.book();
        book.nodes.retain(|node| node.name != name);
        book.nodes.push(Node {
            name: name.to_owned(),
            url: url.map(str::to_owned),
            version: "1.2.3".to_owned(),
            since: DateTime::<Utc>::UNIX_EPOCH,
            silent_for: Duration::from_secs(3),
            alive,
            draining: false,
            instances: 1,
        });
        book.nodes.sort_by(|one, other| one.name.cmp(&other.name));
    }

    /// Gives an instance to a node, or to nobody.
    pub(super) fn gives(&self, id: &InstanceId, node: Option<&str>) {
        let mut book = self.book();
        match node {
            Some(node) => book.owners.insert(id.clone(), node.to_owned()),
            None => book.owners.remove(id),
        };
    }

    fn answers(&self) -> Result<MutexGuard<'_, Book>, StoreError> {
        let book = self.book();
        if book.unavailable {
            return Err(StoreError::Unavailable { doing: "reading the register", cause: "planned".into() });
        }
        Ok(book)
    }
}

#[async_trait::async_trait]
impl Leases for Register {
    fn lease_ttl(&self) -> Option<Duration> {
        self.store.as_ref().map(|_| Duration::from_secs(60))
    }

    async fn whereabouts(&self, name: &str) -> Result<Option<Whereabouts>, StoreError> {
        drop(self.answers()?);
        let Some(store) = &self.store else { return Ok(None) };
        let Some(row) = store.list().await?.into_iter().find(|row| row.name == name) else { return Ok(None) };
        let book = self.answers()?;
        let owner = book.owners.get(&row.id).map(|owner| {
            let node = book.nodes.iter().find(|node| node.name == *owner);
            Owner {
                node: owner.clone(),
                url: node.and_then(|node| node.url.clone()),
                alive: node.is_some_and(|node| node.alive),
            }
        });
        Ok(Some(Whereabouts { id: row.id, owner }))
    }

    async fn owners(&self) -> Result<HashMap<InstanceId, String>, StoreError> {
        Ok(self.answers()?.owners.clone())
    }

    async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        Ok(self.answers()?.nodes.clone())
    }

    async fn join(&self, _: Profile) -> Result<(), StoreError> {
        Ok(())
    }

    async fn renew(&self) -> Result<Vec<InstanceId>, StoreError> {
        Ok(Vec::new())
    }

    async fn survey(&self) -> Result<Survey, StoreError> {
        Ok(Survey::default())
    }

    async fn adopt(&self, _: u32, _: bool) -> Result<Vec<InstanceId>, StoreError> {
        Ok(Vec::new())
    }

    async fn let_go(&self, _: Vec<InstanceId>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn retire(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn leave(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Two nodes over one store, each with a key and a register of its own.
pub(super) struct Pair {
    pub(super) a: Service,
    pub(super) b: Service,
    pub(super) of_a: Arc<Register>,
    pub(super) of_b: Arc<Register>,
}

impl Pair {
    pub(super) async fn start() -> Self {
        use holdfast::http::settings::{MetricsSettings, NodeSettings};
        use holdfast::ports::node_key::NodeKey;

        use super::service::Plan;

        let first = Service::start().await;
        let (of_a, of_b) = (Register::over(Arc::clone(&first.store)), Register::over(Arc::clone(&first.store)));
        let plan = |name: &str, register: &Arc<Register>| Plan {
            key: format!("the-key-of-{name}"),
            node: NodeSettings { name: name.to_owned(), url: None, key: NodeKey::derived_from(&[7; 32]) },
            leases: Arc::clone(register) as Arc<dyn Leases>,
            store: Some(Arc::clone(&first.store)),
            metrics: Some(MetricsSettings {
                allowed: None,
                auth_required: false,
                login: None,
                server_url: "http://host".to_owned(),
            }),
            ..Plan::default()
        };
        let a = Service::built(plan("a", &of_a)).await;
        let b = Service::built(plan("b", &of_b)).await;
        // Its store is what both work on.
        let a = a.instead_of(first);
        for register in [&of_a, &of_b] {
            register.node("a", Some(&a.url), true);
            register.node("b", Some(&b.url), true);
        }
        Self { a, b, of_a, of_b }
    }

    /// Creates an instance at the first node, which owns it then.
    pub(super) async fn instance(&self, name: &str) -> (InstanceId, String) {
        let (id, token) = self.a.instance(name).await;
        self.owned_by(&id, Some("a"));
        (id, token)
    }

    /// Gives an instance to a node, for both to read.
    pub(super) fn owned_by(&self, id: &InstanceId, node: Option<&str>) {
        self.of_a.gives(id, node);
        self.of_b.gives(id, node);
    }
}

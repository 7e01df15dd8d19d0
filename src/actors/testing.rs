//! A small world for actor tests: scripted links, a store in memory, and time that passes only when told to.

mod copies;
pub(super) mod leases;
pub(super) mod links;
pub(super) mod store;

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::{Actor, Addr};
use holdfast_core::backoff::Backoff;
use holdfast_core::connection::{Desired, Policy};
use holdfast_core::fleet;
use holdfast_core::id::InstanceId;
use holdfast_core::supervision::RestartPolicy;
use tokio::runtime::Handle;

use self::links::ScriptedLinks;
use self::store::MemoryStore;
use crate::actors::health::HealthActor;
use crate::actors::instance::InstanceParts;
use crate::actors::supervisor::protocol::StartInstance;
use crate::actors::supervisor::{SupervisorActor, SupervisorParts};
use crate::ports::board::{Board, Entry};
use crate::ports::clock::Clock;
use crate::ports::meter::Meter;
use crate::ports::store::InstanceRecord;
use crate::telemetry::figures::Figures;

pub(super) struct World {
    pub clock: Clock,
    pub links: Arc<ScriptedLinks>,
    pub store: Arc<MemoryStore>,
    pub board: Arc<Board>,
    pub meter: Arc<dyn Meter>,
    pub health: Addr<HealthActor>,
    pub supervisor: Addr<SupervisorActor>,
}

impl World {
    /// Stops the clock and starts a supervisor and a watchdog over it.
    pub(super) fn start() -> Self {
        Self::under(Policy::default())
    }

    /// The same, where instances live by these rules.
    pub(super) fn under(policy: Policy) -> Self {
        tokio::time::pause();
        let clock = Clock::start();
        let links = Arc::new(ScriptedLinks::new(clock));
        let store = Arc::new(MemoryStore::default());
        let board = Arc::new(Board::default());
        let meter: Arc<dyn Meter> = Arc::new(Figures::new().unwrap());
        let policy = Arc::new(policy);
        let health = HealthActor::new(clock, Arc::clone(&board), meter.clone(), policy.health_interval).start();
        let parts = {
            let (links, store, board, health, meter) =
                (Arc::clone(&links), Arc::clone(&store), Arc::clone(&board), health.clone(), Arc::clone(&meter));
            move |supervisor| InstanceParts {
                links: links.clone(),
                store: store.clone(),
                board: Arc::clone(&board),
                meter: Arc::clone(&meter),
                clock,
                policy: Arc::clone(&policy),
                runtime: Handle::current(),
                health: health.clone().recipient(),
                supervisor,
            }
        };
        let supervisor = SupervisorActor::new(SupervisorParts {
            instance: Box::new(parts),
            arbiters: Vec::new(),
            watch: health.clone().recipient(),
            unwatch: health.clone().recipient(),
            policy: RestartPolicy {
                intensity: 3,
                window: Duration::from_secs(60),
                backoff: Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(60) },
                stable_after: Duration::from_secs(300),
            },
            fleet: fleet::Policy::default(),
            withheld: Arc::default(),
        })
        .start();
        Self { clock, links, store, board, meter, health, supervisor }
    }

    /// Puts a paired instance that should be connected on the roster.
    pub(super) async fn add(&self, name: &str) -> InstanceId {
        self.add_with(name, true, Desired::Connected).await
    }

    pub(super) async fn add_with(&self, name: &str, paired: bool, desired: Desired) -> InstanceId {
        let id = InstanceId::new(name);
        let record = record(&id, paired, desired);
        self.store.keep_new(record.clone());
        self.supervisor.send(StartInstance { record }).await.unwrap().unwrap();
        id
    }

    /// Lets time pass; whatever is due in between happens in its order.
    pub(super) async fn pass(&self, wait: Duration) {
        tokio::time::sleep(wait).await;
        // What became due at the very end is still carried out.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    pub(super) fn entry(&self, id: &InstanceId) -> Entry {
        self.board.get(id).unwrap()
    }
}

pub(super) fn record(id: &InstanceId, paired: bool, desired: Desired) -> InstanceRecord {
    InstanceRecord {
        id: id.clone(),
        name: id.as_str().to_owned(),
        token: "token".to_owned(),
        integration: Some("WHATSAPP-BAILEYS".to_owned()),
        number: None,
        business_id: None,
        client_name: None,
        connection_status: "close".to_owned(),
        owner_jid: None,
        profile_name: None,
        profile_picture: None,
        disconnection_code: None,
        disconnection_object: None,
        disconnection_at: None,
        created_at: None,
        updated_at: None,
        desired,
        paired,
        last_online_at: None,
        setting: None,
        proxy: None,
        chatwoot: None,
        unreadable: Vec::new(),
    }
}

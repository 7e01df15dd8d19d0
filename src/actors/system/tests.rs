use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::prelude::{Actor, Context, Handler};
use holdfast_core::shutdown::{Budgets, Phase, ShutdownReport};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::protocol::{BeginShutdown, Booted, GetSystemStatus, GiveUp};
use super::{LeaseWays, SystemActor, SystemParts};
use crate::actors::dispatcher::protocol::Flush;
use crate::actors::leases::protocol::{Closed, Leave, Retire};
use crate::actors::supervisor::protocol::DrainAll;
use crate::actors::testing::store::MemoryStore;
use crate::ports::clock::Clock;

#[actix::test]
async fn the_phases_are_entered_in_order_and_end_with_the_store() {
    let (stage, report) = Stage::start(Cast { drain: Some(vec![]), flush: Some(vec![]) });
    stage.system.send(Booted).await.unwrap();
    assert!(stage.status().await.ready);
    stage.system.send(BeginShutdown).await.unwrap();
    let report = report.await.unwrap();
    assert!(report.clean);
    assert_eq!(*stage.calls.lock().unwrap(), ["retire", "drain", "flush", "leave"]);
    assert_eq!(stage.store.written(), ["store closed"]);
    assert_eq!(stage.status().await.phase, Phase::Stopped);
}

#[actix::test]
async fn what_was_forced_is_said_and_nothing_is_waited_for_forever() {
    let (stage, report) = Stage::start(Cast { drain: Some(vec!["instance a was cut".to_owned()]), flush: None });
    stage.system.send(Booted).await.unwrap();
    stage.system.send(BeginShutdown).await.unwrap();
    let report = report.await.unwrap();
    assert!(!report.clean);
    assert_eq!(report.forced, ["instance a was cut", "phase flushing did not end in its time"]);
    assert!(report.took_ms <= 25_000);
}

#[actix::test]
async fn a_second_signal_does_not_wait() {
    let (stage, report) = Stage::start(Cast { drain: None, flush: None });
    stage.system.send(Booted).await.unwrap();
    stage.system.send(BeginShutdown).await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(!stage.status().await.ready);
    stage.system.send(BeginShutdown).await.unwrap();
    let report = report.await.unwrap();
    assert!(!report.clean && report.took_ms < 1_000, "{report:?}");
}

#[actix::test]
async fn a_service_that_cannot_go_on_stops_in_an_orderly_way_and_says_why() {
    let (stage, report) = Stage::start(Cast { drain: Some(vec![]), flush: Some(vec![]) });
    stage.system.send(Booted).await.unwrap();
    stage.system.send(GiveUp { why: "its name is taken".to_owned() }).await.unwrap();
    let report = report.await.unwrap();
    assert_eq!((report.clean, report.forced), (false, vec!["its name is taken".to_owned()]));
    assert_eq!(*stage.calls.lock().unwrap(), ["retire", "drain", "flush", "leave"]);
}

/// What the other actors answer; `None` never answers.
#[derive(Clone)]
struct Cast {
    drain: Option<Vec<String>>,
    flush: Option<Vec<String>>,
}

struct Stage {
    system: actix::Addr<SystemActor>,
    store: Arc<MemoryStore>,
    calls: Arc<Mutex<Vec<&'static str>>>,
}

impl Stage {
    fn start(cast: Cast) -> (Self, oneshot::Receiver<ShutdownReport>) {
        tokio::time::pause();
        let calls = Arc::new(Mutex::new(Vec::new()));
        let extra = Extra { cast, calls: Arc::clone(&calls) }.start();
        let store = Arc::new(MemoryStore::default());
        let (report, receiver) = oneshot::channel();
        let system = SystemActor::new(SystemParts {
            copying: Vec::new(),
            clock: Clock::start(),
            budgets: Budgets::within(Duration::from_secs(30)),
            drain: extra.clone().recipient(),
            flush: extra.clone().recipient(),
            leases: LeaseWays {
                retire: extra.clone().recipient(),
                closed: extra.clone().recipient(),
                leave: extra.recipient(),
            },
            store: store.clone(),
            runtime: Handle::current(),
            report,
        })
        .start();
        (Self { system, store, calls }, receiver)
    }

    async fn status(&self) -> super::protocol::SystemStatus {
        self.system.send(GetSystemStatus).await.unwrap()
    }
}

struct Extra {
    cast: Cast,
    calls: Arc<Mutex<Vec<&'static str>>>,
}

impl Actor for Extra {
    type Context = Context<Self>;
}

impl Handler<DrainAll> for Extra {
    type Result = actix::ResponseFuture<Vec<String>>;

    fn handle(&mut self, _: DrainAll, _: &mut Self::Context) -> Self::Result {
        self.calls.lock().unwrap().push("drain");
        answer(self.cast.drain.clone())
    }
}

impl Handler<Flush> for Extra {
    type Result = actix::ResponseFuture<Vec<String>>;

    fn handle(&mut self, _: Flush, _: &mut Self::Context) -> Self::Result {
        self.calls.lock().unwrap().push("flush");
        answer(self.cast.flush.clone())
    }
}

impl Handler<Retire> for Extra {
    type Result = ();

    fn handle(&mut self, _: Retire, _: &mut Self::Context) {
        self.calls.lock().unwrap().push("retire");
    }
}

impl Handler<Closed> for Extra {
    type Result = ();

    fn handle(&mut self, _: Closed, _: &mut Self::Context) {}
}

impl Handler<Leave> for Extra {
    type Result = ();

    fn handle(&mut self, _: Leave, _: &mut Self::Context) {
        self.calls.lock().unwrap().push("leave");
    }
}

fn answer(with: Option<Vec<String>>) -> actix::ResponseFuture<Vec<String>> {
    Box::pin(async move {
        match with {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    })
}

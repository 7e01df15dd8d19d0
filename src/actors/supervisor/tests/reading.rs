//! What the actor after a crash begins with.

use std::time::Duration;

use actix::prelude::{Context, Handler, Message};
use holdfast_core::connection::state::PublicState;
use holdfast_core::connection::{Desired, Method, Phase};
use holdfast_core::id::InstanceId;

use super::SOON;
use crate::actors::instance::InstanceActor;
use crate::actors::supervisor::SupervisorActor;
use crate::actors::supervisor::protocol::{
    CommandError, ConnectInstance, DeleteInstance, DrainAll, LogOutInstance, RestartInstance,
};
use crate::actors::supervisor::roster::Child;
use crate::actors::testing::World;
use crate::actors::testing::links::{Answer, Dial};

async fn crash(world: &World, id: &InstanceId) {
    world.supervisor.send(Crash { id: id.clone() }).await.unwrap();
    world.pass(SOON).await;
}

/// A world with one instance, whose actor crashes as often as it may.
async fn quarantined() -> (World, InstanceId) {
    let world = World::start();
    world.links.usually(Dial::Panic);
    let id = world.add("shop").await;
    world.pass(Duration::from_secs(60)).await;
    assert_eq!(world.entry(&id).status.code(), Some("instance-quarantined"));
    world.links.usually(Dial::Online);
    world.links.story();
    (world, id)
}

fn dials(world: &World) -> usize {
    world.links.story().iter().filter(|line| line.contains(" dial ")).count()
}

#[actix::test]
async fn a_pairing_that_a_crashed_actor_has_not_heard_of_is_not_forgotten() {
    let world = World::start();
    world.links.usually(Dial::Qr);
    let id = world.add_with("shop", false, Desired::Stopped).await;
    world.supervisor.send(ConnectInstance { id: id.clone(), method: Method::Qr }).await.unwrap().unwrap();
    world.pass(SOON).await;
    assert_eq!(world.entry(&id).status.phase, Phase::Pairing);
    // The credentials are on disk; the word of it is still on its way.
    world.store.pair(&id);
    world.links.usually(Dial::Online);
    crash(&world, &id).await;
    world.pass(Duration::from_secs(2)).await;
    let status = world.entry(&id).status;
    assert_eq!((status.phase, status.paired, status.link), (Phase::Online, true, 2));
}

#[actix::test]
async fn an_archiving_that_a_crash_has_overtaken_comes_before_the_next_start() {
    let world = World::start();
    let id = world.add("shop").await;
    world.pass(SOON).await;
    world.store.set_down(true);
    world.supervisor.send(LogOutInstance { id: id.clone() }).await.unwrap().unwrap();
    crash(&world, &id).await;
    world.links.story();
    world.pass(Duration::from_secs(60)).await;
    assert_eq!(world.entry(&id).status.code(), Some("store-unavailable"));
    world.store.set_down(false);
    world.pass(Duration::from_secs(30)).await;
    let status = world.entry(&id).status;
    assert_eq!((status.phase, status.paired, dials(&world)), (Phase::Unpaired, false, 0));
    let row = world.store.row(&id);
    assert_eq!((row.paired, row.desired), (false, Desired::Stopped), "the writing did not give up with its actor");
}

#[actix::test]
async fn an_actor_that_panics_amid_its_effects_hands_on_a_wish_and_no_credentials() {
    let world = World::start();
    world.links.usually(Dial::Hang);
    let id = world.add("shop").await;
    world.pass(SOON).await;
    // The close comes first: the archiving and the wish are never reached.
    world.links.answer_closes(Answer::Panic);
    let asked = world.supervisor.send(LogOutInstance { id: id.clone() }).await.unwrap();
    assert_eq!(asked, Err(CommandError::Overloaded));
    world.links.answer_closes(Answer::Well);
    world.pass(Duration::from_secs(2)).await;
    let (row, status) = (world.store.row(&id), world.entry(&id).status);
    assert!(!world.store.written().contains(&"shop archived".to_owned()));
    assert_eq!((row.paired, row.desired), (true, Desired::Stopped), "the wish is written by the supervisor");
    assert_eq!((status.phase, status.paired), (Phase::Parked, true), "what was not archived is not called gone");
}

#[actix::test]
async fn a_restart_after_a_crash_waits_for_the_store_and_says_so() {
    let world = World::start();
    let id = world.add("shop").await;
    world.pass(SOON).await;
    world.store.set_down(true);
    crash(&world, &id).await;
    world.links.story();
    world.pass(Duration::from_secs(5)).await;
    let told = world.entry(&id).status;
    assert_eq!((told.phase, told.code()), (Phase::Waiting, Some("store-unavailable")));
    assert_eq!(told.state_at(world.clock.now()), PublicState::Connecting);
    assert!(told.next_try.is_some() && told.paired);
    world.pass(Duration::from_secs(600)).await;
    let later = world.entry(&id).status;
    assert_eq!((later.why_since(), dials(&world)), (told.why_since(), 0), "since when is told through all tries");
    assert_eq!((world.board.fleet().restarting, world.board.fleet().restarts), (1, 0));
    let asked = world.supervisor.send(RestartInstance { id: id.clone() }).await.unwrap();
    assert_eq!(asked, Err(CommandError::StoreUnavailable), "who asks is told, and nothing is assumed");
    world.store.set_down(false);
    world.pass(Duration::from_secs(16)).await;
    assert_eq!((world.entry(&id).status.phase, world.board.fleet().restarts), (Phase::Online, 1));
}

#[actix::test]
async fn s17_an_operator_is_obeyed_at_once_as_soon_as_the_store_is_back() {
    let world = World::start();
    let id = world.add("shop").await;
    world.pass(SOON).await;
    world.store.set_down(true);
    crash(&world, &id).await;
    world.pass(Duration::from_secs(600)).await;
    world.store.set_down(false);
    world.supervisor.send(RestartInstance { id: id.clone() }).await.unwrap().unwrap();
    world.pass(SOON).await;
    assert_eq!(world.entry(&id).status.phase, Phase::Online);
}

#[actix::test]
async fn a_quarantine_ends_from_the_row_and_stays_if_that_cannot_be_read() {
    let (world, id) = quarantined().await;
    world.store.set_down(true);
    let asked = world.supervisor.send(RestartInstance { id: id.clone() }).await.unwrap();
    assert_eq!(asked, Err(CommandError::StoreUnavailable));
    world.pass(Duration::from_secs(60)).await;
    assert_eq!((world.entry(&id).status.code(), dials(&world)), (Some("instance-quarantined"), 0));
    assert_eq!(world.board.fleet().quarantined, 1);
    world.store.set_down(false);
    world.store.unpair(&id);
    world.links.usually(Dial::Qr);
    world.supervisor.send(RestartInstance { id: id.clone() }).await.unwrap().unwrap();
    world.pass(SOON).await;
    let status = world.entry(&id).status;
    assert_eq!((status.phase, status.paired), (Phase::Pairing, false), "the row has no credentials any more");
}

#[actix::test]
async fn an_instance_whose_row_is_gone_is_not_started() {
    let (world, id) = quarantined().await;
    world.store.forget(&id);
    let asked = world.supervisor.send(RestartInstance { id: id.clone() }).await.unwrap();
    assert_eq!((asked, dials(&world)), (Err(CommandError::Unknown), 0));
    assert_eq!(world.entry(&id).status.phase, Phase::Stopped);
}

#[actix::test]
async fn a_hundred_who_ask_for_a_crashed_instance_start_it_once() {
    let (world, id) = quarantined().await;
    let asked = (0..100).map(|_| world.supervisor.send(RestartInstance { id: id.clone() }));
    for answer in futures_util::future::join_all(asked).await {
        answer.unwrap().unwrap();
    }
    world.pass(SOON).await;
    let story = world.links.story();
    assert!(story.iter().any(|line| line.contains(" g5 dial")), "{story:?}");
    assert!(story.iter().all(|line| line.contains(" g5 ")), "{story:?}");
    assert_eq!(world.board.fleet().running, 1);
}

#[actix::test]
async fn what_waits_for_its_row_is_drained_and_deleted_without_it() {
    let world = World::start();
    let (shop, other) = (world.add("shop").await, world.add("other").await);
    world.pass(SOON).await;
    world.store.hang_reads(true);
    crash(&world, &shop).await;
    crash(&world, &other).await;
    world.pass(Duration::from_millis(1_100)).await;
    world.supervisor.send(DeleteInstance { id: shop.clone() }).await.unwrap().unwrap();
    assert!(world.board.get(&shop).is_none());
    let restart = world.supervisor.send(RestartInstance { id: other.clone() });
    let drain = world.supervisor.send(DrainAll { within: Duration::from_secs(16), closed: None });
    let (restarted, forced) = tokio::join!(restart, drain);
    assert_eq!(restarted.unwrap(), Err(CommandError::Stopping));
    assert_eq!(forced.unwrap(), Vec::<String>::new());
    world.store.hang_reads(false);
    world.links.story();
    world.pass(Duration::from_secs(60)).await;
    assert_eq!(dials(&world), 0);
}

/// Lets the actor of an instance panic.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Crash {
    pub(super) id: InstanceId,
}

impl Handler<Crash> for InstanceActor {
    type Result = ();

    fn handle(&mut self, _: Crash, _: &mut Self::Context) {
        panic!("planned");
    }
}

impl Handler<Crash> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, crash: Crash, _: &mut Context<Self>) {
        if let Some(line) = self.roster.get_mut(&crash.id)
            && let Child::Running { addr, .. } = &line.child
        {
            addr.try_send(crash).unwrap();
        }
    }
}

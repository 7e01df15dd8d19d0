use std::sync::Arc;
use std::time::Duration;

use actix::prelude::Actor;
use chrono::TimeDelta;
use futures_util::future::join;
use holdfast_core::connection::{Desired, DownReason, Event, Method, Phase, Refusal};
use holdfast_core::id::{Epoch, InstanceId, LinkId, Revision};
use holdfast_core::restoration::{Before, Database, Facts, Layer, Mark, Silence, decide};
use tokio::runtime::Handle;

use super::{ExpiryActor, ExpiryParts};
use crate::actors::supervisor::protocol::{CommandError, ConnectInstance, ExpireInstance, StartInstance};
use crate::actors::testing::links::Dial;
use crate::actors::testing::{World, record};
use crate::ports::link::Report;
use crate::ports::restoration::{Line, Outcome, Restoration};
use crate::ports::store::InstanceRecord;

const MINUTE: Duration = Duration::from_secs(60);

fn watch(world: &World) {
    watch_after(world, &[], 15 * MINUTE);
}

/// Deletes what is older than that, unless a place that may hold its login said nothing at the start.
fn watch_after(world: &World, unheard: &[&InstanceId], after: Duration) {
    let restoration = Arc::new(Restoration::default());
    for id in unheard {
        let (database, redis) = (Database::Unpaired(Mark { epoch: Epoch(1), revision: Revision(0) }), Silence::Down);
        let facts = Facts { redis: Layer::Silent(redis), database, files: Layer::Off, before: Before::default() };
        let (decision, outcome) = (decide(&facts), Outcome::NoLogin);
        let line = Line { name: None, decision, outcome, damaged: Vec::new(), place: 0 };
        restoration.write(|report| report.lines.insert((*id).clone(), line));
    }
    ExpiryActor::new(ExpiryParts {
        after,
        clock: world.clock,
        board: world.board.clone(),
        store: world.store.clone(),
        restoration,
        runtime: Handle::current(),
        expire: world.supervisor.clone().recipient(),
    })
    .start();
}

#[actix::test]
async fn s35_what_nobody_paired_is_deleted_when_its_minutes_are_over_and_not_mid_pairing() {
    let world = World::start();
    world.links.usually(Dial::Qr);
    let idle = world.add_with("idle", false, Desired::Stopped).await;
    let asked = world.add_with("asked", false, Desired::Stopped).await;
    for id in [&idle, &asked] {
        let mut row = record(id, false, Desired::Stopped);
        row.created_at = Some(world.clock.wall());
        world.store.keep(row);
    }
    watch(&world);
    world.pass(14 * MINUTE + MINUTE / 2).await;
    world.supervisor.send(ConnectInstance { id: asked.clone(), method: Method::Qr }).await.unwrap().unwrap();
    assert!(world.board.get(&idle).is_some(), "too early");
    world.pass(MINUTE).await;
    assert!(world.board.get(&idle).is_none(), "it outlived its minutes");
    assert!(world.store.written().contains(&"idle deleted".to_owned()));
    assert!(world.board.get(&asked).is_some(), "somebody is about to scan it");
}

#[actix::test]
async fn s35_a_paired_instance_that_is_reconnecting_is_never_deleted() {
    let world = World::start();
    world.links.usually(Dial::Down(DownReason::Unreachable));
    let paired = world.add("paired").await;
    let logged_out = world.add_with("out", false, Desired::Stopped).await;
    let mut row = record(&logged_out, false, Desired::Stopped);
    row.owner_jid = Some("5511999990001@s.whatsapp.net".to_owned());
    world.store.keep(row);
    watch(&world);
    world.pass(120 * MINUTE).await;
    assert!(world.board.get(&paired).is_some() && world.board.get(&logged_out).is_some());
}

#[actix::test]
async fn s35_after_a_start_the_age_counts_and_what_cannot_be_read_is_kept() {
    let world = World::start();
    let old = world.add_with("old", false, Desired::Stopped).await;
    let mut row = record(&old, false, Desired::Stopped);
    row.created_at = Some(world.clock.wall() - TimeDelta::minutes(14));
    world.store.keep(row);
    let unread = world.add_with("unread", false, Desired::Stopped).await;
    world.store.forget(&unread);
    watch(&world);
    world.pass(MINUTE / 2).await;
    assert!(world.board.get(&old).is_some(), "too early");
    world.pass(MINUTE).await;
    assert!(world.board.get(&old).is_none(), "it was made fifteen minutes ago");
    world.pass(60 * MINUTE).await;
    assert!(world.board.get(&unread).is_some());
}

#[actix::test]
async fn s35_what_a_silent_place_may_have_a_login_of_is_kept() {
    let world = World::start();
    let (heard, unheard) = (
        world.add_with("heard", false, Desired::Stopped).await,
        world.add_with("unheard", false, Desired::Stopped).await,
    );
    watch_after(&world, &[&unheard], MINUTE);
    world.pass(60 * MINUTE).await;
    assert!(world.board.get(&heard).is_none(), "nobody paired it");
    assert!(
        world.board.get(&unheard).is_some(),
        "the copy that proves the contrary may be where nothing was heard from"
    );
}

/// An instance whose row says this, in a world where dials show codes.
async fn unpaired(change: impl FnOnce(&mut InstanceRecord)) -> (World, InstanceId) {
    let world = World::start();
    world.links.usually(Dial::Qr);
    let id = world.add_with("new", false, Desired::Stopped).await;
    let mut row = record(&id, false, Desired::Stopped);
    change(&mut row);
    world.store.keep(row);
    (world, id)
}

fn connect(id: &InstanceId) -> ConnectInstance {
    ConnectInstance { id: id.clone(), method: Method::Qr }
}

fn expire(id: &InstanceId) -> ExpireInstance {
    ExpireInstance { id: id.clone() }
}

const IN_USE: Result<(), CommandError> = Err(CommandError::Refused(Refusal::InUse));
const GOING: Result<(), CommandError> = Err(CommandError::Refused(Refusal::Stopping));

#[actix::test]
async fn s35_who_connects_just_before_is_not_disturbed() {
    let (world, id) = unpaired(|_| {}).await;
    let (connected, expired) = join(world.supervisor.send(connect(&id)), world.supervisor.send(expire(&id))).await;
    assert_eq!((connected.unwrap(), expired.unwrap()), (Ok(()), IN_USE));
    world.pass(MINUTE / 60).await;
    assert_eq!(world.entry(&id).status.phase, Phase::Pairing);
    assert_eq!(world.links.story(), ["new g1 dial 1 @0s"], "one actor, one dial, and nothing was closed");
    assert!(!world.store.written().contains(&"new deleted".to_owned()));
}

#[actix::test]
async fn s35_who_connects_just_after_dials_nothing() {
    let (world, id) = unpaired(|_| {}).await;
    let (expired, connected) = join(world.supervisor.send(expire(&id)), world.supervisor.send(connect(&id))).await;
    assert_eq!((expired.unwrap(), connected.unwrap()), (Ok(()), GOING));
    assert!(world.board.get(&id).is_none());
    let gone = world.supervisor.send(connect(&id)).await.unwrap();
    assert_eq!(gone, Err(CommandError::Unknown));
    assert!(world.links.story().iter().all(|line| !line.contains("dial")));
}

#[actix::test]
async fn s35_nobody_connects_while_the_rows_are_removed() {
    let (world, id) = unpaired(|_| {}).await;
    let hold = world.store.hold_deletions();
    let (supervisor, own) = (world.supervisor.clone(), id.clone());
    let expiring = actix::spawn(async move { supervisor.send(expire(&own)).await.unwrap() });
    world.pass(MINUTE / 60).await;
    assert_eq!(world.supervisor.send(connect(&id)).await.unwrap(), GOING);
    let start = StartInstance { record: record(&id, false, Desired::Stopped) };
    assert_eq!(world.supervisor.send(start).await.unwrap(), Err(CommandError::Overloaded));
    assert_eq!(world.supervisor.send(expire(&id)).await.unwrap(), GOING, "one at a time");
    hold.notify_waiters();
    assert_eq!(expiring.await.unwrap(), Ok(()));
    assert!(world.board.get(&id).is_none());
    assert!(world.links.story().iter().all(|line| !line.contains("dial")));
}

#[actix::test]
async fn s35_a_pairing_that_ends_just_then_is_kept() {
    let (world, id) = unpaired(|_| {}).await;
    world.supervisor.send(connect(&id)).await.unwrap().unwrap();
    world.pass(MINUTE / 60).await;
    let link = LinkId(1);
    world.links.report(&id, Report::Fact(Event::Paired { link })).await;
    world.links.report(&id, Report::Fact(Event::LinkDown { link, why: DownReason::LoggedOut { code: 401 } })).await;
    world.pass(MINUTE / 60).await;
    assert_eq!(world.supervisor.send(expire(&id)).await.unwrap(), IN_USE);
}

#[actix::test]
async fn s35_what_only_its_row_says_was_paired_goes_on() {
    let (world, id) = unpaired(|row| row.owner_jid = Some("5511999990001@s.whatsapp.net".to_owned())).await;
    assert_eq!(world.supervisor.send(expire(&id)).await.unwrap(), IN_USE);
    // Whoever connects it reaches it.
    assert_eq!(world.supervisor.send(connect(&id)).await.unwrap(), Ok(()));
    world.pass(MINUTE / 60).await;
    assert_eq!(world.entry(&id).status.phase, Phase::Pairing);
    assert!(!world.store.written().contains(&"new deleted".to_owned()));
}

#[actix::test]
async fn s35_what_could_not_be_deleted_is_where_it_was_and_is_tried_again() {
    let (world, id) = unpaired(|_| {}).await;
    watch(&world);
    world.store.fail_deletions(3);
    world.pass(15 * MINUTE + Duration::from_secs(7)).await;
    assert_eq!(world.store.failed_deletions(), 1);
    assert_eq!(world.entry(&id).status.phase, Phase::Unpaired, "it is on the roster, with an actor of its own");
    world.pass(Duration::from_secs(5)).await;
    assert_eq!(world.store.failed_deletions(), 2);
    // Somebody is quicker than the next look.
    assert_eq!(world.supervisor.send(connect(&id)).await.unwrap(), Ok(()));
    world.pass(Duration::from_secs(20)).await;
    assert_eq!((world.store.failed_deletions(), world.entry(&id).status.phase), (2, Phase::Pairing));
}

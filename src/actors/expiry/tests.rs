use std::time::Duration;

use actix::prelude::Actor;
use chrono::TimeDelta;
use holdfast_core::connection::{Desired, DownReason, Method};
use tokio::runtime::Handle;

use super::{ExpiryActor, ExpiryParts};
use crate::actors::supervisor::protocol::ConnectInstance;
use crate::actors::testing::links::Dial;
use crate::actors::testing::{World, record};

const MINUTE: Duration = Duration::from_secs(60);

fn watch(world: &World) {
    ExpiryActor::new(ExpiryParts {
        after: 15 * MINUTE,
        clock: world.clock,
        board: world.board.clone(),
        store: world.store.clone(),
        runtime: Handle::current(),
        delete: world.supervisor.clone().recipient(),
        start: world.supervisor.clone().recipient(),
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

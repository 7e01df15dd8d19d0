//! What is told of instances whose actor is gone.

use std::time::Duration;

use holdfast_core::connection::{Desired, Phase};
use holdfast_core::id::InstanceId;

use super::SOON;
use super::reading::Crash;
use crate::actors::supervisor::protocol::StartInstance;
use crate::actors::testing::links::{Answer, Dial};
use crate::actors::testing::{World, record};
use crate::ports::meter::Picture;

#[actix::test]
async fn s20_a_crash_is_told_like_any_other_loss_and_a_quarantine_too() {
    let world = World::start();
    let id = world.add("shop").await;
    world.pass(SOON).await;
    world.store.written();
    world.links.answer_pings(Answer::Panic);
    world.pass(Duration::from_millis(29_950)).await;
    let status = world.entry(&id).status;
    assert_eq!((status.phase, status.code()), (Phase::BackingOff, Some("internal-panic")));
    assert!(status.next_try.is_some());
    assert_eq!(
        world.store.written(),
        ["shop wanted Connected", "shop is connecting", "shop connection.update connecting"]
    );
    world.links.usually(Dial::Panic);
    world.pass(Duration::from_secs(60)).await;
    let written = world.store.written();
    assert_eq!(world.entry(&id).status.code(), Some("instance-quarantined"));
    assert_eq!(
        written.iter().rev().take(2).collect::<Vec<_>>(),
        ["shop status.instance", "shop connection.update close"]
    );
    let figures = world.meter.write(&Picture::default());
    assert!(figures.contains("holdfast_instance_restarts_total 3"), "{figures}");
    assert!(figures.contains("holdfast_instance_quarantines_total 1"), "{figures}");
}

#[actix::test]
async fn s20_an_instance_that_is_not_connected_after_a_crash_says_so_in_its_row_too() {
    let world = World::start();
    let id = world.add_with("shop", true, Desired::Stopped).await;
    world.pass(SOON).await;
    world.supervisor.send(Crash { id: id.clone() }).await.unwrap();
    world.pass(Duration::from_secs(2)).await;
    assert_eq!(world.entry(&id).status.phase, Phase::Parked);
    let told: Vec<String> = world.store.written().into_iter().filter(|line| line.contains(" is ")).collect();
    assert_eq!(told, ["shop is connecting", "shop is close"]);
}

#[actix::test]
async fn s20_a_row_that_claims_to_be_connecting_at_boot_and_is_not_is_put_right() {
    let world = World::start();
    let id = InstanceId::new("shop");
    let mut stored = record(&id, false, Desired::Connected);
    stored.connection_status = "connecting".to_owned();
    world.supervisor.send(StartInstance { record: stored }).await.unwrap().unwrap();
    world.pass(SOON).await;
    assert_eq!(world.entry(&id).status.phase, Phase::Unpaired);
    assert_eq!(world.store.written(), ["shop is close", "shop connection.update close"]);
}

#[actix::test]
async fn s20_a_row_that_claims_to_be_open_at_boot_is_put_right_at_once() {
    let world = World::start();
    let id = InstanceId::new("shop");
    let mut stored = record(&id, true, Desired::Stopped);
    stored.connection_status = "open".to_owned();
    world.supervisor.send(StartInstance { record: stored }).await.unwrap().unwrap();
    world.pass(SOON).await;
    assert_eq!(world.store.written(), ["shop is close", "shop connection.update close"]);
}

//! Draining: every instance ends within the time of the phase, or is named.

use std::time::Duration;

use holdfast_core::connection::state::PublicState;
use holdfast_core::connection::{DownReason, Phase};

use super::{Freeze, SOON};
use crate::actors::supervisor::protocol::DrainAll;
use crate::actors::testing::World;
use crate::actors::testing::links::{Answer, Dial};

/// What the row of an instance was last made to say.
fn last_told(world: &World) -> String {
    world.store.written().into_iter().rfind(|line| line.starts_with("shop is ")).unwrap_or_default()
}

#[actix::test]
async fn s38_draining_ends_in_its_time_even_if_nothing_is_saved_or_closed() {
    let world = World::start();
    let id = world.add("shop").await;
    world.pass(SOON).await;
    world.links.answer_saves(Answer::Never);
    world.links.answer_closes(Answer::Never);
    let began = world.clock.now();
    let forced = world.supervisor.send(DrainAll { within: Duration::from_secs(16), closed: None }).await.unwrap();
    assert!(world.clock.now().since(began) <= Duration::from_secs(17));
    assert_eq!(forced, [format!("instance {id} was cut before it was saved and closed")]);
}

#[actix::test]
async fn s38_an_instance_that_does_not_take_the_word_is_named_before_the_phase_is_over() {
    let world = World::start();
    let stuck = world.add("stuck").await;
    world.add("quiet").await;
    world.pass(SOON).await;
    world.supervisor.send(Freeze { id: stuck.clone() }).await.unwrap();
    let began = world.clock.now();
    let within = Duration::from_secs(16);
    let forced = world.supervisor.send(DrainAll { within, closed: None }).await.unwrap();
    assert!(world.clock.now().since(began) < within, "the phase would be named in its place");
    assert_eq!(forced, [format!("instance {stuck} did not end in its time")]);
    assert!(world.links.story().iter().any(|line| line.starts_with("quiet g1 save")));
}

#[actix::test]
async fn s20_whoever_leaves_from_a_backoff_has_its_end_written_first() {
    let world = World::start();
    world.links.usually(Dial::Down(DownReason::Unreachable));
    let id = world.add("shop").await;
    world.pass(SOON).await;
    assert_eq!(world.entry(&id).status.state_at(world.clock.now()), PublicState::Connecting);
    let forced = world.supervisor.send(DrainAll { within: Duration::from_secs(16), closed: None }).await.unwrap();
    assert_eq!((forced, last_told(&world)), (vec![], "shop is close".to_owned()));
}

#[actix::test]
async fn s20_an_instance_that_waits_for_its_next_start_is_written_as_closed() {
    let world = World::start();
    world.links.usually(Dial::Panic);
    let id = world.add("shop").await;
    world.pass(SOON).await;
    assert_eq!(world.entry(&id).status.state_at(world.clock.now()), PublicState::Connecting);
    let forced = world.supervisor.send(DrainAll { within: Duration::from_secs(16), closed: None }).await.unwrap();
    assert_eq!((forced, last_told(&world)), (vec![], "shop is close".to_owned()));
    assert_eq!(world.entry(&id).status.phase, Phase::Stopped);
}

#[actix::test]
async fn s20_an_end_that_cannot_be_written_is_named() {
    let world = World::start();
    world.links.usually(Dial::Panic);
    let id = world.add("shop").await;
    world.pass(SOON).await;
    world.store.set_down(true);
    let (began, within) = (world.clock.now(), Duration::from_secs(16));
    let forced = world.supervisor.send(DrainAll { within, closed: None }).await.unwrap();
    assert!(world.clock.now().since(began) < within, "the phase would be named in its place");
    assert_eq!(forced, [format!("the end of instance {id} could not be written")]);
}

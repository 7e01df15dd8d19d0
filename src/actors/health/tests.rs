use std::time::Duration;

use holdfast_core::connection::state::PublicState;
use holdfast_core::connection::{Event, Phase};
use holdfast_core::id::LinkId;

use crate::actors::testing::World;
use crate::actors::testing::links::Answer;
use crate::ports::link::Report;

const SOON: Duration = Duration::from_millis(100);

#[actix::test]
async fn a_quiet_account_is_pinged_and_never_reconnected() {
    let world = World::start();
    let id = world.add("shop").await;
    world.pass(Duration::from_secs(24 * 3_600)).await;
    let story = world.links.story();
    assert_eq!(story.iter().filter(|line| line.contains("dial")).count(), 1, "a day of silence is no reason to redial");
    let pings = story.iter().filter(|line| line.contains("ping")).count();
    assert!((2_870..=2_890).contains(&pings), "{pings} pings");
    assert_eq!(world.entry(&id).status.state_at(world.clock.now()), PublicState::Open);
}

#[actix::test]
async fn proofs_that_come_by_themselves_save_the_ping() {
    let world = World::start();
    let id = world.add("shop").await;
    world.pass(SOON).await;
    for _ in 0..60 {
        world.pass(Duration::from_secs(20)).await;
        world.links.report(&id, Report::Fact(Event::Proof { link: LinkId(1) })).await;
    }
    let pings = world.links.story().iter().filter(|line| line.contains("ping")).count();
    assert_eq!(pings, 1, "only the one at login");
}

#[actix::test]
async fn a_silent_peer_is_found_within_interval_and_deadline() {
    let world = World::start();
    let id = world.add("shop").await;
    world.pass(SOON).await;
    world.links.answer_pings(Answer::Never);
    world.links.answer_closes(Answer::Never);
    world.pass(Duration::from_millis(39_500)).await;
    assert_eq!(world.entry(&id).status.phase, Phase::Online);
    world.pass(Duration::from_millis(600)).await;
    assert_eq!(world.entry(&id).status.phase, Phase::BackingOff);
    assert_eq!(world.entry(&id).status.code(), Some("net-silent"));
    let story = world.links.story();
    assert!(story.contains(&"shop g1 close 1 @40s".to_owned()), "{story:?}");
}

use std::time::Duration;

use actix::prelude::Recipient;
use futures_util::future::join_all;
use holdfast_core::connection::{Event, Phase};
use holdfast_core::id::{InstanceId, LinkId};

use super::{DEAD, MOST_WAITING};
use crate::actors::instance::protocol::{Verified, Verify};
use crate::actors::supervisor::protocol::WhereIs;
use crate::actors::testing::World;
use crate::actors::testing::links::{Answer, Dial};
use crate::ports::link::Report;

const SOON: Duration = Duration::from_millis(100);

async fn online() -> (World, InstanceId, Recipient<Verify>) {
    let world = World::start();
    let id = world.add("shop").await;
    world.pass(Duration::from_secs(2)).await;
    let ports = world.supervisor.send(WhereIs { id: id.clone() }).await.unwrap().unwrap();
    world.links.story();
    (world, id, ports.verify)
}

fn pings(world: &World) -> usize {
    world.links.story().iter().filter(|line| line.contains("ping")).count()
}

#[actix::test]
async fn many_who_ask_at_once_share_one_ping_and_its_result() {
    let (world, id, verify) = online().await;
    world.links.answer_pings(Answer::Never);
    let asked = join_all((0..50).map(|_| verify.send(Verify)));
    let answer = async {
        world.pass(SOON).await;
        world.links.report(&id, Report::Fact(Event::Pong { link: LinkId(1), at: world.clock.now() })).await;
    };
    let (answers, ()) = tokio::join!(asked, answer);
    for one in answers {
        let Verified { alive, rtt } = one.unwrap().unwrap();
        assert!(alive && rtt.is_some_and(|rtt| rtt >= SOON), "{rtt:?}");
    }
    assert_eq!(pings(&world), 1);
}

#[actix::test]
async fn a_flood_of_questions_is_one_ping_a_second() {
    let (world, _, verify) = online().await;
    for _ in 0..300 {
        assert!(verify.send(Verify).await.unwrap().unwrap().alive);
        world.pass(Duration::from_millis(10)).await;
    }
    let pings = pings(&world);
    assert!((2..=4).contains(&pings), "{pings} pings in three seconds");
}

#[actix::test]
async fn an_unanswered_ping_ends_the_link_and_everybody_learns_it_at_the_deadline() {
    let (world, id, verify) = online().await;
    world.links.answer_pings(Answer::Never);
    let before = world.clock.now();
    assert_eq!(verify.send(Verify).await.unwrap(), Some(DEAD));
    let waited = world.clock.now().since(before);
    assert!((10_000..10_050).contains(&waited.as_millis()), "{waited:?}");
    assert_eq!(
        (world.entry(&id).status.phase, world.entry(&id).status.code()),
        (Phase::BackingOff, Some("net-silent"))
    );
}

#[actix::test]
async fn what_is_not_online_is_not_pinged() {
    let world = World::start();
    world.links.usually(Dial::Hang);
    let id = world.add("shop").await;
    world.pass(SOON).await;
    let ports = world.supervisor.send(WhereIs { id }).await.unwrap().unwrap();
    assert_eq!(ports.verify.send(Verify).await.unwrap(), Some(DEAD));
    assert_eq!(pings(&world), 0);
}

#[actix::test]
async fn no_more_wait_than_may() {
    let (world, id, verify) = online().await;
    world.links.answer_pings(Answer::Never);
    let asked = join_all((0..MOST_WAITING + 10).map(|_| verify.send(Verify)));
    let answer = async {
        world.pass(SOON).await;
        world.links.report(&id, Report::Fact(Event::Pong { link: LinkId(1), at: world.clock.now() })).await;
    };
    let (answers, ()) = tokio::join!(asked, answer);
    assert_eq!(answers.iter().filter(|one| matches!(one, Ok(None))).count(), 10);
}

use std::time::Duration;

use holdfast_core::connection::state::PublicState;
use holdfast_core::connection::{DownReason, Event, Phase};
use holdfast_core::event::Owner;
use holdfast_core::id::LinkId;

use crate::actors::testing::World;
use crate::actors::testing::links::{Answer, Dial};
use crate::ports::link::Report;

const SOON: Duration = Duration::from_millis(100);

#[actix::test]
async fn an_hour_of_refused_dials_follows_the_backoff_and_ends_when_the_server_is_back() {
    let world = World::start();
    world.links.usually(Dial::Down(DownReason::Unreachable));
    let id = world.add("shop").await;
    world.pass(Duration::from_secs(3_600)).await;
    let dials = world.links.story().len();
    assert!((15..=120).contains(&dials), "{dials} dials");
    assert_eq!(world.entry(&id).status.code(), Some("net-unreachable"));
    world.links.usually(Dial::Online);
    world.pass(Duration::from_secs(301)).await;
    assert_eq!(world.entry(&id).status.phase, Phase::Online);
}

#[actix::test]
async fn s05_a_lost_link_is_told_and_redialled_once() {
    let world = World::start();
    let id = world.add("shop").await;
    world.pass(SOON).await;
    world.store.written();
    world
        .links
        .report(
            &id,
            Report::Fact(Event::LinkDown { link: LinkId(1), why: DownReason::SocketLost { code: Some(1006) } }),
        )
        .await;
    world.pass(Duration::from_secs(2)).await;
    let told: Vec<String> =
        world.store.written().into_iter().filter(|line| line.contains("connection.update")).collect();
    assert_eq!(told, ["shop connection.update connecting", "shop connection.update open"]);
    let dials = world.links.story().iter().filter(|line| line.contains("dial")).count();
    assert_eq!(dials, 2);
}

#[actix::test]
async fn s14_late_facts_of_an_old_link_change_nothing() {
    let world = World::start();
    let id = world.add("shop").await;
    world.pass(SOON).await;
    world
        .links
        .report(&id, Report::Fact(Event::LinkDown { link: LinkId(1), why: DownReason::SocketLost { code: None } }))
        .await;
    world.pass(Duration::from_secs(2)).await;
    for _ in 0..35 {
        let late = Event::LinkDown { link: LinkId(1), why: DownReason::LoggedOut { code: 401 } };
        world.links.report(&id, Report::Fact(late)).await;
        let owner = Owner { jid: Some("old".to_owned()), ..Owner::default() };
        world.links.report(&id, Report::Owner { link: LinkId(1), owner }).await;
    }
    world.pass(SOON).await;
    let entry = world.entry(&id);
    assert_eq!((entry.status.phase, entry.status.link, entry.owner.jid), (Phase::Online, 2, None));
}

#[actix::test]
async fn rows_and_events_survive_an_outage_of_the_database() {
    let world = World::start();
    world.store.set_down(true);
    let id = world.add("shop").await;
    world.pass(Duration::from_secs(60)).await;
    assert_eq!(
        world.entry(&id).status.state_at(world.clock.now()),
        PublicState::Open,
        "the actor does not wait for rows"
    );
    assert_eq!(world.store.written(), Vec::<String>::new());
    world.store.set_down(false);
    world.pass(Duration::from_secs(15)).await;
    assert_eq!(
        world.store.written(),
        ["shop is open", "shop connection.update connecting", "shop connection.update open"]
    );
}

#[actix::test]
async fn a_panic_while_pinging_is_a_crash_and_nothing_else() {
    let world = World::start();
    let id = world.add("shop").await;
    world.pass(SOON).await;
    world.links.answer_pings(Answer::Panic);
    world.pass(Duration::from_secs(31)).await;
    world.links.answer_pings(Answer::Well);
    world.pass(Duration::from_secs(30)).await;
    assert_eq!(world.entry(&id).status.phase, Phase::Online);
    let story = world.links.story();
    assert!(story.iter().any(|line| line.starts_with("shop g1 seal ActorGone")), "{story:?}");
}

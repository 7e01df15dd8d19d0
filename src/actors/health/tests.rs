use std::time::Duration;

use actix::prelude::{Actor, Context, Handler, MessageResult};
use holdfast_core::connection::state::PublicState;
use holdfast_core::connection::{DownReason, Event, Phase};
use holdfast_core::event::Owner;
use holdfast_core::id::{Generation, InstanceId, LinkId};
use holdfast_core::status::InstanceStatus;
use tokio::runtime::Handle;

use super::protocol::Watch;
use crate::actors::instance::Scribe;
use crate::actors::instance::protocol::{Ping, Pong, SendText};
use crate::actors::supervisor::protocol::WhereIs;
use crate::actors::testing::World;
use crate::actors::testing::links::{Answer, Dial};
use crate::ports::board::{Entry, PairingView, Token};
use crate::ports::link::{OutgoingText, Report};
use crate::ports::meter::Picture;

const SOON: Duration = Duration::from_millis(100);

#[actix::test]
async fn s21_a_quiet_account_is_pinged_and_never_reconnected() {
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
        world.links.report(&id, Report::Fact(Event::Proof { link: LinkId(1), at: world.clock.now() })).await;
    }
    let pings = world.links.story().iter().filter(|line| line.contains("ping")).count();
    assert_eq!(pings, 1, "only the one at login");
}

#[actix::test]
async fn s20_a_proof_that_lay_in_a_mailbox_is_told_as_old_as_it_is() {
    let world = World::start();
    let id = world.add("shop").await;
    world.pass(SOON).await;
    world.links.answer_pings(Answer::Never);
    world.pass(Duration::from_secs(5)).await;
    let seen = world.clock.now();
    world.pass(Duration::from_secs(24)).await;
    world.links.report(&id, Report::Fact(Event::Proof { link: LinkId(1), at: seen })).await;
    world.pass(SOON).await;
    let status = world.entry(&id).status;
    assert_eq!((status.proof, status.fresh_until), (Some(seen), Some(seen.after(Duration::from_secs(40)))));
    world.links.story();
    world.pass(Duration::from_millis(6_100)).await;
    assert!(world.links.story().contains(&"shop g1 ping 1 @35s".to_owned()), "the ping is due an interval after it");
    world.pass(Duration::from_secs(10)).await;
    assert_eq!(world.entry(&id).status.code(), Some("net-silent"));
}

#[actix::test]
async fn s01_a_silent_peer_is_found_within_interval_and_deadline() {
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

#[actix::test]
async fn s20_an_instance_whose_actor_stands_still_is_reported_as_suspect_everywhere() {
    let world = World::start();
    let id = InstanceId::new("shop");
    let now = world.clock.now();
    let (ping_due, stale) = (Some(now.after(Duration::from_secs(30))), Some(now.after(Duration::from_secs(40))));
    let mut status = InstanceStatus::without_actor(Phase::Online, now, true, false);
    (status.proof, status.fresh_until) = (Some(now), stale);
    let entry = Entry {
        name: "shop".to_owned(),
        token: Token("token".to_owned()),
        integration: String::new(),
        status,
        pairing: PairingView::default(),
        owner: Owner::default(),
    };
    world.board.hang(&id, entry);
    let scribe = Scribe::start(id.clone(), PublicState::Open, world.store.clone(), &Handle::current());
    let generation = Generation(1);
    let ping = Stuck.start().recipient();
    world.health.send(Watch { id: id.clone(), generation, ping, name: "shop".to_owned(), scribe }).await.unwrap();
    world.health.send(Pong { id: id.clone(), generation, ping_due, stale }).await.unwrap();
    world.pass(Duration::from_secs(40)).await;
    assert_eq!(world.entry(&id).status.state_at(world.clock.now()), PublicState::Connecting, "reads know at once");
    assert_eq!(world.store.written(), Vec::<String>::new(), "the instance itself is given a moment");
    world.pass(Duration::from_millis(600)).await;
    let entry = world.entry(&id);
    assert_eq!((entry.status.phase, entry.status.code()), (Phase::Suspect, Some("proof-overdue")));
    assert_eq!(world.store.written(), ["shop is connecting", "shop connection.update connecting"]);
    let figures = world.meter.write(&Picture::default());
    assert!(figures.contains("holdfast_state_mismatches_corrected_total 1"), "{figures}");
}

#[actix::test]
async fn s20_an_actor_that_turns_again_takes_the_suspicion_back() {
    let world = World::start();
    let id = world.add("shop").await;
    world.pass(SOON).await;
    world.store.written();
    world.board.update(&id, |entry| {
        entry.status.phase = Phase::Suspect;
        true
    });
    world.links.report(&id, Report::Fact(Event::Proof { link: LinkId(1), at: world.clock.now() })).await;
    world.pass(SOON).await;
    assert_eq!(world.entry(&id).status.phase, Phase::Online);
    assert_eq!(world.store.written(), ["shop is open", "shop connection.update open"]);
}

#[actix::test]
async fn s22_silence_before_a_reconnect_does_not_trip_the_watchdog_after_it() {
    let world = World::start();
    let id = world.add("shop").await;
    world.pass(SOON).await;
    world.links.usually(Dial::Down(DownReason::Unreachable));
    let lost = Event::LinkDown { link: LinkId(1), why: DownReason::SocketLost { code: None } };
    world.links.report(&id, Report::Fact(lost)).await;
    world.pass(Duration::from_secs(3_600)).await;
    world.links.usually(Dial::Online);
    world.pass(Duration::from_secs(301)).await;
    assert_eq!(world.entry(&id).status.phase, Phase::Online);
    let link = world.entry(&id).status.link;
    world.links.story();
    world.pass(Duration::from_secs(29)).await;
    assert_eq!((world.entry(&id).status.link, world.entry(&id).status.phase), (link, Phase::Online));
    let figures = world.meter.write(&Picture::default());
    assert!(figures.contains("holdfast_state_mismatches_corrected_total 0"), "{figures}");
}

#[actix::test]
async fn s23_a_watchdog_that_trips_makes_a_new_link_and_messages_take_it() {
    let world = World::start();
    let id = world.add("shop").await;
    world.pass(SOON).await;
    world.links.answer_pings(Answer::Never);
    world.pass(Duration::from_millis(39_900)).await;
    world.links.answer_pings(Answer::Well);
    world.pass(Duration::from_secs(3)).await;
    let story = world.links.story();
    let position = |what: &str| story.iter().position(|line| line.contains(what)).expect(what);
    assert!(position("close 1") < position("dial 2"), "{story:?}");
    assert_eq!(world.entry(&id).status.link, 2);
    let figures = world.meter.write(&Picture::default());
    assert!(figures.contains(r#"holdfast_dials_total{reason="net-silent"} 1"#), "{figures}");
    assert!(figures.contains(r#"holdfast_detection_seconds_bucket{reason="net-silent",le="41"} 1"#), "{figures}");
    assert!(figures.contains("holdfast_recovery_seconds_count 1"), "{figures}");
    let ports = world.supervisor.send(WhereIs { id }).await.unwrap().unwrap();
    let message = OutgoingText {
        id: None,
        number: "5511".to_owned(),
        text: "hi".to_owned(),
        delay: Duration::ZERO,
        link_preview: false,
        mentioned: Vec::new(),
        quoted: None,
    };
    let second = Duration::from_secs(1);
    ports.send_text.send(SendText { message, wait: second, within: second }).await.unwrap().unwrap();
    assert!(world.links.story().iter().any(|line| line.contains("send 2 hi")));
}

/// An actor that takes whatever comes and does nothing about it.
struct Stuck;

impl Actor for Stuck {
    type Context = Context<Self>;
}

impl Handler<Ping> for Stuck {
    type Result = MessageResult<Ping>;

    fn handle(&mut self, _: Ping, _: &mut Self::Context) -> Self::Result {
        MessageResult(())
    }
}

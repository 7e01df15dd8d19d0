//! Messages: sent again where that is safe, and held to their rate.

use std::time::Duration;

use actix::prelude::Recipient;
use holdfast_core::connection::Policy;
use holdfast_core::id::{InstanceId, LinkId};
use holdfast_core::sending::allowance::Rate;

use crate::actors::instance::protocol::SendText;
use crate::actors::supervisor::protocol::WhereIs;
use crate::actors::testing::World;
use crate::actors::testing::links::{Dial, Fate};
use crate::ports::link::{OutgoingText, Report, SendError, SentMessage};

const SOON: Duration = Duration::from_secs(1);
const WAIT: Duration = Duration::from_secs(10);
const WITHIN: Duration = Duration::from_secs(70);

#[actix::test]
async fn a_message_with_a_key_goes_again_under_its_id_on_the_next_connection() {
    let (world, door) = online(Policy::default()).await;
    world.links.fates([Fate::Lost, Fate::Lost]);
    let sent = send(&door, Some("3EB0")).await.unwrap();
    assert_eq!(sent.body["text"], "hello");
    assert_eq!(sends(&world), ["1 hello as 3EB0", "2 hello as 3EB0", "3 hello as 3EB0"]);
}

#[actix::test]
async fn a_message_without_a_key_goes_once() {
    let (world, door) = online(Policy::default()).await;
    world.links.fates([Fate::Lost]);
    let lost = send(&door, None).await;
    assert!(matches!(&lost, Err(SendError::Unconfirmed { id }) if id == "fresh"), "{lost:?}");
    assert_eq!(sends(&world), ["1 hello"]);
}

#[actix::test]
async fn a_message_that_costs_every_connection_is_given_up_unconfirmed() {
    let (world, door) = online(Policy::default()).await;
    world.links.fates([Fate::Lost; 10]);
    assert_unconfirmed(&send(&door, Some("3EB0")).await);
    assert_eq!(sends(&world).len(), 3);
}

#[actix::test]
async fn what_may_have_left_is_not_called_unsent_because_no_connection_comes_back() {
    let (world, door) = online(Policy::default()).await;
    world.links.fates([Fate::Lost]);
    world.links.usually(Dial::Hang);
    let began = world.clock.now();
    assert_unconfirmed(&send(&door, Some("3EB0")).await);
    assert_eq!(sends(&world).len(), 1);
    assert!(world.clock.now().since(began) <= WITHIN + SOON);
}

#[actix::test]
async fn a_silent_connection_gets_a_message_once_and_the_answer_comes_in_time() {
    let (world, door) = online(Policy::default()).await;
    world.links.fates([Fate::Silence; 10]);
    let began = world.clock.now();
    assert_unconfirmed(&send(&door, Some("3EB0")).await);
    assert_eq!(sends(&world).len(), 1, "the acknowledgement may only be late");
    assert!(world.clock.now().since(began) <= WITHIN + SOON);
}

#[actix::test]
async fn a_refusal_is_the_last_word() {
    let (world, door) = online(Policy::default()).await;
    world.links.fates([Fate::Lost, Fate::Refused(403)]);
    let refused = send(&door, Some("3EB0")).await;
    assert!(matches!(refused, Err(SendError::Refused { code: 403 })), "{refused:?}");
    assert_eq!(sends(&world).len(), 2);
}

#[actix::test]
async fn a_rate_lets_so_many_pass_and_says_when_the_next_may() {
    let (world, door) = online(Policy { send_rate: Rate::per_minute(3), ..Policy::default() }).await;
    for _ in 0..3 {
        send(&door, None).await.unwrap();
    }
    for key in [None, Some("3EB0")] {
        match send(&door, key).await {
            Err(SendError::Limited { retry_after }) => assert!(retry_after > SOON && retry_after <= WAIT * 2),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(sends(&world).len(), 3, "what is limited has not left");
    world.pass(Duration::from_secs(20)).await;
    send(&door, None).await.unwrap();
    assert!(matches!(send(&door, None).await, Err(SendError::Limited { .. })));
}

#[actix::test]
async fn instances_have_their_rate_each_and_what_does_not_leave_uses_none_of_it() {
    let world = World::under(Policy { send_rate: Rate::per_minute(1), ..Policy::default() });
    world.links.usually(Dial::Hang);
    let shop = world.add("shop").await;
    let door = way(&world, &shop).await;
    for _ in 0..3 {
        let refused = send(&door, None).await;
        assert!(matches!(refused, Err(SendError::NotConnected)), "{refused:?}");
    }
    world.links.usually(Dial::Online);
    let other = world.add("other").await;
    world.pass(Duration::from_secs(60)).await;
    let second = way(&world, &other).await;
    for door in [&door, &second] {
        send(door, None).await.unwrap();
        assert!(matches!(send(door, None).await, Err(SendError::Limited { .. })));
    }
}

#[actix::test]
async fn a_caller_gets_a_text_once_and_within_the_rate() {
    let (world, _) = online(Policy { send_rate: Rate::per_minute(2), ..Policy::default() }).await;
    world.links.fates([Fate::Lost]);
    for number in 1..=4 {
        let (to, text) = ("111@lid".to_owned(), format!("later {number}"));
        world.links.report(&InstanceId::new("shop"), Report::Reply { link: LinkId(1), to, text }).await;
        world.pass(SOON).await;
    }
    world.pass(WITHIN).await;
    // The first one was lost with its connection, and is not repeated; the last two were more than the rate allows.
    assert_eq!(sends(&world), ["1 later 1", "2 later 2"]);
}

async fn online(policy: Policy) -> (World, Recipient<SendText>) {
    let world = World::under(policy);
    let id = world.add("shop").await;
    world.pass(SOON).await;
    world.links.story();
    let door = way(&world, &id).await;
    (world, door)
}

async fn way(world: &World, id: &InstanceId) -> Recipient<SendText> {
    world.supervisor.send(WhereIs { id: id.clone() }).await.unwrap().unwrap().send_text
}

async fn send(door: &Recipient<SendText>, id: Option<&str>) -> Result<SentMessage, SendError> {
    let message = OutgoingText {
        id: id.map(str::to_owned),
        number: "5511999999999".to_owned(),
        text: "hello".to_owned(),
        delay: Duration::ZERO,
        link_preview: true,
        mentioned: Vec::new(),
        quoted: None,
    };
    door.send(SendText { message, wait: WAIT, within: WITHIN }).await.unwrap()
}

/// Returns what was sent: link, text and id.
fn sends(world: &World) -> Vec<String> {
    let story = world.links.story();
    let sends = story.iter().filter_map(|line| line.split_once(" send ")?.1.split_once(" @"));
    sends.map(|(sent, _)| sent.to_owned()).collect()
}

fn assert_unconfirmed(outcome: &Result<SentMessage, SendError>) {
    assert!(matches!(outcome, Err(SendError::Unconfirmed { id }) if id == "3EB0"), "{outcome:?}");
}

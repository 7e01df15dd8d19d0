//! Instances that leave the roster.

use futures_util::future::join3;
use holdfast_core::connection::{Desired, DownReason, Method, Refusal};
use holdfast_core::id::InstanceId;

use super::SOON;
use crate::actors::supervisor::protocol::{
    CommandError, ConnectInstance, DeleteInstance, OffTheRoster, RestartInstance,
};
use crate::actors::testing::World;
use crate::actors::testing::links::{Answer, Dial};

#[actix::test]
async fn a_delete_ends_the_socket_before_it_answers() {
    let world = World::start();
    let id = world.add("shop").await;
    world.pass(SOON).await;
    let gone = world.supervisor.send(DeleteInstance { id: id.clone() }).await.unwrap();
    assert_eq!(gone, Ok(OffTheRoster { listed: false }), "WhatsApp has confirmed it");
    let story = world.links.story();
    assert!(story.iter().any(|line| line.contains("log out 1")), "{story:?}");
    assert!(world.board.get(&id).is_none());
    assert_eq!(world.supervisor.send(DeleteInstance { id }).await.unwrap(), Err(CommandError::Unknown));
}

#[actix::test]
async fn a_delete_tells_what_whatsapp_has_confirmed() {
    let world = World::start();
    let delete = async |id: &InstanceId| world.supervisor.send(DeleteInstance { id: id.clone() }).await.unwrap();
    let unanswered = world.add("unanswered").await;
    world.pass(SOON).await;
    world.links.answer_log_outs(Answer::Never);
    assert_eq!(delete(&unanswered).await, Ok(OffTheRoster { listed: true }));

    world.links.answer_log_outs(Answer::Well);
    world.links.usually(Dial::Down(DownReason::Dns));
    let away = world.add("away").await;
    world.pass(SOON).await;
    assert_eq!(delete(&away).await, Ok(OffTheRoster { listed: true }), "there was no login over which to say it");

    world.links.usually(Dial::Panic);
    let crashed = world.add("crashed").await;
    world.pass(SOON).await;
    assert_eq!(delete(&crashed).await, Ok(OffTheRoster { listed: true }), "no actor ran");

    world.links.usually(Dial::Qr);
    let new = world.add_with("new", false, Desired::Stopped).await;
    world.supervisor.send(ConnectInstance { id: new.clone(), method: Method::Qr }).await.unwrap().unwrap();
    world.pass(SOON).await;
    assert_eq!(delete(&new).await, Ok(OffTheRoster { listed: false }), "there was nothing to unlink");
}

#[actix::test]
async fn nothing_connects_an_instance_that_is_being_deleted() {
    let world = World::start();
    let id = world.add("shop").await;
    world.pass(SOON).await;
    world.links.story();
    let delete = world.supervisor.send(DeleteInstance { id: id.clone() });
    let connect = world.supervisor.send(ConnectInstance { id: id.clone(), method: Method::Qr });
    let restart = world.supervisor.send(RestartInstance { id: id.clone() });
    let (deleted, connected, restarted) = join3(delete, connect, restart).await;
    assert!(deleted.unwrap().is_ok());
    let refused = Err(CommandError::Refused(Refusal::Stopping));
    assert_eq!((connected.unwrap(), restarted.unwrap()), (refused, refused));
    let story = world.links.story();
    assert!(story.iter().all(|line| !line.contains("dial")), "{story:?}");
}

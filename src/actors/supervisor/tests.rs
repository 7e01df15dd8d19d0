mod departure;
mod drained;
mod flapping;
mod reading;
mod told;

use std::time::Duration;

use actix::prelude::{AsyncContext, Context, Handler, Message, WrapFuture};
use holdfast_core::connection::down_reason::UserAction;
use holdfast_core::connection::state::PublicState;
use holdfast_core::connection::{Desired, DownReason, Event, Method, Phase, Refusal};
use holdfast_core::id::{InstanceId, LinkId};

use super::SupervisorActor;
use super::protocol::{
    CommandError, ConnectInstance, DeleteInstance, DrainAll, LogOutInstance, RestartInstance, WhereIs,
};
use super::roster::Child;
use crate::actors::instance::InstanceActor;
use crate::actors::instance::protocol::SendText;
use crate::actors::testing::World;
use crate::actors::testing::links::Dial;
use crate::ports::link::{OutgoingText, Report, SendError};

const SOON: Duration = Duration::from_millis(100);

#[actix::test]
async fn s33_a_stored_instance_that_should_be_connected_comes_online_by_itself() {
    let world = World::start();
    let id = world.add("shop").await;
    world.pass(SOON).await;
    assert_eq!(world.links.story(), ["shop g1 dial 1 @0s", "shop g1 ping 1 @0s"]);
    assert_eq!(world.entry(&id).status.state_at(world.clock.now()), PublicState::Open);
    let told: Vec<String> =
        world.store.written().into_iter().filter(|line| line.contains("connection.update")).collect();
    assert_eq!(told, ["shop connection.update connecting", "shop connection.update open"]);
}

#[actix::test]
async fn s27_a_child_that_keeps_crashing_is_started_later_each_time_and_then_quarantined() {
    let world = World::start();
    world.links.usually(Dial::Panic);
    let id = world.add("shop").await;
    world.pass(Duration::from_secs(60)).await;
    let dials: Vec<String> = world.links.story().into_iter().filter(|line| line.contains("dial")).collect();
    assert_eq!(dials.len(), 4, "{dials:?}");
    assert!(dials[3].starts_with("shop g4 dial 4"), "a new incarnation never uses an old link's number: {dials:?}");
    let status = world.entry(&id).status;
    assert_eq!((status.phase, status.code()), (Phase::Parked, Some("instance-quarantined")));
    assert_eq!(status.state_at(world.clock.now()), PublicState::Close);
    let explained = status.explanation_at(world.clock.now()).unwrap();
    assert_eq!(explained.user_action, UserAction::Restart);
    let fleet = world.board.fleet();
    assert_eq!((fleet.running, fleet.quarantined, fleet.restarts), (0, 1, 3));
    let written = world.store.written();
    assert_eq!(written[written.len() - 2..], ["shop connection.update close", "shop status.instance"]);

    world.links.usually(Dial::Online);
    let sending = world.supervisor.send(WhereIs { id: id.clone() }).await.unwrap();
    assert_eq!(
        sending.err(),
        Some(CommandError::Refused(Refusal::NotConnected)),
        "a message does not lift a quarantine"
    );
    world.supervisor.send(RestartInstance { id: id.clone() }).await.unwrap().unwrap();
    world.pass(SOON).await;
    assert_eq!(world.entry(&id).status.phase, Phase::Online, "an operator's restart forgives");
}

#[actix::test]
async fn s27_a_panic_seals_the_link_and_leaves_the_others_alone() {
    let world = World::start();
    let quiet = world.add("quiet").await;
    world.pass(SOON).await;
    world.links.next([Dial::Panic]);
    let loud = world.add("loud").await;
    world.pass(Duration::from_secs(5)).await;
    let story = world.links.story();
    assert!(story.iter().any(|line| line.starts_with("loud g1 seal ActorGone")), "{story:?}");
    assert!(!story.iter().any(|line| line.starts_with("quiet g1 seal")), "{story:?}");
    assert_eq!(world.entry(&loud).status.phase, Phase::Online);
    assert_eq!(world.entry(&quiet).status.link, 1);
}

#[actix::test]
async fn a_panic_in_a_task_of_the_link_restarts_the_actor_with_a_new_link() {
    let world = World::start();
    world.links.next([Dial::Down(DownReason::Panicked)]);
    let id = world.add("shop").await;
    world.pass(Duration::from_secs(5)).await;
    let story = world.links.story();
    assert!(story[1].starts_with("shop g1 seal ActorGone"), "{story:?}");
    assert!(story[2].starts_with("shop g2 dial 2"), "{story:?}");
    assert_eq!(world.entry(&id).status.phase, Phase::Online);
}

#[actix::test]
async fn a_restart_by_an_operator_does_not_wait_for_the_supervisors_backoff() {
    let world = World::start();
    world.links.usually(Dial::Panic);
    let id = world.add("shop").await;
    world.pass(SOON).await;
    assert_eq!(world.entry(&id).status.code(), Some("internal-panic"), "it says that it crashed, and when it goes on");
    assert!(world.entry(&id).status.next_try.is_some());
    world.links.usually(Dial::Online);
    let answer = world.supervisor.send(RestartInstance { id: id.clone() }).await.unwrap();
    world.pass(SOON).await;
    assert_eq!(answer, Ok(()));
    assert_eq!(world.entry(&id).status.phase, Phase::Online);
}

#[actix::test]
async fn s24_connecting_a_hundred_times_dials_once() {
    let world = World::start();
    world.links.usually(Dial::Qr);
    let id = world.add_with("new", false, Desired::Stopped).await;
    for _ in 0..100 {
        world.supervisor.send(ConnectInstance { id: id.clone(), method: Method::Qr }).await.unwrap().unwrap();
    }
    world.pass(SOON).await;
    assert_eq!(world.links.story(), ["new g1 dial 1 @0s"]);
    let entry = world.entry(&id);
    assert_eq!((entry.pairing.qr.as_deref(), entry.pairing.count), (Some("qr"), 1));
}

#[actix::test]
async fn a_logout_answers_when_the_credentials_are_archived() {
    let world = World::start();
    let id = world.add("shop").await;
    world.pass(SOON).await;
    world.supervisor.send(LogOutInstance { id: id.clone() }).await.unwrap().unwrap();
    world.pass(SOON).await;
    assert!(world.store.written().contains(&"shop archived".to_owned()));
    assert_eq!(world.entry(&id).status.phase, Phase::Unpaired);
    let again = world.supervisor.send(LogOutInstance { id }).await.unwrap();
    assert_eq!(again, Err(CommandError::Refused(Refusal::NotConnected)));
}

#[actix::test]
async fn credentials_that_could_not_be_archived_are_never_paired_over() {
    let world = World::start();
    let id = world.add("shop").await;
    world.pass(SOON).await;
    world.store.set_down(true);
    world.supervisor.send(LogOutInstance { id: id.clone() }).await.unwrap().unwrap();
    world.links.usually(Dial::Qr);
    world.links.story();
    world.supervisor.send(ConnectInstance { id: id.clone(), method: Method::Qr }).await.unwrap().unwrap();
    world.pass(Duration::from_secs(6)).await;
    assert!(world.links.story().iter().all(|line| !line.contains("dial")));
    assert_eq!(world.entry(&id).status.code(), Some("store-unavailable"));
    world.store.set_down(false);
    world.pass(Duration::from_secs(30)).await;
    assert_eq!(world.entry(&id).status.phase, Phase::Pairing);
}

#[actix::test]
async fn draining_saves_then_closes_every_instance() {
    let world = World::start();
    for name in ["a", "b", "c"] {
        world.add(name).await;
    }
    world.pass(Duration::from_secs(1)).await;
    world.links.story();
    let forced = world.supervisor.send(DrainAll { within: Duration::from_secs(16), closed: None }).await.unwrap();
    assert_eq!(forced, Vec::<String>::new());
    let story = world.links.story();
    for name in ["a", "b", "c"] {
        let at = |what: &str| story.iter().position(|line| line.starts_with(&format!("{name} g1 {what}"))).unwrap();
        assert!(at("save") < at("close") && at("close") < at("seal"), "{story:?}");
    }
    let id = InstanceId::new("a");
    assert_eq!(world.supervisor.send(RestartInstance { id }).await.unwrap(), Err(CommandError::Stopping));
}

#[actix::test]
async fn a_message_waits_for_the_link_and_is_refused_when_there_is_none() {
    let world = World::start();
    world.links.next([Dial::Hang]);
    let id = world.add("shop").await;
    let text = |text: &str| SendText {
        message: outgoing(text),
        wait: Duration::from_secs(10),
        within: Duration::from_secs(70),
    };
    let ports = world.supervisor.send(WhereIs { id: id.clone() }).await.unwrap().unwrap();
    let refused = ports.send_text.send(text("lost")).await.unwrap();
    assert!(matches!(refused, Err(SendError::NotConnected)), "{refused:?}");
    world.pass(Duration::from_secs(60)).await;
    let sent = ports.send_text.send(text("hello")).await.unwrap().unwrap();
    assert_eq!(sent.body["text"], "hello");
}

#[actix::test]
async fn s34_boot_is_paced() {
    let world = World::start();
    for number in 0..40 {
        world.add(&format!("n{number}")).await;
    }
    world.pass(Duration::from_secs(1)).await;
    let dials = world.links.story().iter().filter(|line| line.contains("dial")).count();
    assert!((15..=25).contains(&dials), "{dials} dials in the first second");
    world.pass(Duration::from_secs(2)).await;
    assert!(world.board.all().iter().all(|(_, entry)| entry.status.phase == Phase::Online));
}

/// What an operator can ask of an instance.
const COMMANDS: [&str; 4] = ["connect", "restart", "logout", "delete"];

/// Gives a command; it has to be answered, and to be obeyed, in less than a second.
async fn obeyed_at_once(world: &World, id: &InstanceId, command: &str) {
    let began = world.clock.now();
    let id = id.clone();
    let answer = match command {
        "connect" => world.supervisor.send(ConnectInstance { id: id.clone(), method: Method::Qr }).await,
        "restart" => world.supervisor.send(RestartInstance { id: id.clone() }).await,
        "logout" => world.supervisor.send(LogOutInstance { id: id.clone() }).await,
        _ => world.supervisor.send(DeleteInstance { id: id.clone() }).await.map(|gone| gone.map(drop)),
    };
    assert_eq!(answer.unwrap(), Ok(()), "{command} of {id}");
    world.pass(SOON).await;
    let phase = world.board.get(&id).map(|entry| entry.status.phase);
    let expected = match command {
        "connect" | "restart" => Some(Phase::Online),
        "logout" => Some(Phase::Unpaired),
        _ => None,
    };
    assert_eq!(phase, expected, "{command} of {id}");
    assert!(world.clock.now().since(began) < Duration::from_secs(1), "{command} of {id}");
}

fn name(situation: &str, command: &str) -> String {
    format!("{situation}-{command}")
}

#[actix::test]
async fn s17_operator_commands_win_over_a_backoff() {
    let world = World::start();
    world.links.usually(Dial::Down(DownReason::Unreachable));
    for command in COMMANDS {
        world.add(&name("backoff", command)).await;
    }
    world.pass(Duration::from_secs(7_200)).await;
    for command in COMMANDS {
        let id = InstanceId::new(name("backoff", command));
        // Far from the next try by itself.
        while world.entry(&id).status.next_try.is_none_or(|at| world.clock.now().until(at) < Duration::from_secs(10)) {
            world.pass(Duration::from_secs(1)).await;
        }
        assert!(world.entry(&id).status.failures > 5);
        world.links.next([Dial::Online]);
        obeyed_at_once(&world, &id, command).await;
        world.links.clear();
        assert!(world.board.get(&id).is_none_or(|entry| entry.status.failures == 0 || command == "logout"));
    }
}

#[actix::test]
async fn s17_operator_commands_win_over_an_outage_of_the_host() {
    let world = World::start();
    let mut ids = Vec::new();
    for number in 0..20 {
        ids.push(world.add(&format!("n{number:02}")).await);
    }
    world.pass(Duration::from_secs(5)).await;
    let dark = Dial::Down(DownReason::Unreachable);
    world.links.usually(dark.clone());
    for id in &ids {
        world
            .links
            .report(id, Report::Fact(Event::LinkDown { link: LinkId(1), why: DownReason::SocketLost { code: None } }))
            .await;
    }
    world.pass(Duration::from_secs(600)).await;
    let fleet = world.board.fleet();
    assert!(fleet.dials.outage_since.is_some(), "{fleet:?}");
    assert!(fleet.dials.held >= 15, "{fleet:?}");
    let held = |world: &World| -> Vec<InstanceId> {
        let all =
            ids.iter().filter(|id| world.board.get(id).is_some_and(|entry| entry.status.code() == Some("host-outage")));
        all.cloned().collect()
    };
    assert!(held(&world).len() >= 15);
    // Those that end the outage come last.
    for command in ["delete", "logout", "restart"] {
        let id = held(&world).pop().unwrap();
        world.links.next([Dial::Online]);
        obeyed_at_once(&world, &id, command).await;
        world.links.clear();
        assert_eq!(world.board.fleet().dials.outage_since.is_none(), command == "restart", "{command}");
    }
}

#[actix::test]
async fn s17_operator_commands_win_over_the_wait_for_a_restart() {
    let world = World::start();
    for command in COMMANDS {
        world.links.usually(Dial::Panic);
        // The wait is random: one is taken that is long enough to tell the command from its end.
        let mut tries = 0;
        let id = loop {
            tries += 1;
            assert!(tries < 100, "no wait was long enough");
            let id = world.add(&format!("crashed-{command}-{tries}")).await;
            world.pass(Duration::from_millis(120)).await;
            let due = world.entry(&id).status.next_try;
            if due.is_some_and(|at| world.clock.now().until(at) > Duration::from_millis(300)) {
                break id;
            }
        };
        world.links.usually(Dial::Online);
        obeyed_at_once(&world, &id, command).await;
    }
}

#[actix::test]
async fn s18_a_fleet_that_lost_its_network_comes_back_spread_out() {
    let world = World::start();
    let mut ids = Vec::new();
    for number in 0..100 {
        ids.push(world.add(&format!("n{number:03}")).await);
    }
    world.pass(Duration::from_secs(10)).await;
    assert!(ids.iter().all(|id| world.entry(id).status.phase == Phase::Online));
    world.links.usually(Dial::Down(DownReason::Unreachable));
    for id in &ids {
        world
            .links
            .report(id, Report::Fact(Event::LinkDown { link: LinkId(1), why: DownReason::SocketLost { code: None } }))
            .await;
    }
    world.pass(Duration::from_secs(3_600)).await;
    let dials = |world: &World| -> Vec<String> {
        world.links.story().into_iter().filter(|line| line.contains("dial")).collect()
    };
    let hour = dials(&world).len() - 100;
    assert!((60..=400).contains(&hour), "{hour} dials of 100 instances in an hour without a network");
    world.links.usually(Dial::Online);
    world.pass(Duration::from_secs(340)).await;
    assert!(ids.iter().all(|id| world.entry(id).status.phase == Phase::Online), "{:?}", world.board.fleet());
    assert_eq!(world.board.fleet().dials.outage_since, None);
    let mut seconds = std::collections::BTreeMap::<String, usize>::new();
    for line in dials(&world) {
        *seconds.entry(line.rsplit('@').next().unwrap().to_owned()).or_default() += 1;
    }
    let busiest = seconds.values().max().unwrap();
    assert!(*busiest <= 22, "{seconds:?}");
}

#[actix::test]
async fn s27_fifty_instances_that_crash_in_a_loop_leave_another_alone() {
    let world = World::start();
    let quiet = world.add("quiet").await;
    world.pass(SOON).await;
    world.links.usually(Dial::Panic);
    for number in 0..50 {
        world.add(&format!("loud{number}")).await;
    }
    for _ in 0..20 {
        world.pass(Duration::from_secs(2)).await;
        let sending = world.supervisor.send(WhereIs { id: quiet.clone() }).await.unwrap().unwrap();
        let text = SendText { message: outgoing("hello"), wait: SOON, within: Duration::from_secs(1) };
        sending.send_text.send(text).await.unwrap().unwrap();
    }
    let story = world.links.story();
    assert!(!story.iter().any(|line| line.starts_with("quiet g1 seal")));
    assert_eq!((world.board.fleet().running, world.board.fleet().quarantined), (1, 50));
    assert_eq!(world.entry(&quiet).status.link, 1);
}

#[actix::test]
async fn s27_a_panic_in_a_call_of_the_store_restarts_that_instance_and_its_rows_are_written() {
    let world = World::start();
    let quiet = world.add("quiet").await;
    world.pass(SOON).await;
    world.store.written();
    world.store.panic_next(1);
    let id = world.add("shop").await;
    world.pass(Duration::from_secs(5)).await;
    let story = world.links.story();
    assert!(story.iter().any(|line| line.starts_with("shop g1 seal ActorGone")), "{story:?}");
    assert_eq!(world.entry(&id).status.phase, Phase::Online);
    assert_eq!((world.entry(&quiet).status.link, world.board.fleet().restarts), (1, 1));
    let written = world.store.written();
    assert!(written.iter().filter(|line| *line == "shop connection.update open").count() >= 1, "{written:?}");
}

#[actix::test]
async fn s56_a_day_of_restarts_of_a_terminal_instance_grows_nothing_and_erases_nothing() {
    let world = World::start();
    world.links.usually(Dial::Down(DownReason::Refused { code: 411 }));
    let refused = world.add("refused").await;
    world.pass(SOON).await;
    world.links.usually(Dial::Down(DownReason::Outdated));
    let outdated = world.add("outdated").await;
    world.pass(SOON).await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let mut baseline = None;
    for round in 0..720 {
        for id in [&refused, &outdated] {
            let why = if id == &refused { DownReason::Refused { code: 411 } } else { DownReason::Outdated };
            world.links.usually(Dial::Down(why));
            let began = world.clock.now();
            assert_eq!(world.supervisor.send(RestartInstance { id: id.clone() }).await.unwrap(), Ok(()));
            assert!(world.clock.now().since(began) < Duration::from_secs(1));
            world.pass(SOON).await;
            assert_eq!(world.entry(id).status.phase, Phase::Parked);
        }
        world.pass(Duration::from_secs(120)).await;
        if round == 10 {
            baseline = Some(tasks());
        }
    }
    assert_eq!(Some(tasks()), baseline);
    let fleet = world.board.fleet();
    assert_eq!((fleet.running, fleet.restarts, fleet.dials.in_flight, fleet.dials.waiting), (2, 0, 0, 0));
    assert!(!world.store.written().iter().any(|line| line.contains("archived")));
    assert!(world.links.story().iter().all(|line| line.contains(" g1 ")), "one actor each, all day");
}

#[actix::test]
async fn an_actor_that_does_not_turn_is_sealed_and_replaced() {
    let world = World::start();
    let stuck = world.add("stuck").await;
    let quiet = world.add("quiet").await;
    world.pass(SOON).await;
    world.supervisor.send(Freeze { id: stuck.clone() }).await.unwrap();
    world.pass(Duration::from_secs(80)).await;
    let story = world.links.story();
    let at = |what: &str| {
        story.iter().position(|line| line.starts_with(what)).unwrap_or_else(|| panic!("{what}: {story:?}"))
    };
    assert!(at("stuck g1 seal ActorGone") < at("stuck g2 dial 2"), "{story:?}");
    assert_eq!(world.entry(&stuck).status.phase, Phase::Online);
    assert_eq!((world.entry(&stuck).status.link, world.entry(&quiet).status.link), (2, 1));
    assert_eq!(world.board.fleet().restarts, 1);
}

/// Keeps the actor of an instance from taking anything out of its mailbox.
#[derive(Message)]
#[rtype(result = "()")]
struct Freeze {
    id: InstanceId,
}

impl Handler<Freeze> for InstanceActor {
    type Result = ();

    fn handle(&mut self, _: Freeze, ctx: &mut Self::Context) {
        ctx.wait(std::future::pending().into_actor(self));
    }
}

impl Handler<Freeze> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, freeze: Freeze, _: &mut Context<Self>) {
        if let Some(line) = self.roster.get_mut(&freeze.id)
            && let Child::Running { addr, .. } = &line.child
        {
            addr.try_send(freeze).unwrap();
        }
    }
}

fn outgoing(text: &str) -> OutgoingText {
    OutgoingText {
        id: None,
        number: "5511999999999".to_owned(),
        text: text.to_owned(),
        delay: Duration::ZERO,
        link_preview: true,
        mentioned: Vec::new(),
        quoted: None,
    }
}

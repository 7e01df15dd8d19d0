use std::sync::Arc;
use std::time::Duration;

use actix::prelude::{Actor, Addr};
use holdfast_core::connection::{Desired, DownReason, Method, Phase};
use holdfast_core::id::InstanceId;
use holdfast_core::tenancy::{Policy, Share, Survey};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::protocol::{Keep, Leave, Manned, Retire};
use super::{LeaseActor, LeaseParts};
use crate::actors::supervisor::protocol::{ConnectInstance, DeleteInstance, DrainAll};
use crate::actors::testing::leases::ScriptedLeases;
use crate::actors::testing::links::{Answer, Dial};
use crate::actors::testing::{World, record};
use crate::ports::tenure::Tenure;

const TTL: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_millis(100);
const RENEWAL: Duration = Duration::from_secs(15);

#[actix::test]
async fn s40_without_a_renewal_every_link_is_sealed_before_the_lease_ends_and_they_come_back_by_themselves() {
    let node = Sharing::start();
    let ids = node.own(&["shop", "bar"]).await;
    node.leases.script(|script| script.down = true);
    node.world.pass(Duration::from_secs(53)).await;
    assert!(node.holds() && node.online(&ids[0]));
    // Nothing is claimed without a lease.
    node.world.links.usually(Dial::Down(DownReason::LeaseLost));
    node.world.links.story();
    node.world.pass(Duration::from_secs(2)).await;
    assert!(!node.holds());
    let story = node.world.links.story();
    for id in &ids {
        assert!(story.contains(&format!("{id} g1 seal LeaseEnded @54s")), "{story:?}");
        let status = node.world.entry(id).status;
        assert_eq!(
            (status.state_at(node.world.clock.now()).as_str(), status.code()),
            ("connecting", Some("lease-lost"))
        );
    }

    node.leases.script(|script| script.down = false);
    node.world.links.usually(Dial::Online);
    node.world.pass(Duration::from_secs(12)).await;
    assert!(node.holds() && ids.iter().all(|id| node.online(id)));
    assert_eq!(node.leases.story(), Vec::<String>::new(), "nothing was claimed or given up");
}

#[actix::test]
async fn s40_what_another_node_owns_ends_at_once_and_nothing_is_written_for_it() {
    let node = Sharing::start();
    let ids = node.own(&["shop", "bar"]).await;
    node.world.store.written();
    node.leases.script(|script| script.owned.retain(|id| id.as_str() == "bar"));
    node.world.pass(RENEWAL).await;
    let story = node.world.links.story();
    assert!(story.iter().any(|line| line.starts_with("shop g1 seal FencedOff")), "{story:?}");
    assert!(node.world.board.get(&ids[0]).is_none() && node.online(&ids[1]));
    let written = node.world.store.written();
    assert!(!written.iter().any(|line| line.starts_with("shop")), "{written:?}");

    // It comes back, and nothing that is left of its former actor is taken for the new one.
    node.leases.script(|script| script.owned.push(ids[0].clone()));
    node.world.pass(RENEWAL).await;
    let story = node.world.links.story();
    assert!(story.iter().any(|line| line.starts_with("shop g2 dial 2")), "{story:?}");
    assert!(node.online(&ids[0]));
}

#[actix::test]
async fn what_nobody_owns_is_claimed_read_and_dialled() {
    let node = Sharing::start();
    node.own(&["shop"]).await;
    let new: Vec<InstanceId> = (0..20).map(|at| node.stored(&format!("new{at}"))).collect();
    node.leases.script(|script| {
        script.free.clone_from(&new);
        script.survey = survey(1, &[0], 20);
    });
    node.world.pass(Duration::from_secs(4)).await;
    assert_eq!(node.leases.story(), ["adopt 10 also of the dead"]);
    assert!(new[..10].iter().all(|id| node.online(id)));
    assert!(new[10..].iter().all(|id| node.world.board.get(id).is_none()));
}

#[actix::test]
async fn what_came_after_a_renewal_was_asked_for_is_not_taken_for_lost() {
    let node = Sharing::start();
    node.own(&["shop"]).await;
    node.leases.script(|script| script.answers_after = Duration::from_secs(3));
    node.world.pass(RENEWAL).await;
    // The renewal is under way and does not know of it.
    let new = node.world.add("new").await;
    node.leases.script(|script| script.owned.push(new.clone()));
    node.world.pass(Duration::from_secs(4)).await;
    assert!(node.online(&new));
    let story = node.world.links.story();
    assert!(!story.iter().any(|line| line.starts_with("new g1 seal")), "{story:?}");
}

#[actix::test]
async fn what_is_deleted_does_not_come_back_while_its_rows_are_still_there() {
    let node = Sharing::start();
    let ids = node.own(&["shop"]).await;
    node.leases.script(|script| script.answers_after = Duration::from_secs(3));
    node.world.pass(RENEWAL).await;
    node.world.supervisor.send(DeleteInstance { id: ids[0].clone() }).await.unwrap().unwrap();
    node.world.links.story();
    // Neither by the renewal that was asked before nor by the next.
    node.world.pass(RENEWAL + RENEWAL / 2).await;
    let story = node.world.links.story();
    assert!(!story.iter().any(|line| line.contains("dial")), "{story:?}");
    assert!(node.world.board.get(&ids[0]).is_none());
    // It was not deleted after all: the service that asked for it has died.
    node.world.pass(Duration::from_secs(40)).await;
    assert!(node.world.board.get(&ids[0]).is_some());
}

#[actix::test]
async fn a_surplus_is_saved_closed_and_let_go_first_what_is_not_connected_and_never_what_is_being_paired() {
    let node = Sharing::start();
    let ids = node.own(&["old", "young"]).await;
    node.world.links.usually(Dial::Qr);
    let pairing = node.world.add_with("pairing", false, Desired::Stopped).await;
    node.world.supervisor.send(ConnectInstance { id: pairing.clone(), method: Method::Qr }).await.unwrap().unwrap();
    let idle = node.world.add_with("idle", true, Desired::Stopped).await;
    node.leases.script(|script| script.owned.extend([pairing.clone(), idle.clone()]));
    node.world.links.story();
    node.leases.script(|script| script.survey = survey(4, &[0], 0));
    node.world.pass(Duration::from_secs(28)).await;
    assert_eq!(node.leases.story(), Vec::<String>::new(), "the fleet has just changed");
    let mut told = Vec::new();
    for _ in 0..32 {
        node.world.pass(Duration::from_millis(250)).await;
        told.extend(node.leases.story());
        if !told.is_empty() {
            // The fleet is even before it is looked at again.
            node.leases.script(|script| script.survey = survey(2, &[2], 0));
            break;
        }
    }
    assert_eq!(told, ["let go idle old"]);
    let story = node.world.links.story();
    let of = |what: &str| story.iter().position(|line| line.starts_with(&format!("old g1 {what}")));
    assert!(of("save 1") < of("close 1") && of("save 1").is_some(), "{story:?}");
    assert!(!story.iter().any(|line| line.starts_with("pairing g1 save")), "{story:?}");
    node.world.pass(RENEWAL * 2).await;
    assert!(node.world.board.get(&ids[0]).is_none() && node.world.board.get(&idle).is_none());
    assert!(node.online(&ids[1]));
    assert_eq!(node.world.entry(&pairing).status.phase, Phase::Pairing);
}

#[actix::test]
async fn what_does_not_close_is_not_handed_over_and_goes_on_here() {
    let node = Sharing::start();
    let ids = node.own(&["a", "b"]).await;
    node.leases.script(|script| script.survey = survey(2, &[0], 0));
    node.world.links.answer_saves(Answer::Never);
    node.world.links.answer_closes(Answer::Never);
    node.world.pass(Duration::from_secs(60)).await;
    assert_eq!(node.leases.story(), Vec::<String>::new(), "its socket may still be open");
    assert!(ids.iter().all(|id| node.world.board.get(id).is_some()));
    let story = node.world.links.story();
    assert!(story.iter().any(|line| line.starts_with("a g2 dial")), "it is started again here: {story:?}");
}

#[actix::test]
async fn a_node_whose_name_is_taken_seals_everything_stops_and_asks_nothing_more() {
    let node = Sharing::start();
    node.own(&["shop"]).await;
    node.leases.script(|script| script.usurped = true);
    node.world.pass(RENEWAL).await;
    assert!(!node.holds());
    let story = node.world.links.story();
    assert!(story.iter().any(|line| line.starts_with("shop g1 seal LeaseEnded")), "{story:?}");
    tokio::time::timeout(SOON, node.usurped.notified()).await.expect("the service is told");
    let renewals = node.leases.script(|script| script.renewals);
    node.stop().await;
    node.world.pass(RENEWAL * 3).await;
    assert_eq!(node.leases.script(|script| script.renewals), renewals);
    assert_eq!(node.leases.story(), Vec::<String>::new(), "what has its name owns what it owned");
}

#[actix::test]
async fn a_stopping_node_retires_lets_go_of_what_has_closed_and_leaves() {
    let node = Sharing::start();
    node.own(&["bar", "shop"]).await;
    node.world.add_with("idle", true, Desired::Stopped).await;
    node.world.pass(SOON).await;
    node.stop().await;
    let story = node.leases.story();
    assert_eq!((story.first().map(String::as_str), story.last().map(String::as_str)), (Some("retire"), Some("leave")));
    let mut gone: Vec<&str> =
        story.iter().filter_map(|line| line.strip_prefix("let go ")).flat_map(str::split_whitespace).collect();
    gone.sort_unstable();
    assert_eq!(gone, ["bar", "idle", "shop"], "{story:?}");
}

#[actix::test]
async fn what_does_not_close_is_not_let_go() {
    let node = Sharing::start();
    node.own(&["shop"]).await;
    node.world.links.answer_closes(Answer::Never);
    node.stop().await;
    assert_eq!(node.leases.story(), ["retire", "leave"]);
}

#[actix::test]
async fn a_database_that_is_away_holds_up_no_shutdown() {
    let node = Sharing::start();
    node.own(&["shop"]).await;
    node.leases.script(|script| script.down = true);
    let began = node.world.clock.now();
    node.stop().await;
    assert!(node.world.clock.now().since(began) < Duration::from_secs(2));
}

#[actix::test]
async fn where_nobody_else_can_be_nothing_is_renewed_and_nothing_is_sealed() {
    let node = Sharing::lasting(None);
    let ids = node.own(&["shop"]).await;
    node.world.pass(Duration::from_secs(300)).await;
    node.stop().await;
    assert_eq!(node.leases.script(|script| script.renewals), 0);
    assert_eq!(node.leases.story(), Vec::<String>::new());
    assert!(!node.world.links.story().iter().any(|line| line.contains("seal LeaseEnded")), "{ids:?}");
}

/// A node of a fleet.
struct Sharing {
    world: World,
    leases: Arc<ScriptedLeases>,
    tenure: Arc<Tenure>,
    keeper: Addr<LeaseActor>,
    usurped: Arc<Notify>,
}

impl Sharing {
    fn start() -> Self {
        Self::lasting(Some(TTL))
    }

    fn lasting(ttl: Option<Duration>) -> Self {
        let world = World::start();
        let leases = ScriptedLeases::lasting(ttl);
        leases.script(|script| script.survey = survey(1, &[], 0));
        let (tenure, usurped) = (Arc::new(Tenure::none()), Arc::new(Notify::new()));
        let keeper = LeaseActor::new(LeaseParts {
            leases: leases.clone(),
            instances: world.store.clone(),
            tenure: Arc::clone(&tenure),
            policy: Policy { ttl: TTL, renew_every: RENEWAL },
            clock: world.clock,
            runtime: Handle::current(),
            seal: world.supervisor.clone().recipient(),
            own: world.supervisor.clone().recipient(),
            take_in: world.supervisor.clone().recipient(),
            hand_over: world.supervisor.clone().recipient(),
            let_gone: world.supervisor.clone().recipient(),
            usurped: Arc::clone(&usurped),
        })
        .start();
        Self { world, leases, tenure, keeper, usurped }
    }

    /// Boots with these instances as its own, and waits until they are online.
    async fn own(&self, names: &[&str]) -> Vec<InstanceId> {
        self.keeper.send(Keep { asked_at: self.world.clock.now() }).await.unwrap();
        let mut ids = Vec::new();
        for name in names {
            ids.push(self.world.add(name).await);
        }
        self.leases.script(|script| script.owned.clone_from(&ids));
        self.keeper.send(Manned).await.unwrap();
        self.world.pass(SOON).await;
        ids
    }

    /// Stores an instance that should be connected, and does not put it on the roster.
    fn stored(&self, name: &str) -> InstanceId {
        let id = InstanceId::new(name);
        self.world.store.keep_new(record(&id, true, Desired::Connected));
        id
    }

    /// Stops as the phases of a shutdown do.
    async fn stop(&self) {
        let within = Duration::from_secs(16);
        self.keeper.send(Retire).await.unwrap();
        let closed = Some(self.keeper.clone().recipient());
        self.world.supervisor.send(DrainAll { within, closed }).await.unwrap();
        self.keeper.send(Leave { within: Duration::from_secs(1) }).await.unwrap();
    }

    fn holds(&self) -> bool {
        self.tenure.holds_at(self.world.clock.now())
    }

    fn online(&self, id: &InstanceId) -> bool {
        self.world.board.get(id).is_some_and(|entry| entry.status.phase == Phase::Online)
    }
}

/// What a node sees that holds `own` instances beside others.
fn survey(own: u32, others: &[u32], free: u32) -> Survey {
    let share =
        |(at, instances): (usize, u32)| Share { node: format!("n{at}"), own: at == 0, draining: false, instances };
    let nodes = std::iter::once(own).chain(others.iter().copied()).enumerate().map(share).collect();
    Survey { nodes, free, overdue: 0, abandoned: 0 }
}

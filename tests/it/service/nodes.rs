//! Several engines on one PostgreSQL: who owns what, and that two never act for one instance.

use std::collections::BTreeMap;

use holdfast_sim::{MessageRequest, Options, Simulator};
use rustix::process::Signal;

use crate::harness::cable::{Cable, State};
use crate::harness::engine::{Engine, Home};
use crate::harness::eventually::eventually;
use crate::harness::postgres::Server;
use crate::harness::receiver::Receiver;

const ANA: &str = "5511977770001";
const SHOPS: [(&str, &str); 4] =
    [("one", "5511999990001"), ("two", "5511999990002"), ("three", "5511999990003"), ("four", "5511999990004")];

#[tokio::test(flavor = "multi_thread")]
async fn s40_two_engines_share_evenly_survive_each_others_end_and_never_meet() {
    let fleet = Fleet::start().await;
    let (home_a, home_b) = (fleet.home("a"), fleet.home("b"));
    let a = home_a.start().await;
    fleet.pair(&a).await;
    fleet.comes_to(&[("a", 4)]).await;
    let b = home_b.start().await;
    fleet.comes_to(&[("a", 2), ("b", 2)]).await;
    fleet.talks("shared").await;

    // The same name within its lease has its own back at once.
    b.kill_9().await;
    let b = home_b.start().await;
    fleet.comes_to(&[("a", 2), ("b", 2)]).await;
    assert!(!home_a.log().contains("This node takes 2 instances"), "its lease had not ended");
    fleet.talks("restarted").await;

    b.kill_9().await;
    fleet.comes_to(&[("a", 4)]).await;
    fleet.talks("taken over").await;

    let b = home_b.start().await;
    fleet.comes_to(&[("a", 2), ("b", 2)]).await;
    a.signal(Signal::TERM);
    fleet.comes_to(&[("b", 4)]).await;
    assert_eq!(a.end().await, Some(0));
    fleet.talks("handed over").await;
    drop(b);
    fleet.harmless();
}

#[tokio::test(flavor = "multi_thread")]
async fn s40_a_frozen_or_cut_off_engine_stops_before_the_others_take_over() {
    let fleet = Fleet::start().await;
    let (home_a, home_b) = (fleet.home("a"), fleet.home("b"));
    let a = home_a.start().await;
    fleet.pair(&a).await;
    let b = home_b.start().await;
    fleet.comes_to(&[("a", 2), ("b", 2)]).await;

    // Away for both, for longer than the leases last: nobody takes anything.
    let owners = fleet.owners().await;
    fleet.cut(&["a", "b"]);
    eventually("every connection to be closed", || async { fleet.sim.sessions().is_empty().then_some(()) }).await;
    eventually("all leases to end", || async { (fleet.living().await == ["0"]).then_some(()) }).await;
    fleet.carry(&["a", "b"]);
    fleet.comes_to(&[("a", 2), ("b", 2)]).await;
    assert_eq!(fleet.owners().await, owners, "nobody took what was another's");
    fleet.talks("the database is back").await;

    fleet.cut(&["b"]);
    fleet.comes_to(&[("a", 4)]).await;
    fleet.talks("b has no database").await;
    fleet.harmless();
    fleet.carry(&["b"]);
    fleet.comes_to(&[("a", 2), ("b", 2)]).await;

    a.signal(Signal::STOP);
    fleet.owned(&[("b", 4)]).await;
    fleet.talks("a is frozen").await;
    a.signal(Signal::CONT);
    fleet.comes_to(&[("a", 2), ("b", 2)]).await;
    fleet.talks("a goes on").await;
    drop((a, b));
    // Its sockets were open while it was frozen; nothing has left them.
    let tally = fleet.sim.counters(None).expect("the counters of everybody").tally;
    assert_eq!((tally.nacked, tally.counters_reused, tally.stale_frames), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_name_waits_for_the_lease_and_then_says_what_to_do() {
    let fleet = Fleet::start().await;
    let (home_a, copy) = (fleet.home("a"), fleet.home("a"));
    let a = home_a.start().await;
    let refused = copy.spawn().end().await;
    assert_eq!(refused, Some(1));
    assert!(copy.log().contains("give each process a NODE_ID of its own"), "{}", copy.log());
    assert_eq!(a.api().get("/health/ready").await.status, 200);
}

/// What engines share.
struct Fleet {
    sim: Simulator,
    server: Server,
    receiver: Receiver,
    cables: BTreeMap<&'static str, Cable>,
}

impl Fleet {
    async fn start() -> Self {
        let sim = Simulator::start(Options::default()).await.expect("a simulator");
        let server = Server::start().await.expect("a server");
        let mut cables = BTreeMap::new();
        for name in ["a", "b"] {
            cables.insert(name, Cable::lay(server.port()).await.expect("a cable"));
        }
        Self { sim, server, receiver: Receiver::start(), cables }
    }

    fn home(&self, name: &'static str) -> Home {
        let (port, cable) = (self.server.port(), self.cables[name].port());
        let url = self.server.url("postgres").replace(&format!(":{port}/"), &format!(":{cable}/"));
        Home::new(self.sim.ws_url())
            .set("NODE_ID", name)
            .set("DATABASE_CONNECTION_URI", &url)
            .set("DATABASE_CONNECT_TIMEOUT_SECONDS", "1")
            .set("DATABASE_STATEMENT_TIMEOUT_SECONDS", "2")
            .set("SESSION_ENCRYPTION_KEY", &"5a".repeat(32))
            .set("LEASE_TTL_SECONDS", "6")
            .set("LEASE_RENEW_SECONDS", "2")
            .set("STORE_GRACE_SECONDS", "1")
    }

    async fn pair(&self, engine: &Engine<'_>) {
        for (name, phone) in SHOPS {
            engine.pair(&self.sim, name, phone, Some(&self.receiver.url())).await;
        }
    }

    /// Waits until each node owns so many instances, and all of them are connected.
    async fn comes_to(&self, shares: &[(&str, usize)]) {
        self.owned(shares).await;
        eventually("every instance to be connected once", || async {
            let open = self.sim.sessions().into_iter().filter(|session| session.state == "open" && !session.superseded);
            (open.count() == SHOPS.len()).then_some(())
        })
        .await;
    }

    async fn owned(&self, shares: &[(&str, usize)]) {
        let wanted: BTreeMap<String, usize> = shares.iter().map(|(node, count)| ((*node).to_owned(), *count)).collect();
        eventually(&format!("the shares to be {wanted:?}"), || async {
            let mut found = BTreeMap::new();
            for owner in self.owners().await {
                let node = owner.split('=').next_back().unwrap_or_default().to_owned();
                *found.entry(node).or_insert(0) += 1;
            }
            (found == wanted).then_some(())
        })
        .await;
    }

    /// Who owns which instance.
    async fn owners(&self) -> Vec<String> {
        self.ask(
            r#"SELECT i."name" || '=' || coalesce(s.lease_node, '') FROM "Instance" i JOIN holdfast_session s ON s.instance_id = i."id" ORDER BY 1"#,
        )
        .await
    }

    /// How many nodes hold their leases.
    async fn living(&self) -> Vec<String> {
        self.ask("SELECT count(*) FROM holdfast_node WHERE expires_ms > extract(epoch FROM clock_timestamp()) * 1000")
            .await
    }

    async fn ask(&self, sql: &str) -> Vec<String> {
        self.server.ask("postgres", sql).await.expect("the server answers")
    }

    /// Takes the database away from these.
    fn cut(&self, nodes: &[&str]) {
        for node in nodes {
            self.cables[node].be(State::Unplugged);
            self.cables[node].cut();
        }
    }

    fn carry(&self, nodes: &[&str]) {
        for node in nodes {
            self.cables[node].be(State::Carries);
        }
    }

    /// Writes to every number, and waits until all of it has come.
    async fn talks(&self, about: &str) {
        for (name, phone) in SHOPS {
            let text = format!("{about}, {name}");
            let (from, to) = (ANA.to_owned(), phone.to_owned());
            let request = MessageRequest { from, to, text, id: None, group: None };
            self.sim.message(request).await.expect("the message is taken");
        }
        for (name, _) in SHOPS {
            self.receiver.message(&format!("{about}, {name}")).await;
        }
    }

    fn harmless(&self) {
        let tally = self.sim.counters(None).expect("the counters of everybody").tally;
        assert_eq!((tally.nacked, tally.counters_reused, tally.stale_frames, tally.overlapped), (0, 0, 0, false));
    }
}

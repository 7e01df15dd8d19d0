//! Several nodes over one server.

use std::collections::{BTreeMap, BTreeSet};
use std::slice::from_ref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use holdfast::ports::chance;
use holdfast::ports::clock::Clock;
use holdfast::ports::leases::Leases as _;
use holdfast::ports::outbox::Outbox as _;
use holdfast::ports::session::Sessions as _;
use holdfast::ports::store::{InstancePatch, Instances as _, StoreError};
use holdfast::store::postgres::PostgresStore;
use holdfast_core::connection::Desired;
use holdfast_core::connection::state::PublicState;
use holdfast_core::event::EventName;
use holdfast_core::id::InstanceId;
use holdfast_core::tenancy::deadline;
use holdfast_core::time::Timestamp;

use super::bench::{Opening, Outcome, chain, device, event, eventually, new_instance, profile, put, webhook, writes};
use super::server::options;
use crate::harness::postgres::{Server, ask};

const CALL: EventName = EventName::Call;
const MINUTE: Duration = Duration::from_secs(60);
const PRISMA: &str = include_str!("prisma.sql");

/// Opens a store for a node, which has not joined yet.
async fn open(server: &Server, node: &str, ttl: Duration) -> anyhow::Result<Arc<PostgresStore>> {
    open_at(server.url("postgres"), node, ttl).await
}

async fn open_at(url: String, node: &str, ttl: Duration) -> anyhow::Result<Arc<PostgresStore>> {
    let mut options = options(url, Opening::default());
    options.node = node.to_owned();
    options.lease_ttl = ttl;
    Ok(PostgresStore::open(options).await?)
}

async fn node(server: &Server, name: &str) -> anyhow::Result<Arc<PostgresStore>> {
    let store = open(server, name, MINUTE).await?;
    store.join(profile(name)).await?;
    Ok(store)
}

/// Two nodes, of which the first owns as many instances, with a webhook each.
async fn two_nodes(
    instances: u32,
) -> anyhow::Result<(Server, Arc<PostgresStore>, Arc<PostgresStore>, Vec<InstanceId>)> {
    let server = Server::start().await?;
    let (a, b) = (node(&server, "a").await?, node(&server, "b").await?);
    let ids = try_join_all((0..instances).map(|number| {
        let a = Arc::clone(&a);
        async move {
            let id = a.insert(new_instance(&format!("i{number}"))).await?.id;
            a.set_webhook(&id, webhook(&[CALL])).await?;
            anyhow::Ok(id)
        }
    }));
    let ids = ids.await?;
    Ok((server, a, b, ids))
}

/// Lets a node be dead.
async fn die(server: &Server, node: &str) -> Outcome {
    server.ask("postgres", &format!("UPDATE holdfast_node SET expires_ms = 1 WHERE name = '{node}'")).await?;
    Ok(())
}

fn is_fenced<T>(answer: &Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::FencedOff(_)))
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_nodes_that_race_for_two_hundred_instances_each_gets_what_the_other_does_not() -> Outcome {
    let (server, a, b, ids) = two_nodes(200).await?;
    a.let_go(ids.clone()).await?;
    let grab = |store: Arc<PostgresStore>| {
        tokio::spawn(async move {
            let mut taken = Vec::new();
            loop {
                let more = store.adopt(7, true).await?;
                if more.is_empty() && store.survey().await?.free == 0 {
                    return Ok::<_, StoreError>(taken);
                }
                taken.extend(more);
            }
        })
    };
    let (for_a, for_b) = (grab(Arc::clone(&a)), grab(Arc::clone(&b)));
    let (for_a, for_b) = (for_a.await??, for_b.await??);
    assert!(!for_a.is_empty() && !for_b.is_empty(), "{} and {}", for_a.len(), for_b.len());
    assert_eq!(for_a.len() + for_b.len(), 200);
    let (for_a, for_b) = (for_a.into_iter().collect::<BTreeSet<_>>(), for_b.into_iter().collect::<BTreeSet<_>>());
    assert_eq!(for_a.union(&for_b).count(), 200);
    assert_eq!(a.renew().await?.into_iter().collect::<BTreeSet<_>>(), for_a);
    assert_eq!(b.renew().await?.into_iter().collect::<BTreeSet<_>>(), for_b);
    let raised = "SELECT DISTINCT epoch::text FROM holdfast_session";
    assert_eq!(server.ask("postgres", raised).await?, ["1"], "each was taken once");
    let survey = b.survey().await?;
    let shares: Vec<_> = survey.nodes.iter().map(|share| (share.own, share.instances as usize)).collect();
    assert_eq!(shares, [(false, for_a.len()), (true, for_b.len())]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_node_has_taken_its_former_owner_writes_no_more() -> Outcome {
    let (server, a, b, ids) = two_nodes(2).await?;
    let (id, kept) = (&ids[0], &ids[1]);
    let (epoch, kept_epoch) = (a.claim(id).await?.epoch, a.claim(kept).await?.epoch);
    let batch = || writes(vec![put("session", "a", "1")]);
    a.commit(id, epoch, batch()).await?;
    let refused = b.claim(id).await;
    assert!(
        matches!(&refused, Err(StoreError::LeaseHeld { by, instance }) if by == "a" && instance == id),
        "{refused:?}"
    );
    assert!(b.adopt(10, true).await?.is_empty(), "its owner lives");
    assert!(is_fenced(&b.delete(id).await) && is_fenced(&b.patch(id, InstancePatch::default()).await));

    // It is frozen, and its time is over.
    die(&server, "a").await?;
    let claim = b.claim(id).await?;
    assert_eq!((claim.epoch, claim.revision.0), (epoch.next(), 1));
    let open = InstancePatch { connection_status: Some(PublicState::Open), ..InstancePatch::default() };
    assert!(is_fenced(&a.commit(id, epoch, batch()).await));
    assert!(is_fenced(&a.commit(id, claim.epoch, batch()).await), "an epoch is one node's");
    let revision = b.claim(id).await?.revision;
    assert!(is_fenced(&a.patch(id, open.clone()).await));
    assert!(is_fenced(&a.append(id, vec![event(CALL, "late")]).await));
    assert!(is_fenced(&a.set_desired(id, Desired::Connected).await));
    assert!(is_fenced(&a.archive(id, "logged-out").await));
    assert!(is_fenced(&a.delete(id).await));
    a.let_go(vec![id.clone()]).await?;
    assert_eq!(b.claim(id).await?.revision, revision, "nothing of it was kept");
    assert_eq!(b.get(id).await?.expect("it is there").connection_status, "close");
    assert_eq!(b.lag().await?.pending, 0);

    // What nobody has taken it can still write, and it has it again when it wakes up; but it claims nothing before.
    a.commit(kept, kept_epoch, batch()).await?;
    a.patch(kept, open).await?;
    let dead = a.claim(kept).await;
    assert!(matches!(dead, Err(StoreError::Unavailable { .. })), "{dead:?}");
    assert!(a.adopt(10, true).await.is_err());
    assert_eq!(b.survey().await?.abandoned, 1);
    assert_eq!(a.renew().await?, from_ref(kept));
    assert_eq!(b.survey().await?.abandoned, 0);
    assert!(b.adopt(10, true).await?.is_empty());
    let back = a.claim(id).await;
    assert!(matches!(back, Err(StoreError::LeaseHeld { .. })), "{back:?}");
    a.claim(kept).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_is_one_processs_and_the_next_of_the_same_home_takes_it_at_once() -> Outcome {
    let server = Server::start().await?;
    let first = open(&server, "a", MINUTE).await?;
    let id = first.insert(new_instance("shop")).await?.id;
    assert!(first.renew().await.is_err() && first.claim(&id).await.is_err(), "it has not joined");
    first.join(profile("a")).await?;
    let epoch = first.claim(&id).await?.epoch;

    let second = open(&server, "a", MINUTE).await?;
    let mut elsewhere = profile("a");
    elsewhere.home = "another home".to_owned();
    let refused = second.join(elsewhere.clone()).await;
    assert!(matches!(&refused, Err(StoreError::NodeInUse { node }) if node == "a"), "{refused:?}");
    assert_eq!(first.renew().await?, from_ref(&id));

    second.join(profile("a")).await?;
    for refused in [first.renew().await.err(), first.claim(&id).await.err(), first.adopt(1, true).await.err()] {
        assert!(matches!(refused, Some(StoreError::NodeInUse { .. })), "{refused:?}");
    }
    first.let_go(vec![id.clone()]).await?;
    assert_eq!(second.renew().await?, from_ref(&id), "it kept what the first one had");
    assert_eq!(second.claim(&id).await?.epoch, epoch.next());

    // A dead node's name is free.
    die(&server, "a").await?;
    let third = open(&server, "a", MINUTE).await?;
    third.join(elsewhere).await?;
    assert!(matches!(second.renew().await, Err(StoreError::NodeInUse { .. })));
    assert_eq!(third.renew().await?, [id]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_never_both_believe_that_they_own_an_instance() -> Outcome {
    const TTL: Duration = Duration::from_millis(120);
    const ROUNDS: u32 = 60;
    let (server, maker, _, ids) = two_nodes(12).await?;
    maker.let_go(ids).await?;
    let clock = Clock::start();
    let believers = ["c", "d", "e"].map(|name| {
        let url = server.url("postgres");
        tokio::spawn(async move {
            let store = open_at(url, name, TTL).await?;
            store.join(profile(name)).await?;
            // What it believes: which instance, from when, until when.
            let mut beliefs: Vec<(InstanceId, Timestamp, Timestamp)> = Vec::new();
            for _ in 0..ROUNDS {
                let asked = clock.now();
                let owned = store.renew().await?;
                let (now, until) = (clock.now(), deadline(asked, TTL));
                // What it does not own any more, it has believed to own until now at the latest.
                for belief in &mut beliefs {
                    belief.2 = belief.2.min(now);
                }
                beliefs.extend(owned.into_iter().map(|id| (id, now, until)));
                match store.adopt(3, true).await {
                    Ok(adopted) => beliefs.extend(adopted.into_iter().map(|id| (id, clock.now(), until))),
                    // Its time was over before it came to it.
                    Err(StoreError::Unavailable { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
                // Sometimes in time, sometimes too late, and often just about when others take over.
                let pause = TTL.mul_f64(0.1 + 1.4 * chance::unit());
                tokio::time::sleep(pause).await;
            }
            anyhow::Ok(beliefs)
        })
    });
    let mut all = Vec::new();
    for (node, beliefs) in join_all(believers).await.into_iter().enumerate() {
        all.extend(beliefs??.into_iter().filter(|belief| belief.1 < belief.2).map(|belief| (node, belief)));
    }
    let mut takeovers = 0;
    let mut by_instance: BTreeMap<InstanceId, Vec<(Timestamp, Timestamp, usize)>> = BTreeMap::new();
    for (node, (id, from, until)) in all {
        by_instance.entry(id).or_default().push((from, until, node));
    }
    for (id, mut spans) in by_instance {
        spans.sort();
        for (at, &(from, until, node)) in spans.iter().enumerate() {
            for &(later, _, other) in &spans[at + 1..] {
                assert!(
                    other == node || later >= until,
                    "{id}: {node} from {from:?} until {until:?}, {other} from {later:?}"
                );
            }
        }
        takeovers += spans.windows(2).filter(|pair| pair[0].2 != pair[1].2).count();
    }
    assert!(takeovers > 10, "{takeovers} takeovers");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_takeover_and_a_late_renewal_the_second_waits_for_the_first() -> Outcome {
    let (server, a, b, ids) = two_nodes(1).await?;
    let sleeping = || async {
        let asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        Ok(server.ask("postgres", asleep).await? == ["1"])
    };
    // The renewal is on its way when the takeover comes.
    die(&server, "a").await?;
    let renewal =
        "BEGIN; UPDATE holdfast_node SET expires_ms = 9000000000000 WHERE name = 'a'; SELECT pg_sleep(1); COMMIT";
    let url = server.url("postgres");
    let renewing = tokio::spawn(async move { ask(&url, renewal).await });
    eventually("the renewal to be under way", sleeping).await?;
    assert!(b.adopt(10, true).await?.is_empty(), "it was renewed");
    renewing.await??;

    // The takeover is on its way when the renewal comes.
    let slow = "CREATE FUNCTION slow() RETURNS TRIGGER LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1); RETURN NEW; END'; \
        CREATE TRIGGER slow BEFORE UPDATE ON holdfast_session FOR EACH ROW EXECUTE FUNCTION slow()";
    server.ask("postgres", slow).await?;
    die(&server, "a").await?;
    let taking = tokio::spawn(async move { b.adopt(10, true).await });
    eventually("the takeover to be under way", sleeping).await?;
    assert!(a.renew().await?.is_empty(), "it was taken");
    assert_eq!(taking.await??, ids);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_former_owner_comes_after_what_the_new_one_has_read() -> Outcome {
    let (server, a, b, ids) = two_nodes(20).await?;
    let over = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for id in &ids {
        let epoch = a.claim(id).await?.epoch;
        let (a, id, over) = (Arc::clone(&a), id.clone(), Arc::clone(&over));
        writers.push(tokio::spawn(async move {
            let mut refused = (0, 0);
            while !over.load(Ordering::Relaxed) {
                let batch = writes(vec![put("session", "a", "1")]);
                let (batch, events) = tokio::join!(a.commit(&id, epoch, batch), a.append(&id, vec![event(CALL, "x")]));
                refused.0 += u32::from(is_fenced(&batch));
                refused.1 += u32::from(is_fenced(&events));
                for error in [batch.err(), events.err()].into_iter().flatten() {
                    anyhow::ensure!(matches!(error, StoreError::FencedOff(_)), "{}", chain(&error));
                }
            }
            anyhow::Ok(refused)
        }));
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    die(&server, "a").await?;
    let mut taken = Vec::new();
    eventually("everything to be taken", || {
        let b = Arc::clone(&b);
        async move { Ok(b.adopt(3, true).await?.is_empty() && b.survey().await?.abandoned == 0) }
    })
    .await?;
    let state = "SELECT s.instance_id || ' ' || revision || ' ' || (SELECT count(*) FROM holdfast_outbox o \
        WHERE o.instance_id = s.instance_id) FROM holdfast_session s ORDER BY 1";
    taken.extend(server.ask("postgres", state).await?);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(server.ask("postgres", state).await?, taken, "what it went on writing");
    over.store(true, Ordering::Relaxed);
    for writer in writers {
        let (batches, events) = writer.await??;
        assert!(batches > 0 && events > 0, "{batches} batches and {events} events were refused");
    }
    assert_eq!(b.renew().await?.len(), 20);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_waiting_row_is_for_one_node_to_deliver() -> Outcome {
    let (server, a, b, ids) = two_nodes(4).await?;
    a.let_go(ids[2..3].to_vec()).await?;
    assert_eq!(b.adopt(1, false).await?, ids[2..3]);
    a.let_go(ids[3..].to_vec()).await?;
    for id in &ids {
        // Whoever owns it appends, and nobody owns the last one.
        if is_fenced(&a.append(id, vec![event(CALL, "1")]).await) {
            b.append(id, vec![event(CALL, "1")]).await?;
        }
    }
    let heads = |store: &Arc<PostgresStore>| {
        let store = Arc::clone(store);
        async move {
            let heads = store.heads().await?.into_iter().map(|head| head.instance);
            anyhow::Ok(heads.collect::<Vec<_>>())
        }
    };
    assert_eq!((heads(&a).await?, heads(&b).await?), (ids[..2].to_vec(), ids[2..3].to_vec()));
    let _earlier = tokio::time::timeout(Duration::from_millis(1), b.appended().notified()).await;
    assert_eq!(b.adopt(10, false).await?, ids[3..]);
    tokio::time::timeout(Duration::from_secs(5), b.appended().notified()).await?;
    assert_eq!(heads(&b).await?, ids[2..]);

    // The last events of an instance that is gone.
    a.delete(&ids[0]).await?;
    assert_eq!((heads(&a).await?, heads(&b).await?), (ids[..2].to_vec(), ids[2..].to_vec()));
    let c = node(&server, "c").await?;
    die(&server, "a").await?;
    assert_eq!(heads(&b).await?, [&ids[..1], &ids[2..]].concat(), "the first node that lives takes it over");
    assert_eq!((heads(&a).await?, heads(&c).await?), (ids[1..2].to_vec(), Vec::new()));
    b.adopt(10, true).await?;
    assert_eq!((heads(&a).await?, heads(&b).await?, heads(&c).await?), (Vec::new(), ids.clone(), Vec::new()));
    b.delete(&ids[3]).await?;
    die(&server, "b").await?;
    // Both whose node is dead, whether or not it is forgotten.
    server.ask("postgres", "DELETE FROM holdfast_node WHERE name = 'a'").await?;
    assert_eq!(heads(&c).await?, [ids[0].clone(), ids[3].clone()]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_prisma_has_made_is_adopted_by_one_node() -> Outcome {
    let server = Server::start().await?;
    server.ask("postgres", PRISMA).await?;
    let url = format!("{}?schema=evolution_api", server.url("postgres"));
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        let store = open_at(url.clone(), name, MINUTE).await?;
        store.join(profile(name)).await?;
        nodes.push(store);
    }
    let survey = nodes[0].survey().await?;
    assert_eq!((survey.free, survey.overdue, survey.nodes.len()), (1, 1, 3));
    let adopted = try_join_all(nodes.iter().map(|store| store.adopt(10, true))).await?;
    assert_eq!(adopted.iter().map(Vec::len).sum::<usize>(), 1, "{adopted:?}");
    let owner = adopted.iter().position(|ids| !ids.is_empty()).expect("an owner");
    let id = &adopted[owner][0];
    let epoch = nodes[owner].claim(id).await?.epoch;
    nodes[owner].commit(id, epoch, writes(vec![put("session", "a", "1")])).await?;
    assert!(nodes[(owner + 1) % 3].claim(id).await.is_err());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_go_on_through_a_storm_and_nobody_waits_in_a_circle() -> Outcome {
    let (server, a, b, ids) = two_nodes(120).await?;
    let (stormy, wandering) = ids.split_at(60);
    a.let_go(wandering.to_vec()).await?;
    let over = Arc::new(AtomicBool::new(false));
    let mut busy = Vec::new();
    for id in stormy {
        let (a, id, over) = (Arc::clone(&a), id.clone(), Arc::clone(&over));
        busy.push(tokio::spawn(async move {
            let mut epoch = a.claim(&id).await?.epoch;
            let mut round = 0_u32;
            while !over.load(Ordering::Relaxed) {
                let mut batch = writes(vec![put("session", "a", "1"), put("identity", "b", "2")]);
                batch.events = vec![event(CALL, "x")];
                a.commit(&id, epoch, batch).await?;
                round += 1;
                if round.is_multiple_of(5) {
                    a.patch(&id, InstancePatch { online_now: true, ..InstancePatch::default() }).await?;
                    epoch = a.claim(&id).await?.epoch;
                }
            }
            anyhow::Ok(())
        }));
    }
    // Both take and let go of the same instances all the time, and write what they have.
    for store in [Arc::clone(&a), Arc::clone(&b)] {
        let (over, own) = (Arc::clone(&over), wandering.to_vec());
        busy.push(tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let taken = store.adopt(40, true).await?;
                try_join_all(taken.iter().map(|id| async {
                    let epoch = store.claim(id).await?.epoch;
                    store.commit(id, epoch, writes(vec![put("session", "a", "1")])).await
                }))
                .await?;
                let letting = taken.into_iter().filter(|id| own.contains(id)).collect();
                store.let_go(letting).await?;
            }
            anyhow::Ok(())
        }));
    }
    let clock = Clock::start();
    let mut slowest = Duration::ZERO;
    while Timestamp::from_millis(0).until(clock.now()) < Duration::from_secs(3) {
        for store in [&a, &b] {
            let asked = clock.now();
            assert!(store.renew().await?.len() <= 120);
            store.survey().await?;
            slowest = slowest.max(asked.until(clock.now()));
        }
    }
    over.store(true, Ordering::Relaxed);
    for task in busy {
        task.await??;
    }
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    let deadlocks = "SELECT deadlocks::text FROM pg_stat_database WHERE datname = 'postgres'";
    assert_eq!(server.ask("postgres", deadlocks).await?, ["0"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_are_renewed_while_every_other_connection_is_held_up() -> Outcome {
    let (server, a, _, ids) = two_nodes(30).await?;
    let mut epochs = Vec::new();
    for id in &ids {
        epochs.push(a.claim(id).await?.epoch);
    }
    let holding = "BEGIN; SELECT 1 FROM holdfast_session FOR UPDATE; SELECT pg_sleep(60)";
    let url = server.url("postgres");
    let _holder = tokio::spawn(async move { ask(&url, holding).await });
    eventually("the rows to be held", || async {
        let held = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'BEGIN; SELECT%' AND wait_event = 'PgSleep'";
        Ok(server.ask("postgres", held).await? == ["1"])
    })
    .await?;
    let waiting: Vec<_> = ids
        .iter()
        .zip(epochs)
        .map(|(id, epoch)| {
            let (a, id) = (Arc::clone(&a), id.clone());
            tokio::spawn(async move { a.commit(&id, epoch, writes(vec![put("session", "a", "1")])).await })
        })
        .collect();
    eventually("every lane to wait", || async {
        let held =
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'holdfast' AND wait_event_type = 'Lock'";
        Ok(server.ask("postgres", held).await?[0].parse::<u32>()? >= 6)
    })
    .await?;
    let renewed = async {
        assert_eq!(a.renew().await?.len(), 30);
        a.survey().await?;
        assert!(a.adopt(10, true).await?.is_empty());
        anyhow::Ok(())
    };
    tokio::time::timeout(Duration::from_secs(1), renewed).await??;
    server
        .ask("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
        .await?;
    for commit in waiting {
        let _held_up = commit.await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_opens_closes_only_what_no_living_node_is_connected_for() -> Outcome {
    let (server, a, b, ids) = two_nodes(2).await?;
    a.let_go(ids[1..].to_vec()).await?;
    assert_eq!(b.adopt(1, false).await?, ids[1..]);
    let open_now = InstancePatch { connection_status: Some(PublicState::Open), ..InstancePatch::default() };
    a.patch(&ids[0], open_now.clone()).await?;
    b.patch(&ids[1], open_now).await?;
    let states = || async {
        let records = try_join_all(ids.iter().map(|id| a.get(id))).await?;
        anyhow::Ok(records.into_iter().flatten().map(|record| record.connection_status).collect::<Vec<_>>())
    };
    node(&server, "c").await?;
    assert_eq!(states().await?, ["open", "open"]);
    open(&server, "b", MINUTE).await?;
    assert_eq!(states().await?, ["open", "close"], "the process before it is gone");
    die(&server, "a").await?;
    open(&server, "c", MINUTE).await?;
    assert_eq!(states().await?, ["close", "close"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_remembered_for_a_day_and_as_long_as_they_own_something() -> Outcome {
    let (server, a, b, ids) = two_nodes(1).await?;
    let names = |nodes: Vec<holdfast::ports::leases::Node>| {
        nodes.into_iter().map(|node| format!("{} {}", node.name, node.alive)).collect::<Vec<_>>()
    };
    let silent = |hours: u32| {
        let ago = format!("(extract(epoch FROM clock_timestamp()) * 1000)::bigint - {hours}::bigint * 3600000");
        format!("UPDATE holdfast_node SET expires_ms = {ago} WHERE name = 'a'")
    };
    server.ask("postgres", &silent(25)).await?;
    assert_eq!(names(b.nodes().await?), ["a false", "b true"], "it owns something");
    b.adopt(1, true).await?;
    server.ask("postgres", &silent(23)).await?;
    assert_eq!(names(b.nodes().await?), ["a false", "b true"]);
    server.ask("postgres", &silent(25)).await?;
    assert_eq!(names(b.nodes().await?), ["b true"]);
    // It was not gone, only away; then it leaves.
    assert!(a.renew().await?.is_empty());
    assert_eq!(names(b.nodes().await?), ["a true", "b true"]);
    a.leave().await?;
    assert_eq!(names(b.nodes().await?), ["b true"]);
    // One that still owns something may still be connected.
    b.leave().await?;
    let c = node(&server, "c").await?;
    assert_eq!(names(c.nodes().await?), ["b true", "c true"]);
    assert!(matches!(c.claim(&ids[0]).await, Err(StoreError::LeaseHeld { .. })));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_the_version_before_leases_goes_on() -> Outcome {
    let server = Server::start().await?;
    let before = [
        ("0001", include_str!("../../../migrations/postgres/0001_evolution/up.sql")),
        ("0002", include_str!("../../../migrations/postgres/0002_holdfast/up.sql")),
        ("0003", include_str!("../../../migrations/postgres/0003_outbox/up.sql")),
        ("0004", include_str!("../../../migrations/postgres/0004_sends/up.sql")),
        ("0006", include_str!("../../../migrations/postgres/0006_unrecovered/up.sql")),
    ];
    let made = "CREATE TABLE __diesel_schema_migrations (version VARCHAR(50) PRIMARY KEY NOT NULL, run_on TIMESTAMP NOT NULL \
        DEFAULT CURRENT_TIMESTAMP)";
    server.ask("postgres", made).await?;
    for (version, up) in before {
        server.ask("postgres", up).await?;
        let applied = format!("INSERT INTO __diesel_schema_migrations (version) VALUES ('{version}')");
        server.ask("postgres", &applied).await?;
    }
    let rows = r#"INSERT INTO "Instance" (id, name, "clientName") SELECT n, n, 'holdfast_test' FROM unnest(ARRAY['x', 'y', 'z']) n;
        INSERT INTO holdfast_session (instance_id, epoch, revision, lease_node) VALUES ('x', 4, 9, 'a'), ('y', 4, 9, 'gone')"#;
    server.ask("postgres", rows).await?;

    let (a, b) = (node(&server, "a").await?, node(&server, "b").await?);
    assert_eq!(a.renew().await?, [InstanceId::new("x")], "what it had claimed is its own");
    let survey = b.survey().await?;
    assert_eq!((survey.free, survey.abandoned), (1, 1));
    assert!(matches!(b.claim(&InstanceId::new("x")).await, Err(StoreError::LeaseHeld { .. })));
    let claim = b.claim(&InstanceId::new("y")).await?;
    assert_eq!((claim.epoch.0, claim.revision.0), (5, 9), "nobody has ever heard of its node");
    assert_eq!(a.adopt(10, true).await?, [InstanceId::new("z")]);
    let gone = open(&server, "gone", MINUTE).await?;
    gone.join(profile("gone")).await?;
    assert!(gone.renew().await?.is_empty());
    let epoch = a.claim(&InstanceId::new("x")).await?.epoch;
    a.commit(&InstanceId::new("x"), epoch, device("device")).await?;
    Ok(())
}

//! What only the PostgreSQL store promises.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::{join_all, try_join_all};
use holdfast::ports::clock::Clock;
use holdfast::ports::copies::{Adoption, Copies as _};
use holdfast::ports::layer::SessionCopy;
use holdfast::ports::leases::Leases as _;
use holdfast::ports::outbox::{Loaded, Outbox as _, Settlement};
use holdfast::ports::restore::{Renewal, Renewed};
use holdfast::ports::session::Sessions as _;
use holdfast::ports::store::{Instances as _, Store, StoreError};
use holdfast::store::PoolOptions;
use holdfast::store::postgres::PostgresStore;
use holdfast_core::event::EventName;
use holdfast_core::id::{Epoch, InstanceId, Revision};
use holdfast_core::time::Timestamp;
use tokio_postgres::NoTls;

use super::bench::{
    LATE, Opening, Outcome, chain, device, event, eventually, new_instance, profile, put, webhook, writes,
};
use super::copies::TestRenewal;
use super::server::options;
use crate::harness::cable::{Cable, State};
use crate::harness::postgres::Server;

/// What Prisma has made of an empty database, as far as it concerns us, with a row in each table.
const PRISMA: &str = include_str!("prisma.sql");

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_there_after_the_server_was_killed_and_the_store_comes_back_by_itself() -> Outcome {
    let (server, cable, store) = behind_a_cable().await?;
    let (id, epoch) = session(&*store, "shop").await?;
    store.commit(&id, epoch, device("the device")).await?;
    let answered = store.commit(&id, epoch, writes(vec![put("session", "a", "1")])).await?;
    server.kill();
    for _ in 0..3 {
        assert_away(&*store, &id, epoch).await;
    }
    // As after a failover: the same data, elsewhere.
    server.run().await?;
    cable.moves_to(server.port());
    eventually("the store to be back", || async { Ok(store.ping().await.is_ok()) }).await?;
    assert_eq!(store.read(&id, "session", "a").await?.as_deref(), Some(&b"1"[..]));
    assert_eq!(store.device(&id).await?.as_deref(), Some(&b"the device"[..]));
    assert_eq!(store.commit(&id, epoch, writes(vec![put("session", "a", "2")])).await?, answered.next());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_nodes_that_take_in_the_same_copy_at_once_the_slower_one_does_not_take_the_name_for_anothers() -> Outcome
{
    let server = Server::start().await?;
    let store = open(server.url("postgres")).await?;
    let (id, epoch) = session(&*store, "shop").await?;
    store.commit(&id, epoch, device("the device")).await?;
    let copy = store.export(&id, Clock::start().wall()).await?.context("there is a login")?;
    for other in [id.as_str(), "another"] {
        server.ask("postgres", r#"DELETE FROM "Instance""#).await?;
        let (node, connection) = tokio_postgres::connect(&server.url("postgres"), NoTls).await?;
        let connected = tokio::spawn(connection);
        let insert = format!(r#"BEGIN; INSERT INTO "Instance" ("id", "name") VALUES ('{other}', 'shop')"#);
        node.batch_execute(&insert).await?;
        let (slower, copy) = (Arc::clone(&store), copy.clone());
        let adoption = Adoption { node: "node".to_owned(), seen: None, proved: None };
        let adopting = tokio::spawn(async move { slower.adopt_copy(copy, adoption, Arc::new(Nothing)).await });
        let waits = "SELECT 1 FROM pg_locks WHERE NOT granted";
        eventually("it to wait for the other", || async { Ok(!server.ask("postgres", waits).await?.is_empty()) })
            .await?;
        node.batch_execute("COMMIT").await?;
        let answer = adopting.await?;
        match answer {
            Err(StoreError::FencedOff(fenced)) => assert!(fenced == id && other == id.as_str(), "{other}"),
            Err(StoreError::NameTaken(name)) => assert!(name == "shop" && other != id.as_str(), "{other}"),
            _ => panic!("{other}: {answer:?}"),
        }
        drop(node);
        connected.await??;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_take_the_same_copies_in_at_once_do_not_wait_for_each_other_in_a_circle() -> Outcome {
    const COPIES: usize = 60;
    let server = Server::start().await?;
    let stores = try_join_all(["one", "other"].map(|node| open_as(node, server.url("postgres")))).await?;
    let mut copies = Vec::new();
    for number in 0..COPIES {
        let (id, epoch) = session(&*stores[0], &format!("shop-{number}")).await?;
        stores[0].commit(&id, epoch, device("the device")).await?;
        copies.push(stores[0].export(&id, Clock::start().wall()).await?.context("there is a login")?);
    }
    server.ask("postgres", r#"DELETE FROM "Instance""#).await?;
    let there = copies.clone();
    let back = copies.into_iter().rev().collect();
    let adopt = |store: Arc<PostgresStore>, node: &'static str, copies: Vec<SessionCopy>| async move {
        let adoption = || Adoption { node: node.to_owned(), seen: None, proved: None };
        join_all(copies.into_iter().map(|copy| store.adopt_copy(copy, adoption(), Arc::new(TestRenewal)))).await
    };
    let (one, other) =
        tokio::join!(adopt(Arc::clone(&stores[0]), "one", there), adopt(Arc::clone(&stores[1]), "other", back));
    let mut adopted = 0;
    for answer in one.into_iter().chain(other) {
        match answer {
            Ok(_) => adopted += 1,
            Err(StoreError::FencedOff(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    assert_eq!(adopted, COPIES);
    Ok(())
}

/// Is never asked.
struct Nothing;

impl Renewal for Nothing {
    fn renew(&self, _device: &[u8]) -> Result<Renewed, Box<dyn Error + Send + Sync>> {
        Err("nothing was to be renewed".into())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_on_disk_also_where_the_database_has_been_told_not_to_wait_for_it() -> Outcome {
    let server = Server::start().await?;
    server.ask("postgres", "ALTER DATABASE postgres SET synchronous_commit = off").await?;
    let store = open(server.url("postgres")).await?;
    let (id, epoch) = session(&*store, "shop").await?;
    let watch = "CREATE TABLE seen (word TEXT); \
        CREATE FUNCTION see() RETURNS TRIGGER LANGUAGE plpgsql AS \
            'BEGIN INSERT INTO public.seen VALUES (current_setting(''synchronous_commit'')); RETURN NEW; END'; \
        CREATE TRIGGER see AFTER UPDATE ON holdfast_session FOR EACH ROW EXECUTE FUNCTION see()";
    server.ask("postgres", watch).await?;
    assert_eq!(server.ask("postgres", "SHOW synchronous_commit").await?, ["off"], "as everybody else has it");
    store.commit(&id, epoch, writes(vec![put("session", "a", "1")])).await?;
    assert_eq!(server.ask("postgres", "SELECT DISTINCT word FROM seen").await?, ["on"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_were_ended_unnoticed_fail_nothing() -> Outcome {
    const HANG_UP: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    let (server, cable, store) = behind_a_cable().await?;
    let (id, epoch) = session(&*store, "shop").await?;
    // So many at once that every connection is in use, then idle.
    let reads = || try_join_all((0..20).map(|_| store.read(&id, "session", "a")));
    for round in 1..=5 {
        reads().await?;
        cable.cut();
        assert_eq!(store.commit(&id, epoch, writes(vec![put("session", "a", "1")])).await?, Revision(round));
        cable.cut();
        assert!(reads().await?.iter().all(Option::is_some));
        server.ask("postgres", HANG_UP).await?;
        assert!(reads().await?.iter().all(Option::is_some));
        reads().await?;
        cable.cut();
        store.export(&id, Clock::start().wall()).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_over_a_cut_cable_is_unavailable_and_never_absent() -> Outcome {
    let (_server, cable, store) = behind_a_cable().await?;
    let (id, epoch) = session(&*store, "shop").await?;
    store.commit(&id, epoch, writes(vec![put("session", "a", "1")])).await?;
    cable.be(State::Unplugged);
    cable.cut();
    assert_away(&*store, &id, epoch).await;
    cable.be(State::Carries);
    assert!(store.read(&id, "session", "a").await?.is_some(), "it is back at once");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_falls_silent_is_given_up_and_asked_anew() -> Outcome {
    let (_server, cable, store) = behind_a_cable().await?;
    let (id, epoch) = session(&*store, "shop").await?;
    store.commit(&id, epoch, writes(vec![put("session", "a", "1")])).await?;
    cable.be(State::Silent);
    assert_away(&*store, &id, epoch).await;
    cable.be(State::Carries);
    eventually("the store to be back", || async { Ok(store.ping().await.is_ok()) }).await?;
    assert_eq!(store.claim(&id).await?.revision, Revision(1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_somebody_holds_keeps_nobody_else_waiting_for_ever() -> Outcome {
    let server = Server::start().await?;
    let store = open(server.url("postgres")).await?;
    let (id, epoch) = session(&*store, "shop").await?;
    let (other, other_epoch) = session(&*store, "other").await?;
    let holding = "BEGIN; SELECT 1 FROM holdfast_session WHERE instance_id = 'shop' FOR UPDATE; SELECT pg_sleep(60)";
    let url = server.url("postgres");
    let holder = tokio::spawn(async move { crate::harness::postgres::ask(&url, holding).await });
    eventually("the row to be held", || async {
        let held = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'BEGIN; SELECT%' AND wait_event = 'PgSleep'";
        Ok(server.ask("postgres", held).await? == ["1"])
    })
    .await?;
    let error = store.commit(&id, epoch, writes(vec![put("session", "a", "1")])).await.expect_err("the row is held");
    let said = chain(&error).to_lowercase();
    assert!(
        matches!(error, StoreError::Unavailable { .. }) && !said.contains("locked") && !said.contains("busy"),
        "{said}"
    );
    store.commit(&other, other_epoch, writes(vec![put("session", "a", "1")])).await?;
    holder.abort();
    server
        .ask("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
        .await?;
    assert_eq!(store.commit(&id, epoch, writes(vec![put("session", "a", "1")])).await?, Revision(1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_processes_may_bring_one_database_into_shape_at_once() -> Outcome {
    let server = Server::start().await?;
    let url = format!("{}?schema=evolution_api", server.url("postgres"));
    let stores = try_join_all((0..6).map(|_| open(url.clone()))).await?;
    let id = stores[0].insert(new_instance("shop")).await?.id;
    for store in &stores {
        assert!(store.get(&id).await?.is_some());
    }
    let applied = "SELECT count(*) || ' ' || count(DISTINCT version) FROM evolution_api.__diesel_schema_migrations";
    assert_eq!(server.ask("postgres", applied).await?, ["6 6"]);
    let elsewhere = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'";
    assert!(server.ask("postgres", elsewhere).await?.is_empty(), "everything is in the schema of the address");
    let public = open(server.url("postgres")).await?;
    assert!(public.list().await?.is_empty(), "another schema is another database");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_evolution_opens_with_its_rows_and_stays_usable() -> Outcome {
    let server = Server::start().await?;
    server.ask("postgres", PRISMA).await?;
    let shape = "SELECT table_name || '.' || column_name || ' ' || udt_name || ' ' || coalesce(character_maximum_length, 0) || ' ' \
        || is_nullable || ' ' || coalesce(column_default, '-') FROM information_schema.columns \
        WHERE table_schema = 'evolution_api' AND table_name NOT LIKE 'holdfast%' AND table_name NOT LIKE '__diesel%' ORDER BY 1";
    let before = server.ask("postgres", shape).await?;
    let store = open(format!("{}?schema=evolution_api", server.url("postgres"))).await?;
    assert_eq!(server.ask("postgres", shape).await?, before, "its tables are as they were");

    let records = store.list().await?;
    assert_eq!(records.iter().map(|record| record.name.as_str()).collect::<Vec<_>>(), ["theirs"]);
    let record = &records[0];
    assert_eq!((record.connection_status.as_str(), record.disconnection_code), ("close", Some(401)));
    assert_eq!(record.disconnection_object.as_deref(), Some(r#"{"error":"conflict"}"#));
    assert!(record.setting.as_ref().is_some_and(|row| row.settings.groups_ignore && row.settings.msg_call == "later"));
    assert!(record.proxy.as_ref().is_some_and(|row| row.spec.host == "proxy.test" && row.spec.enabled));
    assert_eq!(record.chatwoot.as_ref().map(|row| row["ignoreJids"][0].clone()), Some("@g.us".into()));
    let id = record.id.clone();
    let hook = store.webhook(&id).await?.expect("its webhook");
    assert_eq!((hook.events.as_slice(), hook.headers.is_some()), (&["MESSAGES_UPSERT".to_owned()][..], true));

    // Its login is none of ours, and is left alone.
    assert_eq!(store.device(&id).await?, None);
    let epoch = store.claim(&id).await?.epoch;
    store.commit(&id, epoch, writes(vec![put("session", "a", "1")])).await?;
    let theirs = r#"SELECT creds FROM evolution_api."Session""#;
    assert!(server.ask("postgres", theirs).await?[0].contains("noiseKey"));
    assert_eq!(store.append(&id, vec![event(EventName::MessagesUpsert, "1")]).await?, 1);

    // Evolution goes on, on what we have written.
    store.insert(new_instance("ours")).await?;
    store.set_webhook(&InstanceId::new("ours"), webhook(&[EventName::Call])).await?;
    let evolution = r#"SET search_path TO evolution_api;
        UPDATE "Instance" SET "connectionStatus" = 'connecting', "updatedAt" = now() WHERE name = 'ours';
        SELECT i."connectionStatus"::text || ' ' || (w.events ->> 0) || ' ' || jsonb_typeof(w.headers) FROM "Instance" i
          JOIN "Webhook" w ON w."instanceId" = i.id WHERE i.name = 'ours';
        DELETE FROM "Instance" WHERE name = 'ours'"#;
    assert_eq!(server.ask("postgres", evolution).await?, ["connecting CALL object"]);
    assert!(store.get(&InstanceId::new("ours")).await?.is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_we_have_made_has_the_shape_of_evolutions() -> Outcome {
    let server = Server::start().await?;
    server.ask("postgres", PRISMA).await?;
    open(server.url("postgres")).await?;
    let shape = |schema: &str| {
        format!(
            "SELECT table_name || '.' || column_name || ' ' || replace(udt_name, '_', '') || ' ' || coalesce(character_maximum_length, 0) \
             || ' ' || is_nullable FROM information_schema.columns WHERE table_schema = '{schema}' \
             AND table_name IN ('Instance', 'Session', 'Webhook', 'Chatwoot', 'Proxy', 'Setting') ORDER BY 1"
        )
    };
    let (theirs, ours) =
        (server.ask("postgres", &shape("evolution_api")).await?, server.ask("postgres", &shape("public")).await?);
    assert_eq!(ours, theirs);
    assert!(ours.len() > 70, "{}", ours.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_one_instance_keep_their_order_under_a_storm() -> Outcome {
    let server = Server::start().await?;
    let store = open(server.url("postgres")).await?;
    let mut ids = Vec::new();
    for number in 0..30 {
        let id = store.insert(new_instance(&format!("i{number}"))).await?.id;
        store.set_webhook(&id, webhook(&[EventName::Call])).await?;
        ids.push(id);
    }
    let storm = ids.iter().map(|id| {
        let (store, id) = (Arc::clone(&store), id.clone());
        tokio::spawn(async move {
            // Submitted one after the other, answered whenever.
            let appends = (0..50).map(|number| store.append(&id, vec![event(EventName::Call, &number.to_string())]));
            join_all(appends).await.into_iter().collect::<Result<Vec<_>, _>>()
        })
    });
    for done in join_all(storm).await {
        done??;
    }
    let rows = server
        .ask("postgres", "SELECT instance_id || ' ' || (data::jsonb ->> 'label') FROM holdfast_outbox ORDER BY seq");
    let mut seen: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for row in rows.await? {
        let (id, number) = row.split_once(' ').expect("two words");
        seen.entry(id.to_owned()).or_default().push(number.parse()?);
    }
    assert_eq!(seen.len(), 30);
    assert!(seen.values().all(|numbers| *numbers == (0..50).collect::<Vec<u32>>()), "{seen:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn s50_five_hundred_instances_on_a_pool_of_ten_time_nothing_out() -> Outcome {
    const INSTANCES: usize = 500;
    let server = Server::start().await?;
    let store = open(server.url("postgres")).await?;
    let made = try_join_all((0..INSTANCES).map(|number| {
        let store = Arc::clone(&store);
        async move {
            let (id, epoch) = session(&*store, &format!("i{number}")).await?;
            store.set_webhook(&id, webhook(&[EventName::Call])).await?;
            anyhow::Ok((id, epoch))
        }
    }))
    .await?;
    let before = store.stats();
    let storm = made.into_iter().map(|(id, epoch)| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for round in 0..5 {
                let mut batch = writes(vec![put("session", "a", "1"), put("identity", "b", "2")]);
                batch.events = vec![event(EventName::Call, &round.to_string())];
                store.commit(&id, epoch, batch).await?;
                store.read(&id, "session", "a").await?;
            }
            let due = store.next(&id, LATE).await?;
            if let Loaded::Ready(delivery) = due {
                store.settle(vec![(delivery.seq, Settlement::Delivered)]).await?;
            }
            Ok::<_, StoreError>(())
        })
    });
    for done in join_all(storm).await {
        done??;
    }
    assert_eq!(store.lag().await?.pending, (INSTANCES * 4) as u64);
    let connections = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'holdfast'";
    let connections: usize = server.ask("postgres", connections).await?[0].parse()?;
    assert!((2..=10).contains(&connections), "{connections} connections");
    let after = store.stats();
    let (jobs, transactions) = (after.jobs - before.jobs, after.transactions - before.transactions);
    assert!(jobs >= (INSTANCES * 6) as u64 && transactions < jobs / 3, "{jobs} jobs took {transactions} transactions");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_to_prove_itself_does_or_is_not_spoken_to() -> Outcome {
    let server = Server::start().await?;
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    let folder = tempfile::tempdir()?;
    let authority = folder.path().join("authority.pem");
    std::fs::write(&authority, certified.cert.pem())?;
    let url = |words: &str| format!("{}?{words}", server.url("postgres"));
    let refused = open(url("sslmode=require")).await.err().expect("there is no TLS yet");
    assert!(matches!(refused, StoreError::Unavailable { .. }), "{}", chain(&refused));

    server.encrypt(&certified.cert.pem(), &certified.signing_key.serialize_pem()).await?;
    let proven = format!("sslmode=verify-full&sslrootcert={}", authority.display());
    for words in ["sslmode=require", "sslmode=prefer", &proven] {
        let store = open(url(words)).await?;
        store.ping().await?;
        let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'holdfast'";
        assert_eq!(server.ask("postgres", encrypted).await?, ["t"], "{words}");
        store.close().await?;
    }
    let elsewhere = url(&proven).replace("127.0.0.1", "localhost");
    for unproven in [url("sslmode=verify-full"), url("sslmode=require&sslaccept=strict"), elsewhere] {
        let refused = open(unproven.clone()).await.err().expect("nothing proves that it is the one");
        assert!(chain(&refused).contains("certificate"), "{unproven}: {}", chain(&refused));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_of_each_instance_is_found_quickly_behind_a_long_queue() -> Outcome {
    let server = Server::start().await?;
    let store = open(server.url("postgres")).await?;
    let queue = "INSERT INTO holdfast_outbox \
        (event_id, instance_id, instance_name, sink, event, data, at_ms, due_ms, waiting_ms, url, by_events) \
        SELECT 'e' || i, 'i' || (i % 20), 'shop', 'webhook', 'call', '{}', i, i, i, 'http://receiver.test', FALSE \
        FROM generate_series(1, 100000) i";
    server.ask("postgres", queue).await?;
    for analysed in [false, true] {
        if analysed {
            server.ask("postgres", "VACUUM ANALYZE holdfast_outbox").await?;
        }
        let clock = Clock::start();
        for _ in 0..20 {
            let heads = store.heads().await?;
            assert_eq!((heads.len(), heads.iter().map(|head| head.due_ms).min()), (20, Some(1)));
            assert!(matches!(store.next(&InstanceId::new("i7"), 7).await?, Loaded::Ready(_)));
            assert!(matches!(store.next(&InstanceId::new("i7"), 6).await?, Loaded::Nothing));
        }
        let leaping = Timestamp::from_millis(0).until(clock.now());
        let clock = Clock::start();
        for _ in 0..20 {
            let walk = "SELECT instance_id || min(seq) FROM holdfast_outbox \
                WHERE state = 'pending' AND sink = 'webhook' GROUP BY instance_id";
            assert_eq!(server.ask("postgres", walk).await?.len(), 20);
        }
        let walking = Timestamp::from_millis(0).until(clock.now());
        // Before the server knows anything of a table it may go other ways; it finds out by itself within a minute.
        assert!(
            !analysed || leaping < walking / 2,
            "sixty leaps took {leaping:?}, twenty walks over every row {walking:?}"
        );
    }
    Ok(())
}

/// Opens a store with little patience.
async fn open(url: String) -> Result<Arc<PostgresStore>, StoreError> {
    open_as("node", url).await
}

async fn open_as(node: &str, url: String) -> Result<Arc<PostgresStore>, StoreError> {
    let mut options = options(url, Opening::default());
    options.node = node.to_owned();
    options.pool = PoolOptions {
        connect_timeout: Duration::from_secs(5),
        statement_timeout: Duration::from_secs(5),
        ..PoolOptions::default()
    };
    let store = PostgresStore::open(options).await?;
    store.join(profile(node)).await?;
    Ok(store)
}

async fn behind_a_cable() -> anyhow::Result<(Server, Cable, Arc<PostgresStore>)> {
    let server = Server::start().await?;
    let cable = Cable::lay(server.port()).await?;
    let url = server.url("postgres").replace(&format!(":{}/", server.port()), &format!(":{}/", cable.port()));
    let mut options = options(url, Opening::default());
    options.pool.connect_timeout = Duration::from_secs(1);
    options.pool.statement_timeout = Duration::from_secs(1);
    let store = PostgresStore::open(options).await?;
    store.join(profile("node")).await?;
    Ok((server, cable, store))
}

async fn session(store: &dyn Store, name: &str) -> anyhow::Result<(InstanceId, Epoch)> {
    let id = store.insert(new_instance(name)).await?.id;
    let epoch = store.claim(&id).await?.epoch;
    Ok((id, epoch))
}

/// Asserts that everything errs, and says why.
async fn assert_away(store: &dyn Store, id: &InstanceId, epoch: Epoch) {
    let answers = [
        store.read(id, "session", "a").await.err(),
        store.device(id).await.err(),
        store.get(id).await.err(),
        store.list().await.err(),
        store.commit(id, epoch, writes(vec![put("session", "lost", "1")])).await.err(),
        store.claim(id).await.err(),
        store.ping().await.err(),
    ];
    for answer in answers {
        let error = answer.expect("the server is away");
        assert!(matches!(error, StoreError::Unavailable { .. }), "{}", chain(&error));
        let said = chain(&error).to_lowercase();
        assert!(!said.contains("locked") && !said.contains("busy") && !said.contains("unused"), "{said}");
    }
}

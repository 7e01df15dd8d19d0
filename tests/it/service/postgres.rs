//! The engine on a PostgreSQL of the test's own.

use std::collections::HashMap;

use holdfast_sim::{MessageRequest, Options, Simulator};

use crate::harness::cable::{Cable, State};
use crate::harness::engine::Home;
use crate::harness::eventually::eventually;
use crate::harness::postgres::Server;
use crate::harness::receiver::Receiver;

const SHOP: &str = "5511999990001";
const ANA: &str = "5511977770001";

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_on_postgres_survives_kill_9_of_either_and_misses_nothing() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let receiver = Receiver::start();
    let server = Server::start().await.unwrap();
    let cable = Cable::lay(server.port()).await.unwrap();
    let home = at_home(&sim, &cable, &server);

    let engine = home.start().await;
    engine.pair(&sim, "shop", SHOP, Some(&receiver.url())).await;
    write(&sim, "hello").await;
    assert_eq!(receiver.message("hello").await.body["instance"], "shop");
    let sent = engine.send("shop", ANA, "welcome").await;
    assert_eq!(sent.status, 201, "{sent:?}");

    engine.kill_9().await;
    write(&sim, "while you were away").await;
    let engine = home.start().await;
    engine.reaches("shop", "open").await;
    receiver.message("while you were away").await;

    // Now the database, which comes back elsewhere.
    server.kill();
    write(&sim, "while the database was away").await;
    server.run().await.unwrap();
    cable.moves_to(server.port());
    receiver.message("while the database was away").await;
    engine.reaches("shop", "open").await;
    let sent = engine.send("shop", ANA, "still here").await;
    assert_eq!(sent.status, 201, "{sent:?}");
    eventually("both texts", || async {
        let has = |text| sim.messages().iter().any(|message| message.text.as_deref() == Some(text));
        (has("welcome") && has("still here")).then_some(())
    })
    .await;

    let mut ids: HashMap<String, String> = HashMap::new();
    for one in receiver.all().into_iter().filter(|one| one.event() == "messages.upsert") {
        let id = ids.entry(one.body["data"]["key"]["id"].to_string()).or_insert_with(|| one.event_id.clone());
        assert_eq!(*id, one.event_id, "a message came under two event ids");
    }
    harmless(&sim);
    assert!(!home.data_dir().join("holdfast.db").exists(), "there is no second database");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_database_the_engine_seals_dials_nothing_and_comes_back_by_itself() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let receiver = Receiver::start();
    let server = Server::start().await.unwrap();
    let cable = Cable::lay(server.port()).await.unwrap();
    let home = at_home(&sim, &cable, &server).set("STORE_GRACE_SECONDS", "1");
    let engine = home.start().await;
    engine.pair(&sim, "shop", SHOP, Some(&receiver.url())).await;
    write(&sim, "before").await;
    receiver.message("before").await;

    for how in [State::Unplugged, State::Silent] {
        cable.be(how);
        if how == State::Unplugged {
            cable.cut();
        }
        let text = format!("while it was {how:?}");
        write(&sim, &text).await;
        let told = eventually("the reason", || async {
            let told = engine.state("shop").await;
            (told["code"] == "store-unavailable").then_some(told)
        })
        .await;
        assert_eq!(told["state"], "connecting", "{told}");
        if how == State::Unplugged {
            let refused = engine.send("shop", ANA, "never").await;
            assert!(refused.status >= 400, "{refused:?}");
        }
        let waiting = sim.counters(None).unwrap();
        assert!(waiting.queued > 0 && waiting.tally.nacked == 0, "WhatsApp keeps what cannot be stored: {waiting:?}");

        cable.be(State::Carries);
        receiver.message(&text).await;
        engine.reaches("shop", "open").await;
    }
    harmless(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_for_the_embedded_database_says_what_to_use_instead() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url())
        .set("DATABASE_CONNECTION_URI", "postgresql://me:s3cret@127.0.0.1:1/db")
        .set("HOLDFAST_BACKUP_PASSPHRASE", "correct horse battery");
    for (arguments, instead) in [
        (&["backup", "a.backup"][..], "pg_dump"),
        (&["restore", "a.backup"], "pg_restore"),
        (&["rotate-key"], "rotating it is not supported"),
    ] {
        let done = home.command(arguments).output().await.unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned() + &String::from_utf8_lossy(&done.stdout);
        assert!(!done.status.success() && said.contains(instead), "{arguments:?}: {said}");
        assert!(!said.contains("s3cret"), "{said}");
    }
}

/// An engine that reaches its database over a cable.
fn at_home(sim: &Simulator, cable: &Cable, server: &Server) -> Home {
    let url = server.url("postgres").replace(&format!(":{}/", server.port()), &format!(":{}/", cable.port()));
    Home::new(sim.ws_url())
        .set("DATABASE_PROVIDER", "postgresql")
        .set("DATABASE_CONNECTION_URI", &format!("{url}?schema=evolution_api"))
        .set("DATABASE_CONNECT_TIMEOUT_SECONDS", "1")
        .set("DATABASE_STATEMENT_TIMEOUT_SECONDS", "2")
}

async fn write(sim: &Simulator, text: &str) {
    let request =
        MessageRequest { from: ANA.to_owned(), to: SHOP.to_owned(), text: text.to_owned(), id: None, group: None };
    sim.message(request).await.expect("the message is taken");
}

fn harmless(sim: &Simulator) {
    let tally = sim.counters(None).expect("the counters of everybody").tally;
    assert_eq!((tally.nacked, tally.counters_reused, tally.stale_frames, tally.overlapped), (0, 0, 0, false));
}

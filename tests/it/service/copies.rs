//! Copies of sessions beside the database, while the engine works: they follow it, and nothing waits for them.

use std::time::Duration;

use diesel::dsl::sql;
use diesel::sql_types::BigInt;
use diesel::{Connection as _, RunQueryDsl as _, SqliteConnection};
use holdfast::cache::{RedisCache, RedisOptions};
use holdfast::ports::clock::Clock;
use holdfast::ports::layer::{Layer, Reading};
use holdfast::provider::Directory;
use holdfast_sim::{MessageRequest, Options, Simulator};
use rustix::process::Signal;
use tokio::time::timeout;

use crate::harness::engine::{Engine, Home, PROMPT};
use crate::harness::eventually::eventually;
use crate::harness::receiver::Receiver;
use crate::harness::redis::Redis;

const SHOP: &str = "5511999990001";
const ANA: &str = "5511977770001";

struct Scene {
    sim: Simulator,
    receiver: Receiver,
    redis: Redis,
    home: Home,
    layers: [Box<dyn Layer>; 2],
}

impl Scene {
    async fn new() -> Self {
        let sim = Simulator::start(Options::default()).await.expect("a simulator");
        let redis = Redis::start().await.expect("a Redis");
        let home = Home::new(sim.ws_url());
        let directory = home.data_dir().join("copies");
        let home = home
            .set("CACHE_REDIS_ENABLED", "true")
            .set("CACHE_REDIS_SAVE_INSTANCES", "true")
            .set("CACHE_REDIS_URI", &redis.uri())
            .set("CACHE_REDIS_PREFIX_KEY", "ours")
            .set("PROVIDER_DIR", &directory.display().to_string())
            .set("PROVIDER_SNAPSHOT_SECONDS", "1")
            .set("PROMETHEUS_METRICS", "true");
        let clock = Clock::start();
        let options = RedisOptions {
            uri: redis.uri().into(),
            prefix: "ours".to_owned(),
            ttl: Duration::from_secs(3600),
            authorities: None,
        };
        let layers: [Box<dyn Layer>; 2] = [
            Box::new(RedisCache::new(options, clock).expect("the cache")),
            Box::new(Directory::open(directory, clock).expect("the directory")),
        ];
        Self { sim, receiver: Receiver::start(), redis, home, layers }
    }

    async fn talk(&self, engine: &Engine<'_>, label: &str) {
        assert_eq!(engine.send("shop", ANA, &format!("out {label}")).await.status, 201);
        let text = format!("in {label}");
        let request = MessageRequest {
            from: ANA.to_owned(),
            to: SHOP.to_owned(),
            text: text.clone(),
            ..MessageRequest::default()
        };
        self.sim.message(request).await.expect("the message is sent");
        self.receiver.message(&text).await;
    }

    /// What the layers hold: the revision of the one copy.
    async fn revisions(&self) -> Vec<Option<u64>> {
        let mut found = Vec::new();
        for layer in &self.layers {
            let ids = layer.list().await.unwrap_or_default();
            let reading = layer.read(&ids).await.pop().map(|(_, reading)| reading);
            found.push(match reading {
                Some(Reading::Found(found)) => Some(found.revision.0),
                Some(Reading::Absent | Reading::Corrupt { .. } | Reading::Unreadable { .. }) | None => None,
            });
        }
        found
    }

    fn revision(&self) -> u64 {
        let path = self.home.data_dir().join("holdfast.db").display().to_string();
        let mut database = SqliteConnection::establish(&path).expect("the database");
        let query = diesel::select(sql::<BigInt>("(SELECT revision FROM holdfast_session)"));
        query.get_result::<i64>(&mut database).expect("the revision").cast_unsigned()
    }

    async fn have_a_copy(&self) {
        eventually("a copy in each layer", || async {
            self.revisions().await.iter().all(Option::is_some).then_some(())
        })
        .await;
    }

    async fn have_none(&self) {
        eventually("no copy in any layer", || async {
            self.revisions().await.iter().all(Option::is_none).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s31_copies_follow_the_database_and_nothing_waits_for_a_layer() {
    let scene = Scene::new().await;
    let engine = scene.home.start().await;
    engine.pair(&scene.sim, "shop", SHOP, Some(&scene.receiver.url())).await;
    scene.have_a_copy().await;
    scene.talk(&engine, "first").await;
    engine.signal(Signal::TERM);
    assert_eq!(engine.end().await, Some(0));
    assert_eq!(scene.revisions().await, [Some(scene.revision()); 2], "the end writes the last state");

    let engine = scene.home.start().await;
    engine.reaches("shop", "open").await;
    let report = engine.api().get("/engine/restoration").await.good();
    let line = &report["instances"][0];
    assert!(report["places"].as_array().unwrap().iter().all(|place| place["instances"] == 1), "{report}");
    assert_eq!((&line["verdict"], &line["source"]), (&"newest".into(), &"database".into()), "{report}");
    // Killed, it has forgotten everything; nobody notices but the copies, which come back.
    scene.redis.kill();
    scene.talk(&engine, "without Redis").await;
    assert!(scene.redis.run().await.unwrap());
    eventually("the copy to be made anew", || async {
        scene.talk(&engine, "again").await;
        scene.revisions().await[0].map(|_revision| ())
    })
    .await;
    let metrics = engine.api().get("/metrics").await.good();
    let metrics = metrics.as_str().unwrap();
    assert!(metrics.contains(r#"holdfast_copies_total{layer="redis",outcome="written"}"#), "{metrics}");
    assert!(metrics.contains(r#"holdfast_copies_waiting{layer="files"}"#), "{metrics}");

    scene.redis.freeze().unwrap();
    scene.talk(&engine, "with a Redis that stands still").await;
    engine.signal(Signal::TERM);
    assert_eq!(timeout(PROMPT, engine.end()).await.unwrap(), Some(0));
    assert_eq!(scene.revisions().await[1], Some(scene.revision()), "the files are not held up by Redis");
    let tally = scene.sim.counters(None).unwrap().tally;
    assert_eq!((tally.counters_reused, tally.nacked, tally.overlapped), (0, 0, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_copies_of_a_login_go_with_it() {
    let scene = Scene::new().await;
    let engine = scene.home.start().await;
    engine.pair(&scene.sim, "shop", SHOP, Some(&scene.receiver.url())).await;
    scene.have_a_copy().await;
    engine.api().delete("/instance/logout/shop").await.good();
    scene.have_none().await;
    engine.scan(&scene.sim, "shop", SHOP).await;
    engine.reaches("shop", "open").await;
    scene.have_a_copy().await;
    engine.api().delete("/instance/logout/shop").await.good();
    engine.api().delete("/instance/delete/shop").await.good();
    scene.have_none().await;
    engine.kill_9().await;
    let engine = scene.home.start().await;
    let rows = engine.api().get("/instance/fetchInstances").await.good();
    assert_eq!(rows.as_array().map(Vec::len), Some(0), "{rows}");
}

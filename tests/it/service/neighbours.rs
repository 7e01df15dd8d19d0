//! Engines with databases of their own that share a session key and the places for copies: none takes over what another one connects.

use std::fs;
use std::path::PathBuf;

use holdfast_sim::{Options, Simulator};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::engine::{Engine, Home};
use crate::harness::eventually::eventually;
use crate::harness::receiver::Receiver;
use crate::harness::redis::Redis;

const SHOP: &str = "5511999990001";
const CAFE: &str = "5511999990002";
const ANA: &str = "5511977770001";

struct Scene {
    sim: Simulator,
    receiver: Receiver,
    redis: Redis,
    files: TempDir,
}

impl Scene {
    async fn new() -> Self {
        Self {
            sim: Simulator::start(Options::default()).await.expect("a simulator"),
            receiver: Receiver::start(),
            redis: Redis::start().await.expect("a Redis"),
            files: TempDir::new().expect("a directory"),
        }
    }

    fn home(&self) -> Home {
        Home::new(self.sim.ws_url())
            .set("SESSION_ENCRYPTION_KEY", &"07".repeat(32))
            .set("CACHE_REDIS_ENABLED", "true")
            .set("CACHE_REDIS_SAVE_INSTANCES", "true")
            .set("CACHE_REDIS_URI", &self.redis.uri())
            .set("PROVIDER_DIR", &self.files.path().display().to_string())
            .set("PROVIDER_SNAPSHOT_SECONDS", "1")
    }

    async fn pair(&self, engine: &Engine<'_>, name: &str, number: &str) {
        engine.pair(&self.sim, name, number, Some(&self.receiver.url())).await;
        eventually("its copies", || async {
            let keys = self.redis.ask(0, &["KEYS", "*:holdfast:copy:*"]).await.ok()?;
            let files = fs::read_dir(self.files.path()).ok()?.flatten();
            let files = files.filter(|file| file.path().extension().is_some_and(|end| end == "copy")).count();
            (keys.iter().filter(|key| !key.is_empty()).count() == files && files > 0).then_some(())
        })
        .await;
    }

    /// No login was ever connected twice, and no key used twice.
    fn is_unharmed(&self) {
        let tally = self.sim.counters(None).expect("the counters").tally;
        assert_eq!((tally.counters_reused, tally.static_mismatches, tally.nacked, tally.overlapped), (0, 0, 0, false));
    }
}

async fn line(engine: &Engine<'_>, name: &str) -> Value {
    let report = engine.api().get("/engine/restoration").await.good();
    let lines = report["instances"].as_array().expect("the lines").clone();
    lines.into_iter().find(|line| line["instanceName"] == name).unwrap_or(Value::Null)
}

async fn verdict(engine: &Engine<'_>, name: &str) -> (Value, Value, Value) {
    let line = line(engine, name).await;
    (line["action"].clone(), line["verdict"].clone(), line["outcome"].clone())
}

/// Waits until it is told so, and open.
async fn comes_back(engine: &Engine<'_>, name: &str, as_told: (Value, Value, Value)) {
    eventually("it to come back", || async { (verdict(engine, name).await == as_told).then_some(()) }).await;
    engine.reaches(name, "open").await;
}

async fn stop(engine: Engine<'_>) {
    engine.signal(Signal::TERM);
    assert_eq!(engine.end().await, Some(0));
}

fn told(action: &str, verdict: &str, outcome: &str) -> (Value, Value, Value) {
    (action.into(), verdict.into(), outcome.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_installations_under_one_key_and_prefix_leave_each_other_alone() {
    let scene = Scene::new().await;
    let (ours, theirs) = (scene.home(), scene.home());
    let one = ours.start().await;
    scene.pair(&one, "shop", SHOP).await;

    // It has nothing yet, and might be the same installation without its database.
    let other = theirs.start().await;
    assert_eq!(verdict(&other, "shop").await, told("wait", "used-elsewhere", "waiting"));
    scene.pair(&other, "cafe", CAFE).await;
    let known = || async { theirs.log().contains("Another installation keeps copies").then_some(()) };
    eventually("the other one to be known", known).await;
    assert_eq!(one.state("shop").await["state"], "open");

    // Away for a moment, its logins are still its own.
    stop(one).await;
    stop(other).await;
    let other = theirs.start().await;
    assert_eq!(verdict(&other, "shop").await, told("leave", "used-elsewhere", "elsewhere"));
    other.reaches("cafe", "open").await;
    let one = ours.start().await;
    one.reaches("shop", "open").await;
    assert_eq!(line(&one, "shop").await["verdict"], "newest");
    for (engine, name) in [(&one, "shop"), (&other, "cafe")] {
        assert_eq!(engine.send(name, ANA, "still here").await.status, 201);
        let rows = engine.api().get("/instance/fetchInstances").await.good();
        assert_eq!(rows.as_array().map(Vec::len), Some(1), "{rows}");
    }
    scene.is_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_lost_its_database_waits_until_the_process_before_it_is_gone() {
    let scene = Scene::new().await;
    let (before, after) = (scene.home(), scene.home());
    let old = before.start().await;
    scene.pair(&old, "shop", SHOP).await;
    // A new container beside the old one, whose disk it does not have.
    let new = after.start().await;
    assert_eq!(verdict(&new, "shop").await, told("wait", "used-elsewhere", "waiting"));
    stop(old).await;
    comes_back(&new, "shop", told("adopt", "database-emptied", "open")).await;
    assert_eq!(new.send("shop", ANA, "from the copy").await.status, 201);

    // The old one comes back with its old state: the login has gone on without it.
    let old = before.start().await;
    assert_eq!(verdict(&old, "shop").await, told("wait", "used-elsewhere", "waiting"));
    assert_ne!(old.api().get("/instance/connectionState/shop").await.body["instance"]["state"], "open");
    assert_eq!(new.send("shop", ANA, "still here").await.status, 201);
    scene.is_unharmed();

    // Killed, the new one leaves a sign that says no more. The old one has it again, as the newest copy has it.
    new.kill_9().await;
    comes_back(&old, "shop", told("adopt", "database-set-back", "open")).await;
    assert_eq!(old.send("shop", ANA, "and back").await.status, 201);
    scene.is_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_engines_with_the_same_database_file_copied_are_told_of() {
    let scene = Scene::new().await;
    let (ours, theirs) = (scene.home(), scene.home());
    stop(ours.start().await).await;
    let file = |home: &Home| -> PathBuf { home.data_dir().join("holdfast.db") };
    fs::create_dir_all(theirs.data_dir()).expect("the directory");
    fs::copy(file(&ours), file(&theirs)).expect("the copy");
    let (_one, _other) = (ours.start().await, theirs.start().await);
    eventually("a word about it", || async {
        [&ours, &theirs].iter().any(|home| home.log().contains("live-database-copied")).then_some(())
    })
    .await;
}

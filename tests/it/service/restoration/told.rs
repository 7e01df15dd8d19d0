//! What is told of the restoration while it goes on and when it is over: `/health/ready`, the report, the log and the webhooks say the same.

use std::collections::BTreeMap;

use holdfast::ports::clock::Clock;
use holdfast::ports::layer::{Layer, Reading};
use holdfast::provider::Directory;
use holdfast_core::id::InstanceId;
use holdfast_sim::{LoginFailure, Options, Rules, Simulator};
use reqwest::Method;
use serde_json::{Value, json};

use super::moments::{Fleet, forget_logins};
use super::places::Places;
use super::trial::Copy::{Corrupt, Fresh, None as Nowhere, Stale};
use super::trial::Database::{Damaged, Emptied, SetBack, Whole};
use super::trial::{Row, Trial, trials};
use super::{over, unharmed};
use crate::harness::engine::Engine;
use crate::harness::eventually::eventually;
use crate::harness::receiver::{Received, Receiver};
use crate::harness::redis::Redis;

const STARTUP: &str = "application.startup";

#[tokio::test(flavor = "multi_thread")]
async fn each_instance_tells_its_webhook_once_how_it_came_back_in_the_words_of_the_report() {
    const ROWS: [Row; 5] = [
        (Whole, Fresh, Fresh, "dial", "newest", Some("database")),
        (Whole, Nowhere, Corrupt, "dial", "newest", Some("database")),
        (SetBack, Nowhere, Fresh, "adopt", "database-set-back", Some("files")),
        (Emptied, Fresh, Nowhere, "adopt", "database-emptied", Some("redis")),
        (Damaged, Stale, Fresh, "repair", "damage-repaired", Some("files")),
    ];
    let (sim, receiver) = (Simulator::start(Options::default()).await.unwrap(), Receiver::start());
    let redis = Redis::start().await.unwrap();
    let fleet = Fleet::prepared(&sim, &receiver, &redis, trials(&ROWS)).await;
    receiver.drain();
    let before = fleet.home.log().len();
    let engine = fleet.home.start().await;
    let report = over(&engine).await;
    fleet.is_as_expected(&report);
    for trial in &fleet.trials {
        let event = receiver.event(STARTUP, |data| data["instanceId"] == fleet.id(trial)).await;
        assert_eq!((&event.body["instance"], &event.body["data"]["outcome"]), (&json!(trial.name()), &json!("open")));
        assert_eq!(event.body["data"], as_told(fleet.line(&report, trial)), "{trial:?}");
        let data = &event.body["data"];
        assert!(data["revision"].is_u64() && data["epoch"].is_u64() && data["openAfterMs"].is_u64(), "{data}");
        assert_eq!(data["ageSeconds"].is_u64(), data["source"] != "database", "{data}");
        let said = format!("Instance {} is back", trial.name());
        assert_eq!(fleet.home.log()[before..].matches(&said).count(), 1, "{said}");
    }
    // Events of an instance come in their order: what comes after these has come.
    fleet.talks(&engine, &sim, &receiver).await;
    assert_eq!(startups(&receiver).len(), ROWS.len());
    assert_eq!(report["progress"]["adopted"], 3, "{report}");
    unharmed(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_late_says_so_when_its_time_is_over_and_again_when_it_is_open() {
    const ROWS: [Row; 1] = [(Whole, Fresh, Nowhere, "dial", "newest", Some("database"))];
    let (sim, receiver) = (Simulator::start(Options::default()).await.unwrap(), Receiver::start());
    let redis = Redis::start().await.unwrap();
    let mut fleet = Fleet::prepared(&sim, &receiver, &redis, trials(&ROWS)).await;
    fleet.home = fleet.home.set("LOGIN_TIMEOUT_SECONDS", "1").set("CONNECT_TIMEOUT_SECONDS", "1");
    receiver.drain();
    refuse_logins_of(&sim, &fleet.trials[0]);
    let before = fleet.home.log().len();
    let engine = fleet.home.start().await;
    let report = over(&engine).await;
    let line = fleet.line(&report, &fleet.trials[0]);
    assert_eq!((&line["outcome"], &line["openAfterMs"]), (&json!("late"), &Value::Null), "{line}");
    assert_eq!(report["progress"]["late"], 1, "{report}");
    let event = receiver.event(STARTUP, |_| true).await;
    assert_eq!(event.body["data"], as_told(line));
    let said = fleet.home.log()[before..].to_owned();
    assert!(said.contains("Restored 0 of 1 instances in ") && said.contains("; not open: i0 ("), "{said}");
    sim.set_rules(Rules::default()).unwrap();
    let event = receiver.event(STARTUP, |data| data["openAfterMs"].is_u64()).await;
    let report = engine.api().get("/engine/restoration").await.good();
    assert_eq!(event.body["data"], as_told(fleet.line(&report, &fleet.trials[0])));
    assert_eq!((&event.body["data"]["outcome"], &report["progress"]["open"]), (&json!("late"), &json!(1)));
    fleet.talks(&engine, &sim, &receiver).await;
    assert_eq!(startups(&receiver).len(), 2);
    unharmed(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_not_to_be_connected_says_so_at_once() {
    const ROWS: [Row; 1] = [(Whole, Fresh, Nowhere, "dial", "newest", Some("database"))];
    let (sim, receiver) = (Simulator::start(Options::default()).await.unwrap(), Receiver::start());
    let redis = Redis::start().await.unwrap();
    let fleet = Fleet::prepared(&sim, &receiver, &redis, trials(&ROWS)).await;
    receiver.drain();
    assert_eq!(fleet.home.execute("UPDATE holdfast_session SET desired = 'stopped'"), 1);
    let before = fleet.home.log().len();
    let engine = fleet.home.start().await;
    let report = over(&engine).await;
    let line = fleet.line(&report, &fleet.trials[0]);
    assert_eq!((&line["outcome"], &line["openAfterMs"]), (&json!("resting"), &Value::Null), "{line}");
    let event = receiver.event(STARTUP, |_| true).await;
    assert_eq!(event.body["data"], as_told(line));
    let said = "Instance i0 is not to be connected";
    assert_eq!(fleet.home.log()[before..].matches(said).count(), 1, "{said}");
    assert_eq!(report["progress"]["wanted"], 0, "{report}");
    unharmed(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_copy_does_not_open_says_so_and_the_copy_stays() {
    const ROWS: [Row; 1] = [(Whole, Nowhere, Fresh, "adopt", "database-set-back", Some("files"))];
    let (sim, receiver) = (Simulator::start(Options::default()).await.unwrap(), Receiver::start());
    let redis = Redis::start().await.unwrap();
    let fleet = Fleet::prepared(&sim, &receiver, &redis, trials(&ROWS)).await;
    receiver.drain();
    forget_logins(&fleet.home);
    let files = Directory::open(fleet.home.data_dir().join("copies"), Clock::start()).unwrap();
    let id = InstanceId::new(fleet.id(&fleet.trials[0]));
    cut_short(&files, &id).await;

    let engine = fleet.home.start().await;
    let report = over(&engine).await;
    let line = fleet.line(&report, &fleet.trials[0]);
    assert_eq!(line["outcome"], "refused", "{line}");
    let event = receiver.event(STARTUP, |_| true).await;
    assert_eq!(event.body["data"], as_told(line));
    assert!(matches!(files.read(&[id]).await.pop(), Some((_, Reading::Found(_)))), "with another key it may open");
    unharmed(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_place_was_silent_says_so_when_that_speaks_and_its_copy_does_not_open() {
    const ROWS: [Row; 1] = [(Whole, Fresh, Nowhere, "adopt", "database-set-back", Some("redis"))];
    let (sim, receiver) = (Simulator::start(Options::default()).await.unwrap(), Receiver::start());
    let redis = Redis::start().await.unwrap();
    let fleet = Fleet::prepared(&sim, &receiver, &redis, trials(&ROWS)).await;
    receiver.drain();
    forget_logins(&fleet.home);
    cut_short(&Places::beside(&redis).cache(), &InstanceId::new(fleet.id(&fleet.trials[0]))).await;
    redis.freeze().unwrap();
    let engine = fleet.home.start().await;
    let early = engine.api().get("/engine/restoration").await.good();
    assert_eq!(fleet.line(&early, &fleet.trials[0])["verdict"], "no-login", "{early}");

    redis.thaw().unwrap();
    let line = eventually("the copy to be refused", || async {
        let report = engine.api().get("/engine/restoration").await.good();
        let line = fleet.line(&report, &fleet.trials[0]);
        (line["outcome"] == "refused").then(|| line.clone())
    })
    .await;
    let event = receiver.event(STARTUP, |_| true).await;
    assert_eq!(event.body["data"], as_told(&line));
    unharmed(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_and_the_log_say_how_many_of_how_many_are_open_while_they_come_back() {
    const ROWS: [Row; 3] = [
        (Whole, Fresh, Nowhere, "dial", "newest", Some("database")),
        (Whole, Fresh, Nowhere, "dial", "newest", Some("database")),
        (Emptied, Fresh, Nowhere, "adopt", "database-emptied", Some("redis")),
    ];
    let (sim, receiver) = (Simulator::start(Options::default()).await.unwrap(), Receiver::start());
    let redis = Redis::start().await.unwrap();
    let fleet = Fleet::prepared(&sim, &receiver, &redis, trials(&ROWS)).await;
    refuse_logins_of(&sim, &fleet.trials[1]);
    fleet.home.order("restore.adopting=pause\nboot.restored=pause");
    let engine = fleet.home.spawn();
    let adopting =
        json!({ "stage": "adopting", "instances": 3, "wanted": 2, "open": 0, "late": 0, "waiting": 1, "adopted": 0 });
    ready_says(&engine, 503, &adopting).await;
    fleet.home.order("boot.restored=off");
    let dialling =
        json!({ "stage": "dialling", "instances": 3, "wanted": 2, "open": 1, "late": 0, "waiting": 1, "adopted": 0 });
    ready_says(&engine, 200, &dialling).await;
    let said = || async { fleet.home.log().contains("Restored 1 of 2 instances; 1 more wait").then_some(()) };
    eventually("a word in the log", said).await;
    fleet.home.order("restore.adopting=off");
    let adopted =
        json!({ "stage": "dialling", "instances": 3, "wanted": 3, "open": 2, "late": 0, "waiting": 0, "adopted": 1 });
    ready_says(&engine, 200, &adopted).await;
    sim.set_rules(Rules::default()).unwrap();
    let all = json!({ "stage": "over", "instances": 3, "wanted": 3, "open": 3, "late": 0, "waiting": 0, "adopted": 1 });
    ready_says(&engine, 200, &all).await;
    assert!(fleet.home.log().contains("Restored 3 of 3 instances in "), "{}", fleet.home.log());
    fleet.talks(&engine, &sim, &receiver).await;
    unharmed(&sim);
}

/// Waits until `/health/ready` answers so and says this of the restoration.
async fn ready_says(engine: &Engine<'_>, status: u16, restoration: &Value) {
    let api = engine.api();
    eventually(&format!("{status} with {restoration}"), || async {
        let answer = api.try_call(Method::GET, "/health/ready", None).await.ok()?;
        (answer.status == status && answer.body["restoration"] == *restoration).then_some(())
    })
    .await;
}

/// Refuses every login of one device, as a server does that is down for a while.
fn refuse_logins_of(sim: &Simulator, trial: &Trial) {
    let failure = LoginFailure { reason: 503, count: None, jid: Some(trial.phone()), attrs: BTreeMap::new() };
    sim.set_rules(Rules { login_failure: Some(failure), ..Rules::default() }).expect("the rule holds");
}

/// The line of the report without what is of this moment.
fn as_told(line: &Value) -> Value {
    let mut line = line.clone();
    let fields = line.as_object_mut().expect("a line");
    fields.retain(|key, _| key != "state" && key != "code");
    line
}

fn startups(receiver: &Receiver) -> Vec<Received> {
    receiver.all().into_iter().filter(|one| one.taken && one.event() == STARTUP).collect()
}

/// Makes of a copy one that is whole by its checksum, but no login that the engine's key opens.
async fn cut_short(layer: &dyn Layer, id: &InstanceId) {
    let Some((_, Reading::Found(found))) = layer.read(std::slice::from_ref(id)).await.pop() else {
        panic!("there is no copy");
    };
    let mut copy = found.copy;
    copy.device.truncate(copy.device.len() / 2);
    layer.remove(id).await.expect("it is taken away");
    layer.write(&copy).await.expect("it is written");
}

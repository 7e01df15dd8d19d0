//! The signed pre-key is replaced once a week, after a login; whoever writes with the old or the new one is understood.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use holdfast::config::SessionKey;
use holdfast::ports::clock::Clock;
use holdfast::ports::session::SessionBatch;
use holdfast::ports::store::Store;
use holdfast::store::{EncryptionKey, PoolOptions, Retention, StoreOptions};
use holdfast_sim::{EventKind, EventQuery};
use serde_json::{Value, json};

use super::trial::Trial;
use crate::harness::engine::Home;

pub(super) const ROTATING: &[&str] = &[
    "commit.signed-pre-key.before",
    "commit.signed-pre-key.after",
    "commit.signed-pre-key.before:2",
    "commit.signed-pre-key.after:2",
    "commit.device.before",
    "commit.device.after",
    "commit.device.before:2",
    "commit.device.after:2",
    "frame.session.before:5",
    "frame.session.after:5",
    "frame.session.before:6",
    "frame.session.after:6",
    "frame.session.before:7",
    "frame.session.after:7",
    "received.session:10",
    "received.session:12",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_signed_key_that_is_cut_short_leaves_nobody_speechless() {
    let trial = Trial::paired().await;
    for point in ROTATING {
        let rotated = rotations(&trial);
        let store = open(&trial.home).await;
        eight_days_pass(&*store).await;
        store.close().await.unwrap();
        drop(store);
        trial.incoming().await;
        trial.dies_starting(point).await;

        // Strangers write now with whatever key the server has.
        let engine = trial.home.start().await;
        trial.check(&engine).await;
        crate::harness::eventually::eventually(&format!("{point}: a new signed key"), || async {
            (rotations(&trial) > rotated).then_some(())
        })
        .await;
        trial.check(&engine).await;
        engine.kill_9().await;
    }
}

/// Counts the uploads that brought no one-time keys: those of a new signed key.
fn rotations(trial: &Trial) -> usize {
    let uploads = EventQuery { kind: Some(EventKind::KeysUploaded), ..EventQuery::default() };
    let uploads = trial.sim.events(&uploads).expect("the events");
    uploads.iter().filter(|upload| upload.detail["count"] == 0).count()
}

async fn open(home: &Home) -> Arc<dyn Store> {
    let key = fs::read_to_string(home.data_dir().join("session-key")).expect("the session key");
    let options = StoreOptions {
        url: home.data_dir().join("holdfast.db").display().to_string(),
        client_name: "evolution".to_owned(),
        node: "node".to_owned(),
        lease_ttl: Duration::from_secs(60),
        key: EncryptionKey::new(SessionKey::parse(key.trim()).expect("a session key").0),
        runtime: tokio::runtime::Handle::current(),
        clock: Clock::start(),
        retention: Retention::default(),
        pool: PoolOptions::default(),
    };
    holdfast::store::open(options).await.expect("the engine's database")
}

/// Lets the device believe that its signed key is eight days old.
async fn eight_days_pass(store: &dyn Store) {
    const LAST: &str = "last_signed_pre_key_rotation_ms";
    let records = store.list().await.expect("the instances");
    let id = &records.first().expect("an instance").id;
    let device = store.device(id).await.expect("the device").expect("a device");
    let mut device: Value = serde_json::from_slice(&device).expect("a device in JSON");
    let last = device[LAST].as_i64().expect("when the key was made");
    device[LAST] = json!(last - 8 * 24 * 60 * 60 * 1000);
    let claim = store.claim(id).await.expect("the session");
    let batch = SessionBatch { device: Some(device.to_string().into_bytes()), ..SessionBatch::default() };
    store.commit(id, claim.epoch, batch).await.expect("the device is written");
}

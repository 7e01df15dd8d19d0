//! The first start of all, and starts that find a paired instance for which messages wait.

use std::fs;

use super::trial::Trial;
use crate::harness::engine::Home;

pub(super) const FIRST_START: &[&str] = &[
    "boot.locked",
    "keep.api-key.made",
    "keep.api-key.written",
    "keep.api-key.synced",
    "keep.api-key.renamed",
    "boot.listening",
    "keep.session-key.made",
    "keep.session-key.written",
    "keep.session-key.synced",
    "keep.session-key.renamed",
    "keep.node-id.made",
    "keep.node-id.written",
    "keep.node-id.synced",
    "keep.node-id.renamed",
    "open.created",
    "open.connected",
    "open.migrated",
    "open.key-checked",
    "open.prepared",
    "boot.store-open",
    "join.written",
    "keep.home-id.made",
    "keep.home-id.written",
    "keep.home-id.synced",
    "keep.home-id.renamed",
    "boot.joined",
    "boot.wired",
    "boot.serving",
    "boot.owned",
    "boot.listed",
    "boot.done",
];

pub(super) const LOGIN: &[&str] = &[
    "open.created",
    "open.connected",
    "open.migrated",
    "open.key-checked",
    "open.prepared",
    "boot.store-open",
    "boot.listed",
    "boot.enlisted",
    "boot.done",
    "child.starts",
    "instance.started",
    "dial.asked",
    "claim.before",
    "claim.raised",
    "claim.after",
    "store.begin.before",
    "store.begin.after",
    "store.job.done",
    "store.commit.before",
    "store.commit.after",
    "store.answers.before",
    "store.answers.after",
    "dial.device-read",
    "commit.pending-inbound.before",
    "commit.pending-inbound.after",
    "dial.client-made",
    "dial.runs",
    "socket.opened",
    "frame.handshake.before",
    "frame.handshake.after",
    "received.handshake",
    "received.session",
    "login.accepted",
    "commit.device.before",
    "commit.device.after",
    "frame.session.before",
    "frame.session.after",
    "frame.session.before:2",
    "frame.session.after:2",
    "frame.session.before:4",
    "received.session:3",
    "received.session:6",
    "received.session:9",
    "received.session:12",
    "hand-over.before",
    "commit.accepted.before",
    "session.values-written:3",
    "session.events-queued:3",
    "session.values-written:5",
    "session.events-queued:5",
    "store.job.done:6",
    "store.commit.before:6",
    "store.commit.after:6",
    "store.commit.before:10",
    "store.commit.after:10",
    "store.commit.before:12",
    "store.commit.after:12",
    "commit.accepted.after",
    "hand-over.after",
    "frame.session.after:6",
    "frame.session.before:7",
    "frame.session.after:7",
    "commit.session.before",
    "commit.session.after",
    "commit.sender-key.before",
    "commit.sender-key.after",
    "commit.pre-key-gone.before",
    "commit.pre-key-gone.after",
    "login.ready",
    "link.ping",
    "scribe.patch.before",
    "instance.changed",
    "scribe.patch.after",
    "deliver.before",
    "deliver.after",
    "deliver.settled",
    "deliver.before:4",
    "deliver.after:4",
    "deliver.settled:4",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_that_is_cut_short_is_made_up_for_by_the_next() {
    for point in FIRST_START {
        let mut trial = Trial::new().await;
        trial.home = Home::new(trial.sim.ws_url()).unset("AUTHENTICATION_API_KEY");
        trial.dies_starting(point).await;
        let engine = trial.home.spawn();
        let kept = trial.home.data_dir().join("api-key");
        let key = crate::harness::eventually::eventually(&format!("{point}: a ready engine"), || async {
            let key = fs::read_to_string(&kept).ok()?;
            let ready = engine.api().try_call(reqwest::Method::GET, "/health/ready", None).await.ok()?;
            (ready.status == 200).then(|| key.trim().to_owned())
        })
        .await;
        let body = serde_json::json!({ "instanceName": "shop", "integration": "WHATSAPP-BAILEYS" });
        let created = engine.api().with_key(&key).post("/instance/create", body).await;
        assert_eq!(created.status, 201, "{point}: {created:?}");
        let listed = engine.api().with_key(&key).get("/instance/fetchInstances").await.good();
        assert_eq!(listed.as_array().map(Vec::len), Some(1), "{point}: {listed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_with_messages_waiting_loses_none_wherever_it_is_cut_short() {
    let trial = Trial::paired().await;
    for point in LOGIN {
        trial.incoming().await;
        trial.incoming().await;
        trial.dies_starting(point).await;
        let engine = trial.home.start().await;
        trial.check(&engine).await;
        engine.kill_9().await;
    }
}

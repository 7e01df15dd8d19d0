//! Ends on purpose that are cut short: a shutdown, a logout, a deletion.

use reqwest::Method;
use rustix::process::Signal;
use serde_json::Value;

use super::trial::{SHOP, Trial};
use crate::harness::engine::Engine;
use crate::harness::eventually::eventually;

pub(super) const STOPPING: &[&str] = &[
    "shutdown.signalled",
    "shutdown.phase.quiescing",
    "shutdown.phase.draining",
    "drain.asked",
    "save.before",
    "save.signal",
    "save.after",
    "link.close",
    "socket.leaving",
    "socket.gone",
    "dial.ran",
    "dial.over",
    "instance.leaving",
    "instance.written",
    "child.exited",
    "shutdown.phase.flushing",
    "shutdown.phase.closing",
    "store.folded",
    "shutdown.reported",
    "shutdown.over",
];

pub(super) const LOGGING_OUT: &[&str] = &[
    "link.log-out",
    "frame.session.before",
    "frame.session.after",
    "received.session",
    "link.unlinked",
    "socket.leaving",
    "socket.gone",
    "dial.ran",
    "dial.over",
    "scribe.archive.before",
    "archive.moved",
    "store.commit.before:2",
    "store.commit.after:2",
    "scribe.archive.after",
    "scribe.desired.before",
    "scribe.desired.after",
    "scribe.patch.before",
    "instance.changed",
    "scribe.patch.after",
];

pub(super) const DELETING: &[&str] = &[
    "delete.asked",
    "link.log-out",
    "link.unlinked",
    "dial.over",
    "instance.leaving",
    "instance.written",
    "child.exited",
    "delete.ended",
    "store.commit.before",
    "store.commit.after",
    "delete.removed",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_that_is_cut_short_loses_nothing() {
    let trial = Trial::paired().await;
    for point in STOPPING {
        let engine = trial.home.start().await;
        trial.check(&engine).await;
        trial.arm(point).await;
        engine.signal(Signal::TERM);
        trial.dies(engine, point, trial.keep_writing()).await;
    }
    trial.check(&trial.home.start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_that_is_cut_short_leaves_both_sides_linked_or_neither() {
    let trial = Trial::paired().await;
    for point in LOGGING_OUT {
        let engine = trial.home.start().await;
        trial.check(&engine).await;
        trial.arm(point).await;
        cut_short(&trial, engine, point, "/instance/logout/shop").await;

        let engine = trial.home.start().await;
        if settled(&engine, point).await["state"] == "close" {
            // Whoever wanted the logout got no answer. Connecting tells whether WhatsApp had heard of it.
            engine.api().get("/instance/connect/shop").await.good();
        }
        if settled(&engine, point).await["state"] != "open" {
            assert_eq!(trial.devices(SHOP), 0, "{point}: the phone lists a device that the engine forgot");
            engine.scan(&trial.sim, "shop", SHOP).await;
        }
        trial.check(&engine).await;
        assert_eq!(trial.devices(SHOP), 1, "{point}");
        engine.kill_9().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_is_cut_short_can_be_done_again() {
    let trial = Trial::paired().await;
    for point in DELETING {
        let engine = trial.home.start().await;
        trial.check(&engine).await;
        trial.arm(point).await;
        cut_short(&trial, engine, point, "/instance/delete/shop").await;

        let engine = trial.home.start().await;
        if engine.api().get("/instance/connectionState/shop").await.status != 404 {
            settled(&engine, point).await;
            engine.api().delete("/instance/delete/shop").await.good();
        }
        assert_eq!(trial.devices(SHOP), 0, "{point}: the phone lists a device that was deleted");
        assert_eq!(engine.api().get("/instance/fetchInstances").await.good().as_array().map(Vec::len), Some(0));
        engine.pair(&trial.sim, "shop", SHOP, Some(&trial.hook())).await;
        engine.kill_9().await;
    }
}

async fn cut_short(trial: &Trial, engine: Engine<'_>, point: &str, path: &str) {
    let api = engine.api();
    let asking = async {
        let _cut_short = api.try_call(Method::DELETE, path, None).await;
    };
    trial.dies(engine, point, asking).await;
}

/// Waits until the instance knows where it stands after a start, and says so.
async fn settled(engine: &Engine<'_>, point: &str) -> Value {
    eventually(&format!("{point}: an instance that knows where it stands"), || async {
        let said = engine.state("shop").await;
        (said["state"] != "connecting" || said["phase"] == "pairing").then_some(said)
    })
    .await
}

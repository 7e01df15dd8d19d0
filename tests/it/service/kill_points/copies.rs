//! Copies of sessions that are cut short while they are made, and while one is taken into a database that has lost its login.

use std::fs;

use super::trial::Trial;
use crate::harness::eventually::eventually;

pub(super) const COPYING: &[&str] = &["copies.writing", "snapshot.written", "snapshot.renamed", "copies.written"];

pub(super) const ADOPTING: &[&str] = &["boot.restored", "restore.judged", "restore.adopting", "restore.adopted"];

/// A trial whose engine keeps copies in a directory.
async fn with_copies() -> Trial {
    let mut trial = Trial::paired().await;
    let directory = trial.home.data_dir().join("copies").display().to_string();
    let home = std::mem::replace(&mut trial.home, crate::harness::engine::Home::new(trial.sim.ws_url()));
    trial.home = home.set("PROVIDER_DIR", &directory).set("PROVIDER_SNAPSHOT_SECONDS", "1");
    trial
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_cut_short_leaves_the_earlier_one_or_the_new_one() {
    let trial = with_copies().await;
    for point in COPYING {
        trial.incoming().await;
        trial.dies_starting(point).await;
        let engine = trial.home.start().await;
        trial.check(&engine).await;
        let report = engine.api().get("/engine/restoration").await.good();
        assert_eq!(report["instances"][0]["damaged"], serde_json::Value::Null, "{point}: {report}");
        engine.kill_9().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adoption_that_is_cut_short_is_made_up_for_and_nobody_scans() {
    let trial = with_copies().await;
    for point in ADOPTING {
        let engine = trial.home.start().await;
        trial.check(&engine).await;
        // What was sent meanwhile is in the copy, or its keys are given up.
        engine.signal(rustix::process::Signal::TERM);
        assert_eq!(engine.end().await, Some(0), "{point}");
        for name in ["holdfast.db", "holdfast.db-wal", "holdfast.db-shm"] {
            let gone = fs::remove_file(trial.home.data_dir().join(name));
            assert!(gone.is_ok() || name != "holdfast.db", "{gone:?}");
        }
        trial.incoming().await;
        trial.dies_starting(point).await;
        let engine = trial.home.start().await;
        eventually("the instance to be open again", || async {
            (engine.state("shop").await["state"] == "open").then_some(())
        })
        .await;
        trial.check(&engine).await;
        engine.kill_9().await;
    }
}

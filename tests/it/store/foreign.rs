//! Rows that another program wrote into the tables that Evolution knows.

use holdfast::ports::store::StoreError;
use holdfast_core::connection::Desired;
use holdfast_core::id::InstanceId;

use super::bench::{Bench, CLIENT, Opening, Outcome, device, put, writes};

const THEIRS: &str = r#""{\"noiseKey\":{\"private\":\"abc\"}}""#;
const CREDS: &str = r#"SELECT "creds" FROM "Session""#;

pub(super) async fn a_database_of_evolution_is_usable_as_it_is(bench: Bench) -> Outcome {
    let id = evolution_instance(&bench)?;
    let record = bench.record(&id).await?;
    assert_eq!((record.desired, record.paired), (Desired::Stopped, false));
    assert_eq!((record.token.as_str(), record.setting.is_none()), ("", true));
    assert_eq!(bench.store.list().await?.len(), 1);
    bench.store.set_desired(&id, Desired::Connected).await?;
    let epoch = bench.store.claim(&id).await?.epoch;
    bench.store.commit(&id, epoch, writes(vec![put("session", "a", "1")])).await?;
    assert_eq!(bench.record(&id).await?.desired, Desired::Connected);
    Ok(())
}

pub(super) async fn foreign_credentials_are_left_alone(mut bench: Bench) -> Outcome {
    let id = evolution_instance(&bench)?;
    let epoch = bench.store.claim(&id).await?.epoch;
    for _ in 0..2 {
        assert_eq!(bench.store.device(&id).await?, None, "they are not ours");
    }
    bench.store.commit(&id, epoch, writes(vec![put("session", "a", "1")])).await?;
    bench.store.archive(&id, "logged-out").await?;
    bench.reopen(Opening::default()).await?;
    assert_eq!(bench.database.texts(CREDS)?, [THEIRS]);
    assert!(!bench.record(&id).await?.paired);
    Ok(())
}

pub(super) async fn foreign_credentials_are_kept_when_a_new_device_is_paired(bench: Bench) -> Outcome {
    let id = evolution_instance(&bench)?;
    let epoch = bench.store.claim(&id).await?.epoch;
    for text in ["a device", "the same device, later"] {
        bench.store.commit(&id, epoch, device(text)).await?;
        assert_eq!(bench.store.device(&id).await?.as_deref(), Some(text.as_bytes()));
    }
    let archived = format!("SELECT {} FROM holdfast_archive WHERE category = 'creds'", bench.database.text_of("value"));
    assert_eq!(bench.database.texts(&archived)?, [THEIRS], "set aside once");
    Ok(())
}

pub(super) async fn credentials_that_another_program_put_over_ours_are_an_error(bench: Bench) -> Outcome {
    let (id, epoch) = bench.session("shop").await?;
    bench.store.commit(&id, epoch, device("ours")).await?;
    bench.database.execute(&format!(r#"UPDATE "Session" SET "creds" = '{THEIRS}'"#))?;
    assert!(
        matches!(bench.store.device(&id).await, Err(StoreError::Corrupt { .. })),
        "a paired session is not unpaired silently"
    );
    Ok(())
}

/// Inserts an instance as Evolution does, without any row of ours.
fn evolution_instance(bench: &Bench) -> anyhow::Result<InstanceId> {
    bench.database.execute(&format!(
        r#"INSERT INTO "Instance" ("id", "name", "clientName", "updatedAt") VALUES ('theirs', 'theirs', '{CLIENT}', '2025-10-21 12:00:00');
           INSERT INTO "Session" ("id", "sessionId", "creds") VALUES ('s', 'theirs', '{THEIRS}');"#
    ))?;
    Ok(InstanceId::new("theirs"))
}

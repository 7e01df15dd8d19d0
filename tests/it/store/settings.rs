//! Settings: one row for each instance.

use holdfast::ports::store::{Settings, SettingsSpec, StoreError};
use holdfast_core::id::InstanceId;

use super::bench::{Bench, Opening, Outcome, new_instance};

fn spec() -> SettingsSpec {
    SettingsSpec {
        reject_call: true,
        msg_call: Some("later".to_owned()),
        groups_ignore: true,
        always_online: true,
        read_messages: true,
        read_status: true,
        sync_full_history: true,
        wavoip_token: Some("token".to_owned()),
    }
}

pub(super) async fn settings_are_replaced_and_a_text_that_is_not_given_stays(bench: Bench) -> Outcome {
    let mut bench = bench;
    let id = bench.instance("shop").await?;
    let other = bench.store.insert(new_instance("other")).await?.setting.map(|row| row.settings);
    let first = bench.store.settings(&id).await?.expect("a new instance has settings");
    let second = bench.store.set_settings(&id, spec()).await?;
    assert_eq!((&second.id, second.created_at), (&first.id, first.created_at), "the row stays");
    let all = Settings {
        reject_call: true,
        msg_call: "later".to_owned(),
        groups_ignore: true,
        always_online: true,
        read_messages: true,
        read_status: true,
        sync_full_history: true,
        wavoip_token: "token".to_owned(),
    };
    assert_eq!(second.settings, all);

    let third = bench.store.set_settings(&id, SettingsSpec::default()).await?;
    let texts = Settings { msg_call: "later".to_owned(), wavoip_token: "token".to_owned(), ..Settings::default() };
    assert_eq!(third.settings, texts);
    let emptied = SettingsSpec { msg_call: Some(String::new()), ..SettingsSpec::default() };
    bench.store.set_settings(&id, emptied).await?;

    bench.reopen(Opening::default()).await?;
    let kept = Settings { wavoip_token: "token".to_owned(), ..Settings::default() };
    assert_eq!(bench.store.settings(&id).await?.map(|row| row.settings), Some(kept.clone()));
    assert_eq!(bench.record(&id).await?.setting.map(|row| row.settings), Some(kept));
    assert_eq!(bench.store.settings(&InstanceId::new("other")).await?.map(|row| row.settings), other);
    Ok(())
}

pub(super) async fn an_instance_without_settings_is_not_one_that_does_not_exist(bench: Bench) -> Outcome {
    let id = bench.instance("shop").await?;
    bench.database.execute(r#"DELETE FROM "Setting""#)?;
    assert!(bench.store.settings(&id).await?.is_none());
    let row = bench.store.set_settings(&id, SettingsSpec { msg_call: None, wavoip_token: None, ..spec() }).await?;
    assert_eq!((row.settings.always_online, row.settings.msg_call.as_str()), (true, ""));
    let nobody = InstanceId::new("nobody");
    assert!(matches!(bench.store.settings(&nobody).await, Err(StoreError::NoSuchInstance(_))));
    assert!(matches!(bench.store.set_settings(&nobody, spec()).await, Err(StoreError::NoSuchInstance(_))));
    Ok(())
}

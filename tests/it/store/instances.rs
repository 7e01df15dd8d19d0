//! Instances: rows, names, wishes, deletion.

use std::collections::BTreeSet;

use holdfast::ports::store::{InstancePatch, InstanceRecord, NewInstance, ProxySpec, Settings, StoreError};
use holdfast_core::connection::Desired;
use holdfast_core::connection::state::PublicState;
use holdfast_core::event::EventName;
use holdfast_core::id::InstanceId;
use serde_json::json;

use super::bench::{Bench, CLIENT, LATE, Opening, Outcome, device, event, new_instance, put, webhook, writes};

pub(super) async fn an_inserted_instance_is_read_back(bench: Bench) -> Outcome {
    let settings =
        Settings { reject_call: true, msg_call: "later".to_owned(), read_status: true, ..Settings::default() };
    let hook = webhook(&[EventName::InstanceCreate]);
    let new = NewInstance {
        number: Some("5511".to_owned()),
        settings: settings.clone(),
        webhook: Some(hook),
        ..new_instance("shop")
    };
    let record = bench.store.insert(new).await?;
    assert_eq!(
        (record.name.as_str(), record.token.as_str(), record.number.as_deref()),
        ("shop", "token-of-shop", Some("5511"))
    );
    assert_eq!((record.connection_status.as_str(), record.client_name.as_deref()), ("close", Some(CLIENT)));
    assert_eq!((record.desired, record.paired, record.last_online_at), (Desired::Stopped, false, None));
    assert!(record.created_at.is_some() && record.created_at == record.updated_at, "{record:?}");
    let row = record.setting.clone().expect("settings are inserted with the instance");
    assert_eq!((row.settings, row.instance_id), (settings, record.id.clone()));
    assert!(row.id.len() == 25 && row.id.starts_with('c'), "{}", row.id);
    assert!(record.proxy.is_none() && record.chatwoot.is_none());

    let read = bench.record(&record.id).await?;
    assert_eq!(format!("{read:?}"), format!("{record:?}"));
    let listed = bench.store.list().await?;
    assert_eq!(format!("{listed:?}"), format!("{:?}", [record]));

    let due = bench.deliveries(LATE).await?;
    assert_eq!(due.len(), 1);
    assert_eq!(due[0].event.name, EventName::InstanceCreate);
    assert_eq!(due[0].event.data, json!({ "instanceName": "shop", "instanceId": "shop" }));
    assert_eq!(
        (due[0].instance_name.as_str(), due[0].token.as_deref(), due[0].attempts),
        ("shop", Some("token-of-shop"), 0)
    );
    Ok(())
}

pub(super) async fn a_name_is_taken_only_once_under_any_client_name(bench: Bench) -> Outcome {
    bench.instance("shop").await?;
    bench
        .database
        .execute(r#"INSERT INTO "Instance" ("id", "name", "clientName") VALUES ('x', 'other', 'somebody else')"#)?;
    for name in ["shop", "other"] {
        let again = NewInstance { id: InstanceId::new("new"), ..new_instance(name) };
        let error = bench.store.insert(again).await.expect_err("the name is in use");
        assert!(matches!(&error, StoreError::NameTaken(taken) if taken == name), "{error:?}");
    }
    Ok(())
}

pub(super) async fn a_refused_insert_leaves_nothing_behind(bench: Bench) -> Outcome {
    bench.instance("shop").await?;
    let again = NewInstance {
        id: InstanceId::new("new"),
        webhook: Some(webhook(&[EventName::InstanceCreate])),
        ..new_instance("shop")
    };
    bench.store.insert(again).await.expect_err("the name is in use");
    for table in ["Setting", "Webhook", "Session"] {
        let left = bench.database.texts(&format!(r#"SELECT "id" FROM "{table}" WHERE "id" LIKE '%new%'"#))?;
        assert_eq!(left, Vec::<String>::new(), "{table}");
    }
    assert_eq!(bench.database.texts(r#"SELECT "instanceId" FROM "Setting""#)?, ["shop"]);
    assert_eq!(bench.due(LATE).await?, Vec::<String>::new());
    assert!(bench.store.get(&InstanceId::new("new")).await?.is_none());
    Ok(())
}

pub(super) async fn the_list_is_ours_and_the_most_recently_online_comes_first(bench: Bench) -> Outcome {
    for name in ["never", "first", "second"] {
        bench.instance(name).await?;
    }
    bench
        .database
        .execute(r#"INSERT INTO "Instance" ("id", "name", "clientName") VALUES ('x', 'x', 'somebody else')"#)?;
    for name in ["first", "second"] {
        bench
            .store
            .patch(&InstanceId::new(name), InstancePatch { online_now: true, ..InstancePatch::default() })
            .await?;
        // Moments are kept in milliseconds, so these two must not fall into one.
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    }
    let names: Vec<_> = bench.store.list().await?.into_iter().map(|record| record.name).collect();
    assert_eq!(names, ["second", "first", "never"]);
    assert!(bench.record(&InstanceId::new("first")).await?.last_online_at.is_some());
    Ok(())
}

pub(super) async fn a_patch_changes_only_what_it_names(bench: Bench) -> Outcome {
    let id = bench.instance("shop").await?;
    let status = Some(PublicState::Open);
    bench.store.patch(&id, InstancePatch { connection_status: status, ..InstancePatch::default() }).await?;
    let names = InstancePatch {
        owner_jid: Some("55@s.whatsapp.net".to_owned()),
        profile_name: Some("Ana".to_owned()),
        profile_picture: Some("https://picture.test/1".to_owned()),
        ..InstancePatch::default()
    };
    bench.store.patch(&id, names).await?;
    bench.store.patch(&id, InstancePatch { profile_name: Some("Bia".to_owned()), ..InstancePatch::default() }).await?;
    let record = bench.record(&id).await?;
    assert_eq!(record.connection_status, "open");
    assert_eq!(record.owner_jid.as_deref(), Some("55@s.whatsapp.net"));
    assert_eq!(record.profile_name.as_deref(), Some("Bia"));
    assert_eq!(record.profile_picture.as_deref(), Some("https://picture.test/1"));
    assert!(record.updated_at >= record.created_at);
    Ok(())
}

pub(super) async fn long_texts_are_cut_to_their_columns(bench: Bench) -> Outcome {
    let long = "ñ".repeat(600);
    let settings = Settings { msg_call: long.clone(), wavoip_token: long.clone(), ..Settings::default() };
    let id = bench.store.insert(NewInstance { settings, number: Some(long.clone()), ..new_instance("shop") }).await?.id;
    let patch = InstancePatch {
        owner_jid: Some(long.clone()),
        profile_name: Some(long.clone()),
        profile_picture: Some(long),
        ..InstancePatch::default()
    };
    bench.store.patch(&id, patch).await?;
    let record = bench.record(&id).await?;
    let letters = |text: &Option<String>| text.as_ref().map(|text| text.chars().count());
    assert_eq!(letters(&record.number), Some(100));
    assert_eq!(letters(&record.owner_jid), Some(100));
    assert_eq!(letters(&record.profile_name), Some(100));
    assert_eq!(letters(&record.profile_picture), Some(500));
    let settings = record.setting.expect("settings are inserted with the instance").settings;
    assert_eq!((settings.msg_call.chars().count(), settings.wavoip_token.chars().count()), (100, 100));
    Ok(())
}

pub(super) async fn the_end_of_a_login_is_stored_as_evolution_does(bench: Bench) -> Outcome {
    let id = bench.instance("shop").await?;
    let object = r#"{"error":{"data":{"code":"logged-out"}}}"#;
    let patch = InstancePatch { disconnection: Some((401, object.to_owned())), ..InstancePatch::default() };
    bench.store.patch(&id, patch).await?;
    let record = bench.record(&id).await?;
    assert_eq!((record.disconnection_code, record.disconnection_object.as_deref()), (Some(401), Some(object)));
    assert!(record.disconnection_at.is_some());
    let stored = bench.database.texts(r#"SELECT CAST("disconnectionObject" AS TEXT) FROM "Instance""#)?;
    assert_eq!(serde_json::from_str::<String>(&stored[0])?, object, "a JSON string that holds JSON");
    Ok(())
}

pub(super) async fn s19_what_the_operator_wants_survives_a_restart(mut bench: Bench) -> Outcome {
    let id = bench.instance("shop").await?;
    bench.store.set_desired(&id, Desired::Connected).await?;
    bench.reopen(Opening::default()).await?;
    assert_eq!(bench.record(&id).await?.desired, Desired::Connected);
    bench.store.set_desired(&id, Desired::Stopped).await?;
    assert_eq!(bench.record(&id).await?.desired, Desired::Stopped);
    Ok(())
}

pub(super) async fn deleting_removes_everything_but_what_is_queued(bench: Bench) -> Outcome {
    let wanted = [EventName::ConnectionUpdate, EventName::InstanceDelete, EventName::RemoveInstance];
    let id = bench.subscriber("shop", &wanted).await?;
    let other = bench.subscriber("other", &wanted).await?;
    for id in [&id, &other] {
        let epoch = bench.store.claim(id).await?.epoch;
        bench.store.commit(id, epoch, device("device")).await?;
        bench.store.archive(id, "logged-out").await?;
        let epoch = bench.store.claim(id).await?.epoch;
        bench.store.commit(id, epoch, device("device")).await?;
        bench.store.commit(id, epoch, writes(vec![put("session", "a", "1")])).await?;
    }
    bench.store.append(&id, vec![event(EventName::ConnectionUpdate, "before")]).await?;
    bench.store.delete(&id).await?;

    let tables = [
        (r#""Instance""#, "id"),
        (r#""Session""#, "sessionId"),
        (r#""Webhook""#, "instanceId"),
        (r#""Setting""#, "instanceId"),
        ("holdfast_session", "instance_id"),
        ("holdfast_session_value", "instance_id"),
        ("holdfast_archive", "instance_id"),
    ];
    for (table, column) in tables {
        let left: BTreeSet<_> =
            bench.database.texts(&format!(r#"SELECT "{column}" FROM {table}"#))?.into_iter().collect();
        assert_eq!(left, BTreeSet::from(["other".to_owned()]), "{table}");
    }
    assert!(bench.store.get(&id).await?.is_none());

    let mut told = Vec::new();
    while let Some(delivery) = bench.deliveries(LATE).await?.into_iter().find(|delivery| delivery.instance == id) {
        assert_eq!(delivery.target.url, webhook(&[]).url, "the instance is gone, its target is remembered");
        assert_eq!(delivery.target.headers, webhook(&[]).headers);
        told.push(delivery.event.name);
        bench.store.settle(vec![(delivery.seq, holdfast::ports::outbox::Settlement::Delivered)]).await?;
    }
    assert_eq!(told, wanted);
    Ok(())
}

pub(super) async fn no_row_says_open_after_a_restart(mut bench: Bench) -> Outcome {
    for (name, status) in [("a", PublicState::Open), ("b", PublicState::Connecting), ("c", PublicState::Close)] {
        let id = bench.instance(name).await?;
        bench.store.patch(&id, InstancePatch { connection_status: Some(status), ..InstancePatch::default() }).await?;
    }
    bench.reopen(Opening::default()).await?;
    assert!(bench.store.list().await?.iter().all(|record| record.connection_status == "close"));
    Ok(())
}

pub(super) async fn proxy_and_chatwoot_are_shown_in_full(bench: Bench) -> Outcome {
    let id = bench.instance("shop").await?;
    bench.database.execute(
        r#"INSERT INTO "Proxy" ("id", "enabled", "host", "port", "protocol", "username", "password", "createdAt", "updatedAt", "instanceId")
             VALUES ('p', true, 'proxy.test', '8080', 'http', 'me', 'secret', '2025-10-21 12:00:00', '2025-10-21 12:00:00.250', 'shop');
           INSERT INTO "Chatwoot" ("id", "accountId", "ignoreJids", "createdAt", "updatedAt", "instanceId")
             VALUES ('w', '7', '["a@g.us"]', '2025-10-21 12:00:00', '2025-10-21 12:00:00', 'shop');"#,
    )?;
    let record = bench.record(&id).await?;
    let row = record.proxy.as_ref().expect("there is a row");
    let fields = row.spec.fields();
    assert_eq!((row.id.as_str(), row.spec.enabled, &row.instance_id), ("p", true, &id));
    assert_eq!((fields.host, fields.port, fields.protocol), ("proxy.test", "8080", "http"));
    assert_eq!((fields.username, fields.password), ("me", "secret"));
    let dates = [row.created_at.expect("a date"), row.updated_at].map(|date| date.timestamp_subsec_millis());
    assert_eq!(dates, [0, 250]);
    assert!(!format!("{record:?}").contains("secret"), "the password can be printed");
    let chatwoot = record.chatwoot.expect("there is a row");
    assert_eq!(
        (&chatwoot["accountId"], &chatwoot["enabled"], &chatwoot["ignoreJids"]),
        (&json!("7"), &json!(true), &json!(["a@g.us"]))
    );
    assert_eq!(chatwoot.as_object().map(serde_json::Map::len), Some(21), "every column is there: {chatwoot}");
    Ok(())
}

pub(super) async fn a_row_that_cannot_be_read_hides_no_other(bench: Bench) -> Outcome {
    let (shop, cafe) = (bench.instance("shop").await?, bench.instance("cafe").await?);
    bench.store.set_desired(&shop, Desired::Connected).await?;
    let cafe_before = format!("{:?}", bench.record(&cafe).await?);
    // No text of a date in one database, and none that fits into ours in the other.
    bench.database.execute(r#"UPDATE "Setting" SET "createdAt" = 'infinity' WHERE "instanceId" = 'shop'"#)?;
    assert!(matches!(bench.store.get(&shop).await, Err(StoreError::Corrupt { .. })), "its settings are not known");
    let mut listed = bench.store.list().await?;
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    let [first, second] = &listed[..] else { panic!("both are listed: {listed:?}") };
    assert_eq!(format!("{first:?}"), cafe_before);
    assert_eq!((&second.id, second.token.as_str(), second.desired), (&shop, "token-of-shop", Desired::Connected));
    assert_eq!(second.unreadable, [InstanceRecord::UNREADABLE]);

    bench.database.execute(r#"UPDATE "Setting" SET "createdAt" = "updatedAt""#)?;
    assert!(bench.record(&shop).await?.unreadable.is_empty());
    Ok(())
}

pub(super) async fn a_proxy_is_replaced_and_says_whether_it_changed(bench: Bench) -> Outcome {
    let id = bench.instance("shop").await?;
    let text = str::to_owned;
    let spec = ProxySpec {
        enabled: true,
        host: text("proxy.test"),
        port: text("8080"),
        protocol: text("http"),
        username: String::new(),
        password: String::new(),
    };
    assert!(!bench.store.set_proxy(&id, ProxySpec::off()).await?, "there was none before");
    assert!(bench.store.set_proxy(&id, spec.clone()).await?);
    let row = bench.record(&id).await?.proxy.expect("a row");
    assert!(!bench.store.set_proxy(&id, spec.clone()).await?);
    let other = ProxySpec { password: text("another"), ..spec.clone() };
    assert!(bench.store.set_proxy(&id, other.clone()).await?);
    let again = bench.record(&id).await?.proxy.expect("a row");
    assert_eq!((again.id, again.created_at, again.spec), (row.id, row.created_at, other));
    assert!(bench.store.set_proxy(&id, ProxySpec::off()).await?);
    assert_eq!(bench.record(&id).await?.proxy.expect("a row").spec, ProxySpec::off());

    let new = NewInstance { proxy: Some(spec.clone()), ..new_instance("born") };
    assert_eq!(bench.store.insert(new).await?.proxy.expect("a row").spec, spec);
    Ok(())
}

pub(super) async fn an_unknown_instance_is_named_as_such(bench: Bench) -> Outcome {
    let id = InstanceId::new("nobody");
    let store = &bench.store;
    assert!(store.get(&id).await?.is_none());
    assert!(store.webhook(&id).await?.is_none());
    assert_eq!(store.append(&id, vec![event(EventName::Call, "x")]).await?, 0, "nobody asked for its events");
    let key = holdfast::ports::session::MessageKey { chat: String::new(), sender: String::new(), id: String::new() };
    let answers = [
        store.patch(&id, InstancePatch::default()).await.err(),
        store.set_desired(&id, Desired::Connected).await.err(),
        store.delete(&id).await.err(),
        store.set_webhook(&id, webhook(&[])).await.err(),
        store.set_proxy(&id, ProxySpec::off()).await.err(),
        store.claim(&id).await.err(),
        store.device(&id).await.err(),
        store.read(&id, "session", "a").await.err(),
        store.read_many(&id, "session", &["a".to_owned()]).await.err(),
        store.scan(&id, "session", "").await.err(),
        store.last_key(&id, "session").await.err(),
        store.is_accepted(&id, &key).await.err(),
        store.commit(&id, holdfast_core::id::Epoch(1), device("d")).await.err(),
        store.archive(&id, "why").await.err(),
    ];
    for (at, answer) in answers.into_iter().enumerate() {
        assert!(matches!(answer, Some(StoreError::NoSuchInstance(_))), "call {at}: {answer:?}");
    }
    Ok(())
}

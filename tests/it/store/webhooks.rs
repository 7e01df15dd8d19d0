//! Webhooks: one for each instance.

use holdfast::ports::store::{InstancePatch, StoreError, WebhookSpec};
use holdfast_core::connection::state::PublicState;
use holdfast_core::event::EventName;
use serde_json::json;

use super::bench::{Bench, LATE, Outcome, event, webhook};

pub(super) async fn a_webhook_is_created_then_replaced(bench: Bench) -> Outcome {
    let id = bench.instance("shop").await?;
    assert!(bench.store.webhook(&id).await?.is_none());
    let first = bench.store.set_webhook(&id, webhook(&[EventName::MessagesUpsert, EventName::Call])).await?;
    assert!(first.id.len() == 25 && first.id.starts_with('c'), "{}", first.id);
    assert_eq!(
        (first.enabled, first.events.as_slice()),
        (true, &["MESSAGES_UPSERT".to_owned(), "CALL".to_owned()][..])
    );
    assert_eq!((first.headers, first.instance_id), (Some(json!({ "authorization": "Bearer x" })), id.clone()));

    let spec = WebhookSpec {
        url: "http://other.test".to_owned(),
        headers: None,
        by_events: true,
        base64: true,
        ..webhook(&[EventName::GroupsUpdate])
    };
    let second = bench.store.set_webhook(&id, spec).await?;
    assert_eq!((&second.id, second.created_at), (&first.id, first.created_at), "the row stays");
    assert_eq!((second.url.as_str(), second.headers.as_ref()), ("http://other.test", None));
    assert!(second.webhook_by_events && second.webhook_base64 && second.updated_at >= first.updated_at);
    let read = bench.store.webhook(&id).await?;
    assert_eq!(format!("{read:?}"), format!("{:?}", Some(second)));
    Ok(())
}

pub(super) async fn disabling_a_webhook_drops_what_waits_for_it(bench: Bench) -> Outcome {
    let id = bench.subscriber("shop", &[EventName::Call]).await?;
    let other = bench.subscriber("other", &[EventName::Call]).await?;
    bench.store.append(&id, vec![event(EventName::Call, "dead"), event(EventName::Call, "waiting")]).await?;
    bench.store.append(&other, vec![event(EventName::Call, "theirs")]).await?;
    let seq = bench.first(LATE).await?.seq;
    bench.store.settle(vec![(seq, super::deliveries::dead("gone"))]).await?;

    bench.store.set_webhook(&id, WebhookSpec { enabled: false, ..webhook(&[EventName::Call]) }).await?;
    assert_eq!(bench.due(LATE).await?, ["other theirs"]);
    assert_eq!(bench.store.append(&id, vec![event(EventName::Call, "later")]).await?, 0);
    assert_eq!(bench.store.lag().await?.dead, 1, "dead letters are kept for the operator");
    Ok(())
}

pub(super) async fn nothing_is_queued_for_what_is_no_web_address(bench: Bench) -> Outcome {
    let id = bench.subscriber("shop", &[EventName::Call]).await?;
    for url in ["", "vazio", "ftp://files.test", "httpx://odd.test"] {
        bench.store.set_webhook(&id, WebhookSpec { url: url.to_owned(), ..webhook(&[EventName::Call]) }).await?;
        assert_eq!(bench.store.append(&id, vec![event(EventName::Call, "lost")]).await?, 0, "{url:?}");
    }
    bench
        .store
        .set_webhook(&id, WebhookSpec { url: "https://hooks.test".to_owned(), ..webhook(&[EventName::Call]) })
        .await?;
    assert_eq!(bench.store.append(&id, vec![event(EventName::Call, "kept")]).await?, 1);
    Ok(())
}

pub(super) async fn an_unreadable_list_of_events_is_an_error(bench: Bench) -> Outcome {
    let id = bench.subscriber("shop", &[EventName::Call]).await?;
    bench.database.execute(r#"UPDATE "Webhook" SET "events" = 'null'"#)?;
    assert_eq!(bench.store.webhook(&id).await?.map(|row| row.events), Some(vec![]));
    assert_eq!(bench.store.append(&id, vec![event(EventName::Call, "x")]).await?, 0);
    bench.database.execute(r#"UPDATE "Webhook" SET "events" = '{"call":true}'"#)?;
    assert!(matches!(bench.store.webhook(&id).await, Err(StoreError::Corrupt { .. })));
    let lost = bench.store.append(&id, vec![event(EventName::Call, "x")]).await;
    assert!(matches!(lost, Err(StoreError::Corrupt { .. })), "{lost:?}");
    // A state and what tells of it are written together or not at all.
    let open = InstancePatch { connection_status: Some(PublicState::Open), ..InstancePatch::default() };
    let told = InstancePatch { events: vec![event(EventName::Call, "x")], ..open.clone() };
    let lost = bench.store.patch(&id, told).await;
    assert!(matches!(lost, Err(StoreError::Corrupt { .. })), "{lost:?}");
    assert_eq!(bench.store.get(&id).await?.map(|row| row.connection_status).as_deref(), Some("close"));
    bench.store.patch(&id, open).await?;
    assert_eq!(bench.store.get(&id).await?.map(|row| row.connection_status).as_deref(), Some("open"));
    Ok(())
}

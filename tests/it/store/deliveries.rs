//! The outbox: what is queued, in which order it is due, how it ends.

use std::time::Duration;

use holdfast::ports::outbox::{Lag, Settlement};
use holdfast::ports::store::{InstancePatch, WebhookSpec};
use holdfast_core::event::EventName;
use serde_json::json;

use super::bench::{Bench, LATE, Opening, Outcome, event, webhook};
use super::sessions::forget_at_once;

const CALL: EventName = EventName::Call;

pub(super) async fn only_what_was_asked_for_is_queued(bench: Bench) -> Outcome {
    let silent = bench.instance("silent").await?;
    let nothing = bench.subscriber("nothing", &[]).await?;
    let some = bench.subscriber("some", &[CALL]).await?;
    let owner = InstancePatch { owner_jid: Some("55@s.whatsapp.net".to_owned()), ..InstancePatch::default() };
    bench.store.patch(&some, owner).await?;
    let both = || vec![event(CALL, "call"), event(EventName::PresenceUpdate, "presence")];
    assert_eq!(bench.store.append(&silent, both()).await?, 0);
    assert_eq!(bench.store.append(&nothing, both()).await?, 0);
    assert_eq!(bench.store.append(&some, both()).await?, 1);
    assert_eq!(bench.store.append(&some, vec![]).await?, 0);
    let due = bench.store.due(LATE, 10).await?;
    assert_eq!(due.len(), 1);
    assert_eq!((due[0].event.name, &due[0].event.data), (CALL, &json!({ "label": "call" })));
    assert_eq!((due[0].instance_name.as_str(), due[0].token.as_deref()), ("some", Some("token-of-some")));
    assert_eq!(due[0].owner_jid.as_deref(), Some("55@s.whatsapp.net"));
    assert_eq!(due[0].event_id.len(), 36);
    Ok(())
}

pub(super) async fn both_spellings_of_group_updates_are_understood(bench: Bench) -> Outcome {
    let id = bench.subscriber("shop", &[EventName::GroupsUpdate]).await?;
    for spelling in ["GROUP_UPDATE", "GROUPS_UPDATE"] {
        bench.database.execute(&format!(r#"UPDATE "Webhook" SET "events" = '["{spelling}", "UNHEARD_OF"]'"#))?;
        assert_eq!(bench.store.append(&id, vec![event(EventName::GroupsUpdate, "x")]).await?, 1, "{spelling}");
    }
    Ok(())
}

pub(super) async fn each_instance_delivers_in_order(bench: Bench) -> Outcome {
    let a = bench.subscriber("a", &[CALL]).await?;
    let b = bench.subscriber("b", &[CALL]).await?;
    bench.store.append(&a, vec![event(CALL, "1"), event(CALL, "2")]).await?;
    bench.store.append(&b, vec![event(CALL, "1")]).await?;
    let due = bench.store.due(LATE, 10).await?;
    assert_eq!(bench.due(LATE).await?, ["a 1", "b 1"], "the oldest of each, and nothing behind it");
    assert_eq!(bench.due(due[0].at_ms - 1).await?, Vec::<String>::new());
    assert_eq!(bench.store.next_due_at().await?, Some(due[0].at_ms));
    let lag = bench.store.lag().await?;
    assert_eq!((lag.pending, lag.oldest_ms, lag.dead), (3, Some(due[0].at_ms), 0));

    bench.store.settle(vec![(due[0].seq, Settlement::Delivered), (due[1].seq, Settlement::Delivered)]).await?;
    assert_eq!(bench.due(LATE).await?, ["a 2"]);
    let seq = bench.store.due(LATE, 1).await?[0].seq;
    assert!(seq > due[0].seq);
    bench.store.settle(vec![(seq, Settlement::Delivered), (seq, Settlement::Delivered)]).await?;
    assert_eq!(bench.store.lag().await?, Lag::default());
    assert_eq!(bench.store.next_due_at().await?, None);
    Ok(())
}

pub(super) async fn a_retry_holds_up_what_follows_it(bench: Bench) -> Outcome {
    let a = bench.subscriber("a", &[CALL]).await?;
    let b = bench.subscriber("b", &[CALL]).await?;
    bench.store.append(&a, vec![event(CALL, "1"), event(CALL, "2")]).await?;
    bench.store.append(&b, vec![event(CALL, "1")]).await?;
    let first = bench.store.due(LATE, 1).await?.remove(0);
    let later = first.at_ms + 3_600_000;
    bench.store.settle(vec![(first.seq, Settlement::RetryAt { at_ms: later, why: "503".to_owned() })]).await?;
    assert_eq!(bench.due(later - 1).await?, ["b 1"], "neither the retry nor what is behind it");
    let again = bench.store.due(later, 1).await?.remove(0);
    assert_eq!((again.seq, &again.event_id, again.attempts), (first.seq, &first.event_id, 1));
    let b_seq = bench.store.due(later - 1, 1).await?[0].seq;
    bench.store.settle(vec![(b_seq, Settlement::Delivered)]).await?;
    assert_eq!(bench.store.next_due_at().await?, Some(later), "what is behind a retry is not due before it");
    Ok(())
}

pub(super) async fn a_dead_letter_lets_the_next_one_go(bench: Bench) -> Outcome {
    let id = bench.subscriber("a", &[CALL]).await?;
    bench.store.append(&id, vec![event(CALL, "1"), event(CALL, "2")]).await?;
    let seq = bench.store.due(LATE, 1).await?[0].seq;
    bench.store.settle(vec![(seq, Settlement::Dead { why: "404".to_owned() })]).await?;
    assert_eq!(bench.due(LATE).await?, ["a 2"]);
    let lag = bench.store.lag().await?;
    assert_eq!((lag.pending, lag.dead), (1, 1));
    assert_eq!(bench.database.texts("SELECT why FROM holdfast_outbox WHERE state = 'dead'")?, ["404"]);
    Ok(())
}

pub(super) async fn the_target_is_the_present_webhook(bench: Bench) -> Outcome {
    let id = bench.subscriber("a", &[CALL]).await?;
    bench.store.append(&id, vec![event(CALL, "1")]).await?;
    let moved = WebhookSpec { url: "http://new.test".to_owned(), headers: None, by_events: true, ..webhook(&[CALL]) };
    bench.store.set_webhook(&id, moved).await?;
    let target = bench.store.due(LATE, 1).await?.remove(0).target;
    assert_eq!((target.url.as_str(), target.headers, target.by_events), ("http://new.test", None, true));
    Ok(())
}

pub(super) async fn the_longest_waiting_come_first_up_to_the_limit(bench: Bench) -> Outcome {
    let names: Vec<String> = (0..12).map(|number| format!("i{:02}", 11 - number)).collect();
    for name in &names {
        let id = bench.subscriber(name, &[CALL]).await?;
        bench.store.append(&id, vec![event(CALL, "1")]).await?;
    }
    let due = bench.store.due(LATE, 5).await?;
    let order: Vec<_> = due.iter().map(|delivery| delivery.instance_name.clone()).collect();
    assert_eq!(order, names[..5]);
    assert!(bench.store.due(LATE, 0).await?.is_empty());
    Ok(())
}

pub(super) async fn queued_events_survive_a_restart_with_their_ids(mut bench: Bench) -> Outcome {
    let id = bench.subscriber("a", &[CALL]).await?;
    bench.store.append(&id, vec![event(CALL, "1"), event(CALL, "2")]).await?;
    let before = bench.store.due(LATE, 1).await?.remove(0);
    bench.reopen(Opening::default()).await?;
    let after = bench.store.due(LATE, 1).await?.remove(0);
    assert_eq!((after.seq, after.event_id, after.at_ms), (before.seq, before.event_id, before.at_ms));
    bench.store.settle(vec![(after.seq, Settlement::Delivered)]).await?;
    bench.reopen(Opening::default()).await?;
    assert_eq!(bench.due(LATE).await?, ["a 2"]);
    Ok(())
}

pub(super) async fn appending_wakes_the_dispatcher(bench: Bench) -> Outcome {
    let id = bench.subscriber("a", &[CALL]).await?;
    let appended = bench.store.appended();
    let woken = async || tokio::time::timeout(Duration::from_millis(300), appended.notified()).await.is_ok();
    bench.store.append(&id, vec![event(CALL, "1")]).await?;
    assert!(woken().await, "also when it happened before anybody waited");
    bench.store.append(&id, vec![event(EventName::PresenceUpdate, "nobody asked")]).await?;
    assert!(!woken().await);
    let (woken, appending) = tokio::join!(woken(), bench.store.append(&id, vec![event(CALL, "2")]));
    assert!(woken && appending? == 1);
    Ok(())
}

pub(super) async fn a_row_that_cannot_be_read_holds_up_its_own_instance_only(bench: Bench) -> Outcome {
    let a = bench.subscriber("a", &[CALL]).await?;
    let b = bench.subscriber("b", &[CALL]).await?;
    bench.store.append(&a, vec![event(CALL, "1"), event(CALL, "2")]).await?;
    bench.store.append(&b, vec![event(CALL, "1")]).await?;
    bench
        .database
        .execute("UPDATE holdfast_outbox SET event = 'from.the.future' WHERE instance_id = 'a' AND data LIKE '%1%'")?;
    assert_eq!(bench.due(LATE).await?, ["b 1"]);
    assert_eq!(bench.store.lag().await?.pending, 3);
    Ok(())
}

pub(super) async fn old_dead_letters_are_forgotten(mut bench: Bench) -> Outcome {
    let id = bench.subscriber("a", &[CALL]).await?;
    bench.store.append(&id, vec![event(CALL, "1"), event(CALL, "2")]).await?;
    let seq = bench.store.due(LATE, 1).await?[0].seq;
    bench.store.settle(vec![(seq, Settlement::Dead { why: "404".to_owned() })]).await?;
    bench.reopen(Opening::default()).await?;
    assert_eq!(bench.store.lag().await?.dead, 1);
    forget_at_once(&mut bench).await?;
    let lag = bench.store.lag().await?;
    assert_eq!((lag.pending, lag.dead), (1, 0), "what still waits is never forgotten");
    Ok(())
}

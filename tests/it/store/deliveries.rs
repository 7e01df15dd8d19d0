//! The outbox: what is queued, in which order it is due, how it ends.

use std::time::Duration;

use holdfast::ports::outbox::{Lag, Loaded, Settlement};
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
    let due = bench.deliveries(LATE).await?;
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
    let due = bench.deliveries(LATE).await?;
    assert_eq!(bench.due(LATE).await?, ["a 1", "b 1"], "the oldest of each, and nothing behind it");
    assert_eq!(bench.due(due[0].at_ms - 1).await?, Vec::<String>::new());
    assert_eq!((due[0].waiting_ms, due[0].tries, due[0].attempts), (due[0].at_ms, 0, 0));
    let lag = bench.store.lag().await?;
    assert_eq!((lag.pending, lag.oldest_ms, lag.dead), (3, Some(due[0].at_ms), 0));

    bench.store.settle(vec![(due[0].seq, Settlement::Delivered), (due[1].seq, Settlement::Delivered)]).await?;
    assert_eq!(bench.due(LATE).await?, ["a 2"]);
    let seq = bench.first(LATE).await?.seq;
    assert!(seq > due[0].seq);
    bench.store.settle(vec![(seq, Settlement::Delivered), (seq, Settlement::Delivered)]).await?;
    assert_eq!(bench.store.lag().await?, Lag::default());
    assert_eq!(bench.store.heads().await?, Vec::new());
    Ok(())
}

pub(super) async fn a_retry_holds_up_what_follows_it(bench: Bench) -> Outcome {
    let a = bench.subscriber("a", &[CALL]).await?;
    let b = bench.subscriber("b", &[CALL]).await?;
    bench.store.append(&a, vec![event(CALL, "1"), event(CALL, "2")]).await?;
    bench.store.append(&b, vec![event(CALL, "1")]).await?;
    let first = bench.first(LATE).await?;
    let later = first.at_ms + 3_600_000;
    bench.store.settle(vec![(first.seq, retry(later, true))]).await?;
    assert_eq!(bench.due(later - 1).await?, ["b 1"], "neither the retry nor what is behind it");
    let again = bench.first(later).await?;
    assert_eq!((again.seq, &again.event_id), (first.seq, &first.event_id));
    assert_eq!((again.tries, again.attempts), (1, 1));
    let b_seq = bench.first(later - 1).await?.seq;
    bench.store.settle(vec![(b_seq, Settlement::Delivered)]).await?;
    let heads = bench.store.heads().await?;
    assert_eq!(heads.len(), 1, "what is behind a retry is not due before it");
    assert_eq!((heads[0].seq, heads[0].due_ms, heads[0].tries), (first.seq, later, 1));
    bench.store.settle(vec![(first.seq, retry(later, false))]).await?;
    let again = bench.first(later).await?;
    assert_eq!((again.tries, again.attempts), (2, 1), "not every try counts");
    Ok(())
}

pub(super) async fn a_dead_letter_lets_the_next_one_go(bench: Bench) -> Outcome {
    let id = bench.subscriber("a", &[CALL]).await?;
    bench.store.append(&id, vec![event(CALL, "1"), event(CALL, "2")]).await?;
    let seq = bench.first(LATE).await?.seq;
    bench.store.settle(vec![(seq, dead("404"))]).await?;
    assert_eq!(bench.due(LATE).await?, ["a 2"]);
    let lag = bench.store.lag().await?;
    assert_eq!((lag.pending, lag.dead), (1, 1));
    assert_eq!(bench.database.texts("SELECT why FROM holdfast_outbox WHERE state = 'dead'")?, ["404"]);
    Ok(())
}

pub(super) async fn what_is_as_old_as_a_dead_letter_goes_along(bench: Bench) -> Outcome {
    let a = bench.subscriber("a", &[CALL]).await?;
    let b = bench.subscriber("b", &[CALL]).await?;
    bench.store.append(&a, vec![event(CALL, "1"), event(CALL, "2"), event(CALL, "3")]).await?;
    bench.store.append(&b, vec![event(CALL, "1")]).await?;
    bench.database.execute("UPDATE holdfast_outbox SET waiting_ms = seq")?;
    let first = bench.first(LATE).await?;
    let too_old =
        Settlement::Dead { counts: false, and_before_ms: Some(first.waiting_ms + 2), why: "too old".to_owned() };
    bench.store.settle(vec![(first.seq, too_old)]).await?;
    assert_eq!(bench.due(LATE).await?, ["a 3", "b 1"], "of its own instance alone");
    let whys =
        bench.database.texts("SELECT why || ' ' || tries FROM holdfast_outbox WHERE state = 'dead' ORDER BY seq")?;
    assert_eq!(whys, ["too old 1", "it has waited as long as one before it: too old 0"]);
    Ok(())
}

pub(super) async fn it_is_told_for_each_instance_how_much_waits(bench: Bench) -> Outcome {
    let a = bench.subscriber("a", &[CALL]).await?;
    let gone = bench.subscriber("gone", &[CALL, EventName::InstanceDelete]).await?;
    bench.store.append(&a, vec![event(CALL, "1"), event(CALL, "2"), event(CALL, "3")]).await?;
    let first = bench.first(LATE).await?;
    bench.store.settle(vec![(first.seq, dead("404"))]).await?;
    bench.store.delete(&gone).await?;
    let moved = WebhookSpec { url: "https://user:s3cret@new.test:8443/x?k=s3cret".to_owned(), ..webhook(&[CALL]) };
    bench.store.set_webhook(&a, moved).await?;
    let lags = bench.store.lags().await?;
    let told: Vec<_> =
        lags.iter().map(|one| (one.name.as_str(), one.origin.as_str(), one.lag.pending, one.lag.dead)).collect();
    assert_eq!(told, [("a", "https://new.test:8443", 2, 1), ("gone", "http://receiver.test", 1, 0)]);
    assert!(lags.iter().all(|one| one.lag.oldest_ms >= Some(first.waiting_ms)), "{lags:?}");
    assert_eq!(lags[0].instance, a);
    let origins: Vec<_> = bench.store.heads().await?.iter().map(|head| head.origin.to_string()).collect();
    assert_eq!(origins.iter().filter(|origin| *origin == "http://receiver.test").count(), 1);
    Ok(())
}

pub(super) async fn the_target_is_the_present_webhook(bench: Bench) -> Outcome {
    let id = bench.subscriber("a", &[CALL]).await?;
    bench.store.append(&id, vec![event(CALL, "1")]).await?;
    let moved = WebhookSpec { url: "http://new.test".to_owned(), headers: None, by_events: true, ..webhook(&[CALL]) };
    bench.store.set_webhook(&id, moved).await?;
    let target = bench.first(LATE).await?.target;
    assert_eq!((target.url.as_str(), target.headers, target.by_events), ("http://new.test", None, true));
    Ok(())
}

pub(super) async fn queued_events_survive_a_restart_with_their_ids(mut bench: Bench) -> Outcome {
    let id = bench.subscriber("a", &[CALL]).await?;
    bench.store.append(&id, vec![event(CALL, "1"), event(CALL, "2")]).await?;
    let before = bench.first(LATE).await?;
    bench.reopen(Opening::default()).await?;
    let after = bench.first(LATE).await?;
    assert_eq!((after.seq, after.event_id, after.at_ms), (before.seq, before.event_id, before.at_ms));
    bench.store.settle(vec![(after.seq, Settlement::Delivered)]).await?;
    bench.reopen(Opening::default()).await?;
    assert_eq!(bench.due(LATE).await?, ["a 2"]);
    Ok(())
}

pub(super) async fn appending_wakes_the_dispatcher(bench: Bench) -> Outcome {
    let id = bench.subscriber("a", &[CALL]).await?;
    let appended = bench.store.appended();
    let woken = async |within| tokio::time::timeout(within, appended.notified()).await.is_ok();
    let (soon, long) = (Duration::from_millis(300), Duration::from_secs(10));
    bench.store.append(&id, vec![event(CALL, "1")]).await?;
    assert!(woken(long).await, "also when it happened before anybody waited");
    bench.store.append(&id, vec![event(EventName::PresenceUpdate, "nobody asked")]).await?;
    assert!(!woken(soon).await);
    let (woken, appending) = tokio::join!(woken(long), bench.store.append(&id, vec![event(CALL, "2")]));
    assert!(woken && appending? == 1);
    Ok(())
}

pub(super) async fn a_row_that_cannot_be_read_is_named_and_can_be_put_aside(bench: Bench) -> Outcome {
    let a = bench.subscriber("a", &[CALL]).await?;
    for (spoilt, expected) in [("event = 'from.the.future'", "from.the.future"), ("data = '{'", "data cannot be read")]
    {
        bench.store.append(&a, vec![event(CALL, "1"), event(CALL, "2")]).await?;
        let seq = bench.first(LATE).await?.seq;
        bench.database.execute(&format!("UPDATE holdfast_outbox SET {spoilt} WHERE seq = {seq}"))?;
        let Loaded::Unreadable { seq: found, why } = bench.store.next(&a, LATE).await? else {
            anyhow::bail!("it was read")
        };
        assert!(found == seq && why.contains(expected), "{why}");
        bench.store.settle(vec![(seq, Settlement::Unreadable { why })]).await?;
        assert_eq!(bench.due(LATE).await?, ["a 2"]);
        bench.store.settle(vec![(bench.first(LATE).await?.seq, Settlement::Delivered)]).await?;
    }
    assert_eq!(bench.store.lag().await?.dead, 2);
    Ok(())
}

pub(super) async fn headers_that_cannot_be_read_are_the_webhooks_fault(bench: Bench) -> Outcome {
    let a = bench.subscriber("a", &[CALL]).await?;
    bench.store.append(&a, vec![event(CALL, "1")]).await?;
    let broken = bench.database.execute(r#"UPDATE "Webhook" SET "headers" = '{'"#);
    if !bench.database.keeps_broken_json() {
        assert!(broken.is_err(), "the database lets no such headers in");
        return Ok(());
    }
    broken?;
    assert_eq!(bench.first(LATE).await?.target.headers, Some(json!(null)));
    Ok(())
}

pub(super) async fn old_dead_letters_are_forgotten(mut bench: Bench) -> Outcome {
    let id = bench.subscriber("a", &[CALL]).await?;
    bench.store.append(&id, vec![event(CALL, "1"), event(CALL, "2")]).await?;
    let seq = bench.first(LATE).await?.seq;
    bench.store.settle(vec![(seq, dead("404"))]).await?;
    bench.reopen(Opening::default()).await?;
    assert_eq!(bench.store.lag().await?.dead, 1);
    forget_at_once(&mut bench).await?;
    let lag = bench.store.lag().await?;
    assert_eq!((lag.pending, lag.dead), (1, 0), "what still waits is never forgotten");
    Ok(())
}

pub(super) fn retry(at_ms: i64, counts: bool) -> Settlement {
    Settlement::RetryAt { at_ms, counts, why: "503".to_owned() }
}

pub(super) fn dead(why: &str) -> Settlement {
    Settlement::Dead { counts: true, and_before_ms: None, why: why.to_owned() }
}

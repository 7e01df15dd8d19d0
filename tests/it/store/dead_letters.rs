//! The dead letters: shown, taken back, thrown away.

use std::time::Duration;

use holdfast::ports::dead_letters::{Page, Redriven, Selection};
use holdfast::ports::outbox::Settlement;
use holdfast::ports::store::WebhookSpec;
use holdfast_core::event::EventName;
use holdfast_core::id::InstanceId;
use serde_json::json;

use super::bench::{Bench, LATE, Outcome, event, webhook};
use super::deliveries::dead;

const CALL: EventName = EventName::Call;
const EVERYTHING: Page = Page { instance: None, after: 0, limit: 1000, data: false };

/// Queues events with these labels, and gives them up.
async fn give_up(bench: &Bench, id: &InstanceId, labels: &[&str]) -> Outcome {
    bench.store.append(id, labels.iter().map(|label| event(CALL, label)).collect()).await?;
    for _ in labels {
        let seq = bench.deliveries(LATE).await?.into_iter().find(|one| one.instance == *id).expect("it waits").seq;
        bench.store.settle(vec![(seq, dead("404"))]).await?;
    }
    Ok(())
}

async fn letters(bench: &Bench) -> anyhow::Result<Vec<String>> {
    let found = bench.store.dead_letters(Page { data: true, ..EVERYTHING }).await?;
    let label = |data: Option<serde_json::Value>| data.and_then(|data| data["label"].as_str().map(str::to_owned));
    Ok(found.into_iter().map(|one| format!("{} {}", one.instance_name, label(one.data).unwrap_or_default())).collect())
}

pub(super) async fn letters_are_shown_in_pages_the_oldest_first(bench: Bench) -> Outcome {
    let a = bench.subscriber("a", &[CALL]).await?;
    let b = bench.subscriber("b", &[CALL]).await?;
    give_up(&bench, &a, &["1", "2"]).await?;
    give_up(&bench, &b, &["1"]).await?;
    let moved = WebhookSpec { url: "http://new.test/x".to_owned(), ..webhook(&[CALL]) };
    bench.store.set_webhook(&a, moved).await?;
    let first = bench.store.dead_letters(Page { limit: 1, data: true, ..EVERYTHING }).await?.remove(0);
    assert_eq!((&first.instance, first.instance_name.as_str(), first.event.as_str()), (&a, "a", "call"));
    assert_eq!((first.why.as_str(), first.tries, first.url.as_str()), ("404", 1, "http://new.test/x"));
    assert_eq!((first.event_id.len(), first.data), (36, Some(json!({ "label": "1" }))));
    assert!(first.dead_ms >= first.at_ms);
    let rest = bench.store.dead_letters(Page { after: first.seq, ..EVERYTHING }).await?;
    let names: Vec<_> = rest.iter().map(|one| (one.instance_name.as_str(), one.data.is_none())).collect();
    assert_eq!(names, [("a", true), ("b", true)]);
    let of_b = Page { instance: Some("b".to_owned()), ..EVERYTHING };
    assert_eq!(bench.store.dead_letters(of_b).await?.len(), 1);
    let of_nobody = Page { instance: Some("nobody".to_owned()), ..EVERYTHING };
    assert!(bench.store.dead_letters(of_nobody).await?.is_empty());
    // What nobody can read is shown as it is.
    bench
        .database
        .execute(&format!("UPDATE holdfast_outbox SET data = '{{', event = 'x' WHERE seq = {}", first.seq))?;
    let first = bench.store.dead_letters(Page { limit: 1, data: true, ..EVERYTHING }).await?.remove(0);
    assert_eq!((first.event.as_str(), first.data), ("x", Some(json!("{"))));
    Ok(())
}

pub(super) async fn a_redriven_letter_goes_before_what_came_later(bench: Bench) -> Outcome {
    let a = bench.subscriber("a", &[CALL]).await?;
    bench.store.append(&a, vec![event(CALL, "1"), event(CALL, "2")]).await?;
    let first = bench.first(LATE).await?;
    for _ in 0..2 {
        let wait = Settlement::RetryAt { at_ms: first.at_ms, counts: true, why: "500".to_owned() };
        bench.store.settle(vec![(first.seq, wait)]).await?;
    }
    bench.store.settle(vec![(first.seq, dead("500"))]).await?;
    assert_eq!(bench.due(LATE).await?, ["a 2"]);
    bench.database.execute("UPDATE holdfast_outbox SET at_ms = 1, waiting_ms = 1")?;
    assert_eq!(bench.store.redrive(Selection::All).await?, Redriven { redriven: 1, left: 0 });
    let again = bench.first(LATE).await?;
    assert_eq!((again.seq, &again.event_id, again.at_ms), (first.seq, &first.event_id, 1));
    assert_eq!((again.tries, again.attempts), (3, 0), "every try was made, and none counts any more");
    assert!(again.waiting_ms > 1, "its wait begins anew");
    assert_eq!(bench.store.lag().await?.dead, 0);
    Ok(())
}

pub(super) async fn letters_of_a_disabled_webhook_stay(bench: Bench) -> Outcome {
    let a = bench.subscriber("a", &[CALL]).await?;
    let b = bench.subscriber("b", &[CALL]).await?;
    give_up(&bench, &a, &["1"]).await?;
    give_up(&bench, &b, &["1"]).await?;
    bench.store.set_webhook(&a, WebhookSpec { enabled: false, ..webhook(&[CALL]) }).await?;
    assert_eq!(bench.store.redrive(Selection::All).await?, Redriven { redriven: 1, left: 1 });
    assert_eq!(bench.due(LATE).await?, ["b 1"]);
    assert_eq!(letters(&bench).await?, ["a 1"]);
    assert_eq!(bench.store.discard(Selection::All).await?, 1);
    Ok(())
}

pub(super) async fn letters_of_an_instance_that_is_gone_go_where_they_were_to_go(bench: Bench) -> Outcome {
    let a = bench.subscriber("a", &[CALL]).await?;
    give_up(&bench, &a, &["1"]).await?;
    bench.store.delete(&a).await?;
    assert_eq!(letters(&bench).await?, ["a 1"]);
    let redriven = bench.store.redrive(Selection::Instance("a".to_owned())).await?;
    assert_eq!(redriven, Redriven { redriven: 1, left: 0 });
    assert_eq!(bench.first(LATE).await?.target.url, "http://receiver.test/hook");
    Ok(())
}

pub(super) async fn only_what_was_chosen_is_redriven_or_discarded(bench: Bench) -> Outcome {
    let a = bench.subscriber("a", &[CALL]).await?;
    let b = bench.subscriber("b", &[CALL]).await?;
    give_up(&bench, &a, &["1", "2", "3"]).await?;
    give_up(&bench, &b, &["1"]).await?;
    bench.store.append(&b, vec![event(CALL, "waits")]).await?;
    let waiting = bench.first(LATE).await?.seq;
    let second = bench.store.dead_letters(EVERYTHING).await?[1].seq;
    // A row that waits is no letter, and one that does not exist is none either.
    let rows = Selection::Rows(vec![second, waiting, 999_999]);
    assert_eq!(bench.store.discard(rows.clone()).await?, 1);
    assert_eq!(bench.store.redrive(rows).await?, Redriven::default());
    assert_eq!(bench.store.redrive(Selection::Rows(Vec::new())).await?, Redriven::default());
    assert_eq!(letters(&bench).await?, ["a 1", "a 3", "b 1"]);
    assert_eq!(bench.store.discard(Selection::Instance("nobody".to_owned())).await?, 0);
    assert_eq!(bench.store.discard(Selection::Instance("a".to_owned())).await?, 2);
    assert_eq!(letters(&bench).await?, ["b 1"]);
    assert_eq!(bench.store.discard(Selection::All).await?, 1);
    assert_eq!(bench.due(LATE).await?, ["b waits"]);
    Ok(())
}

pub(super) async fn more_letters_than_one_step_takes_are_all_redriven(bench: Bench) -> Outcome {
    let a = bench.subscriber("a", &[CALL]).await?;
    let labels: Vec<String> = (0..1234).map(|number| number.to_string()).collect();
    bench.store.append(&a, labels.iter().map(|label| event(CALL, label)).collect()).await?;
    bench.database.execute("UPDATE holdfast_outbox SET state = 'dead', dead_ms = 1")?;
    assert_eq!(bench.store.redrive(Selection::All).await?, Redriven { redriven: 1234, left: 0 });
    assert_eq!(bench.store.lag().await?.pending, 1234);
    assert_eq!(bench.due(LATE).await?, ["a 0"]);
    Ok(())
}

pub(super) async fn redriving_wakes_the_dispatcher(bench: Bench) -> Outcome {
    let a = bench.subscriber("a", &[CALL]).await?;
    give_up(&bench, &a, &["1"]).await?;
    let appended = bench.store.appended();
    let woken = async || tokio::time::timeout(Duration::from_millis(300), appended.notified()).await.is_ok();
    woken().await;
    bench.store.redrive(Selection::All).await?;
    assert!(woken().await);
    bench.store.redrive(Selection::All).await?;
    assert!(!woken().await, "nothing was redriven");
    Ok(())
}

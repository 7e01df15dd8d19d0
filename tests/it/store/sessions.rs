//! Sessions: ownership, batches, reading, archiving.

use std::collections::BTreeSet;
use std::time::Duration;

use holdfast::ports::outbox::Settlement;
use holdfast::ports::session::{Accepted, Clear, Loss, LossReason, MessageKey, SessionBatch, Write};
use holdfast::ports::store::StoreError;
use holdfast::store::Retention;
use holdfast_core::event::EventName;
use holdfast_core::id::{Epoch, InstanceId, Revision};

use super::bench::{Bench, LATE, Opening, Outcome, device, event, label, put, webhook, writes};

pub(super) async fn each_claim_fences_the_earlier_one_off(bench: Bench) -> Outcome {
    let (id, first) = bench.session("shop").await?;
    assert_eq!(bench.store.commit(&id, first, writes(vec![put("session", "a", "1")])).await?, Revision(1));
    let claim = bench.store.claim(&id).await?;
    assert_eq!((claim.epoch, claim.revision), (first.next(), Revision(1)));

    let late = SessionBatch {
        writes: vec![put("session", "a", "stale"), put("session", "b", "stale")],
        accepted: vec![accepted("ana", "1", "late")],
        ..device("stale")
    };
    let error = bench.store.commit(&id, first, late).await.expect_err("another claim was made");
    assert!(matches!(&error, StoreError::FencedOff(fenced) if *fenced == id), "{error:?}");
    assert_eq!(text(&bench, &id, "a").await?.as_deref(), Some("1"));
    assert_eq!(text(&bench, &id, "b").await?, None);
    assert_eq!(bench.store.device(&id).await?, None);
    assert!(!bench.store.is_accepted(&id, &key("ana", "1")).await?);
    assert_eq!(bench.store.claim(&id).await?.revision, Revision(1), "a refused batch raises nothing");
    Ok(())
}

pub(super) async fn only_an_owner_writes(bench: Bench) -> Outcome {
    let id = bench.instance("shop").await?;
    let refused = |epoch| bench.store.commit(&id, epoch, writes(vec![put("session", "a", "1")]));
    for never_claimed in [Epoch(0), Epoch(1)] {
        assert!(matches!(refused(never_claimed).await, Err(StoreError::FencedOff(_))), "{never_claimed}");
    }
    let first = bench.store.claim(&id).await?.epoch;
    let second = bench.store.claim(&id).await?.epoch;
    bench.store.release(&id, first).await?;
    refused(second).await?;
    bench.store.release(&id, second).await?;
    assert!(matches!(refused(second).await, Err(StoreError::FencedOff(_))), "nobody owns it any more");
    assert_eq!(bench.store.claim(&id).await?.epoch, second.next());
    Ok(())
}

pub(super) async fn a_batch_clears_then_writes_in_order(bench: Bench) -> Outcome {
    let (id, epoch) = bench.session("shop").await?;
    bench.store.commit(&id, epoch, writes(vec![put("session", "old", "1"), put("identity", "old", "1")])).await?;
    let batch = SessionBatch {
        clears: vec![Clear { category: "session", prefix: String::new(), expired_at: None }],
        writes: vec![
            put("session", "new", "first"),
            put("session", "new", "second"),
            put("session", "brief", "1"),
            Write { category: "session", key: "brief".to_owned(), value: None, expires_at: None },
        ],
        ..SessionBatch::default()
    };
    assert_eq!(bench.store.commit(&id, epoch, batch).await?, Revision(2));
    let left = bench.store.scan(&id, "session", "").await?;
    assert_eq!(left, [("new".to_owned(), b"second".to_vec())]);
    assert!(bench.store.read(&id, "identity", "old").await?.is_some(), "another category is not touched");
    Ok(())
}

pub(super) async fn a_batch_is_written_whole_or_not_at_all(bench: Bench) -> Outcome {
    let (id, epoch) = bench.session("shop").await?;
    // Credentials that cannot be read are not replaced, so the end of this batch fails after everything else was done.
    let first = bench.store.commit(&id, epoch, device("first")).await?;
    bench.database.execute(r#"UPDATE "Session" SET "creds" = '{"format":"holdfast/1",'"#)?;
    let batch = SessionBatch {
        writes: vec![put("session", "a", "1")],
        accepted: vec![accepted("ana", "1", "x")],
        ..device("second")
    };
    assert!(matches!(bench.store.commit(&id, epoch, batch).await, Err(StoreError::Corrupt { .. })));
    assert_eq!(text(&bench, &id, "a").await?, None);
    assert!(!bench.store.is_accepted(&id, &key("ana", "1")).await?);
    assert_eq!(bench.store.claim(&id).await?.revision, first);
    Ok(())
}

pub(super) async fn values_survive_a_restart(mut bench: Bench) -> Outcome {
    let (id, epoch) = bench.session("shop").await?;
    let batch = SessionBatch {
        writes: vec![put("session", "a", "1")],
        accepted: vec![accepted("ana", "1", "x")],
        ..device("the device")
    };
    let written = bench.store.commit(&id, epoch, batch).await?;
    bench.reopen(Opening::default()).await?;
    assert_eq!(text(&bench, &id, "a").await?.as_deref(), Some("1"));
    assert_eq!(bench.store.device(&id).await?.as_deref(), Some(&b"the device"[..]));
    assert!(bench.store.is_accepted(&id, &key("ana", "1")).await?);
    assert!(bench.record(&id).await?.paired);
    let claim = bench.store.claim(&id).await?;
    assert_eq!((claim.epoch, claim.revision), (epoch.next(), written));
    Ok(())
}

pub(super) async fn many_values_are_read_at_once(bench: Bench) -> Outcome {
    let (id, epoch) = bench.session("shop").await?;
    let keys: Vec<String> = (0..1200).map(|number| format!("key-{number}")).collect();
    let all = keys.iter().map(|key| put("prekey", key, key)).collect();
    bench.store.commit(&id, epoch, writes(all)).await?;
    let mut asked = keys.clone();
    asked.push("missing".to_owned());
    let mut found = bench.store.read_many(&id, "prekey", &asked).await?;
    assert_eq!(found.len(), keys.len());
    assert!(found.iter().all(|(key, value)| key.as_bytes() == value));
    found.dedup();
    assert_eq!(found.len(), keys.len());
    assert!(bench.store.read_many(&id, "prekey", &[]).await?.is_empty());
    assert!(bench.store.read_many(&id, "session", &asked).await?.is_empty());
    // Few of them, among many, among a few others, and a few by themselves.
    for (every, upto) in [(30, 1200), (2, 1200), (1, 100), (10, 100)] {
        let asked: Vec<String> = keys[..upto].iter().step_by(every).cloned().collect();
        let found = bench.store.read_many(&id, "prekey", &asked).await?;
        let found: BTreeSet<String> = found.into_iter().map(|(key, _)| key).collect();
        assert_eq!(found, asked.into_iter().collect(), "every {every}. of {upto}");
    }
    Ok(())
}

pub(super) async fn a_scan_is_in_order_and_within_its_prefix(bench: Bench) -> Outcome {
    let (id, epoch) = bench.session("shop").await?;
    let other = bench.session("other").await?;
    let keys = ["b", "ana:2", "ana:10", "an", "anb", "ana", "ana_", "ana%x", "Ana:1", "añ"];
    bench.store.commit(&id, epoch, writes(keys.iter().map(|key| put("session", key, key)).collect())).await?;
    bench.store.commit(&other.0, other.1, writes(vec![put("session", "ana:0", "theirs")])).await?;
    let scan = async |prefix: &str| -> anyhow::Result<Vec<String>> {
        Ok(bench.store.scan(&id, "session", prefix).await?.into_iter().map(|(key, _)| key).collect())
    };
    assert_eq!(scan("ana:").await?, ["ana:10", "ana:2"]);
    assert_eq!(scan("ana").await?, ["ana", "ana%x", "ana:10", "ana:2", "ana_"]);
    assert_eq!(scan("ana%").await?, ["ana%x"]);
    assert_eq!(scan("añ").await?, ["añ"]);
    assert_eq!(scan("zz").await?, Vec::<String>::new());
    assert_eq!(scan("").await?.len(), keys.len());
    let last = bench.store.last_key(&id, "session").await?;
    assert_eq!(last, scan("").await?.pop(), "the last of its category");
    assert_eq!(bench.store.last_key(&id, "none").await?, None);
    Ok(())
}

pub(super) async fn clearing_deletes_what_it_counts(bench: Bench) -> Outcome {
    let (id, epoch) = bench.session("shop").await?;
    let until = |key: &str, expires_at| Write { expires_at, ..put("secret", key, "1") };
    let rows = vec![until("a1", Some(10)), until("a2", Some(20)), until("a3", None), until("b1", Some(10))];
    bench.store.commit(&id, epoch, writes(rows)).await?;
    let clear = |prefix: &str, expired_at| Clear { category: "secret", prefix: prefix.to_owned(), expired_at };
    for (clear, number, left) in [
        (clear("a", Some(9)), 0, "a1 a2 a3 b1"),
        (clear("a", Some(10)), 1, "a2 a3 b1"),
        (clear("", Some(100)), 2, "a3"),
        (clear("b", None), 0, "a3"),
        (clear("", None), 1, ""),
    ] {
        assert_eq!(bench.store.count(&id, &clear).await?, number, "{clear:?}");
        bench.store.commit(&id, epoch, SessionBatch { clears: vec![clear], ..SessionBatch::default() }).await?;
        let keys: Vec<_> = bench.store.scan(&id, "secret", "").await?.into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys.join(" "), left);
    }
    Ok(())
}

pub(super) async fn a_message_is_accepted_once_and_its_event_queued_once(bench: Bench) -> Outcome {
    let id = bench.subscriber("shop", &[EventName::MessagesUpsert, EventName::ConnectionUpdate]).await?;
    let epoch = bench.store.claim(&id).await?.epoch;
    let batch = |messages: Vec<Accepted>, other: &str| SessionBatch {
        accepted: messages,
        events: vec![event(EventName::ConnectionUpdate, other)],
        ..SessionBatch::default()
    };
    bench
        .store
        .commit(&id, epoch, batch(vec![accepted("ana", "1", "first"), accepted("ana", "2", "second")], "x"))
        .await?;
    let again =
        vec![accepted("ana", "2", "again"), accepted("bia", "2", "other chat"), accepted("bia", "2", "twice in one")];
    bench.store.commit(&id, epoch, batch(again, "y")).await?;
    let silent = Accepted { key: key("ana", "3"), event: None, recovered: false };
    bench.store.commit(&id, epoch, SessionBatch { accepted: vec![silent], ..SessionBatch::default() }).await?;

    let mut queued = Vec::new();
    while let Some(delivery) = bench.deliveries(LATE).await?.pop() {
        queued.push(label(&delivery));
        bench.store.settle(vec![(delivery.seq, Settlement::Delivered)]).await?;
    }
    assert_eq!(queued, ["first", "second", "x", "other chat", "y"]);
    for (chat, number, known) in [("ana", "1", true), ("ana", "3", true), ("bia", "1", false), ("bia", "2", true)] {
        assert_eq!(bench.store.is_accepted(&id, &key(chat, number)).await?, known, "{chat} {number}");
    }
    Ok(())
}

pub(super) async fn a_message_without_its_content_is_told_until_it_comes(bench: Bench) -> Outcome {
    let (id, epoch) = bench.session("shop").await?;
    bench.store.set_webhook(&id, webhook(&[EventName::MessagesUpsert])).await?;
    let note = |message: &MessageKey, given_up| {
        let loss = Loss { key: message.clone(), why: LossReason::ContentGone, given_up };
        SessionBatch { losses: vec![loss], ..SessionBatch::default() }
    };
    let accept = |one: Accepted| SessionBatch { accepted: vec![one], ..SessionBatch::default() };
    let (first, second, third) = (key("ana@lid", "1"), key("ana@lid", "2"), key("ana@lid", "3"));
    for message in [&first, &first, &second] {
        bench.store.commit(&id, epoch, note(message, false)).await?;
    }
    let silent = Accepted { key: third.clone(), event: None, recovered: false };
    bench.store.commit(&id, epoch, SessionBatch { accepted: vec![silent], ..note(&third, true) }).await?;
    assert_eq!((bench.store.times_lost(&id, &first).await?, bench.store.times_lost(&id, &third).await?), (2, 1));
    assert_eq!(bench.store.times_lost(&id, &key("ana@lid", "4")).await?, 0);
    let mut told = bench.store.unrecovered(None, 10).await?;
    told.sort_by(|a, b| a.key.id.cmp(&b.key.id));
    let told: Vec<_> = told.iter().map(|lost| (lost.key.clone(), lost.times, lost.given_up_ms.is_some())).collect();
    assert_eq!(told, [(first.clone(), 2, false), (second.clone(), 1, false), (third.clone(), 1, true)]);
    assert_eq!(bench.store.unrecovered(Some(&id), 2).await?.len(), 2);

    // It comes by itself; it is handed over by the phone, which names its sender otherwise; it was given up, and comes late.
    bench.store.commit(&id, epoch, accept(accepted("ana@lid", "1", "one"))).await?;
    for (message, label) in [("2", "two"), ("3", "three")] {
        let late = Accepted { recovered: true, ..accepted("ana@phone", message, label) };
        bench.store.commit(&id, epoch, accept(late)).await?;
    }
    assert!(bench.store.unrecovered(Some(&id), 10).await?.is_empty());
    assert!(bench.store.is_accepted(&id, &second).await?, "WhatsApp's own delivery is a repetition now");
    // Nobody missed this one: it was here when its repetition could not be read.
    let known = Accepted { recovered: true, ..accepted("ana@phone", "1", "one again") };
    bench.store.commit(&id, epoch, accept(known)).await?;
    // What is noted late is not missing any more.
    bench.store.commit(&id, epoch, note(&second, false)).await?;
    bench.store.commit(&id, epoch, accept(accepted("ana@lid", "2", "two again"))).await?;
    assert!(bench.store.unrecovered(Some(&id), 10).await?.is_empty());
    let mut labels = Vec::new();
    while let Some(delivery) = bench.deliveries(LATE).await?.pop() {
        labels.push(label(&delivery));
        bench.store.settle(vec![(delivery.seq, Settlement::Delivered)]).await?;
    }
    assert_eq!(labels, ["one", "two", "three"]);
    Ok(())
}

pub(super) async fn an_archived_session_is_unpaired_and_kept_for_a_while(mut bench: Bench) -> Outcome {
    let (id, epoch) = bench.session("shop").await?;
    let paired = bench.store.commit(&id, epoch, device("the device")).await?;
    let values = writes(vec![put("session", "a", "1"), put("identity", "b", "2")]);
    assert_eq!(bench.store.commit(&id, epoch, values).await?, paired.next());
    bench.store.archive(&id, "logged-out").await?;
    assert_eq!(bench.store.device(&id).await?, None);
    assert!(bench.store.scan(&id, "session", "").await?.is_empty());
    assert!(!bench.record(&id).await?.paired);
    let kept = "SELECT category || ' ' || reason FROM holdfast_archive ORDER BY category";
    assert_eq!(bench.database.texts(kept)?, ["creds logged-out", "identity logged-out", "session logged-out"]);
    assert!(!bench.database.contains(b"the device")?, "the archive is as unreadable as the session was");

    let late = bench.store.commit(&id, epoch, device("the device")).await;
    assert!(matches!(late, Err(StoreError::FencedOff(_))), "a late save of the ended login: {late:?}");
    let claim = bench.store.claim(&id).await?;
    assert_eq!(claim.revision, paired.next().next());
    let again = bench.store.commit(&id, claim.epoch, device("another device")).await?;
    assert!(again > claim.revision, "a later login");
    assert_eq!(bench.store.device(&id).await?.as_deref(), Some(&b"another device"[..]));

    bench.reopen(Opening::default()).await?;
    assert_eq!(bench.database.texts(kept)?.len(), 3);
    forget_at_once(&mut bench).await?;
    assert!(bench.database.texts(kept)?.is_empty());
    assert!(bench.store.device(&id).await?.is_some());
    Ok(())
}

pub(super) async fn a_paired_session_without_a_device_is_corrupt(bench: Bench) -> Outcome {
    let (id, epoch) = bench.session("shop").await?;
    assert_eq!(bench.store.device(&id).await?, None);
    bench.store.commit(&id, epoch, device("the device")).await?;
    bench.database.execute(r#"DELETE FROM "Session""#)?;
    assert!(matches!(bench.store.device(&id).await, Err(StoreError::Corrupt { .. })));
    Ok(())
}

pub(super) async fn old_ids_of_messages_are_forgotten(mut bench: Bench) -> Outcome {
    let (id, epoch) = bench.session("shop").await?;
    let batch = SessionBatch { accepted: vec![accepted("ana", "1", "x")], ..SessionBatch::default() };
    bench.store.commit(&id, epoch, batch).await?;
    bench.reopen(Opening::default()).await?;
    assert!(bench.store.is_accepted(&id, &key("ana", "1")).await?);
    forget_at_once(&mut bench).await?;
    assert!(!bench.store.is_accepted(&id, &key("ana", "1")).await?);
    Ok(())
}

pub(super) async fn younger_ids_of_messages_are_kept(mut bench: Bench) -> Outcome {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let (id, epoch) = bench.session("shop").await?;
    let both = vec![accepted("ana", "old", "x"), accepted("ana", "young", "y")];
    bench.store.commit(&id, epoch, SessionBatch { accepted: both, ..SessionBatch::default() }).await?;
    // As if 31 days and an hour had gone by for one, and 31 days but an hour for the other.
    for (message, hours) in [("old", 31 * 24 + 1_i64), ("young", 31 * 24 - 1)] {
        let earlier = hours * 60 * 60 * 1000;
        bench.database.execute(&format!(
            "UPDATE holdfast_accepted SET accepted_at = accepted_at - {earlier} WHERE message_id = '{message}'"
        ))?;
    }
    let retention = Retention { accepted: 31 * DAY, ..Retention::default() };
    bench.reopen(Opening { retention, ..Opening::default() }).await?;
    assert!(!bench.store.is_accepted(&id, &key("ana", "old")).await?);
    assert!(bench.store.is_accepted(&id, &key("ana", "young")).await?);
    Ok(())
}

/// Opens the store with retentions that have passed already.
pub(super) async fn forget_at_once(bench: &mut Bench) -> Outcome {
    tokio::time::sleep(Duration::from_millis(3)).await;
    let none = Retention {
        archive: Duration::ZERO,
        dead_letters: Duration::ZERO,
        accepted: Duration::ZERO,
        sends: Duration::ZERO,
    };
    bench.reopen(Opening { retention: none, ..Opening::default() }).await
}

async fn text(bench: &Bench, id: &InstanceId, key: &str) -> anyhow::Result<Option<String>> {
    Ok(bench.store.read(id, "session", key).await?.map(String::from_utf8).transpose()?)
}

fn key(chat: &str, id: &str) -> MessageKey {
    MessageKey { chat: chat.to_owned(), sender: "ana".to_owned(), id: id.to_owned() }
}

fn accepted(chat: &str, id: &str, label: &str) -> Accepted {
    Accepted { key: key(chat, id), event: Some(event(EventName::MessagesUpsert, label)), recovered: false }
}

/// A sender chooses the id of a message, and may mean harm.
pub(super) async fn a_message_may_have_any_id(bench: Bench) -> Outcome {
    let (id, epoch) = bench.session("shop").await?;
    let long: Vec<String> = (0..4_000_u32).map(|number| number.wrapping_mul(2_654_435_761).to_string()).collect();
    let long = long.concat();
    for odd in ["", "\0", "a\0b", "\u{10FFFF}'\"\\", &long] {
        let batch = SessionBatch {
            accepted: vec![accepted("ana", odd, "1")],
            losses: vec![Loss { key: key("bob", odd), why: LossReason::Undecryptable, given_up: false }],
            ..SessionBatch::default()
        };
        bench.store.commit(&id, epoch, batch).await?;
        assert!(bench.store.is_accepted(&id, &key("ana", odd)).await?, "{odd:?}");
        assert_eq!(bench.store.times_lost(&id, &key("bob", odd)).await?, 1, "{odd:?}");
    }
    Ok(())
}

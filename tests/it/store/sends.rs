//! Requests to send that carry an idempotency key.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::join_all;
use holdfast::ports::sends::{KeptAnswer, KeptSend, NewSend};
use holdfast::ports::store::StoreError;
use holdfast_core::id::InstanceId;
use holdfast_core::sending::key::Key;
use serde_json::json;

use super::bench::{Bench, Opening, Outcome};
use super::sessions::forget_at_once;

pub(super) async fn a_key_is_kept_with_its_first_request(bench: Bench) -> Outcome {
    let (shop, other) = (bench.instance("shop").await?, bench.instance("other").await?);
    let kept = bench.store.begin_send(&shop, &key("k"), new("A")).await?;
    assert_eq!(kept, KeptSend { first: new("A"), is_new: true, may_have_left: false, answer: None });
    let again = bench.store.begin_send(&shop, &key("k"), new("B")).await?;
    assert_eq!(again, KeptSend { first: new("A"), is_new: false, may_have_left: true, answer: None });
    for (id, name) in [(&shop, "K"), (&shop, "k "), (&other, "k")] {
        assert!(bench.store.begin_send(id, &key(&format!("\"{name}\"")), new("C")).await?.is_new, "{id} {name:?}");
    }
    let unknown = bench.store.begin_send(&InstanceId::new("nobody"), &key("k"), new("D")).await;
    assert!(matches!(unknown, Err(StoreError::NoSuchInstance(_))), "{unknown:?}");
    Ok(())
}

pub(super) async fn a_final_answer_is_kept_and_not_replaced(bench: Bench) -> Outcome {
    let id = bench.instance("shop").await?;
    bench.store.finish_send(&id, &key("k"), answer(201)).await?;
    assert!(bench.store.begin_send(&id, &key("k"), new("A")).await?.is_new, "an answer alone keeps nothing");
    bench.store.finish_send(&id, &key("k"), answer(201)).await?;
    bench.store.finish_send(&id, &key("k"), answer(400)).await?;
    let again = bench.store.begin_send(&id, &key("k"), new("B")).await?;
    assert_eq!(again, KeptSend { first: new("A"), is_new: false, may_have_left: true, answer: Some(answer(201)) });
    Ok(())
}

pub(super) async fn a_message_may_have_left_from_each_beginning_until_it_is_known_not_to(mut bench: Bench) -> Outcome {
    let id = bench.instance("shop").await?;
    for _ in 0..3 {
        let kept = bench.store.begin_send(&id, &key("k"), new("A")).await?;
        assert!(!kept.may_have_left, "{kept:?}");
        bench.store.unsent(&id, &key("k")).await?;
    }
    bench.reopen(Opening::default()).await?;
    assert!(!bench.store.begin_send(&id, &key("k"), new("A")).await?.may_have_left);
    bench.reopen(Opening::default()).await?;
    assert!(bench.store.begin_send(&id, &key("k"), new("A")).await?.may_have_left, "nobody has said that it has not");
    Ok(())
}

pub(super) async fn requests_with_keys_survive_a_restart(mut bench: Bench) -> Outcome {
    let id = bench.instance("shop").await?;
    bench.store.begin_send(&id, &key("open"), new("A")).await?;
    bench.store.begin_send(&id, &key("done"), new("B")).await?;
    bench.store.finish_send(&id, &key("done"), answer(400)).await?;
    bench.reopen(Opening::default()).await?;
    let open = bench.store.begin_send(&id, &key("open"), new("C")).await?;
    assert_eq!((open.first, open.answer), (new("A"), None));
    let done = bench.store.begin_send(&id, &key("done"), new("C")).await?;
    assert_eq!((done.first, done.answer), (new("B"), Some(answer(400))));
    Ok(())
}

pub(super) async fn of_many_requests_with_one_key_one_is_the_first(bench: Bench) -> Outcome {
    let id = bench.instance("shop").await?;
    let begin = |number: usize| {
        let (store, id) = (Arc::clone(&bench.store), id.clone());
        async move { store.begin_send(&id, &key("k"), new(&number.to_string())).await }
    };
    let kept = join_all((0..50).map(begin)).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    assert_eq!(kept.iter().filter(|kept| kept.is_new).count(), 1);
    let ids: HashSet<_> = kept.iter().map(|kept| &kept.first.message_id).collect();
    assert_eq!(ids.len(), 1, "all of them go under one id");
    Ok(())
}

pub(super) async fn an_answer_that_cannot_be_read_is_an_error(bench: Bench) -> Outcome {
    let id = bench.instance("shop").await?;
    bench.store.begin_send(&id, &key("k"), new("A")).await?;
    bench.store.finish_send(&id, &key("k"), answer(201)).await?;
    for damage in ["answer = '{'", "answer = NULL", "answer = '{}', status = -1"] {
        bench.database.execute(&format!("UPDATE holdfast_send SET {damage}"))?;
        let read = bench.store.begin_send(&id, &key("k"), new("B")).await;
        assert!(matches!(read, Err(StoreError::Corrupt { .. })), "{damage}: {read:?}");
    }
    Ok(())
}

pub(super) async fn deleting_an_instance_forgets_its_keys(bench: Bench) -> Outcome {
    let id = bench.instance("shop").await?;
    bench.store.begin_send(&id, &key("k"), new("A")).await?;
    bench.store.delete(&id).await?;
    bench.store.finish_send(&id, &key("k"), answer(201)).await?;
    assert!(bench.database.texts("SELECT key FROM holdfast_send")?.is_empty());
    Ok(())
}

pub(super) async fn old_keys_are_forgotten(mut bench: Bench) -> Outcome {
    let id = bench.instance("shop").await?;
    bench.store.begin_send(&id, &key("k"), new("A")).await?;
    bench.reopen(Opening::default()).await?;
    assert!(!bench.store.begin_send(&id, &key("k"), new("B")).await?.is_new);
    forget_at_once(&mut bench).await?;
    assert!(bench.store.begin_send(&id, &key("k"), new("C")).await?.is_new);
    Ok(())
}

fn key(text: &str) -> Key {
    Key::parse(text).expect("a key")
}

fn new(message_id: &str) -> NewSend {
    NewSend { fingerprint: vec![0, 159, 146, 150], message_id: message_id.to_owned() }
}

fn answer(status: u16) -> KeptAnswer {
    KeptAnswer { status, body: json!({ "key": { "id": "A" }, "text": "schön \u{1F600}" }) }
}

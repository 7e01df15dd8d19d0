//! Messages that came before, and those whose content is gone.

use wacore_binary::builder::NodeBuilder;
use wacore_binary::marshal::marshal;
use whatsapp_rust::OwnedNodeRef;

use super::*;
use crate::whatsapp::backlog::Backlog;

#[tokio::test(start_paused = true)]
async fn a_row_that_is_submitted_a_moment_after_its_ratchet_is_durable_before_it() {
    let (backend, fake, _) = backend().await;
    let ratchet = tokio::spawn({
        let backend = Arc::clone(&backend);
        async move { backend.put_session("a", b"advanced").await }
    });
    tokio::task::yield_now().await;
    assert!(!fake.rows.lock().unwrap().contains_key(&("session", "a".to_owned())));
    backend.store_pending_inbound("c", "s", "1", &text()).await.unwrap();
    assert!(!fake.rows.lock().unwrap().contains_key(&("session", "a".to_owned())), "the ratchet came first");
    ratchet.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_second_copy_waits_for_the_first() {
    let (backend, fake, _) = backend().await;
    let second = tokio::spawn({
        let backend = Arc::clone(&backend);
        async move { backend.get_pending_inbound("c@s.whatsapp.net", "s@s.whatsapp.net", "1").await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    backend.hand_over(vec![Accepted { key: message("1"), event: None, recovered: false }]).await.unwrap();
    assert_eq!(second.await.unwrap().unwrap(), None);
    assert!(!fake.rows.lock().unwrap().keys().any(|(category, _)| *category == "asked-inbound"));
}

#[tokio::test(start_paused = true)]
async fn only_an_accepted_message_counts_as_a_repetition() {
    let (backend, fake, seal) = backend().await;
    let get = |id: &'static str| backend.get_pending_inbound("c@s.whatsapp.net", "s@s.whatsapp.net", id);
    let row = [PendingInboundRow { chat: "c@s.whatsapp.net", sender: "s@s.whatsapp.net", id: "1", message: &text() }];
    backend.store_pending_inbound_batch(&row).await.unwrap();
    assert_eq!(get("1").await.unwrap(), Some(text()));
    backend.hand_over(vec![Accepted { key: message("1"), event: None, recovered: false }]).await.unwrap();
    assert_eq!(get("1").await.unwrap(), None);

    // Neither row nor acceptance: an error, until it has come again too often.
    for _ in 0..3 {
        assert!(get("2").await.is_err());
        assert_eq!(seal.reason(), None, "it is no failure of the store");
    }
    assert_eq!(get("2").await.unwrap(), None);
    assert!(fake.accepted.lock().unwrap().contains(&message("2")));
    let told: Vec<bool> = fake.losses.lock().unwrap().iter().map(|loss| loss.given_up).collect();
    assert_eq!(told, [false, false, false, true], "each time is noted, and the end of it");
}

#[tokio::test(start_paused = true)]
async fn what_the_phone_has_no_copy_of_is_given_up_at_once() {
    let (backend, fake, _) = backend().await;
    let backlog = Arc::new(Backlog::new(Clock::start()));
    backend.relieve(Arc::clone(&backlog));
    for (id, category) in [("1", "peer"), ("2", "other")] {
        let node = NodeBuilder::new("message").attr("id", id).attr("category", category).build();
        let stanza = Arc::new(OwnedNodeRef::new(marshal(&node).unwrap()[1..].to_vec()).unwrap());
        backlog.arrived(id.to_owned(), &stanza);
    }
    let get = |id: &'static str| backend.get_pending_inbound("c@s.whatsapp.net", "s@s.whatsapp.net", id);
    assert_eq!(get("1").await.unwrap(), None, "what the account's devices tell each other nobody has twice");
    assert!(get("2").await.is_err(), "the phone is asked");
    assert_eq!(*fake.accepted.lock().unwrap(), [message("1")].into());
    let told: Vec<(String, bool)> =
        fake.losses.lock().unwrap().iter().map(|loss| (loss.key.id.clone(), loss.given_up)).collect();
    assert_eq!(told, [("1".to_owned(), true), ("2".to_owned(), false)], "both are noted");
}

#[tokio::test]
async fn a_row_that_is_no_message_is_not_acknowledged_away() {
    let (backend, _, seal) = backend().await;
    backend.store_pending_inbound("c", "s", "1", &[0xff; 7]).await.unwrap();
    assert!(backend.get_pending_inbound("c", "s", "1").await.is_err());
    assert_eq!(seal.reason(), Some(SealReason::Corrupt));
}

#[tokio::test]
async fn rows_that_nobody_came_for_are_set_aside() {
    let (backend, fake, _) = backend().await;
    backend.store_pending_inbound("c", "s", "1", &text()).await.unwrap();
    let now = backend.now_secs();
    assert_eq!(backend.delete_expired_pending_inbound(now - 10).await.unwrap(), 0);
    assert_eq!(backend.delete_expired_pending_inbound(now + 10).await.unwrap(), 1);
    let categories: Vec<&str> = fake.rows.lock().unwrap().keys().map(|(category, _)| *category).collect();
    assert_eq!(categories, ["dead-inbound"]);
    let lost = Loss {
        key: MessageKey { chat: "c".to_owned(), sender: "s".to_owned(), id: "1".to_owned() },
        why: LossReason::NeverHandedOver,
        given_up: true,
    };
    assert_eq!(*fake.losses.lock().unwrap(), [lost]);
}

#[tokio::test]
async fn what_the_library_tries_at_the_start_is_not_written() {
    let (backend, fake, _) = backend().await;
    let id = "__wa_durability_probe_1_1__";
    backend.store_pending_inbound("0@s.whatsapp.net", "0@s.whatsapp.net", id, b"probe").await.unwrap();
    let get = || backend.get_pending_inbound("0@s.whatsapp.net", "0@s.whatsapp.net", id);
    assert_eq!(get().await.unwrap().as_deref(), Some(&b"probe"[..]));
    backend.delete_pending_inbound("0@s.whatsapp.net", "0@s.whatsapp.net", id).await.unwrap();
    assert_eq!(get().await.unwrap(), None);
    assert_eq!((*fake.revision.lock().unwrap(), fake.rows.lock().unwrap().len()), (0, 0));
}

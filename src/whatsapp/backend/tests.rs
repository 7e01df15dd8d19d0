//! The backend over a store that fails as planned.

mod inbound;
mod prekeys;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use holdfast_core::id::{Epoch, InstanceId, Revision};
use tokio::sync::Notify;
use wacore::store::Device;
use wacore::store::traits::{
    DeviceListRecord, DeviceStore, LidPnMappingEntry, MsgSecretEntry, MsgSecretStore, PendingInboundRow, ProtocolStore,
    SignalStore,
};

use super::{Backend, Claimed};
use crate::ports::clock::Clock;
use crate::ports::link::SealReason;
use crate::ports::session::{
    Accepted, Claim, Clear, Loss, LossReason, MessageKey, SessionBatch, Sessions, Unrecovered,
};
use crate::ports::store::StoreError;
use crate::ports::tenure::Tenure;
use crate::whatsapp::seal::Seal;

#[derive(Clone, Copy)]
enum Plan {
    Unavailable,
    Corrupt,
    Hang,
    FencedOff,
}

#[derive(Default)]
struct Fake {
    rows: Mutex<BTreeMap<(&'static str, String), Vec<u8>>>,
    device: Mutex<Option<Vec<u8>>>,
    accepted: Mutex<HashSet<MessageKey>>,
    losses: Mutex<Vec<Loss>>,
    revision: Mutex<u64>,
    /// What the next calls do; one that is not planned for succeeds.
    plan: Mutex<VecDeque<Plan>>,
    calls: AtomicUsize,
    /// Holds commits of pending rows back until notified.
    held: Mutex<Option<Arc<Notify>>>,
}

impl Fake {
    async fn call(&self) -> Result<(), StoreError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let plan = self.plan.lock().unwrap().pop_front();
        match plan {
            None => Ok(()),
            Some(Plan::Unavailable) => {
                Err(StoreError::Unavailable { doing: "a call", cause: "the database is locked".into() })
            }
            Some(Plan::Corrupt) => Err(StoreError::Corrupt { what: "a value".to_owned(), cause: "planned".into() }),
            Some(Plan::FencedOff) => Err(StoreError::FencedOff(InstanceId::new("i"))),
            Some(Plan::Hang) => std::future::pending().await,
        }
    }

    fn plan(&self, plan: &[Plan]) {
        self.plan.lock().unwrap().extend(plan);
    }
}

#[async_trait]
impl Sessions for Fake {
    async fn claim(&self, _: &InstanceId) -> Result<Claim, StoreError> {
        self.call().await?;
        Ok(Claim { epoch: Epoch(1), revision: Revision(*self.revision.lock().unwrap()) })
    }

    async fn release(&self, _: &InstanceId, _: Epoch) -> Result<(), StoreError> {
        Ok(())
    }

    async fn device(&self, _: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        self.call().await?;
        Ok(self.device.lock().unwrap().clone())
    }

    async fn read(&self, _: &InstanceId, category: &'static str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.call().await?;
        Ok(self.rows.lock().unwrap().get(&(category, key.to_owned())).cloned())
    }

    async fn read_many(
        &self,
        _: &InstanceId,
        category: &'static str,
        keys: &[String],
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.call().await?;
        let rows = self.rows.lock().unwrap();
        Ok(keys
            .iter()
            .filter_map(|key| rows.get(&(category, key.clone())).map(|value| (key.clone(), value.clone())))
            .collect())
    }

    async fn scan(
        &self,
        _: &InstanceId,
        category: &'static str,
        prefix: &str,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.call().await?;
        let rows = self.rows.lock().unwrap();
        let found = rows.iter().filter(|((kind, key), _)| *kind == category && key.starts_with(prefix));
        Ok(found.map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    async fn last_key(&self, _: &InstanceId, category: &'static str) -> Result<Option<String>, StoreError> {
        self.call().await?;
        let rows = self.rows.lock().unwrap();
        Ok(rows.keys().filter(|(kind, _)| *kind == category).map(|(_, key)| key.clone()).max())
    }

    async fn count(&self, _: &InstanceId, clear: &Clear) -> Result<u64, StoreError> {
        self.call().await?;
        let rows = self.rows.lock().unwrap();
        Ok(rows.keys().filter(|(kind, key)| *kind == clear.category && key.starts_with(&clear.prefix)).count() as u64)
    }

    async fn commit(&self, _: &InstanceId, _: Epoch, batch: SessionBatch) -> Result<Revision, StoreError> {
        let held = self.held.lock().unwrap().clone();
        if let Some(held) = held
            && batch.writes.iter().any(|write| write.category == "pending-inbound")
        {
            held.notified().await;
        }
        self.call().await?;
        let mut rows = self.rows.lock().unwrap();
        for clear in batch.clears {
            rows.retain(|(kind, key), _| *kind != clear.category || !key.starts_with(&clear.prefix));
        }
        for write in batch.writes {
            match write.value {
                Some(value) => rows.insert((write.category, write.key), value),
                None => rows.remove(&(write.category, write.key)),
            };
        }
        if let Some(device) = batch.device {
            *self.device.lock().unwrap() = Some(device);
        }
        self.accepted.lock().unwrap().extend(batch.accepted.into_iter().map(|accepted| accepted.key));
        self.losses.lock().unwrap().extend(batch.losses);
        let mut revision = self.revision.lock().unwrap();
        *revision += 1;
        Ok(Revision(*revision))
    }

    async fn is_accepted(&self, _: &InstanceId, message: &MessageKey) -> Result<bool, StoreError> {
        self.call().await?;
        Ok(self.accepted.lock().unwrap().contains(message))
    }

    async fn times_lost(&self, _: &InstanceId, message: &MessageKey) -> Result<u32, StoreError> {
        self.call().await?;
        Ok(self.losses.lock().unwrap().iter().filter(|loss| loss.key == *message).count() as u32)
    }

    async fn unrecovered(&self, _: Option<&InstanceId>, _: u32) -> Result<Vec<Unrecovered>, StoreError> {
        Ok(Vec::new())
    }

    async fn archive(&self, _: &InstanceId, _: &str) -> Result<(), StoreError> {
        Ok(())
    }
}

async fn backend() -> (Arc<Backend>, Arc<Fake>, Arc<Seal>) {
    let (fake, clock) = (Arc::new(Fake::default()), Clock::start());
    let seal = Arc::new(Seal::new(clock, Arc::new(Tenure::forever())));
    let store = Arc::clone(&fake) as Arc<dyn Sessions>;
    let backend = Arc::new(Backend::new(store, InstanceId::new("i"), Arc::clone(&seal), clock, Duration::from_secs(5)));
    assert_eq!(backend.claim().await.unwrap(), Claimed::Continues);
    (backend, fake, seal)
}

fn message(id: &str) -> MessageKey {
    MessageKey { chat: "c@s.whatsapp.net".to_owned(), sender: "s@s.whatsapp.net".to_owned(), id: id.to_owned() }
}

fn text() -> Vec<u8> {
    waproto::codec::message_to_vec(&waproto::whatsapp::Message {
        conversation: Some("hi".to_owned()),
        ..Default::default()
    })
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_passes_within_the_grace_is_not_noticed() {
    let (backend, fake, seal) = backend().await;
    fake.plan(&[Plan::Unavailable; 4]);
    backend.put_session("a", b"session").await.unwrap();
    fake.plan(&[Plan::Unavailable; 4]);
    assert_eq!(backend.get_session("a").await.unwrap().unwrap(), Bytes::from_static(b"session"));
    assert_eq!(seal.reason(), None);
}

#[tokio::test(start_paused = true)]
async fn a_failure_beyond_the_grace_has_sealed_the_link_when_it_is_returned() {
    for (plan, why) in [
        (vec![Plan::Unavailable; 100], SealReason::StoreUnavailable),
        (vec![Plan::Hang], SealReason::StoreUnavailable),
        (vec![Plan::Corrupt], SealReason::Corrupt),
        (vec![Plan::FencedOff], SealReason::FencedOff),
    ] {
        let (backend, fake, seal) = backend().await;
        fake.plan(&plan);
        let error = backend.get_session("a").await.unwrap_err();
        assert_eq!(seal.reason(), Some(why));
        assert!(!error.is_database_busy_or_locked(), "the library would try again: {error}");
        // From here on nothing reaches the store.
        let calls = fake.calls.load(Ordering::SeqCst);
        assert!(backend.put_session("a", b"x").await.is_err());
        assert!(backend.load_prekey(1).await.is_err());
        assert!(backend.get_pending_inbound("c", "s", "i").await.is_err());
        assert!(backend.load().await.is_err());
        assert_eq!(fake.calls.load(Ordering::SeqCst), calls);
    }
}

#[tokio::test]
async fn a_ratchet_waits_for_the_rows_before_it_and_no_row_waits_for_a_ratchet() {
    let (backend, fake, _) = backend().await;
    let held = Arc::new(Notify::new());
    *fake.held.lock().unwrap() = Some(Arc::clone(&held));
    let row = tokio::spawn({
        let backend = Arc::clone(&backend);
        async move { backend.store_pending_inbound("c", "s", "1", &text()).await }
    });
    tokio::task::yield_now().await;
    let ratchet = tokio::spawn({
        let backend = Arc::clone(&backend);
        async move { backend.put_session("a", b"advanced").await }
    });
    tokio::task::yield_now().await;
    assert!(!ratchet.is_finished() && !fake.rows.lock().unwrap().contains_key(&("session", "a".to_owned())));
    // Another key does not have to wait, nor does a later row.
    backend.put_identity("a", [1; 32]).await.unwrap();
    *fake.held.lock().unwrap() = None;
    backend.store_pending_inbound("c", "s", "2", &text()).await.unwrap();
    assert!(!ratchet.is_finished());
    held.notify_one();
    row.await.unwrap().unwrap();
    ratchet.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_device_is_written_only_once_it_belongs_to_an_account_and_never_over_another() {
    let (backend, fake, _) = backend().await;
    let mut device = Device::new();
    assert!(!backend.exists().await.unwrap());
    backend.create().await.unwrap();
    backend.save(&device).await.unwrap();
    assert!(fake.device.lock().unwrap().is_none());
    device.pn = Some("5511:3@s.whatsapp.net".parse().unwrap());
    backend.save(&device).await.unwrap();
    assert!(backend.is_linked());

    let (other, seal) = {
        let (clock, store) = (Clock::start(), Arc::clone(&fake) as Arc<dyn Sessions>);
        let seal = Arc::new(Seal::new(clock, Arc::new(Tenure::forever())));
        (Backend::new(store, InstanceId::new("i"), Arc::clone(&seal), clock, Duration::from_secs(5)), seal)
    };
    other.claim().await.unwrap();
    assert!(other.exists().await.unwrap());
    let mut found = other.load().await.unwrap().unwrap();
    assert_eq!(found.pn, device.pn);
    // What was read to learn that it is there is not what is there later.
    assert!(other.exists().await.unwrap());
    "Shop".clone_into(&mut found.push_name);
    other.save(&found).await.unwrap();
    assert_eq!(other.load().await.unwrap().unwrap().push_name, "Shop");
    let stranger = Device { pn: device.pn.clone(), ..Device::new() };
    assert!(other.save(&stranger).await.is_err());
    assert_eq!(seal.reason(), Some(SealReason::Corrupt));
}

#[tokio::test]
async fn nothing_is_claimed_once_the_tenure_of_the_process_has_ended() {
    let (fake, clock, tenure) = (Arc::new(Fake::default()), Clock::start(), Arc::new(Tenure::none()));
    let seal = Arc::new(Seal::new(clock, Arc::clone(&tenure)));
    let store = Arc::clone(&fake) as Arc<dyn Sessions>;
    let backend = Backend::new(store, InstanceId::new("i"), Arc::clone(&seal), clock, Duration::from_secs(5));
    assert!(backend.claim().await.is_err());
    assert_eq!((seal.reason(), fake.calls.load(Ordering::SeqCst)), (Some(SealReason::LeaseEnded), 0));
}

#[tokio::test]
async fn a_session_that_somebody_else_changed_is_noticed_at_the_next_claim() {
    let (backend, fake, _) = backend().await;
    backend.put_session("a", b"x").await.unwrap();
    assert_eq!(backend.claim().await.unwrap(), Claimed::Continues);
    *fake.revision.lock().unwrap() += 1;
    assert_eq!(backend.claim().await.unwrap(), Claimed::Changed);
}

#[tokio::test]
async fn a_number_that_moves_to_another_lid_leaves_the_old_one() {
    let (backend, _, _) = backend().await;
    let entry = |lid: &str, phone: &str| LidPnMappingEntry {
        lid: lid.to_owned(),
        phone_number: phone.to_owned(),
        created_at: 1,
        updated_at: 1,
        learning_source: "usync".to_owned(),
    };
    backend.put_lid_mapping(&entry("l1", "p1")).await.unwrap();
    backend.put_lid_mapping(&entry("l1", "p2")).await.unwrap();
    assert!(backend.get_pn_mapping("p1").await.unwrap().is_none());
    assert_eq!(backend.get_pn_mapping("p2").await.unwrap().unwrap().lid, "l1");
    assert_eq!(backend.get_all_lid_mappings().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_secret_keeps_the_later_deadline_and_a_token_the_newer_value() {
    let (backend, _, _) = backend().await;
    let secret = |expires_at| MsgSecretEntry {
        chat: "c".into(),
        sender: "s".into(),
        msg_id: "m".into(),
        secret: [7; 32],
        expires_at,
        message_ts: 0,
    };
    backend.put_msg_secrets(vec![secret(100)]).await.unwrap();
    backend.put_msg_secrets(vec![secret(0), secret(50)]).await.unwrap();
    assert_eq!(backend.get_msg_secret("c", "s", "m").await.unwrap().unwrap(), [7; 32]);

    backend.touch_tc_token_sender_timestamp("j", 5).await.unwrap();
    backend.store_received_tc_token("j", b"new", 10).await.unwrap();
    backend.store_received_tc_token("j", b"old", 9).await.unwrap();
    backend.touch_tc_token_sender_timestamp("j", 3).await.unwrap();
    let token = backend.get_tc_token("j").await.unwrap().unwrap();
    assert_eq!((token.token.as_slice(), token.sender_timestamp), (b"new".as_slice(), Some(5)));
    assert_eq!(backend.delete_expired_tc_tokens(11, 6).await.unwrap(), 1);
}

#[tokio::test]
async fn keys_of_one_group_or_user_are_not_those_of_another() {
    let (backend, _, _) = backend().await;
    backend.set_sender_key_status("1@g.us", &[("a@lid", true), ("b@lid", false)]).await.unwrap();
    backend.set_sender_key_status("11@g.us", &[("a@lid", true)]).await.unwrap();
    backend.clear_sender_key_devices("1@g.us").await.unwrap();
    assert_eq!(backend.get_sender_key_devices("11@g.us").await.unwrap(), [("a@lid".to_owned(), true)]);
    backend.delete_sender_key_device_rows(&["a@lid"]).await.unwrap();
    assert!(backend.get_sender_key_devices("11@g.us").await.unwrap().is_empty());

    backend.put_session("551:2@s.whatsapp.net", b"x").await.unwrap();
    assert!(backend.has_signal_state_for_user("551").await.unwrap());
    assert!(!backend.has_signal_state_for_user("55").await.unwrap());
}

#[tokio::test]
async fn a_sent_message_is_there_for_everybody_who_asks_for_it_again() {
    let (backend, _, _) = backend().await;
    backend.store_sent_message("g@g.us", "1", &text()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(backend.take_sent_message("g@g.us", "1").await.unwrap(), Some(text()));
    }
    assert_eq!(backend.take_sent_message("g@g.us", "2").await.unwrap(), None);
}

#[tokio::test]
async fn a_device_that_is_on_disk_is_not_written_again() {
    let (backend, fake, seal) = backend().await;
    assert!(backend.load().await.unwrap().is_none());
    let mut device = Device::new();
    device.pn = Some("5511999990001:1@s.whatsapp.net".parse().unwrap());
    let written = || *fake.revision.lock().unwrap();
    backend.save(&device).await.unwrap();
    backend.save(&device).await.unwrap();
    assert_eq!(written(), 1);
    "another name".clone_into(&mut device.push_name);
    let clock = Clock::start();
    let open = Arc::new(Seal::new(clock, Arc::new(Tenure::forever())));
    let other = Backend::new(Arc::clone(&fake) as _, InstanceId::new("i"), open, clock, Duration::from_secs(5));
    other.claim().await.unwrap();
    let found = other.load().await.unwrap().unwrap();
    other.save(&found).await.unwrap();
    assert_eq!(written(), 1, "as it was read");
    backend.save(&device).await.unwrap();
    assert_eq!(written(), 2);
    seal.set(SealReason::FencedOff);
    assert!(backend.save(&device).await.is_err(), "a sealed link saves nothing, and does not say so either");
}

#[tokio::test]
async fn what_is_not_there_is_not_deleted_anew_at_each_login() {
    let (backend, fake, _) = backend().await;
    let written = || *fake.revision.lock().unwrap();
    backend.delete_devices("5511999990001").await.unwrap();
    assert_eq!(written(), 0, "nothing has changed, and no copy has to be made");
    let record = DeviceListRecord {
        user: "5511999990001".to_owned(),
        devices: Vec::new(),
        timestamp: 0,
        phash: None,
        raw_id: None,
    };
    backend.update_device_list(record).await.unwrap();
    backend.delete_devices("5511999990001").await.unwrap();
    assert_eq!((written(), fake.rows.lock().unwrap().len()), (2, 0));
}

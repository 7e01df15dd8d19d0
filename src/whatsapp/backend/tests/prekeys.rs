//! Prekeys: consumed once, and read when a message or an upload needs them.

use std::sync::Arc;

use bytes::Bytes;
use wacore::store::commands::DeviceCommand;
use wacore::store::traits::SignalStore;
use whatsapp_rust::store::persistence_manager::PersistenceManager;

use super::backend;

#[tokio::test]
async fn a_consumed_pre_key_is_not_brought_back() {
    let (backend, _, _) = backend().await;
    let keys = [(1, Bytes::from_static(b"one")), (20, Bytes::from_static(b"twenty"))];
    backend.store_prekeys_batch(&keys, false).await.unwrap();
    backend.remove_prekey(1).await.unwrap();
    backend.mark_prekeys_uploaded(&[1, 20]).await.unwrap();
    assert_eq!(backend.load_prekey(1).await.unwrap(), None);
    assert_eq!(backend.load_prekeys_batch(&[1, 20]).await.unwrap(), [(20, Bytes::from_static(b"twenty"))]);
    assert_eq!(backend.get_max_prekey_id().await.unwrap(), 20);
}

#[tokio::test]
async fn prekeys_that_the_server_has_are_not_read_to_be_compared() {
    let (backend, _, _) = backend().await;
    let keys = [(1, Bytes::from_static(b"one")), (2, Bytes::from_static(b"two"))];
    backend.store_prekeys_batch(&keys, false).await.unwrap();
    let saved = PersistenceManager::new(Arc::clone(&backend) as _).await.map(Arc::new).unwrap();
    backend.remember(Arc::downgrade(&saved));
    assert_eq!(backend.load_prekeys_batch(&[1, 2]).await.unwrap().len(), 2, "none is uploaded yet");
    let marks = DeviceCommand::SetPreKeyWatermarks { next_pre_key_id: 3, first_unupload_pre_key_id: 2 };
    saved.process_command(marks).await;
    assert_eq!(backend.load_prekeys_batch(&[1, 2]).await.unwrap().len(), 2, "one is still to be uploaded");
    let marks = DeviceCommand::SetPreKeyWatermarks { next_pre_key_id: 3, first_unupload_pre_key_id: 3 };
    saved.process_command(marks).await;
    assert!(backend.load_prekeys_batch(&[1, 2]).await.is_err());
    assert_eq!(backend.load_prekey(1).await.unwrap(), Some(Bytes::from_static(b"one")), "a message needs it");
}

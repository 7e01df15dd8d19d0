//! Signal keys: identities, sessions, pre-keys, sender keys.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use wacore::store::traits::SignalStore;

use super::value::number;
use super::{Backend, LibraryError, Result, Unusable, delete, put, writes};
use crate::ports::session::{Clear, Write};

const IDENTITY: &str = "identity";
const SESSION: &str = "session";
pub(super) const PRE_KEY: &str = "pre-key";
const SIGNED_PRE_KEY: &str = "signed-pre-key";
const SENDER_KEY: &str = "sender-key";

/// A pre-key is stored behind one byte that says whether the server has it.
fn pre_key(record: &[u8], uploaded: bool) -> Vec<u8> {
    [&[u8::from(uploaded)], record].concat()
}

/// Makes the row of a signed pre-key.
pub(in crate::whatsapp) fn signed_pre_key(id: u32, record: Vec<u8>) -> Write {
    put(SIGNED_PRE_KEY, number(id), record)
}

impl Backend {
    fn record(&self, value: &[u8]) -> Result<Bytes, Unusable> {
        value.get(1..).map(Bytes::copy_from_slice).ok_or_else(|| self.corrupt("pre-key"))
    }

    /// Tells whether the server has all of these keys already. Many of those are only asked for by the library's `validate_digest_key`, which
    /// compares them with the server's at each login and writes what it finds into its log: opening 812 of them took a third of a login.
    fn are_uploaded(&self, ids: &[u32]) -> bool {
        let Some(memory) = self.memory.get().and_then(Weak::upgrade) else { return false };
        let first = memory.get_device_snapshot().first_unupload_pre_key_id;
        !ids.is_empty() && ids.iter().all(|id| *id < first)
    }

    fn id(&self, key: &str) -> Result<u32, Unusable> {
        key.parse().map_err(|_no_number| self.corrupt("key of a pre-key"))
    }
}

#[async_trait]
impl SignalStore for Backend {
    async fn put_identity(&self, address: &str, key: [u8; 32]) -> Result<()> {
        Ok(self.write(put(IDENTITY, address, key.to_vec())).await?)
    }

    async fn put_identities_batch(&self, identities: &[(Arc<str>, [u8; 32])]) -> Result<()> {
        let batch = identities.iter().map(|(address, key)| put(IDENTITY, &**address, key.to_vec()));
        Ok(self.commit(writes(batch.collect())).await?)
    }

    async fn load_identity(&self, address: &str) -> Result<Option<[u8; 32]>> {
        let Some(value) = self.read(IDENTITY, address).await? else { return Ok(None) };
        let key = value.try_into().map_err(|_other_length| self.corrupt("identity"))?;
        Ok(Some(key))
    }

    async fn delete_identity(&self, address: &str) -> Result<()> {
        Ok(self.write(delete(IDENTITY, address)).await?)
    }

    async fn get_session(&self, address: &str) -> Result<Option<Bytes>> {
        Ok(self.read(SESSION, address).await?.map(Bytes::from))
    }

    async fn put_session(&self, address: &str, session: &[u8]) -> Result<()> {
        Ok(self.commit_ratchets(writes(vec![put(SESSION, address, session.to_vec())])).await?)
    }

    async fn put_sessions_batch(&self, sessions: &[(Arc<str>, Bytes)]) -> Result<()> {
        let batch = sessions.iter().map(|(address, session)| put(SESSION, &**address, session.to_vec()));
        Ok(self.commit_ratchets(writes(batch.collect())).await?)
    }

    async fn delete_session(&self, address: &str) -> Result<()> {
        Ok(self.commit_ratchets(writes(vec![delete(SESSION, address)])).await?)
    }

    async fn has_signal_state_for_user(&self, user: &str) -> Result<bool> {
        for category in [SESSION, IDENTITY] {
            for end in ['@', ':'] {
                let of_user = Clear { category, prefix: format!("{user}{end}"), expired_at: None };
                if self.count(&of_user).await? > 0 {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    async fn store_prekey(&self, id: u32, record: &[u8], uploaded: bool) -> Result<()> {
        let _alone = self.prekeys.lock().await;
        Ok(self.write(put(PRE_KEY, number(id), pre_key(record, uploaded))).await?)
    }

    async fn store_prekeys_batch(&self, keys: &[(u32, Bytes)], uploaded: bool) -> Result<()> {
        let _alone = self.prekeys.lock().await;
        let batch = keys.iter().map(|(id, record)| put(PRE_KEY, number(*id), pre_key(record, uploaded)));
        Ok(self.commit(writes(batch.collect())).await?)
    }

    async fn load_prekey(&self, id: u32) -> Result<Option<Bytes>> {
        let value = self.read(PRE_KEY, &number(id)).await?;
        Ok(value.map(|value| self.record(&value)).transpose()?)
    }

    async fn load_prekeys_batch(&self, ids: &[u32]) -> Result<Vec<(u32, Bytes)>> {
        if self.are_uploaded(ids) {
            return Err(LibraryError::Validation("prekeys that the server has are not read to be compared".to_owned()));
        }
        let keys: Vec<String> = ids.iter().copied().map(number).collect();
        let found = self.read_many(PRE_KEY, &keys).await?;
        let records = found.iter().map(|(key, value)| Ok((self.id(key)?, self.record(value)?)));
        Ok(records.collect::<Result<_, Unusable>>()?)
    }

    async fn mark_prekeys_uploaded(&self, ids: &[u32]) -> Result<()> {
        // Alone, because a key that is consumed meanwhile must stay deleted.
        let _alone = self.prekeys.lock().await;
        let keys: Vec<String> = ids.iter().copied().map(number).collect();
        let found = self.read_many(PRE_KEY, &keys).await?;
        let marked = found.into_iter().map(|(key, value)| Ok(put(PRE_KEY, key, pre_key(&self.record(&value)?, true))));
        Ok(self.commit(writes(marked.collect::<Result<_, Unusable>>()?)).await?)
    }

    async fn remove_prekey(&self, id: u32) -> Result<()> {
        let _alone = self.prekeys.lock().await;
        Ok(self.write(delete(PRE_KEY, number(id))).await?)
    }

    async fn get_max_prekey_id(&self) -> Result<u32> {
        let last = self.last_key(PRE_KEY).await?;
        Ok(last.map(|key| self.id(&key)).transpose()?.unwrap_or(0))
    }

    async fn store_signed_prekey(&self, id: u32, record: &[u8]) -> Result<()> {
        Ok(self.write(signed_pre_key(id, record.to_vec())).await?)
    }

    async fn load_signed_prekey(&self, id: u32) -> Result<Option<Vec<u8>>> {
        Ok(self.read(SIGNED_PRE_KEY, &number(id)).await?)
    }

    async fn load_all_signed_prekeys(&self) -> Result<Vec<(u32, Vec<u8>)>> {
        let found = self.scan(SIGNED_PRE_KEY, "").await?;
        Ok(found.into_iter().map(|(key, value)| Ok((self.id(&key)?, value))).collect::<Result<_, Unusable>>()?)
    }

    async fn remove_signed_prekey(&self, id: u32) -> Result<()> {
        Ok(self.write(delete(SIGNED_PRE_KEY, number(id))).await?)
    }

    async fn put_sender_key(&self, address: &str, record: &[u8]) -> Result<()> {
        Ok(self.commit_ratchets(writes(vec![put(SENDER_KEY, address, record.to_vec())])).await?)
    }

    async fn put_sender_keys_batch(&self, sender_keys: &[(Arc<str>, Bytes)]) -> Result<()> {
        let batch = sender_keys.iter().map(|(address, record)| put(SENDER_KEY, &**address, record.to_vec()));
        Ok(self.commit_ratchets(writes(batch.collect())).await?)
    }

    async fn get_sender_key(&self, address: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.read(SENDER_KEY, address).await?)
    }

    async fn delete_sender_key(&self, address: &str) -> Result<()> {
        Ok(self.commit_ratchets(writes(vec![delete(SENDER_KEY, address)])).await?)
    }
}

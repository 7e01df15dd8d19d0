//! Secrets of messages, by which later votes, edits and reactions to them are decrypted.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use wacore::store::traits::{MsgSecretEntry, MsgSecretStore, merge_msg_secret_expiry, merge_msg_secret_message_ts};

use super::value::joined;
use super::{Backend, Result, Unusable};
use crate::ports::session::{Clear, SessionBatch, Write};

const SECRET: &str = "message-secret";

#[derive(Serialize, Deserialize)]
struct Secret {
    secret: Vec<u8>,
    /// Unix seconds; zero keeps it for ever.
    expires_at: i64,
    message_ts: i64,
}

#[async_trait]
impl MsgSecretStore for Backend {
    async fn put_msg_secrets(&self, entries: Vec<MsgSecretEntry>) -> Result<usize> {
        // Alone, because what is there already decides about the deadline.
        let _alone = self.secrets.lock().await;
        let stored = entries.len();
        let mut merged = std::collections::BTreeMap::new();
        for entry in entries {
            let key = joined(&[&entry.chat, &entry.sender, &entry.msg_id]);
            let new =
                Secret { secret: entry.secret.to_vec(), expires_at: entry.expires_at, message_ts: entry.message_ts };
            merge(merged.entry(key), new);
        }
        let keys: Vec<String> = merged.keys().cloned().collect();
        for (key, value) in self.read_many(SECRET, &keys).await? {
            let old: Secret = self.decode("message secret", &value)?;
            if let Some(new) = merged.get_mut(&key) {
                new.expires_at = merge_msg_secret_expiry(old.expires_at, new.expires_at);
                new.message_ts = merge_msg_secret_message_ts(old.message_ts, new.message_ts);
            }
        }
        let writes = merged.into_iter().map(|(key, secret)| {
            let value = self.encode("message secret", &secret)?;
            let expires_at = (secret.expires_at != 0).then_some(secret.expires_at);
            Ok(Write { category: SECRET, key, value: Some(value), expires_at })
        });
        let writes = writes.collect::<Result<Vec<_>, Unusable>>()?;
        self.commit(SessionBatch { writes, ..SessionBatch::default() }).await?;
        Ok(stored)
    }

    async fn get_msg_secret(&self, chat: &str, sender: &str, msg_id: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.get_msg_secret_with_ts(chat, sender, msg_id).await?.map(|(secret, _)| secret))
    }

    async fn get_msg_secret_with_ts(&self, chat: &str, sender: &str, msg_id: &str) -> Result<Option<(Vec<u8>, i64)>> {
        let Some(value) = self.read(SECRET, &joined(&[chat, sender, msg_id])).await? else { return Ok(None) };
        let secret: Secret = self.decode("message secret", &value)?;
        Ok(Some((secret.secret, secret.message_ts)))
    }

    async fn delete_expired_msg_secrets(&self, cutoff_timestamp: i64) -> Result<u32> {
        let expired = Clear { category: SECRET, prefix: String::new(), expired_at: Some(cutoff_timestamp) };
        let count = self.count(&expired).await?;
        if count > 0 {
            self.commit(SessionBatch { clears: vec![expired], ..SessionBatch::default() }).await?;
        }
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }
}

fn merge(entry: std::collections::btree_map::Entry<'_, String, Secret>, new: Secret) {
    use std::collections::btree_map::Entry;
    match entry {
        Entry::Vacant(vacant) => {
            vacant.insert(new);
        }
        Entry::Occupied(mut old) => {
            let old = old.get_mut();
            old.secret = new.secret;
            old.expires_at = merge_msg_secret_expiry(old.expires_at, new.expires_at);
            old.message_ts = merge_msg_secret_message_ts(old.message_ts, new.message_ts);
        }
    }
}

//! What the protocol keeps beside the Signal keys: who has which sender key, LIDs, device lists, tokens, sent messages.

use std::collections::BTreeMap;

use async_trait::async_trait;
use wacore::store::traits::{
    DeviceListRecord, LidPnMappingEntry, PendingInboundKey, PendingInboundRow, ProtocolStore, TcTokenEntry,
};

use super::value::joined;
use super::{Backend, Result, Unusable, clear, delete, put, writes};
use crate::ports::session::{Clear, SessionBatch, Write};

const SENDER_KEY_DEVICE: &str = "sender-key-device";
const LID: &str = "lid";
const PHONE: &str = "lid-of-phone";
const BASE_KEY: &str = "base-key";
const DEVICES: &str = "devices";
const GROUP: &str = "group";
const TOKEN: &str = "privacy-token";
pub(super) const SENT: &str = "sent-message";

/// How long a sent message is kept for those who ask for it again, as the library is told too: some switch their phone on days later.
pub(in crate::whatsapp) const SENT_TTL_SECS: i64 = 3 * 24 * 60 * 60;

/// How long the base key of a retried message can matter: as long as WhatsApp keeps a message for a device that is away.
const BASE_KEY_TTL_SECS: i64 = 30 * 24 * 60 * 60;

impl Backend {
    async fn token(&self, jid: &str) -> Result<Option<TcTokenEntry>, Unusable> {
        let value = self.read(TOKEN, jid).await?;
        value.map(|value| self.decode("privacy token", &value)).transpose()
    }

    async fn put_token(&self, jid: &str, entry: &TcTokenEntry) -> Result<(), Unusable> {
        let value = self.encode("privacy token", entry)?;
        self.write(put(TOKEN, jid, value)).await
    }
}

#[async_trait]
impl ProtocolStore for Backend {
    async fn get_sender_key_devices(&self, group_jid: &str) -> Result<Vec<(String, bool)>> {
        let prefix = joined(&[group_jid, ""]);
        let rows = self.scan(SENDER_KEY_DEVICE, &prefix).await?;
        Ok(rows.into_iter().map(|(key, value)| (key[prefix.len()..].to_owned(), value.first() == Some(&1))).collect())
    }

    async fn set_sender_key_status(&self, group_jid: &str, entries: &[(&str, bool)]) -> Result<()> {
        let batch = entries
            .iter()
            .map(|(device, has)| put(SENDER_KEY_DEVICE, joined(&[group_jid, device]), vec![u8::from(*has)]));
        Ok(self.commit(writes(batch.collect())).await?)
    }

    async fn clear_sender_key_devices(&self, group_jid: &str) -> Result<()> {
        Ok(self.commit(clear(SENDER_KEY_DEVICE, joined(&[group_jid, ""]))).await?)
    }

    async fn delete_sender_key_device_rows(&self, device_jids: &[&str]) -> Result<()> {
        let rows = self.scan(SENDER_KEY_DEVICE, "").await?;
        let of_them = rows
            .into_iter()
            .filter(|(key, _)| key.rsplit('|').next().is_some_and(|device| device_jids.contains(&device)));
        Ok(self.commit(writes(of_them.map(|(key, _)| delete(SENDER_KEY_DEVICE, key)).collect())).await?)
    }

    async fn clear_all_sender_key_devices(&self) -> Result<()> {
        Ok(self.commit(clear(SENDER_KEY_DEVICE, "")).await?)
    }

    async fn get_lid_mapping(&self, lid: &str) -> Result<Option<LidPnMappingEntry>> {
        let value = self.read(LID, lid).await?;
        Ok(value.map(|value| self.decode("LID mapping", &value)).transpose()?)
    }

    async fn get_pn_mapping(&self, phone: &str) -> Result<Option<LidPnMappingEntry>> {
        let Some(lid) = self.read(PHONE, phone).await? else { return Ok(None) };
        let lid = String::from_utf8(lid).map_err(|_no_text| self.corrupt("LID of a phone number"))?;
        self.get_lid_mapping(&lid).await
    }

    async fn put_lid_mapping(&self, entry: &LidPnMappingEntry) -> Result<()> {
        self.put_lid_mappings(std::slice::from_ref(entry)).await
    }

    async fn put_lid_mappings(&self, entries: &[LidPnMappingEntry]) -> Result<()> {
        // Alone, because a number that a LID had before loses it.
        let _alone = self.mappings.lock().await;
        let newest: BTreeMap<&str, &LidPnMappingEntry> =
            entries.iter().map(|entry| (entry.lid.as_str(), entry)).collect();
        let lids: Vec<String> = newest.keys().map(|lid| (*lid).to_owned()).collect();
        let mut batch = Vec::with_capacity(entries.len() * 2);
        for (lid, value) in self.read_many(LID, &lids).await? {
            let old: LidPnMappingEntry = self.decode("LID mapping", &value)?;
            if newest.get(lid.as_str()).is_some_and(|new| new.phone_number != old.phone_number) {
                batch.push(delete(PHONE, old.phone_number));
            }
        }
        for entry in newest.values() {
            batch.push(put(LID, entry.lid.as_str(), self.encode("LID mapping", entry)?));
            batch.push(put(PHONE, entry.phone_number.as_str(), entry.lid.clone().into_bytes()));
        }
        Ok(self.commit(writes(batch)).await?)
    }

    async fn get_all_lid_mappings(&self) -> Result<Vec<LidPnMappingEntry>> {
        let rows = self.scan(LID, "").await?;
        Ok(rows.iter().map(|(_, value)| self.decode("LID mapping", value)).collect::<Result<_, Unusable>>()?)
    }

    async fn save_base_key(&self, address: &str, message_id: &str, base_key: &[u8]) -> Result<()> {
        let mut row = put(BASE_KEY, joined(&[address, message_id]), base_key.to_vec());
        row.expires_at = Some(self.now_secs() + BASE_KEY_TTL_SECS);
        Ok(self.write(row).await?)
    }

    async fn has_same_base_key(&self, address: &str, message_id: &str, current_base_key: &[u8]) -> Result<bool> {
        let saved = self.read(BASE_KEY, &joined(&[address, message_id])).await?;
        Ok(saved.is_some_and(|saved| saved == current_base_key))
    }

    async fn delete_base_key(&self, address: &str, message_id: &str) -> Result<()> {
        Ok(self.write(delete(BASE_KEY, joined(&[address, message_id]))).await?)
    }

    async fn update_device_list(&self, record: DeviceListRecord) -> Result<()> {
        self.update_device_lists(vec![record]).await
    }

    async fn update_device_lists(&self, records: Vec<DeviceListRecord>) -> Result<()> {
        let batch =
            records.iter().map(|record| Ok(put(DEVICES, record.user.as_str(), self.encode("device list", record)?)));
        Ok(self.commit(writes(batch.collect::<Result<_, Unusable>>()?)).await?)
    }

    async fn get_devices(&self, user: &str) -> Result<Option<DeviceListRecord>> {
        let value = self.read(DEVICES, user).await?;
        Ok(value.map(|value| self.decode("device list", &value)).transpose()?)
    }

    async fn delete_devices(&self, user: &str) -> Result<()> {
        // At each login the library deletes what it has long stored under the LID. A batch would have a revision, a wait for the disk, and new
        // copies of everything.
        if self.read(DEVICES, user).await?.is_none() {
            return Ok(());
        }
        Ok(self.write(delete(DEVICES, user)).await?)
    }

    async fn get_group_metadata(&self, group_jid: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.read(GROUP, group_jid).await?)
    }

    async fn put_group_metadata(&self, group_jid: &str, blob: &[u8]) -> Result<()> {
        Ok(self.write(put(GROUP, group_jid, blob.to_vec())).await?)
    }

    async fn delete_group_metadata(&self, group_jid: &str) -> Result<()> {
        Ok(self.write(delete(GROUP, group_jid)).await?)
    }

    async fn get_tc_token(&self, jid: &str) -> Result<Option<TcTokenEntry>> {
        Ok(self.token(jid).await?)
    }

    async fn put_tc_token(&self, jid: &str, entry: &TcTokenEntry) -> Result<()> {
        let _alone = self.tokens.lock().await;
        Ok(self.put_token(jid, entry).await?)
    }

    async fn delete_tc_token(&self, jid: &str) -> Result<()> {
        let _alone = self.tokens.lock().await;
        Ok(self.write(delete(TOKEN, jid)).await?)
    }

    async fn get_all_tc_token_jids(&self) -> Result<Vec<String>> {
        Ok(self.scan(TOKEN, "").await?.into_iter().map(|(jid, _)| jid).collect())
    }

    async fn delete_expired_tc_tokens(&self, token_cutoff: i64, sender_cutoff: i64) -> Result<u32> {
        let _alone = self.tokens.lock().await;
        let mut gone = Vec::new();
        for (jid, value) in self.scan(TOKEN, "").await? {
            let entry: TcTokenEntry = self.decode("privacy token", &value)?;
            let token_live = !entry.token.is_empty() && entry.token_timestamp >= token_cutoff;
            let sender_live = entry.sender_timestamp.is_some_and(|at| at >= sender_cutoff);
            if !token_live && !sender_live {
                gone.push(delete(TOKEN, jid));
            }
        }
        let count = gone.len();
        self.commit(writes(gone)).await?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    async fn touch_tc_token_sender_timestamp(&self, jid: &str, sender_timestamp: i64) -> Result<()> {
        let _alone = self.tokens.lock().await;
        let entry = match self.token(jid).await? {
            Some(old) => TcTokenEntry { sender_timestamp: old.sender_timestamp.max(Some(sender_timestamp)), ..old },
            None => TcTokenEntry {
                token: Vec::new(),
                token_timestamp: sender_timestamp,
                sender_timestamp: Some(sender_timestamp),
            },
        };
        Ok(self.put_token(jid, &entry).await?)
    }

    async fn store_received_tc_token(&self, jid: &str, token: &[u8], token_timestamp: i64) -> Result<()> {
        let _alone = self.tokens.lock().await;
        let old = self.token(jid).await?;
        // The newer real token wins; one without bytes only holds a place.
        if old.as_ref().is_some_and(|old| !old.token.is_empty() && token_timestamp < old.token_timestamp) {
            return Ok(());
        }
        let sender_timestamp = old.and_then(|old| old.sender_timestamp);
        Ok(self.put_token(jid, &TcTokenEntry { token: token.to_vec(), token_timestamp, sender_timestamp }).await?)
    }

    async fn store_sent_message(&self, chat_jid: &str, message_id: &str, payload: &[u8]) -> Result<()> {
        let expires_at = Some(self.now_secs() + SENT_TTL_SECS);
        let key = joined(&[chat_jid, message_id]);
        Ok(self.write(Write { category: SENT, key, value: Some(payload.to_vec()), expires_at }).await?)
    }

    async fn take_sent_message(&self, chat_jid: &str, message_id: &str) -> Result<Option<Vec<u8>>> {
        // It stays until its time is over. The library would put it back after sending it again, and who asks in between, another member of
        // a group or the same one after a crash, would find nothing.
        Ok(self.read(SENT, &joined(&[chat_jid, message_id])).await?)
    }

    async fn delete_expired_sent_messages(&self, cutoff_timestamp: i64) -> Result<u32> {
        // The library says how old is too old, the rows say until when they are kept.
        let expired =
            Clear { category: SENT, prefix: String::new(), expired_at: Some(cutoff_timestamp + SENT_TTL_SECS) };
        let count = self.count(&expired).await?;
        if count > 0 {
            self.commit(SessionBatch { clears: vec![expired], ..SessionBatch::default() }).await?;
        }
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    async fn store_pending_inbound(&self, chat: &str, sender: &str, id: &str, message: &[u8]) -> Result<()> {
        self.store_rows(&[PendingInboundRow { chat, sender, id, message }]).await
    }

    async fn get_pending_inbound(&self, chat: &str, sender: &str, id: &str) -> Result<Option<Vec<u8>>> {
        self.pending_row(chat, sender, id).await
    }

    async fn delete_pending_inbound(&self, chat: &str, sender: &str, id: &str) -> Result<()> {
        self.delete_rows(&[PendingInboundKey { chat, sender, id }]).await
    }

    async fn delete_expired_pending_inbound(&self, cutoff_timestamp: i64) -> Result<u32> {
        self.bury_rows(cutoff_timestamp).await
    }

    async fn store_pending_inbound_batch(&self, rows: &[PendingInboundRow<'_>]) -> Result<()> {
        self.store_rows(rows).await
    }

    async fn delete_pending_inbound_batch(&self, keys: &[PendingInboundKey<'_>]) -> Result<()> {
        self.delete_rows(keys).await
    }
}

//! App state: the keys, versions and MACs by which settings are synchronised between an account's devices.

use std::collections::HashMap;

use async_trait::async_trait;
use wacore::appstate::hash::HashState;
use wacore::appstate::processor::AppStateMutationMAC;
use wacore::store::traits::{AppStateSyncKey, AppSyncStore};

use super::value::hex;
use super::{Backend, Result, clear, delete, put, writes};

const KEY: &str = "app-state-key";
const LATEST_KEY: &str = "app-state-latest-key";
const VERSION: &str = "app-state-version";
const MAC: &str = "app-state-mac";

fn mac_key(name: &str, index_mac: &[u8]) -> String {
    format!("{name}:{}", hex(index_mac))
}

#[async_trait]
impl AppSyncStore for Backend {
    async fn get_sync_key(&self, key_id: &[u8]) -> Result<Option<AppStateSyncKey>> {
        let value = self.read(KEY, &hex(key_id)).await?;
        Ok(value.map(|value| self.decode("app state key", &value)).transpose()?)
    }

    async fn set_sync_key(&self, key_id: &[u8], key: AppStateSyncKey) -> Result<()> {
        let value = self.encode("app state key", &key)?;
        Ok(self.commit(writes(vec![put(KEY, hex(key_id), value), put(LATEST_KEY, "latest", key_id.to_vec())])).await?)
    }

    async fn get_version(&self, name: &str) -> Result<HashState> {
        let value = self.read(VERSION, name).await?;
        Ok(value.map(|value| self.decode("app state version", &value)).transpose()?.unwrap_or_default())
    }

    async fn set_version(&self, name: &str, state: HashState) -> Result<()> {
        let value = self.encode("app state version", &state)?;
        Ok(self.write(put(VERSION, name, value)).await?)
    }

    async fn put_mutation_macs(&self, name: &str, _version: u64, mutations: &[AppStateMutationMAC]) -> Result<()> {
        let batch = mutations.iter().map(|one| put(MAC, mac_key(name, &one.index_mac), one.value_mac.clone()));
        Ok(self.commit(writes(batch.collect())).await?)
    }

    async fn get_mutation_mac(&self, name: &str, index_mac: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.read(MAC, &mac_key(name, index_mac)).await?)
    }

    async fn get_mutation_macs(&self, name: &str, index_macs: &[[u8; 32]]) -> Result<HashMap<[u8; 32], Vec<u8>>> {
        let wanted: HashMap<String, [u8; 32]> = index_macs.iter().map(|mac| (mac_key(name, mac), *mac)).collect();
        let keys: Vec<String> = wanted.keys().cloned().collect();
        let found = self.read_many(MAC, &keys).await?;
        Ok(found.into_iter().filter_map(|(key, value)| wanted.get(&key).map(|mac| (*mac, value))).collect())
    }

    async fn delete_mutation_macs(&self, name: &str, index_macs: &[Vec<u8>]) -> Result<()> {
        let batch = index_macs.iter().map(|mac| delete(MAC, mac_key(name, mac)));
        Ok(self.commit(writes(batch.collect())).await?)
    }

    async fn clear_mutation_macs(&self, name: &str) -> Result<()> {
        Ok(self.commit(clear(MAC, format!("{name}:"))).await?)
    }

    async fn get_latest_sync_key_id(&self) -> Result<Option<Vec<u8>>> {
        Ok(self.read(LATEST_KEY, "latest").await?)
    }
}

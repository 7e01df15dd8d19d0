//! Leases of a process that is alone.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use holdfast_core::id::InstanceId;
use holdfast_core::tenancy::Survey;

use super::MemoryStore;
use crate::ports::leases::{Leases, Node, Profile, Whereabouts};
use crate::ports::store::StoreError;

#[async_trait]
impl Leases for MemoryStore {
    fn lease_ttl(&self) -> Option<Duration> {
        None
    }

    async fn join(&self, _: Profile) -> Result<(), StoreError> {
        self.answers()
    }

    async fn renew(&self) -> Result<Vec<InstanceId>, StoreError> {
        self.answers()?;
        Ok(self.inner().rows.iter().map(|row| row.id.clone()).collect())
    }

    async fn survey(&self) -> Result<Survey, StoreError> {
        self.answers()?;
        Ok(Survey::default())
    }

    async fn adopt(&self, _: u32, _: bool) -> Result<Vec<InstanceId>, StoreError> {
        self.answers()?;
        Ok(Vec::new())
    }

    async fn let_go(&self, _: Vec<InstanceId>) -> Result<(), StoreError> {
        self.answers()
    }

    async fn retire(&self) -> Result<(), StoreError> {
        self.answers()
    }

    async fn leave(&self) -> Result<(), StoreError> {
        self.answers()
    }

    async fn owners(&self) -> Result<HashMap<InstanceId, String>, StoreError> {
        self.answers()?;
        Ok(HashMap::new())
    }

    async fn whereabouts(&self, _: &str) -> Result<Option<Whereabouts>, StoreError> {
        self.answers()?;
        Ok(None)
    }

    async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        self.answers()?;
        Ok(Vec::new())
    }
}

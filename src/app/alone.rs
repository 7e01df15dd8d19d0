//! Leases where no other process can exist.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use holdfast_core::id::InstanceId;
use holdfast_core::tenancy::Survey;

use crate::ports::leases::{Leases, Node, Profile, Whereabouts};
use crate::ports::store::StoreError;

pub(super) struct Alone;

#[async_trait]
impl Leases for Alone {
    fn lease_ttl(&self) -> Option<Duration> {
        None
    }

    async fn join(&self, _: Profile) -> Result<(), StoreError> {
        Ok(())
    }

    async fn renew(&self) -> Result<Vec<InstanceId>, StoreError> {
        Ok(Vec::new())
    }

    async fn survey(&self) -> Result<Survey, StoreError> {
        Ok(Survey::default())
    }

    async fn adopt(&self, _: u32, _: bool) -> Result<Vec<InstanceId>, StoreError> {
        Ok(Vec::new())
    }

    async fn let_go(&self, _: Vec<InstanceId>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn retire(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn leave(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn whereabouts(&self, _: &str) -> Result<Option<Whereabouts>, StoreError> {
        Ok(None)
    }

    async fn owners(&self) -> Result<HashMap<InstanceId, String>, StoreError> {
        Ok(HashMap::new())
    }

    async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        Ok(Vec::new())
    }
}

//! Copies of the sessions of the store in memory: there are none.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use holdfast_core::id::{DatabaseId, InstanceId};
use holdfast_core::restoration::{Database, Member};

use super::store::MemoryStore;
use crate::ports::changes::Changes;
use crate::ports::copies::{Adopted, Adoption, Copies, Export};
use crate::ports::layer::SessionCopy;
use crate::ports::restore::Renewal;
use crate::ports::store::StoreError;

#[async_trait]
impl Copies for MemoryStore {
    fn changes(&self) -> &Changes {
        &self.changes
    }

    fn database(&self) -> DatabaseId {
        DatabaseId::of([0; 16])
    }

    async fn neighbours(&self, _: DateTime<Utc>) -> Result<Vec<DatabaseId>, StoreError> {
        Ok(Vec::new())
    }

    async fn note_neighbour(&self, _: &DatabaseId) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn states(&self) -> Result<Vec<(InstanceId, Member<Database>)>, StoreError> {
        Ok(Vec::new())
    }

    async fn export(&self, _: &InstanceId, _: DateTime<Utc>) -> Result<Option<SessionCopy>, StoreError> {
        Ok(None)
    }

    async fn export_many(
        &self,
        _: &[InstanceId],
        _: DateTime<Utc>,
    ) -> Result<Vec<(InstanceId, Result<Export, StoreError>)>, StoreError> {
        Ok(Vec::new())
    }

    async fn adopt_copy(&self, copy: SessionCopy, _: Adoption, _: Arc<dyn Renewal>) -> Result<Adopted, StoreError> {
        Err(StoreError::NoSuchInstance(copy.header.id))
    }
}

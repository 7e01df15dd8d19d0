//! The store under a link: a real database that fails as planned, and can be looked into and damaged past the ports.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use holdfast::ports::session::{Sessions as _, Unrecovered};
use holdfast_core::event::EventName;
use serde_json::Value;

use super::bench::spec;
use crate::harness::faulty_store::{Faults, FaultyStore};
use crate::store::bench::{Database as _, Opening, SqliteFile, new_instance, put, webhook, writes};

/// The database of one instance.
pub(crate) struct Stored {
    file: SqliteFile,
    pub(crate) faulty: Arc<FaultyStore>,
}

impl Stored {
    pub(crate) async fn open() -> Result<Self> {
        let file = SqliteFile::new()?;
        let store = file.open(Opening::default()).await?;
        let instance = spec().instance;
        store.insert(new_instance(instance.as_str())).await?;
        store.set_webhook(&instance, webhook(&[EventName::MessagesUpsert])).await?;
        Ok(Self { file, faulty: FaultyStore::new(store, Faults::none()) })
    }

    pub(crate) fn break_with(&self, faults: Faults) {
        self.faulty.plan(faults);
    }

    pub(crate) fn heal(&self) {
        self.faulty.heal();
    }

    /// Takes the session over and writes it, as another node would.
    pub(crate) async fn steal(&self) -> Result<()> {
        let instance = spec().instance;
        let epoch = self.faulty.claim(&instance).await?.epoch;
        self.faulty.commit(&instance, epoch, writes(vec![put("stolen", "mark", "1")])).await?;
        Ok(())
    }

    /// The messages that were queued for the webhook, in their order.
    pub(crate) fn events(&self) -> Vec<Value> {
        let texts = self.texts("SELECT data FROM holdfast_outbox ORDER BY seq");
        texts.iter().map(|text| serde_json::from_str(text).expect("the data of an event")).collect()
    }

    /// The texts of those messages.
    pub(crate) fn told(&self) -> Vec<String> {
        let text = |event: &Value| event["message"]["conversation"].as_str().unwrap_or_default().to_owned();
        self.events().iter().map(text).collect()
    }

    /// The ids of the messages that were accepted.
    pub(crate) fn accepted(&self) -> Vec<String> {
        self.texts("SELECT message_id FROM holdfast_accepted")
    }

    /// How many values of a kind there are.
    pub(crate) fn rows(&self, category: &str) -> usize {
        self.texts(&format!("SELECT key FROM holdfast_session_value WHERE category = '{category}'")).len()
    }

    /// The messages that came without their content.
    pub(crate) async fn unrecovered(&self) -> Result<Vec<Unrecovered>> {
        Ok(self.faulty.unrecovered(Some(&spec().instance), 100).await?)
    }

    /// Loses all values of a kind; returns how many there were.
    pub(crate) fn lose(&self, category: &str) -> Result<usize> {
        let count = self.rows(category);
        self.file.execute(&format!("DELETE FROM holdfast_session_value WHERE category = '{category}'"))?;
        Ok(count)
    }

    /// Changes what is stored of a kind, by an expression over the column `value`.
    pub(crate) fn rewrite(&self, category: &str, value: &str) -> Result<()> {
        self.file.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT * FROM holdfast_session_value WHERE FALSE")?;
        let which = format!("WHERE category = '{category}'");
        self.file.execute(&format!("INSERT INTO kept SELECT * FROM holdfast_session_value {which}"))?;
        self.file.execute(&format!("UPDATE holdfast_session_value SET value = {value} {which}"))
    }

    /// Puts back what [`Self::rewrite`] has changed.
    pub(crate) fn put_back(&self) -> Result<()> {
        self.file.execute("REPLACE INTO holdfast_session_value SELECT * FROM kept; DELETE FROM kept")
    }

    /// Tells whether a ratchet was stored after the last message that was kept to be handed over.
    pub(crate) fn ratchet_stored(&self) -> bool {
        let written = self.faulty.written();
        let last = |kind| written.iter().rposition(|written| *written == kind);
        last("session") > last("pending-inbound")
    }

    pub(crate) fn is_paired(&self) -> bool {
        self.has_device() && !self.texts("SELECT instance_id FROM holdfast_session WHERE paired").is_empty()
    }

    pub(crate) fn has_device(&self) -> bool {
        !self.texts(r#"SELECT "id" FROM "Session" WHERE "creds" IS NOT NULL"#).is_empty()
    }

    pub(crate) fn drop_device(&self) -> Result<()> {
        self.file.execute(r#"DELETE FROM "Session""#).context("the device cannot be dropped")
    }

    fn texts(&self, sql: &str) -> Vec<String> {
        self.file.texts(sql).expect("what the database holds")
    }
}

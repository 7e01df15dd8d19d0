//! Leases that do what they are told, and remember what they were asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use holdfast_core::id::InstanceId;
use holdfast_core::tenancy::Survey;
use tokio::time::sleep;

use crate::ports::leases::{Leases, Node, Profile, Whereabouts};
use crate::ports::store::StoreError;

#[derive(Default)]
pub(crate) struct ScriptedLeases {
    ttl: Option<Duration>,
    inner: Mutex<Script>,
}

#[derive(Default)]
pub(crate) struct Script {
    /// What this node owns.
    pub owned: Vec<InstanceId>,
    /// What nobody owns.
    pub free: Vec<InstanceId>,
    /// What a look at the fleet finds.
    pub survey: Survey,
    pub down: bool,
    pub usurped: bool,
    /// How long an answer to a renewal takes; what it says is what was so when it was asked.
    pub answers_after: Duration,
    pub renewals: u32,
    /// What else was asked.
    pub story: Vec<String>,
}

impl ScriptedLeases {
    pub(crate) fn lasting(ttl: Option<Duration>) -> Arc<Self> {
        Arc::new(Self { ttl, inner: Mutex::default() })
    }

    pub(crate) fn script<T>(&self, change: impl FnOnce(&mut Script) -> T) -> T {
        change(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns what was asked, but for renewals and looks, and forgets it.
    pub(crate) fn story(&self) -> Vec<String> {
        self.script(|script| std::mem::take(&mut script.story))
    }

    fn ask<T>(&self, note: Option<String>, answer: impl FnOnce(&mut Script) -> T) -> Result<T, StoreError> {
        self.script(|script| {
            if script.down {
                return Err(StoreError::Unavailable { doing: "a planned failure", cause: "planned".into() });
            }
            script.story.extend(note);
            Ok(answer(script))
        })
    }
}

#[async_trait]
impl Leases for ScriptedLeases {
    fn lease_ttl(&self) -> Option<Duration> {
        self.ttl
    }

    async fn join(&self, _: Profile) -> Result<(), StoreError> {
        self.ask(None, |_| ())
    }

    async fn renew(&self) -> Result<Vec<InstanceId>, StoreError> {
        let (owned, usurped, wait) = self.ask(None, |script| {
            script.renewals += 1;
            (script.owned.clone(), script.usurped, script.answers_after)
        })?;
        sleep(wait).await;
        if usurped { Err(StoreError::NodeInUse { node: "me".to_owned() }) } else { Ok(owned) }
    }

    async fn survey(&self) -> Result<Survey, StoreError> {
        self.ask(None, |script| script.survey.clone())
    }

    async fn adopt(&self, most: u32, abandoned: bool) -> Result<Vec<InstanceId>, StoreError> {
        self.ask(Some(format!("adopt {most}{}", if abandoned { " also of the dead" } else { "" })), |script| {
            let taken: Vec<InstanceId> = script.free.drain(..script.free.len().min(most as usize)).collect();
            script.owned.extend(taken.iter().cloned());
            script.survey.free = 0;
            taken
        })
    }

    async fn let_go(&self, ids: Vec<InstanceId>) -> Result<(), StoreError> {
        let names: Vec<&str> = ids.iter().map(InstanceId::as_str).collect();
        self.ask(Some(format!("let go {}", names.join(" "))), |script| {
            script.owned.retain(|owned| !ids.contains(owned));
        })
    }

    async fn retire(&self) -> Result<(), StoreError> {
        self.ask(Some("retire".to_owned()), |_| ())
    }

    async fn leave(&self) -> Result<(), StoreError> {
        self.ask(Some("leave".to_owned()), |_| ())
    }

    async fn owners(&self) -> Result<HashMap<InstanceId, String>, StoreError> {
        Ok(HashMap::new())
    }

    async fn whereabouts(&self, _: &str) -> Result<Option<Whereabouts>, StoreError> {
        Ok(None)
    }

    async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        Ok(Vec::new())
    }
}

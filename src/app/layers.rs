//! The places beside the database, as they are set.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use secrecy::SecretString;
use tokio::runtime::Handle;
use tracing::warn;

use super::checkup::copies;
use crate::cache::RedisCache;
use crate::config;
use crate::mirror::{Mirror, MirrorParts, MirrorPolicy};
use crate::ports::board::Board;
use crate::ports::clock::Clock;
use crate::ports::layer::Layer;
use crate::ports::neighbours::Neighbours;
use crate::ports::store::Store;
use crate::provider::{Directory, HttpProvider, HttpProviderOptions};

/// The layers that there are.
pub(super) struct Layers {
    pub(super) redis: Option<Arc<dyn Layer>>,
    pub(super) files: Option<Arc<dyn Layer>>,
    /// Engines of other databases that are seen there.
    pub(super) neighbours: Arc<Neighbours>,
    /// How long Redis keeps a copy.
    ttl: Duration,
    /// How often files are written of what has changed.
    snapshot_every: Duration,
}

impl Layers {
    /// Prepares them. Whether they answer is not tried: nothing waits for a layer.
    ///
    /// # Errors
    /// If what is set cannot be used.
    pub(super) fn new(settings: &config::Layers, api_key: &SecretString, clock: Clock) -> Result<Self> {
        let redis = settings.redis.as_ref().map(|redis| in_redis(redis, clock)).transpose()?;
        let files = settings.files.as_ref().map(|files| in_files(files, api_key, clock)).transpose()?;
        let ttl = settings.redis.as_ref().map_or(Duration::MAX, |redis| redis.ttl);
        Ok(Self { redis, files, neighbours: Arc::default(), ttl, snapshot_every: settings.snapshot_every })
    }
}

impl Layers {
    /// Starts those who keep the copies up to date.
    pub(super) fn mirrors(
        &self,
        store: &Arc<dyn Store>,
        board: &Arc<Board>,
        clock: Clock,
        runtime: &Handle,
    ) -> Vec<Arc<Mirror>> {
        let start = |layer: &Arc<dyn Layer>, policy| {
            let (layer, copies, board) = (Arc::clone(layer), Arc::clone(store) as _, Arc::clone(board));
            let (neighbours, alone) = (Arc::clone(&self.neighbours), store.lease_ttl().is_none());
            Mirror::start(MirrorParts { layer, copies, board, neighbours, alone, clock, policy }, runtime)
        };
        let usual = MirrorPolicy::default();
        let in_redis = MirrorPolicy { refresh_every: usual.refresh_every.min(self.ttl / 3), ..usual };
        let in_files = MirrorPolicy { rest: self.snapshot_every, ..usual };
        let redis = self.redis.iter().map(|layer| start(layer, in_redis));
        redis.chain(self.files.iter().map(|layer| start(layer, in_files))).collect()
    }
}

fn in_redis(settings: &config::Redis, clock: Clock) -> Result<Arc<dyn Layer>> {
    let options = copies::options(settings).context("CACHE_REDIS_CA_FILE cannot be read")?;
    Ok(Arc::new(RedisCache::new(options, clock).context("CACHE_REDIS_URI cannot be used")?))
}

fn in_files(settings: &config::Files, api_key: &SecretString, clock: Clock) -> Result<Arc<dyn Layer>> {
    Ok(match settings {
        config::Files::Directory(path) => Arc::new(Directory::open(path.clone(), clock).unwrap_or_else(|error| {
            warn!(path = %path.display(), %error, "PROVIDER_DIR cannot be used now; it is asked again");
            Directory::unopened(path.clone(), clock)
        })),
        config::Files::Provider { url, group } => {
            let options = HttpProviderOptions { url: url.clone(), group: group.clone(), api_key: api_key.clone() };
            Arc::new(HttpProvider::new(options, clock).context("the session provider cannot be used")?)
        }
    })
}

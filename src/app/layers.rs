//! The places beside the database, as they are set.

use std::fs;
use std::sync::Arc;

use anyhow::{Context, Result};
use secrecy::SecretString;

use crate::cache::{RedisCache, RedisOptions};
use crate::config;
use crate::ports::clock::Clock;
use crate::ports::layer::Layer;
use crate::provider::{Directory, HttpProvider, HttpProviderOptions};

/// The layers that there are.
#[derive(Clone, Default)]
pub(super) struct Layers {
    pub(super) redis: Option<Arc<dyn Layer>>,
    pub(super) files: Option<Arc<dyn Layer>>,
}

impl Layers {
    /// Prepares them. Whether they answer is not tried: nothing waits for a layer.
    ///
    /// # Errors
    /// If what is set cannot be used.
    pub(super) fn new(settings: &config::Layers, api_key: &SecretString, clock: Clock) -> Result<Self> {
        let redis = settings.redis.as_ref().map(|redis| in_redis(redis, clock)).transpose()?;
        let files = settings.files.as_ref().map(|files| in_files(files, api_key, clock)).transpose()?;
        Ok(Self { redis, files })
    }
}

fn in_redis(settings: &config::Redis, clock: Clock) -> Result<Arc<dyn Layer>> {
    let config::Redis { uri, authorities, prefix, ttl } = settings;
    let authorities = authorities
        .as_deref()
        .map(|file| fs::read(file).with_context(|| format!("CACHE_REDIS_CA_FILE {} cannot be read", file.display())))
        .transpose()?;
    let options = RedisOptions { uri: uri.clone(), prefix: prefix.clone(), ttl: *ttl, authorities };
    Ok(Arc::new(RedisCache::new(options, clock).context("CACHE_REDIS_URI cannot be used")?))
}

fn in_files(settings: &config::Files, api_key: &SecretString, clock: Clock) -> Result<Arc<dyn Layer>> {
    Ok(match settings {
        config::Files::Directory(path) => Arc::new(
            Directory::open(path.clone(), clock)
                .with_context(|| format!("PROVIDER_DIR {} cannot be used", path.display()))?,
        ),
        config::Files::Provider { url, group } => {
            let options = HttpProviderOptions { url: url.clone(), group: group.clone(), api_key: api_key.clone() };
            Arc::new(HttpProvider::new(options, clock).context("the session provider cannot be used")?)
        }
    })
}

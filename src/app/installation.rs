//! What the engine finds out about its own installation while it runs: what is stored and not done, whether copies can be kept, and who else
//! lives under its prefix in Redis.

use tokio::runtime::Handle;
use tracing::{debug, info, warn};

use super::checkup;
use super::checkup::copies;
use super::data_dir::SessionKeys;
use crate::cache::{Holder, Marker};
use crate::config::{Redis, Settings};
use crate::ports::fingerprint::Fingerprint;

const TAKEN: &str = "live-redis-prefix-taken";

/// Looks, once the database is open, for what nobody would notice otherwise. Nothing waits for it.
pub(super) fn look_round(settings: &Settings, keys: &SessionKeys, runtime: &Handle) {
    let (settings, keys) = (settings.clone(), keys.clone());
    runtime.spawn(async move {
        checkup::note_what_is_stored(&settings, &keys).await;
        checkup::complain(&copies::files(&settings).await);
        let Some(redis) = &settings.layers.redis else { return };
        let found = copies::redis(&settings, Some(&keys)).await;
        checkup::complain(&found);
        match marker(redis, copies::fingerprint(&settings, &keys)) {
            Ok(marker) => renew(marker, found.iter().any(|problem| problem.code == TAKEN)).await,
            Err(why) => warn!("Redis is not told that this installation lives: {why}"),
        }
    });
}

fn marker(redis: &Redis, fingerprint: Fingerprint) -> Result<Marker, String> {
    let options = copies::options(redis).map_err(|error| format!("the file of authorities cannot be read: {error}"))?;
    Marker::new(&options, fingerprint).map_err(|error| error.to_string())
}

/// Renews the marker. `told` says whether somebody knows that another installation is there.
async fn renew(mut marker: Marker, mut told: bool) {
    loop {
        match marker.claim().await {
            Ok(Holder::Us) if told => {
                info!("The prefix in Redis is this installation's again");
                told = false;
            }
            Ok(Holder::AnotherInstallation) if !told => {
                warn!(
                    code = TAKEN,
                    "Another installation lives under the prefix of this one in Redis; give each a CACHE_REDIS_PREFIX_KEY of its own"
                );
                told = true;
            }
            Ok(Holder::Us | Holder::AnotherInstallation) => {}
            // Whoever writes copies says that Redis is silent.
            Err(why) => debug!("The marker in Redis is not renewed: {why}"),
        }
        tokio::time::sleep(Marker::EVERY).await;
    }
}

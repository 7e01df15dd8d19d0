//! Joining the fleet, and what this process owns of it when it begins.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use holdfast_core::id::InstanceId;
use holdfast_core::tenancy::{Plan, Standing, plan};
use holdfast_core::time::Timestamp;
use tokio::runtime::Handle;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::failpoint::reach;
use crate::ports::clock::Clock;
use crate::ports::leases::{Leases, Profile};
use crate::ports::store::StoreError;

/// How often a name is asked for again that another process has.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// What may pass beyond the lease of a process that is gone.
const MARGIN: Duration = Duration::from_secs(5);
/// The most that is claimed with one call.
const AT_ONCE: u32 = 1000;

/// What this process owns, as it was when it asked.
pub(super) struct Owned {
    pub(super) asked_at: Timestamp,
    /// `None` where everything is its own.
    pub(super) ids: Option<HashSet<InstanceId>>,
}

/// Takes this process's place in the fleet. If another one has its name, it waits until that is gone.
pub(super) async fn join(leases: &Arc<dyn Leases>, profile: Profile, clock: Clock, runtime: &Handle) -> Result<()> {
    let until = clock.now().after(leases.lease_ttl().unwrap_or_default() + MARGIN);
    let mut said = false;
    loop {
        let (leases, own) = (Arc::clone(leases), profile.clone());
        match runtime.spawn(async move { leases.join(own).await }).await.context("joining the fleet crashed")? {
            Ok(()) => break,
            Err(StoreError::NodeInUse { node }) if clock.now() < until => {
                if !std::mem::replace(&mut said, true) {
                    warn!(
                        node,
                        "Another process with another data directory is node {node}; waiting for it to be gone"
                    );
                }
                sleep(ASK_AGAIN).await;
            }
            Err(StoreError::NodeInUse { node }) => bail!(
                "another process runs as node {node} on the same database, from another data directory; give each process a NODE_ID of its own, or unset it"
            ),
            Err(error) => return Err(error).context("this process cannot join those that share its database"),
        }
    }
    reach!("boot.joined");
    Ok(())
}

/// Renews for the first time what the process before this one held, and claims what nobody owns, up to this process's share.
pub(super) async fn own(leases: &Arc<dyn Leases>, clock: Clock, runtime: &Handle) -> Result<Owned> {
    let (leases, shared) = (Arc::clone(leases), leases.lease_ttl().is_some());
    let asked_at = clock.now();
    let owning = async move {
        let mut ids: HashSet<InstanceId> = leases.renew().await?.into_iter().collect();
        let held = ids.len();
        let mut wanted = if shared {
            let Plan { adopt, .. } = plan(&leases.survey().await?, Standing { settled: true, steady: false });
            adopt
        } else {
            u32::MAX
        };
        while wanted > 0 {
            let adopted = leases.adopt(wanted.min(AT_ONCE), true).await?;
            let number = u32::try_from(adopted.len()).unwrap_or(u32::MAX);
            wanted = wanted.saturating_sub(number);
            ids.extend(adopted);
            // Copies may go on being written meanwhile: whoever comes back with them is taken in as it comes.
            if number < AT_ONCE {
                break;
            }
        }
        Ok::<_, StoreError>((ids, held))
    };
    let (ids, held) = runtime.spawn(owning).await.context("claiming instances crashed")??;
    reach!("boot.owned");
    if shared {
        info!(held, adopted = ids.len() - held, "This node held {held} instances and takes {} more", ids.len() - held);
    }
    Ok(Owned { asked_at, ids: shared.then_some(ids) })
}

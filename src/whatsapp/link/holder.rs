//! A client with everything that belongs to it and to no other.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Result;
use async_trait::async_trait;
use holdfast_core::conduct::Conduct;
use holdfast_core::connection::DownReason;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use wacore::client_profile::ClientProfile;
use wacore::store::DevicePropsOverride;
use wacore::store::commands::DeviceCommand;
use wacore::types::events::{EventHandler, Subscription};
use waproto::whatsapp::device_props::PlatformType;
use whatsapp_rust::store::persistence_manager::PersistenceManager;
use whatsapp_rust::{CacheConfig, Client, RawNodeLease};

use super::Shared;
use crate::failpoint::reach;
use crate::ports::link::{LinkSpec, SealReason};
use crate::whatsapp::backend::{Backend, SENT_TTL_SECS};
use crate::whatsapp::backlog::Backlog;
use crate::whatsapp::debts::Debts;
use crate::whatsapp::durability::Handover;
use crate::whatsapp::events::{self, Listener, Own};
use crate::whatsapp::http::SealedHttp;
use crate::whatsapp::manners::Manners;
use crate::whatsapp::renewal::pre_keys_wanted;
use crate::whatsapp::reports::Reports;
use crate::whatsapp::runtime::GuardedRuntime;
use crate::whatsapp::seal::{self, Seal};
use crate::whatsapp::settings::LinkSettings;
use crate::whatsapp::transport::{BeforeFrame, Sockets};
use crate::whatsapp::version::Version;
use crate::whatsapp::way::Way;

/// How long the library's saver may leave a change unsaved that it was not told of; changes it is told of are saved at once.
const SAVE_EVERY: std::time::Duration = std::time::Duration::from_secs(30);

/// One client over one session.
pub(super) struct Holder {
    pub(super) client: Arc<Client>,
    pub(super) seal: Arc<Seal>,
    pub(super) backend: Arc<Backend>,
    pub(super) sockets: Arc<Sockets>,
    pub(super) listener: Arc<Listener>,
    pub(super) version: Version,
    /// The way that its sockets and fetches take.
    pub(super) way: Arc<Way>,
    /// Ends what the client has spawned.
    retired: CancellationToken,
    _events: Subscription,
    _stanzas: RawNodeLease,
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.retired.cancel();
    }
}

impl Holder {
    /// Claims the session and makes a client over it. An error says how the dial ends.
    pub(super) async fn make(
        shared: &Shared,
        spec: &LinkSpec,
        reports: &Reports,
        (seal, manners): (Arc<Seal>, &Arc<Manners>),
        (version, way): (Version, Arc<Way>),
        pairing: bool,
    ) -> Result<Self, DownReason> {
        let grace = shared.settings.store_grace;
        let store = Arc::clone(&shared.store);
        let backend = Arc::new(Backend::new(store, spec.instance.clone(), Arc::clone(&seal), shared.clock, grace));
        let unusable = || seal.reason().map_or(DownReason::StoreUnavailable, seal::down_reason);

        backend.claim().await.map_err(|_told_by_the_seal| unusable())?;
        let saved = PersistenceManager::new(Arc::clone(&backend) as _).await.map_err(|_told_by_the_seal| unusable())?;
        reach!("dial.device-read");
        if !pairing && !backend.found_device() {
            // The machine believes that there are credentials, the store has none: a new identity is not the answer.
            seal.set(SealReason::StoreUnavailable);
            return Err(DownReason::StoreUnavailable);
        }
        let saved = Arc::new(saved);
        let pre_keys = pre_keys_wanted(&saved.get_device_snapshot());
        backend.remember(Arc::downgrade(&saved));
        // Neither is part of what is stored.
        saved.process_command(DeviceCommand::SetDeviceProps(props(&shared.settings, &manners.conduct()))).await;
        saved.process_command(DeviceCommand::SetClientProfile(ClientProfile::web())).await;

        let handle = shared.handle.clone();
        let backlog = Arc::new(Backlog::new(shared.clock));
        backend.relieve(Arc::clone(&backlog));
        let debts = Arc::new(Debts::new(Arc::clone(&backend), handle.clone()));
        let gate = Arc::new(BeforeFrames {
            saved: Arc::clone(&saved),
            backend: Arc::clone(&backend),
            debts: Arc::clone(&debts),
        });
        let sockets = Arc::new(Sockets::new(
            (Arc::clone(&shared.dialler), Arc::clone(&way)),
            Arc::clone(&seal),
            reports.clone(),
            handle.clone(),
            gate,
            Arc::clone(&backlog),
        ));
        let retired = CancellationToken::new();
        let cache = CacheConfig { sent_message_ttl_secs: SENT_TTL_SECS.unsigned_abs(), ..CacheConfig::default() };
        let build = Client::builder()
            .with_runtime(GuardedRuntime::new(handle.clone(), Arc::clone(&seal), retired.clone()))
            .with_persistence_manager(saved)
            .with_transport_factory_arc(Arc::clone(&sockets) as _)
            .with_http_client(SealedHttp::new(way.http().clone(), Arc::clone(&seal)))
            .with_version_override(version)
            .with_cache_config(cache)
            .with_inbound_durability_hook(Handover::new(
                Arc::clone(&backend),
                Arc::clone(&backlog),
                Arc::clone(manners),
                spec.instance.clone(),
            ))
            .with_skip_history_sync(true)
            .with_wanted_pre_key_count(pre_keys)
            .with_background_saver_interval(SAVE_EVERY)
            .build();
        let built = Box::pin(build).await.map_err(|error| {
            warn!(instance.id = %spec.instance, "No client could be made: {error}");
            unusable()
        });
        let client = built?.into_client();

        reach!("dial.client-made");
        let (instance, own) = (spec.instance.clone(), Arc::clone(&backend));
        let own = Own { backend: own, debts, backlog, manners: Arc::clone(manners) };
        let listener = Arc::new(Listener::new(instance, reports.clone(), own, handle, shared.clock));
        listener.listen_to(Arc::downgrade(&client));
        backend.serve(Arc::downgrade(&client));
        let events = client.subscribe(events::interest(), Arc::clone(&listener) as Arc<dyn EventHandler>);
        let stanzas = client.acquire_raw_node_forwarding();
        Ok(Self { client, seal, backend, sockets, listener, version, way, retired, _events: events, _stanzas: stanzas })
    }

    /// Tells whether the client has credentials.
    pub(super) fn is_registered(&self) -> bool {
        self.client.persistence_manager().get_device_snapshot().is_registered()
    }

    /// Writes what the client holds in memory; returns whether all of it is durable.
    pub(super) async fn save(client: &Client, backend: &Backend) -> bool {
        reach!("save.before");
        let signal = client.flush_pending_signal_state().await;
        reach!("save.signal");
        let device = backend.save_newest().await;
        reach!("save.after");
        if let Err(error) = &signal {
            debug!("Signal state was not saved: {error}");
        }
        signal.is_ok() && device.is_ok()
    }

    /// Lets the client go for good: nothing that still runs of it may touch the socket or the store. What it knew was saved when its
    /// link ended; since then the session may have been archived, which must not be undone.
    pub(super) fn retire(self) {
        self.cut_off();
    }

    /// The same for a client that may still be running, and is never used again.
    pub(super) fn cut_off(&self) {
        self.listener.belong_to(None);
        self.sockets.belong_to(None);
        self.seal.set(SealReason::Abandoned);
        self.client.enable_auto_reconnect.store(false, Ordering::Relaxed);
        self.client.signal_shutdown_sync();
    }
}

/// Keeps frames back until that is on disk which a crash must not forget: the credentials before the phone lists the device, and what was
/// asked for again before that is acknowledged.
struct BeforeFrames {
    saved: Arc<PersistenceManager>,
    backend: Arc<Backend>,
    debts: Arc<Debts>,
}

#[async_trait]
impl BeforeFrame for BeforeFrames {
    async fn before_frame(&self) -> Result<()> {
        self.debts.are_durable().await;
        if self.backend.is_linked() {
            return Ok(());
        }
        let device = self.saved.get_device_snapshot();
        if device.pn.is_some() && device.lid.is_some() && device.account.is_some() {
            self.backend.save_newest().await?;
        }
        Ok(())
    }

    async fn before_end(&self) {
        self.backend.settled().await;
    }
}

fn props(settings: &LinkSettings, conduct: &Conduct) -> DevicePropsOverride {
    let platform = match settings.browser.to_ascii_lowercase().as_str() {
        "firefox" => PlatformType::FIREFOX,
        "edge" => PlatformType::EDGE,
        "opera" => PlatformType::OPERA,
        "safari" => PlatformType::SAFARI,
        _ => PlatformType::CHROME,
    };
    let props = DevicePropsOverride::new().with_os(settings.client_name.as_str()).with_platform_type(platform);
    props.with_require_full_sync(conduct.sync_full_history)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_history_is_asked_for_if_the_settings_say_so() {
        for wanted in [true, false] {
            let conduct = Conduct { sync_full_history: wanted, ..Conduct::default() };
            assert_eq!(props(&LinkSettings::default(), &conduct).require_full_sync, Some(wanted));
        }
    }
}

//! Dialling and closing: one client, one dial at a time.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use holdfast_core::connection::{DownReason, Event, Method};
use holdfast_core::id::LinkId;
use holdfast_core::proxy::{self, Fault};
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tracing::{error, info, warn};
use whatsapp_rust::Client;

use super::Shared;
use super::holder::Holder;
use super::running::Ran;
use super::sending::Accounts;
use crate::failpoint::reach;
use crate::ports::link::{LinkSpec, Report, SealReason};
use crate::ports::store::InstanceRecord;
use crate::whatsapp::backend::{Backend, Claimed};
use crate::whatsapp::events::Listener;
use crate::whatsapp::evidence::Attempt;
use crate::whatsapp::manners::Manners;
use crate::whatsapp::reports::Reports;
use crate::whatsapp::seal::Seal;
use crate::whatsapp::version::Version;
use crate::whatsapp::way::Way;

/// One dial, as it was asked for.
pub(super) struct Order {
    pub(super) link: LinkId,
    pub(super) method: Option<Method>,
    pub(super) rebuild: bool,
    pub(super) refresh_version: bool,
}

/// What can be asked of a link while its client runs.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) client: Arc<Client>,
    pub(super) backend: Arc<Backend>,
    pub(super) listener: Arc<Listener>,
    pub(super) attempt: Arc<Attempt>,
    pub(super) accounts: Arc<Accounts>,
    pub(super) seal: Arc<Seal>,
}

/// The dial under way.
struct Current {
    link: LinkId,
    attempt: Arc<Attempt>,
    live: Option<Live>,
}

/// The driver of one actor incarnation.
pub(super) struct Driver {
    shared: Arc<Shared>,
    spec: LinkSpec,
    reports: Reports,
    current: Mutex<Option<Current>>,
    accounts: Arc<Accounts>,
    manners: Arc<Manners>,
    /// Held by whoever reads the settings.
    pub(super) settings_turn: AsyncMutex<()>,
    /// Whether settings that could not be read are read again.
    pub(super) rereading: AtomicBool,
    /// The way of the last dial.
    way: Mutex<Option<Arc<Way>>>,
    /// The seal of the present client, and whether the driver was sealed before it had one.
    sealing: Mutex<Sealing>,
    /// The client between dials. Whoever dials holds it until `run()` has returned or was given up: no dial before that.
    turn: AsyncMutex<Option<Holder>>,
}

#[derive(Default)]
struct Sealing {
    seal: Option<Arc<Seal>>,
    /// The actor is gone: no client is made any more.
    ended: bool,
}

impl Driver {
    pub(super) fn start(shared: Arc<Shared>, spec: LinkSpec, actor: mpsc::Sender<Report>) -> Arc<Self> {
        let reports = Reports::start(actor, &shared.handle);
        let manners = Manners::new(spec.instance.clone(), shared.handle.clone());
        let driver = Arc::new(Self {
            shared,
            spec,
            reports,
            current: Mutex::default(),
            accounts: Arc::default(),
            manners,
            settings_turn: AsyncMutex::default(),
            rereading: AtomicBool::new(false),
            way: Mutex::default(),
            sealing: Mutex::default(),
            turn: AsyncMutex::new(None),
        });
        let (gone, ended) = (driver.reports.clone(), Arc::downgrade(&driver));
        driver.shared.handle.spawn(async move {
            gone.actor_gone().await;
            if let Some(driver) = ended.upgrade() {
                driver.seal(SealReason::ActorGone);
            }
        });
        driver
    }

    pub(super) fn reports(&self) -> &Reports {
        &self.reports
    }

    /// Returns the running client of a link; `None` if it has none or is not the present one.
    pub(super) fn live(&self, link: LinkId) -> Option<Live> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().filter(|current| current.link == link).and_then(|current| current.live.clone())
    }

    pub(super) fn close(&self, link: LinkId) {
        reach!("link.close");
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = current.as_ref().filter(|current| current.link == link) {
            current.attempt.close(true);
        }
    }

    pub(super) fn seal(&self, why: SealReason) {
        {
            let mut sealing = self.sealing.lock().unwrap_or_else(PoisonError::into_inner);
            sealing.ended |= why == SealReason::ActorGone;
            if let Some(seal) = &sealing.seal {
                seal.set(why);
            }
        }
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = current.as_ref() {
            current.attempt.close(true);
        }
    }

    /// Lets `seal` reach the client; false if the actor is gone.
    fn seal_with(&self, seal: &Arc<Seal>) -> bool {
        let mut sealing = self.sealing.lock().unwrap_or_else(PoisonError::into_inner);
        if sealing.ended {
            seal.set(SealReason::ActorGone);
        }
        sealing.seal = Some(Arc::clone(seal));
        !sealing.ended
    }

    pub(super) fn dial(self: &Arc<Self>, order: Order) {
        reach!("dial.asked");
        let attempt = Arc::new(Attempt::new());
        let link = order.link;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Current { link, attempt: Arc::clone(&attempt), live: None });
        let driver = Arc::clone(self);
        self.shared.handle.spawn(async move {
            let dialling = AssertUnwindSafe(driver.dialled(&order, &attempt)).catch_unwind();
            let why = Box::pin(dialling).await.unwrap_or_else(|_| {
                driver.seal(SealReason::Panicked);
                error!(instance.id = %driver.spec.instance, "A dial panicked");
                DownReason::Panicked
            });
            attempt.all_gone().await;
            reach!("dial.over");
            driver.ended(link);
            info!(instance.id = %driver.spec.instance, link = link.0, code = why.code(), "Link {link} is down: {}", why.code());
            driver.reports.fact(Event::LinkDown { link, why });
        });
    }

    fn ended(&self, link: LinkId) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|current| current.link == link) {
            *current = None;
        }
    }

    /// Claims, dials once, and returns why it ended.
    async fn dialled(&self, order: &Order, attempt: &Arc<Attempt>) -> DownReason {
        let mut turn = tokio::select! {
            turn = self.turn.lock() => turn,
            () = attempt.closing() => return DownReason::Requested,
        };
        let record = tokio::select! {
            record = self.read_row() => match record {
                Ok(record) => record,
                Err(why) => return why,
            },
            () = attempt.closing() => return DownReason::Requested,
        };
        let way = match self.way(&record) {
            Ok(way) => way,
            Err(why) => return why,
        };
        let version = tokio::select! {
            version = self.shared.versions.current(order.refresh_version, &way) => version,
            () = attempt.closing() => return DownReason::Requested,
        };
        let pairing = order.method.is_some();
        if let Some(holder) = turn.take() {
            *turn = self.usable(holder, order, version, &way).await;
        }
        let holder = if let Some(holder) = turn.take() {
            holder
        } else {
            let manners = &self.manners;
            let seal = Arc::new(Seal::new(self.shared.clock, Arc::clone(&self.shared.settings.tenure)));
            if !self.seal_with(&seal) {
                return DownReason::Requested;
            }
            let own = (Arc::clone(&seal), manners);
            let making = Holder::make(&self.shared, &self.spec, &self.reports, own, (version, way), pairing);
            tokio::select! {
                made = Box::pin(making) => match made {
                    Ok(holder) => holder,
                    Err(why) => return why,
                },
                () = attempt.closing() => {
                    seal.set(SealReason::Abandoned);
                    return DownReason::Requested;
                }
            }
        };
        if !self.seal_with(&holder.seal) || attempt.is_closing() {
            *turn = Some(holder);
            return DownReason::Requested;
        }
        reach!("dial.runs");
        let ran = self.run(&holder, order, attempt).await;
        reach!("dial.ran");

        if let Ran::GivenUp(why) = ran {
            return why;
        }
        if holder.seal.reason().is_none() {
            // The library has flushed its keys when `run()` returned; the device is saved by whoever changes it.
            let _ = holder.backend.save_newest().await;
        }
        let why = attempt.reason(holder.seal.reason());
        if holder.seal.reason().is_none()
            && is_last_word(&why)
            && let Some(verdict) = attempt.verdict()
        {
            holder.backend.keep_last_words(&verdict.stanza).await;
        }
        if holder.seal.reason().is_some() || !holder.is_registered() || is_terminal(&why) || ran != Ran::Done {
            holder.retire();
        } else {
            *turn = Some(holder);
        }
        why
    }

    /// Finds the way that this dial takes, from the row as it is now. A proxy that cannot be used leads nowhere, least of all past it.
    fn way(&self, record: &InstanceRecord) -> Result<Arc<Way>, DownReason> {
        let instance = &self.spec.instance;
        let unusable = DownReason::Proxy { fault: Fault::Settings };
        let row = record.proxy.as_ref().map(|row| (row.spec.enabled, row.spec.fields()));
        let proxy = proxy::effective(row, self.shared.settings.proxy.as_ref()).map_err(|why| {
            warn!(instance.id = %instance, "The proxy of instance {} cannot be used, and is not gone around: {why}", self.spec.name);
            unusable.clone()
        })?;
        let mut known = self.way.lock().unwrap_or_else(PoisonError::into_inner);
        let others = self.shared.way.as_ref();
        if let Some(way) = known.as_ref().filter(|way| way.proxy() == proxy.as_ref()) {
            return Ok(Arc::clone(way));
        }
        let way = if others.proxy() == proxy.as_ref() {
            Arc::clone(&self.shared.way)
        } else {
            let way = Way::new(self.shared.dialler.tls(), proxy).map_err(|error| {
                warn!(instance.id = %instance, "No HTTP client can be made for the proxy of an instance: {error}");
                unusable
            })?;
            Arc::new(way)
        };
        *known = Some(Arc::clone(&way));
        Ok(way)
    }

    /// Keeps the client of earlier dials if it is the newest there is of its session.
    async fn usable(&self, holder: Holder, order: &Order, version: Version, way: &Arc<Way>) -> Option<Holder> {
        let same = holder.version == version && Arc::ptr_eq(&holder.way, way);
        let fit = same && !order.rebuild && holder.seal.reason().is_none();
        let claimed = if fit { holder.backend.claim().await.ok() } else { None };
        if claimed == Some(Claimed::Continues) {
            return Some(holder);
        }
        if claimed == Some(Claimed::Changed) {
            info!(instance.id = %self.spec.instance, "The session was changed by somebody else; a new client reads it");
            holder.seal.set(SealReason::FencedOff);
        }
        holder.retire();
        None
    }

    pub(super) fn set_live(&self, link: LinkId, live: Option<Live>) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = current.as_mut().filter(|current| current.link == link) {
            current.live = live;
        }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) fn accounts(&self) -> &Arc<Accounts> {
        &self.accounts
    }

    pub(super) fn manners(&self) -> &Arc<Manners> {
        &self.manners
    }

    pub(super) fn spec(&self) -> &LinkSpec {
        &self.spec
    }
}

/// Tells whether the server has said why in a stanza that is worth keeping.
fn is_last_word(why: &DownReason) -> bool {
    matches!(
        why,
        DownReason::LoggedOut { .. }
            | DownReason::TemporaryBan { .. }
            | DownReason::Refused { .. }
            | DownReason::Outdated
    )
}

/// Tells whether a client is not used again after such an end.
fn is_terminal(why: &DownReason) -> bool {
    is_last_word(why) || matches!(why, DownReason::Replaced | DownReason::QrExhausted | DownReason::Panicked)
}

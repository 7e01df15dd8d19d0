//! Bringing the instances back: without the database they are known from their copies and wait; with it, what it lacks is taken from them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::TcpListener;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use actix::Addr;
use anyhow::{Context, Result};
use holdfast_core::backoff::Backoff;
use holdfast_core::connection::{Desired, DownReason, Method, Phase, Trouble};
use holdfast_core::event::Owner;
use holdfast_core::id::InstanceId;
use holdfast_core::restoration::{Action, Source};
use holdfast_core::status::InstanceStatus;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::actors::supervisor::SupervisorActor;
use crate::actors::supervisor::protocol::{CommandError, ConnectInstance, RestartInstance, StartInstance};
use crate::http::awaiting::{self, Awaiting};
use crate::http::settings::HttpSettings;
use crate::mirror::Mirror;
use crate::ports::board::{Board, Entry, PairingView, Token};
use crate::ports::chance;
use crate::ports::changes::{Change, Observer as _};
use crate::ports::copying::Copying as _;
use crate::ports::layer::{Reading, SessionCopy};
use crate::ports::restoration::{Line, Outcome, Stage};
use crate::ports::store::{InstanceRecord, Store, StoreError};
use crate::restoration::{Adopter, Places, Settling, Survey, Tools, Watched, survey, watch};
use crate::store::{EncryptionKey, open_copy};
use crate::whatsapp::DeviceRenewal;

/// How long the layers may take at the start, while HTTP is not ready.
const LAYERS_WITHIN: Duration = Duration::from_secs(3);
/// How long the first copies may take to be written before HTTP is ready; the others are written beside everything else.
const ADOPTED_WITHIN: Duration = Duration::from_secs(1);
/// How long the layers may take when nobody waits.
const LAYERS_LATER: Duration = Duration::from_secs(60);
/// How often the database is tried, and a layer that said nothing.
const AGAIN: Backoff = Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(5) };
/// The same while nobody is known to wait for it: each time everything is read.
const AGAIN_CALMLY: Backoff = Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(30) };
/// Copies that are in memory at the same time.
const AT_ONCE: usize = 32;

/// What a restoration works with.
#[derive(Clone)]
pub(super) struct Restoring {
    /// The layers; the database joins them when it is open.
    pub(super) places: Places,
    /// This node's name.
    pub(super) node: String,
    pub(super) client_name: String,
    /// The key of the database and of all copies.
    pub(super) key: Arc<EncryptionKey>,
    pub(super) tools: Tools,
}

impl Restoring {
    /// Opens the database. While a server does not answer, `listener` tells of the instances that the copies know of, and nothing dials.
    ///
    /// # Errors
    /// If it answers, and cannot be opened; an embedded one is never waited for.
    pub(super) async fn store<F>(
        &self,
        open: impl Fn() -> F,
        listener: &TcpListener,
        settings: Arc<HttpSettings>,
        is_server: bool,
    ) -> Result<Arc<dyn Store>>
    where
        F: Future<Output = Result<Arc<dyn Store>>>,
    {
        let (mut server, mut tries, mut said) = (None, 0, String::new());
        loop {
            let why = match open().await {
                Ok(store) => break self.back(store, server).await,
                Err(error) => match error.downcast_ref::<StoreError>() {
                    Some(away @ StoreError::Unavailable { .. }) if is_server => away.whole(),
                    _ => return Err(error),
                },
            };
            if said != why {
                warn!(
                    why,
                    "The database does not answer: instances are known from their copies, and nothing dials until it does"
                );
                said = why;
            }
            if server.is_none() {
                let known = Arc::default();
                server = Some(self.await_database(listener, settings.clone(), Arc::clone(&known))?);
                self.learn(&known).await?;
            }
            tries += 1;
            sleep(AGAIN.delay(tries, chance::unit())).await;
        }
    }

    async fn back(
        &self,
        store: Arc<dyn Store>,
        server: Option<actix_web::dev::ServerHandle>,
    ) -> Result<Arc<dyn Store>> {
        if let Some(server) = server {
            info!("The database answers");
            server.stop(false).await;
            self.tools.report.write(|report| report.stage = Stage::Asking);
        }
        Ok(store)
    }

    fn await_database(
        &self,
        listener: &TcpListener,
        settings: Arc<HttpSettings>,
        known: Arc<RwLock<Vec<(InstanceRecord, Entry)>>>,
    ) -> Result<actix_web::dev::ServerHandle> {
        let (report, clock) = (Arc::clone(&self.tools.report), self.tools.clock);
        let listener = listener.try_clone().context("the HTTP address cannot be shared")?;
        let server = awaiting::serve(Awaiting { settings, report, clock, known }, listener)
            .context("the HTTP server cannot be started")?;
        let handle = server.handle();
        actix::spawn(server);
        Ok(handle)
    }

    /// Learns from the copies which instances there are.
    async fn learn(&self, known: &RwLock<Vec<(InstanceRecord, Entry)>>) -> Result<()> {
        let this = self.clone();
        let learning = self.tools.runtime.spawn(async move {
            let found = survey(&this.places, LAYERS_WITHIN, &this.tools).await;
            let mut sources: BTreeMap<Source, Vec<InstanceId>> = BTreeMap::new();
            for one in &found.restored {
                if let Some(source) = one.decision.source {
                    sources.entry(source).or_default().push(one.id.clone());
                }
            }
            // Without a database nothing is written, and all of them wait.
            if let Err(crashed) = this.settle(found, &BTreeSet::new()).waits.await {
                warn!(%crashed, "Looking at the copies crashed");
            }
            this.tools.report.write(|report| report.stage = Stage::AwaitingDatabase);
            let mut learnt = Vec::new();
            for (source, ids) in sources {
                let layer = match source {
                    Source::Redis => this.places.redis.as_ref(),
                    Source::Files => this.places.files.as_ref(),
                    Source::Database => None,
                };
                let Some(layer) = layer else { continue };
                for chunk in ids.chunks(AT_ONCE) {
                    for (_, reading) in layer.read(chunk).await {
                        if let Reading::Found(found) = reading {
                            learnt.extend(this.known(&found.copy));
                        }
                    }
                }
            }
            learnt
        });
        let learnt = learning.await.context("reading the copies crashed")?;
        info!(instances = learnt.len(), "Copies know of {} instances", learnt.len());
        *known.write().unwrap_or_else(PoisonError::into_inner) = learnt;
        Ok(())
    }

    /// Makes of a copy what would be told of its instance; `None` if the key does not open it.
    fn known(&self, copy: &SessionCopy) -> Option<(InstanceRecord, Entry)> {
        let header = &copy.header;
        let opened = open_copy(&self.key, copy);
        let particulars = opened
            .inspect_err(|error| warn!(instance.id = %header.id, error = error.whole(), "A copy does not open"))
            .ok()?;
        let record = InstanceRecord {
            id: header.id.clone(),
            name: header.name.clone(),
            token: particulars.token,
            integration: particulars.integration,
            number: particulars.number,
            business_id: particulars.business_id,
            client_name: Some(self.client_name.clone()),
            connection_status: "connecting".to_owned(),
            owner_jid: particulars.owner_jid,
            profile_name: particulars.profile_name,
            profile_picture: particulars.profile_picture,
            disconnection_code: None,
            disconnection_object: None,
            disconnection_at: None,
            created_at: None,
            updated_at: None,
            desired: header.desired,
            paired: true,
            last_online_at: header.last_online_ms.and_then(chrono::DateTime::from_timestamp_millis),
            setting: None,
            proxy: None,
            chatwoot: None,
            unreadable: Vec::new(),
        };
        let now = self.tools.clock.now();
        let wanted = record.desired == Desired::Connected;
        let phase = if wanted { Phase::Waiting } else { Phase::Parked };
        let trouble = wanted.then_some(Trouble { why: DownReason::StoreUnavailable, since: now });
        let entry = Entry {
            name: record.name.clone(),
            token: Token(record.token.clone()),
            integration: record.integration.clone().unwrap_or_default(),
            status: InstanceStatus { trouble, ..InstanceStatus::without_actor(phase, now, true, false) },
            pairing: PairingView::default(),
            owner: Owner {
                jid: record.owner_jid.clone(),
                name: record.profile_name.clone(),
                picture: record.profile_picture.clone(),
            },
        };
        Some((record, entry))
    }

    /// Takes the open database among the places.
    pub(super) fn with(self, store: &Arc<dyn Store>) -> Self {
        Self { places: Places { database: Some(Arc::clone(store) as _), ..self.places }, ..self }
    }

    /// Asks all places, and begins to write into the database what it lacks. That is done when this returns, or goes on beside.
    pub(super) async fn first(&self) -> Result<Settling> {
        if let Some(database) = self.places.database.clone() {
            let now = self.tools.clock.wall();
            let asking = self.tools.runtime.spawn(async move { database.neighbours(now).await });
            self.tools.neighbours.remember(asking.await.context("asking for other databases crashed")??);
        }
        let mut settling = self.round(LAYERS_WITHIN, BTreeSet::new()).await?;
        let all = async { while settling.adopted.recv().await.is_some() {} };
        if timeout(ADOPTED_WITHIN, all).await.is_err() {
            info!("HTTP does not wait for all copies to be written into the database");
        }
        Ok(settling)
    }

    async fn round(&self, within: Duration, running: BTreeSet<InstanceId>) -> Result<Settling> {
        let this = self.clone();
        let round = async move {
            let found = survey(&this.places, within, &this.tools).await;
            this.settle(found, &running)
        };
        self.tools.runtime.spawn(round).await.context("asking for copies crashed")
    }

    fn settle(&self, found: Survey, running: &BTreeSet<InstanceId>) -> Settling {
        let adopter = Adopter {
            places: self.places.clone(),
            node: self.node.clone(),
            renewal: Arc::new(DeviceRenewal::new(self.tools.clock)),
            tools: self.tools.clone(),
        };
        adopter.settle(found, running)
    }

    /// Says of each instance whether this process connects it. `owned` is `None` where everything is its own.
    pub(super) fn enlist(&self, records: &[InstanceRecord], owned: Option<&HashSet<InstanceId>>) {
        self.tools.report.write(|report| {
            for record in records {
                let Some(line) = report.lines.get_mut(&record.id) else { continue };
                line.name = Some(record.name.clone());
                if line.outcome != Outcome::Dialling {
                    continue;
                }
                let elsewhere = owned.is_some_and(|owned| !owned.contains(&record.id));
                // What was only just taken in belongs to nobody yet: whose it becomes is seen while it is watched.
                if elsewhere && !line.decision.action.writes() {
                    line.outcome = Outcome::Elsewhere;
                } else if record.desired != Desired::Connected {
                    line.outcome = Outcome::Resting;
                }
            }
        });
    }

    /// Has the copies made that the layers do not have of what goes on here.
    pub(super) fn renew_copies(&self, mirrors: &[Arc<Mirror>]) {
        let report = self.tools.report.read();
        let here = |outcome: &Outcome| matches!(outcome, Outcome::Dialling | Outcome::Resting);
        for (id, line) in report.lines.iter().filter(|(_, line)| here(&line.outcome)) {
            let outdated = mirrors.iter().filter(|mirror| line.decision.outdated.contains(&mirror.figures().source));
            outdated.for_each(|mirror| mirror.changed(id, Change::Content));
        }
    }

    /// Watches how the instances that dial come back, and those whose copy is still being written, beside everything else. Those that are not to
    /// be connected say so at once, and so do those whose copies cannot be used.
    pub(super) fn watch(&self, board: &Arc<Board>, store: &Arc<dyn Store>, patience: Duration) {
        let report = self.tools.report.read();
        let told = |line: &Line| {
            let pending = line.outcome == Outcome::Waiting && line.decision.action.writes();
            pending || matches!(line.outcome, Outcome::Dialling | Outcome::Resting | Outcome::Refused { .. })
        };
        let told = report.lines.into_iter().filter(|(_, line)| told(line));
        self.watch_these(told.map(|(id, _)| id).collect(), board, store, patience);
    }

    fn watch_these(&self, ids: Vec<InstanceId>, board: &Arc<Board>, store: &Arc<dyn Store>, patience: Duration) {
        let (board, store, tools) = (Arc::clone(board), Arc::clone(store), self.tools.clone());
        let node = self.node.clone();
        self.tools.runtime.spawn(watch(Watched { ids, board, node, store, patience, tools }));
    }

    /// Starts what comes back, as it does, and goes on asking the places that said nothing, until each has.
    pub(super) async fn later(self, mut settling: Settling, mut returning: Returning) {
        let (mut tries, mut waited) = (0, Vec::new());
        loop {
            let mut back = Vec::new();
            while let Some(id) = settling.adopted.recv().await {
                returning.adopted(&self, &id).await;
                back.push(id);
            }
            // Whoever crashed has not said that all is done.
            let waits = settling.waits.await.unwrap_or_else(|crashed| {
                warn!(%crashed, "Taking copies in crashed");
                true
            });
            back.extend(returning.freed(&self).await);
            // What has turned out to be unusable says so too, and what another node has taken in is found to be there.
            let decided = |id: &InstanceId| {
                matches!(self.tools.report.outcome(id), Some(Outcome::Refused { .. } | Outcome::Dialling))
            };
            waited.retain(|id| !back.contains(id) && decided(id));
            back.append(&mut waited);
            // Those of the start are watched already.
            if tries > 0 && !back.is_empty() {
                self.watch_these(back, &returning.board, &returning.store, returning.patience);
            }
            if !waits && !returning.tries_again(&self) {
                if tries > 0 {
                    info!("All places have said what they hold");
                }
                return;
            }
            waited = self.waiting();
            settling = loop {
                tries += 1;
                let awaited = self.tools.report.waits() || !returning.held.is_empty();
                let again = if awaited { AGAIN } else { AGAIN_CALMLY };
                sleep(again.delay(tries, chance::unit())).await;
                match self.round(LAYERS_LATER, self.settled(&returning.board)).await {
                    Ok(settling) => break settling,
                    Err(error) => warn!(error = format!("{error:#}"), "The copies could not be asked"),
                }
            };
        }
    }

    /// Instances that wait for a place that said nothing, and those without a login, which it may have.
    fn waiting(&self) -> Vec<InstanceId> {
        let report = self.tools.report.read();
        let waits = report.lines.iter().filter(|(_, line)| matches!(line.outcome, Outcome::Waiting | Outcome::NoLogin));
        waits.map(|(id, _)| id.clone()).collect()
    }

    /// Instances of which it is known how they go on: those that were judged for good, and those that were made or paired since.
    fn settled(&self, board: &Board) -> BTreeSet<InstanceId> {
        let report = self.tools.report.read();
        let judged = |line: &Line| line.outcome != Outcome::Waiting && !line.decision.may_change();
        let since = |(id, entry): (InstanceId, Entry)| {
            let paired = |line: &Line| line.decision.action == Action::Nothing && entry.status.paired;
            report.lines.get(&id).is_none_or(paired).then_some(id)
        };
        let settled = report.lines.iter().filter(|(_, line)| judged(line)).map(|(id, _)| id.clone());
        settled.chain(board.all().into_iter().filter_map(since)).collect()
    }
}

/// Where instances go that come back after the start.
pub(super) struct Returning {
    pub(super) board: Arc<Board>,
    pub(super) store: Arc<dyn Store>,
    pub(super) supervisor: Addr<SupervisorActor>,
    /// How long one may take to be open.
    pub(super) patience: Duration,
    /// What this process owns and did not start.
    pub(super) held: BTreeSet<InstanceId>,
}

impl Returning {
    /// A login was taken in: it goes to work, unless a keeper of leases sees to that.
    async fn adopted(&mut self, restoring: &Restoring, id: &InstanceId) {
        let held = self.held.remove(id);
        let here = self.board.get(id).is_some();
        if here || self.store.lease_ttl().is_none() || (held && self.owns(restoring, id).await) {
            self.begin(restoring, id).await;
        }
    }

    /// Tells whether this node has claimed what was taken in: the keeper, who looks for what nobody owns, would come by it with the next
    /// renewal only.
    async fn owns(&self, restoring: &Restoring, id: &InstanceId) -> bool {
        let Some(name) = restoring.tools.report.line(id).and_then(|line| line.name) else { return false };
        let found = self.store.whereabouts(&name).await.ok().flatten().filter(|found| found.id == *id);
        found.and_then(|found| found.owner).is_some_and(|owner| owner.node == restoring.node)
    }

    /// Starts what is not held back any more, and returns it.
    async fn freed(&mut self, restoring: &Restoring) -> Vec<InstanceId> {
        let freed: Vec<InstanceId> = self.held.extract_if(.., |id| !restoring.tools.withheld.has(id)).collect();
        for id in &freed {
            self.begin(restoring, id).await;
        }
        freed
    }

    /// Tells whether something could not be started that may be.
    fn tries_again(&self, restoring: &Restoring) -> bool {
        self.held.iter().any(|id| !restoring.tools.withheld.has(id))
    }

    /// Starts an instance; one that could not be is tried again after the next round.
    async fn begin(&mut self, restoring: &Restoring, id: &InstanceId) {
        let begun =
            if self.board.get(id).is_some() { self.look_again(id).await } else { self.start(restoring, id).await };
        if let Err(error) = begun {
            warn!(instance.id = %id, error = format!("{error:#}"), "Instance {id} is back in the database, and was not started; trying again");
            self.held.insert(id.clone());
        }
    }

    /// Tells an actor that has found its login damaged, or none, that it is whole now.
    async fn look_again(&self, id: &InstanceId) -> Result<()> {
        let record = self.store.find(id).await?.context("its row is gone")?;
        // Whoever has no login would be asked for a code by that.
        if record.desired != Desired::Connected || !record.paired {
            return Ok(());
        }
        // Whoever scanned the code that it shows would be given another login, and lose this one.
        let told = if self.board.get(id).is_some_and(|entry| is_being_paired(&entry.status)) {
            self.supervisor.send(RestartInstance { id: id.clone() }).await
        } else {
            self.supervisor.send(ConnectInstance { id: id.clone(), method: Method::Qr }).await
        };
        match told.context("the supervisor is gone")? {
            Ok(()) | Err(CommandError::Stopping | CommandError::Unknown) => Ok(()),
            Err(refused) => Err(refused).context("it cannot be told"),
        }
    }

    async fn start(&self, restoring: &Restoring, id: &InstanceId) -> Result<()> {
        let record = self.store.find(id).await?.context("its row is gone")?;
        restoring.enlist(std::slice::from_ref(&record), None);
        match self.supervisor.send(StartInstance { record }).await.context("the supervisor is gone")? {
            Ok(()) | Err(CommandError::Stopping) => Ok(()),
            Err(refused) => Err(refused).context("it cannot be put on the roster"),
        }
    }
}

/// Tells whether an actor without a login is at getting one.
fn is_being_paired(status: &InstanceStatus) -> bool {
    let at_work = match status.phase {
        Phase::Waiting | Phase::Connecting | Phase::Pairing | Phase::Syncing | Phase::BackingOff => true,
        Phase::Unpaired | Phase::Online | Phase::Suspect | Phase::Parked | Phase::Draining | Phase::Stopped => false,
    };
    at_work && !status.paired
}

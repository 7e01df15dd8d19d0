//! Everything that can be asked of a running simulator, whether over HTTP or from a test in the same process.

mod groups;
mod signs;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::address::Phone;
use crate::adoption::{AdoptAnswer, AdoptRequest};
use crate::api::{
    AccountView, CountersView, EventQuery, FaultAnswer, Health, MessageAnswer, MessageRequest, PairingCodeRequest,
    Problem, ScanAnswer, ScanRequest, SessionView,
};
use crate::door::{Door, RefuseAnswer, RefuseRequest};
use crate::events::{Entry, Event, EventKind};
use crate::faults::FaultRequest;
use crate::hub::Hub;
use crate::link::LinkId;
use crate::media::{ExpireAnswer, ExpireRequest, MediaView};
use crate::messages::SentMessage;
use crate::pairing::code::{self, TypedCode};
use crate::rules::Rules;
use crate::served::ServedView;
use crate::traffic::{Traffic, TrafficRequest, TrafficView};
use crate::world::World;

/// How long a client may take to sign after it was scanned.
const SIGNING: Duration = Duration::from_secs(10);
/// How long a client may take to answer a code that was typed. Its share of the work is made to take long.
const ANSWERING: Duration = Duration::from_secs(30);
const DEFAULT_WAIT: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// A handle on a running simulator.
#[derive(Clone)]
pub struct Operator {
    hub: Arc<Hub>,
    health: Arc<Health>,
    door: Door,
    traffic: Traffic,
}

impl Operator {
    pub(crate) fn new(hub: Arc<Hub>, health: Health, door: Door) -> Self {
        Self { hub, health: Arc::new(health), door, traffic: Traffic::default() }
    }

    /// Where everything is.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// A phone scans a QR code. Answers when the device has signed, that is, when it is linked.
    ///
    /// # Errors
    /// When the code is wrong, or the client does not sign as it should.
    pub async fn scan(&self, request: &ScanRequest) -> Result<ScanAnswer, Problem> {
        let (seen, scanned) = self
            .hub
            .with(|world| (world.events.last(), world.scan(&request.qr, request.phone.as_deref(), request.bad_secret)));
        self.linked(scanned?, seen, SIGNING).await
    }

    /// Somebody types the code that a client shows on the phone with this number. Answers when the device is linked.
    ///
    /// # Errors
    /// When no client shows a code for that number, it is another code, or the client does not answer as it should.
    pub async fn pairing_code(&self, request: &PairingCodeRequest) -> Result<ScanAnswer, Problem> {
        let phone = Phone::parse(&request.phone)
            .ok_or_else(|| Problem::bad_request(format!("'{}' is no phone number", request.phone)))?;
        let code = code::parse(&request.code).ok_or_else(|| {
            Problem::bad_request("a pairing code has eight characters: digits but zero, letters but I, O and U")
        })?;
        let (link, asked) = self.hub.with(|world| world.code_request(&phone))?;
        let typing = self.apart(move |hub| {
            let mut rng = hub.with(World::fork_rng);
            // Out of everybody's way: this is made to take long.
            let (typed, ephemeral) = TypedCode::new(&code, &asked.ephemeral, &mut rng);
            hub.with(|world| {
                let seen = world.events.last();
                world.code_typed(link, &asked.reference, typed, &ephemeral).map(|()| seen)
            })
        });
        self.linked(link, typing.await?, ANSWERING).await
    }

    /// Waits until the client of this connection is linked.
    async fn linked(&self, link: LinkId, seen: u64, limit: Duration) -> Result<ScanAnswer, Problem> {
        let outcome = |event: &&Entry| {
            let ends = matches!(event.kind, EventKind::Pair | EventKind::PairRefused | EventKind::Disconnect);
            ends && event.link == Some(link)
        };
        let find = |new: u64| self.hub.with(|world| world.events.since(new.max(seen)).find(outcome).map(Entry::event));
        let Some(event) = self.until(find, limit).await else {
            return Err(Problem::timeout("the device was not linked: the client did not answer in time"));
        };
        match event.jid {
            Some(address) if event.kind == EventKind::Pair => {
                Ok(ScanAnswer { jid: address.to_string(), lid: address.lid_jid().to_string() })
            }
            _ if event.kind == EventKind::PairRefused => {
                let why = event.detail.get("why").and_then(serde_json::Value::as_str).unwrap_or_default();
                Err(Problem::conflict(format!("the device was not linked: {why}")))
            }
            _ => {
                Err(Problem::conflict("the device was not linked: the client closed the connection instead of signing"))
            }
        }
    }

    /// Links devices without a connection, from their public keys. All of them or, if one is wrong, none.
    ///
    /// # Errors
    /// When a device's number or signature is wrong.
    pub async fn adopt(&self, request: AdoptRequest) -> Result<AdoptAnswer, Problem> {
        self.apart(move |hub| {
            request.check()?;
            // One at a time, so that connections are served in between.
            let adopted = request.devices.into_iter().map(|device| hub.with(|world| world.adopt(device)));
            Ok(AdoptAnswer { devices: adopted.collect::<Result<_, _>>()? })
        })
        .await
    }

    /// A person writes to an account.
    ///
    /// # Errors
    /// When a name is wrong, or the account has no linked device.
    pub async fn message(&self, request: MessageRequest) -> Result<MessageAnswer, Problem> {
        // Encryption is short work, but not so short that it belongs on a task that others wait for.
        self.apart(move |hub| hub.with(|world| world.message(request))).await
    }

    /// Begins a load: people write to linked accounts.
    ///
    /// # Errors
    /// When one is under way, or the request is wrong.
    pub fn start_traffic(&self, request: &TrafficRequest) -> Result<TrafficView, Problem> {
        self.traffic.start(&self.hub, request)
    }

    /// How far the load has come.
    #[must_use]
    pub fn traffic(&self) -> TrafficView {
        self.traffic.view()
    }

    /// Ends the load that is under way, if there is one.
    pub fn stop_traffic(&self) -> TrafficView {
        self.traffic.stop(&self.hub)
    }

    /// Refuses new connections for a while, or accepts them again. Answers when it is in force.
    ///
    /// # Errors
    /// When the request makes no sense.
    pub async fn refuse(&self, request: &RefuseRequest) -> Result<RefuseAnswer, Problem> {
        self.door.refuse(request).await
    }

    /// Lets something go wrong.
    ///
    /// # Errors
    /// When the target is no name.
    pub async fn fault(&self, request: FaultRequest) -> Result<FaultAnswer, Problem> {
        self.apart(move |hub| hub.with(|world| world.fault(&request)).map(|hit| FaultAnswer { hit })).await
    }

    /// How the server behaves.
    #[must_use]
    pub fn rules(&self) -> Rules {
        self.hub.with(|world| world.rules.clone())
    }

    /// Puts other rules into force.
    ///
    /// # Errors
    /// When a rule cannot be kept, or names nobody.
    pub fn set_rules(&self, rules: Rules) -> Result<Rules, Problem> {
        self.hub.with(|world| world.set_rules(rules).map(|()| world.rules.clone()))
    }

    /// Replaces the rules that `changes` names, and answers with all of them.
    ///
    /// # Errors
    /// When `changes` names a rule that does not exist, or gives one a value that it cannot have.
    pub fn change_rules(&self, changes: &serde_json::Value) -> Result<Rules, Problem> {
        self.hub.with(|world| {
            let rules = world.rules.changed(changes)?;
            world.set_rules(rules).map(|()| world.rules.clone())
        })
    }

    /// The files that can be downloaded, oldest first.
    #[must_use]
    pub fn media(&self) -> Vec<MediaView> {
        self.hub.with(|world| world.media_files())
    }

    /// Lets the token expire with which clients upload, or all files.
    #[must_use]
    pub fn expire_media(&self, request: ExpireRequest) -> ExpireAnswer {
        self.hub.with(|world| world.expire_media(request))
    }

    /// Replaces the static key of the server.
    ///
    /// # Errors
    /// When a key refuses to sign, which no generated key does.
    pub fn rotate_static(&self) -> Result<(), Problem> {
        self.hub.with(|world| world.rotate_static().map_err(Problem::from))
    }

    /// The connections that their clients have not closed.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionView> {
        self.hub.with(|world| world.sessions())
    }

    /// Whether each device is served, and since when.
    #[must_use]
    pub fn served(&self) -> Vec<ServedView> {
        self.hub.with(|world| world.served())
    }

    /// The phones that have, or had, linked devices.
    #[must_use]
    pub fn accounts(&self) -> Vec<AccountView> {
        self.hub.with(|world| world.accounts())
    }

    /// The counts of a person or device, or of everybody together.
    ///
    /// # Errors
    /// When the JID names nobody.
    pub fn counters(&self, jid: Option<&str>) -> Result<CountersView, Problem> {
        self.hub.with(|world| world.filter(jid).map(|filter| world.counters(filter.as_ref())))
    }

    /// What devices sent, as the recipients decrypted it.
    #[must_use]
    pub fn messages(&self) -> Vec<SentMessage> {
        self.hub.with(|world| world.messages().to_vec())
    }

    /// The event log.
    ///
    /// # Errors
    /// When the query names nobody.
    pub fn events(&self, query: &EventQuery) -> Result<Vec<Event>, Problem> {
        self.hub.with(|world| world.matching_events(query))
    }

    /// The number of the newest event, to be given as `since` for what comes after.
    #[must_use]
    pub fn last_event(&self) -> u64 {
        self.hub.with(|world| world.events.last())
    }

    /// The first event that a query means, as soon as there is one.
    ///
    /// # Errors
    /// When the query names nobody, or nothing happened in time.
    pub async fn wait(&self, query: &EventQuery) -> Result<Event, Problem> {
        let since = query.since.unwrap_or(0);
        // Refuses a query that names nobody before waiting for it.
        self.hub.with(|world| world.first_event(&EventQuery { since: Some(u64::MAX), ..query.clone() }))?;
        let find = |seen: u64| {
            let query = EventQuery { since: Some(since.max(seen)), ..query.clone() };
            self.hub.with(|world| world.first_event(&query).ok().flatten())
        };
        let limit = query.timeout_ms.map_or(DEFAULT_WAIT, Duration::from_millis).min(LONGEST_WAIT);
        let late = || Problem { status: 408, sentence: "no such event happened in time".to_owned() };
        self.until(find, limit).await.ok_or_else(late)
    }

    /// Tries again after each event; `find` is told which events it has seen in vain.
    async fn until(&self, find: impl Fn(u64) -> Option<Event>, limit: Duration) -> Option<Event> {
        let deadline = Instant::now() + limit;
        let mut events = self.hub.events();
        let mut seen = 0;
        loop {
            let newest = *events.borrow_and_update();
            if let Some(event) = find(seen) {
                return Some(event);
            }
            seen = newest;
            timeout_at(deadline, events.changed()).await.ok()?.ok()?;
        }
    }

    async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Hub) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let hub = self.hub.clone();
        let failed = |_| Err(Problem { status: 500, sentence: "the simulator failed; see its log".to_owned() });
        tokio::task::spawn_blocking(move || work(&hub)).await.unwrap_or_else(failed)
    }
}

//! What the library reports, as facts for the machine, events for the sinks and evidence about the link's end.
//!
//! The library's events are an open set; this is the one file with arms that catch the rest, and they are counted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use holdfast_core::conduct::Chat;
use holdfast_core::connection::{DownReason, Event as Fact};
use holdfast_core::event::Owner;
use holdfast_core::id::{InstanceId, LinkId};
use holdfast_core::time::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::{debug, info, warn};
use wacore::stanza::call::parse_call_stanza;
use wacore::types::events::{
    Event, EventHandler, EventInterest, EventKind, InboundMessage, MessageBatch, ServerAck, UndecryptableMessage,
};
use wacore::xml::DisplayableNodeRef;
use whatsapp_rust::{Client, OwnedNodeRef};

use super::answers::Answers;
use super::backend::Backend;
use super::backlog::Backlog;
use super::debts::Debts;
use super::evidence::Attempt;
use super::manners::Manners;
use super::pairing_code::{PairingCode, Shown};
use super::reports::Reports;
use super::runtime::netted;
use super::{message, reading};
use crate::failpoint::reach;
use crate::ports::clock::Clock;
use crate::ports::link::Report;
use crate::ports::session::{Loss, LossReason, MessageKey};

/// How often a decoded stanza is reported as proof of life.
const PROOF_EVERY: Duration = Duration::from_secs(1);

/// The dial that events belong to at present.
pub(super) struct Dial {
    pub(super) link: LinkId,
    pub(super) attempt: Arc<Attempt>,
    /// The code to be typed on the phone, if one is wanted.
    pub(super) code: PairingCode,
    /// Whether there were no credentials when the dial began.
    pub(super) pairs: bool,
    /// Whether a pairing was told of.
    pub(super) paired: AtomicBool,
    /// The library has done all that it does after a pairing, and it was told of.
    pub(super) pairing_done: Notify,
}

/// What belongs to the client that is listened to.
pub(super) struct Own {
    pub(super) backend: Arc<Backend>,
    pub(super) debts: Arc<Debts>,
    pub(super) backlog: Arc<Backlog>,
    pub(super) manners: Arc<Manners>,
}

/// Handles the events of one client.
pub(super) struct Listener {
    instance: InstanceId,
    reports: Reports,
    backend: Arc<Backend>,
    debts: Arc<Debts>,
    backlog: Arc<Backlog>,
    manners: Arc<Manners>,
    handle: Handle,
    clock: Clock,
    client: Mutex<Weak<Client>>,
    dial: Mutex<Option<Arc<Dial>>>,
    /// What is still to be answered by WhatsApp.
    pub(super) answers: Answers,
    /// The millisecond of the clock at which the last proof was reported.
    proven_at: AtomicU64,
    undecryptable: AtomicU64,
    unmapped: AtomicU64,
}

impl Listener {
    pub(super) fn new(instance: InstanceId, reports: Reports, own: Own, handle: Handle, clock: Clock) -> Self {
        let Own { backend, debts, backlog, manners } = own;
        Self {
            instance,
            reports,
            backend,
            debts,
            backlog,
            manners,
            handle,
            clock,
            client: Mutex::default(),
            dial: Mutex::default(),
            answers: Answers::default(),
            proven_at: AtomicU64::new(0),
            undecryptable: AtomicU64::new(0),
            unmapped: AtomicU64::new(0),
        }
    }

    pub(super) fn listen_to(&self, client: Weak<Client>) {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
    }

    /// Says which dial events belong to. Whoever waits for an answer over the earlier one gets none.
    pub(super) fn belong_to(&self, dial: Option<Arc<Dial>>) {
        if dial.is_some() {
            self.debts.begin();
        }
        self.manners.apart();
        *self.dial.lock().unwrap_or_else(PoisonError::into_inner) = dial;
        self.proven_at.store(0, Ordering::Release);
        self.answers.end();
    }

    fn dial(&self) -> Option<Arc<Dial>> {
        self.dial.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn client(&self) -> Option<Arc<Client>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    /// Does something beside, with a net under it.
    fn spawn(&self, doing: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let backend = Arc::clone(&self.backend);
        self.handle.spawn(async move { netted(backend.seal(), doing, task).await });
    }

    fn stanza(&self, dial: &Dial, node: &Arc<OwnedNodeRef>) {
        // The library hands over some stanzas late, when the next dial is under way. Of that one none can come before it is connected.
        if !self.client().is_some_and(|client| client.is_connected()) {
            return;
        }
        let link = dial.link;
        self.proof(link);
        match node.tag() {
            "message" => {
                if let Some(id) = node.get_attr("id") {
                    self.backlog.arrived(id.as_str().into_owned(), node);
                }
            }
            "success" => {
                reach!("login.accepted");
                self.reports.fact(Fact::Authenticated { link });
                self.owner(link);
            }
            "failure" => {
                let why = DownReason::from_failure(number(node, "reason").unwrap_or(0), seconds(node, "expire"));
                self.judged(dial, why, node);
            }
            "stream:error" => {
                let code = number(node, "code");
                let conflict = node
                    .get_optional_child("conflict")
                    .map(|child| child.get_attr("type").map(|kind| kind.as_str().into_owned()).unwrap_or_default());
                let malformed = node.get_optional_child("xml-not-well-formed").is_some();
                let why = DownReason::from_stream_error(code, conflict.as_deref());
                if let Some(why) = why.or_else(|| malformed.then_some(DownReason::Transient { code: None })) {
                    self.judged(dial, why, node);
                } else {
                    // An acknowledgement is owed; the stream lives on.
                    info!(instance.id = %self.instance, "A stream error that ends nothing");
                }
            }
            "call" => self.call(link, node),
            "receipt" if node.get_attr("type").is_some_and(|kind| kind.as_str() == "retry") => self.debts.asked(node),
            // The library closes the socket by itself.
            "xmlstreamend" => {
                dial.attempt.judged(DownReason::Transient { code: None }, String::new());
            }
            _ => {}
        }
    }

    fn call(&self, link: LinkId, node: &OwnedNodeRef) {
        // The library acknowledges it; what it cannot read it logs.
        let Ok(Some(call)) = parse_call_stanza(node.get()) else { return };
        let Some(heard) = self.manners.calls.hear(&call) else { return };
        let conduct = self.manners.conduct();
        let response = conduct.responds(heard.ring);
        if let Some(client) = self.client().filter(|_| response.reject) {
            let manners = Arc::clone(&self.manners);
            self.spawn("rejecting a call", async move {
                let (id, creator) = (call.action.call_id(), call.action.call_creator());
                manners.calls.reject(&client, id, &call.from, creator).await;
            });
        }
        if let Some(text) = response.text {
            self.reports.tell(Report::Reply { link, to: heard.caller, text: text.to_owned() });
        }
        self.reports.tell(Report::Event { link, event: heard.event });
    }

    fn judged(&self, dial: &Dial, why: DownReason, node: &OwnedNodeRef) {
        let code = why.code();
        let stays_open = matches!(why, DownReason::RateLimited | DownReason::Transient { .. });
        if dial.attempt.judged(why, DisplayableNodeRef(node.get()).to_string()) {
            info!(instance.id = %self.instance, code, "WhatsApp ends the connection: {code}");
        }
        // After some of its errors the library leaves the socket open, but logged out.
        if stays_open {
            dial.attempt.close(false);
        }
    }

    fn proof(&self, link: LinkId) {
        let now = self.clock.now().as_millis().max(1);
        let last = self.proven_at.load(Ordering::Acquire);
        let due = last == 0 || now.saturating_sub(last) >= PROOF_EVERY.as_millis() as u64;
        if due && self.proven_at.compare_exchange(last, now, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.reports.fact(Fact::Proof { link, at: Timestamp::from_millis(now) });
        }
    }

    fn owner(&self, link: LinkId) {
        let Some(client) = self.client() else { return };
        let name = Some(client.push_name()).filter(|name| !name.is_empty());
        let jid = client.pn().map(|jid| jid.to_non_ad_string());
        self.reports.tell(Report::Owner { link, owner: Owner { jid, name, picture: None } });
    }

    /// The dial is over: nothing that comes now belongs to it. Returns whether the library is done with it too; otherwise what it still
    /// does to the client would end the next dial right after its login.
    pub(super) async fn ended(&self, dial: &Dial) -> bool {
        let mut done = true;
        if dial.pairs && self.backend.is_linked() {
            // The library finishes a pairing in a task of its own, which the restart that follows can overtake. What it does there to
            // the client would hit the next dial.
            done = timeout(PAIRING_DONE_WITHIN, dial.pairing_done.notified()).await.is_ok();
            self.paired(dial);
        }
        self.belong_to(None);
        done
    }

    /// The phone has accepted the device: first the credentials become durable, then anybody is told.
    fn paired(&self, dial: &Dial) {
        if !dial.pairs || dial.paired.swap(true, Ordering::AcqRel) {
            return;
        }
        let link = dial.link;
        let instance = self.instance.clone();
        let backend = Arc::clone(&self.backend);
        self.reports.after(Box::pin(async move {
            let saving = async {
                let saved = backend.save_newest().await.is_ok();
                if saved {
                    reach!("pair.saved");
                }
                saved
            };
            if netted(backend.seal(), "saving a pairing", saving).await == Some(true) {
                return Some(Report::Fact(Fact::Paired { link }));
            }
            warn!(instance.id = %instance, "The credentials of a new pairing could not be saved");
            None
        }));
        self.owner(link);
    }

    fn qr(&self, dial: Arc<Dial>, text: String, valid: Duration) {
        reach!("pair.offered");
        self.reports.fact(Fact::QrShown { link: dial.link, text: text.into(), valid });
        // A code can be asked for once the server has offered to pair.
        self.ask_for_code(dial);
    }

    /// A pairing code for this number is wanted, on a link that shows QR codes.
    pub(super) fn want_code(&self, number: String) {
        let Some(dial) = self.dial() else { return };
        dial.code.want(number);
        self.ask_for_code(dial);
    }

    fn ask_for_code(&self, dial: Arc<Dial>) {
        let Some(client) = self.client() else { return };
        let (instance, reports, link) = (self.instance.clone(), self.reports.clone(), dial.link);
        self.spawn("asking for a pairing code", async move {
            match dial.code.ask(&client).await {
                Some(Ok(Shown { number, code })) => {
                    reports.fact(Fact::CodeShown { link, number, code: code.into(), valid: CODE_LIVES });
                }
                Some(Err(error)) => warn!(instance.id = %instance, "No pairing code was made: {error}"),
                None => {}
            }
        });
    }

    fn codes_used_up(&self, dial: &Arc<Dial>, disconnected: bool) {
        dial.attempt.codes_used_up();
        if disconnected {
            return;
        }
        // The library leaves the socket open for a pairing code that is still being typed.
        let attempt = Arc::clone(&dial.attempt);
        self.handle.spawn(async move {
            tokio::select! {
                () = attempt.closing() => {}
                () = tokio::time::sleep(CODE_LIVES) => attempt.close(false),
            }
        });
    }

    fn acked(&self, link: LinkId, ack: &ServerAck) {
        if ack.class.as_deref().is_some_and(|class| class != "message") {
            return;
        }
        reach!("ack.heard");
        if ack.error.is_some() {
            let chat = ack.from.as_ref().map(whatsapp_rust::Jid::to_non_ad_string);
            let event = message::refusal_update(&ack.id, chat.as_deref(), self.instance.as_str());
            self.reports.tell(Report::Event { link, event });
        }
        if !self.answers.awaits(&ack.id) {
            // Not its first acknowledgement: it was sent again.
            self.debts.paid(&ack.id);
        }
        let late = self.answers.came(&ack.id, ack.error.clone());
        if let Some(chat) = late.filter(|_| ack.error.is_none()) {
            let event = message::late_ack_update(&ack.id, &chat, self.instance.as_str());
            self.reports.tell(Report::Event { link, event });
        }
    }

    /// Messages that the phone has sent again do not pass through the durability hook; they are committed here.
    fn recovered(&self, batch: &MessageBatch) {
        let recovered = |received: &&InboundMessage| received.info.unavailable_request_id.is_some();
        let conduct = self.manners.conduct();
        let event_of = |received| message::accepted(received, self.instance.as_str(), &conduct);
        let accepted: Vec<_> = batch.iter().filter(recovered).map(event_of).collect();
        if batch.hook_committed || accepted.is_empty() {
            return;
        }
        let reads = reading::to_read(batch.iter().filter(recovered).zip(&accepted), &conduct);
        let (backend, manners) = (Arc::clone(&self.backend), Arc::clone(&self.manners));
        self.spawn("taking in what was sent again", async move {
            // A failure has set the seal; the message is still unacknowledged and comes again.
            if backend.take_in(accepted).await.is_ok() {
                manners.read(reads);
            }
        });
    }

    fn undecryptable(&self, lost: &UndecryptableMessage) {
        let count = self.undecryptable.fetch_add(1, Ordering::AcqRel) + 1;
        let id = lost.info.id.as_str();
        self.backlog.settled([id]);
        warn!(instance.id = %self.instance, message.id = id, count, "Message {id} could not be decrypted; it was asked for again");
        let source = &lost.info.source;
        let key =
            MessageKey { chat: source.chat.to_string(), sender: source.sender.to_string(), id: lost.info.id.clone() };
        let (backend, noting) = (Arc::clone(&self.backend), self.backend.will_note());
        self.spawn("noting a loss", async move {
            let _until_done = noting;
            // A failure has set the seal.
            let _ = backend.note_loss(Loss { key, why: LossReason::Undecryptable, given_up: false }).await;
        });
    }
}

/// How long the library may take to finish a pairing whose credentials are already on disk.
const PAIRING_DONE_WITHIN: Duration = Duration::from_secs(2);

/// How long WhatsApp keeps a pairing code.
const CODE_LIVES: Duration = Duration::from_secs(180);

fn number(node: &OwnedNodeRef, name: &str) -> Option<u16> {
    node.get_attr(name).and_then(|value| value.as_str().parse().ok())
}

fn seconds(node: &OwnedNodeRef, name: &str) -> Option<u64> {
    node.get_attr(name).and_then(|value| value.as_str().parse().ok())
}

/// The kinds of event that are listened to.
pub(super) fn interest() -> EventInterest {
    EventInterest::of(&[
        EventKind::RawNode,
        EventKind::Connected,
        EventKind::PairSuccess,
        EventKind::PairError,
        EventKind::PairingQrCode,
        EventKind::PairingCodeError,
        EventKind::PairingCodeRefresh,
        EventKind::PairingQrCodesExhausted,
        EventKind::QrScannedWithoutMultidevice,
        EventKind::Messages,
        EventKind::Receipt,
        EventKind::ServerAck,
        EventKind::UndecryptableMessage,
        EventKind::SelfPushNameUpdated,
        EventKind::AppStateSyncFailed,
    ])
}

impl EventHandler for Listener {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the library's events are an open set; what is not mapped is counted"
    )]
    fn handle_event(&self, event: Arc<Event>) {
        // An event of a link that has ended tells nobody anything.
        let Some(dial) = self.dial() else { return };
        let link = dial.link;
        match &*event {
            Event::RawNode(node) => self.stanza(&dial, node),
            Event::Connected(_) => {
                reach!("login.ready");
                self.owner(link);
                self.reports.fact(Fact::Ready { link });
                if let Some(client) = self.client() {
                    self.manners.connected(&client);
                    self.debts.pay(client);
                }
            }
            Event::PairSuccess(_) => {
                reach!("pair.told");
                self.paired(&dial);
                dial.pairing_done.notify_one();
            }
            Event::PairError(error) => warn!(instance.id = %self.instance, "The pairing failed: {}", error.error),
            Event::PairingQrCode(qr) => self.qr(dial, qr.code.clone(), qr.timeout),
            Event::PairingCodeError(error) => warn!(instance.id = %self.instance, "No pairing code: {}", error.error),
            // WhatsApp wants it so, or somebody has typed another code and did not try again. Nobody is there to press a button.
            Event::PairingCodeRefresh(_) => {
                dial.code.voided();
                self.ask_for_code(dial);
            }
            Event::PairingQrCodesExhausted(end) => self.codes_used_up(&dial, end.disconnected),
            Event::QrScannedWithoutMultidevice(_) => {
                warn!(instance.id = %self.instance, "The phone that scanned does not support linked devices");
            }
            Event::Messages(batch) => self.recovered(batch),
            Event::Receipt(receipt) => {
                reach!("receipt.heard");
                if !self.manners.conduct().tells(Chat::of(&receipt.source.chat.to_string())) {
                    return;
                }
                for event in message::updates(receipt, self.instance.as_str()) {
                    self.reports.tell(Report::Event { link, event });
                }
            }
            Event::ServerAck(ack) => self.acked(link, ack),
            Event::UndecryptableMessage(lost) => self.undecryptable(lost),
            Event::SelfPushNameUpdated(_) => {
                self.manners.renamed();
                self.owner(link);
            }
            Event::AppStateSyncFailed(failed) => {
                info!(instance.id = %self.instance, fatal = failed.fatal.len(), "Some app state could not be synchronised");
            }
            _ => {
                let count = self.unmapped.fetch_add(1, Ordering::AcqRel) + 1;
                debug!(instance.id = %self.instance, count, "An event of the library is not mapped: {:?}", event.kind());
            }
        }
    }

    fn interest(&self) -> EventInterest {
        interest()
    }
}

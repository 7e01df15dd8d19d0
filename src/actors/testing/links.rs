//! Links that do what they are told, and remember what they were asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use holdfast_core::conduct::Presence;
use holdfast_core::connection::{DownReason, Event, Method};
use holdfast_core::id::{Generation, InstanceId, LinkId};
use serde_json::json;
use tokio::sync::mpsc;

use crate::ports::clock::Clock;
use crate::ports::link::{Link, LinkSpec, Links, OutgoingText, Report, SealReason, SendError, SentMessage};

/// What the next dial does.
#[derive(Debug, Clone)]
pub(crate) enum Dial {
    /// Logs in and comes online.
    Online,
    /// Shows a QR code.
    Qr,
    /// Nothing is ever heard of it.
    Hang,
    /// Ends at once.
    Down(DownReason),
    /// The handler that dials panics.
    Panic,
}

/// What is done with what is asked of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Well,
    Never,
    Panic,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Acknowledged,
    /// Refused with this code.
    Refused(u16),
    /// The connection is lost before anybody says anything about it.
    Lost,
    /// Nobody ever says anything about it, and the connection stays.
    Silence,
}

pub(crate) struct ScriptedLinks {
    inner: Arc<Mutex<Script>>,
    clock: Clock,
}

struct Script {
    dials: VecDeque<Dial>,
    usual: Dial,
    pings: Answer,
    saves: Answer,
    closes: Answer,
    log_outs: Answer,
    fates: VecDeque<Fate>,
    story: Vec<String>,
    reports: Vec<(InstanceId, mpsc::Sender<Report>)>,
}

impl ScriptedLinks {
    pub(crate) fn new(clock: Clock) -> Self {
        let script = Script {
            dials: VecDeque::new(),
            usual: Dial::Online,
            pings: Answer::Well,
            saves: Answer::Well,
            closes: Answer::Well,
            log_outs: Answer::Well,
            fates: VecDeque::new(),
            story: Vec::new(),
            reports: Vec::new(),
        };
        Self { inner: Arc::new(Mutex::new(script)), clock }
    }

    /// Says what the next dials do, whoever makes them; later ones do the usual.
    pub(crate) fn next(&self, dials: impl IntoIterator<Item = Dial>) {
        self.script(|script| script.dials.extend(dials));
    }

    /// Forgets what the next dials were to do.
    pub(crate) fn clear(&self) {
        self.script(|script| script.dials.clear());
    }

    pub(crate) fn usually(&self, dial: Dial) {
        self.script(|script| script.usual = dial);
    }

    pub(crate) fn answer_pings(&self, answer: Answer) {
        self.script(|script| script.pings = answer);
    }

    pub(crate) fn answer_saves(&self, answer: Answer) {
        self.script(|script| script.saves = answer);
    }

    pub(crate) fn answer_closes(&self, answer: Answer) {
        self.script(|script| script.closes = answer);
    }

    pub(crate) fn answer_log_outs(&self, answer: Answer) {
        self.script(|script| script.log_outs = answer);
    }

    /// Says what becomes of the next messages; later ones are acknowledged.
    pub(crate) fn fates(&self, fates: impl IntoIterator<Item = Fate>) {
        self.script(|script| script.fates.extend(fates));
    }

    /// Returns what was asked of all links so far, with the seconds at which it was, and forgets it.
    pub(crate) fn story(&self) -> Vec<String> {
        self.script(|script| std::mem::take(&mut script.story))
    }

    /// Reports something on behalf of the newest link driver of an instance.
    pub(crate) async fn report(&self, id: &InstanceId, report: Report) {
        let sender = self.script(|script| {
            script.reports.iter().rev().find(|(whose, _)| whose == id).map(|(_, sender)| sender.clone())
        });
        sender.unwrap().send(report).await.unwrap();
    }

    fn script<T>(&self, change: impl FnOnce(&mut Script) -> T) -> T {
        change(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Links for ScriptedLinks {
    fn make(&self, spec: LinkSpec, reports: mpsc::Sender<Report>) -> Arc<dyn Link> {
        self.script(|script| script.reports.push((spec.instance.clone(), reports.clone())));
        Arc::new(ScriptedLink {
            script: Arc::clone(&self.inner),
            clock: self.clock,
            instance: spec.instance,
            generation: spec.generation,
            reports,
            current: Mutex::default(),
        })
    }
}

struct ScriptedLink {
    script: Arc<Mutex<Script>>,
    clock: Clock,
    instance: InstanceId,
    generation: Generation,
    reports: mpsc::Sender<Report>,
    /// The link that is online, if one is.
    current: Mutex<Option<LinkId>>,
}

impl ScriptedLink {
    fn note(&self, what: &str) {
        let at = self.clock.now().as_millis() / 1000;
        let line = format!("{} g{} {what} @{at}s", self.instance, self.generation);
        self.script.lock().unwrap_or_else(PoisonError::into_inner).story.push(line);
    }

    fn read<T>(&self, what: impl FnOnce(&mut Script) -> T) -> T {
        what(&mut self.script.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell(&self, events: Vec<Event>) {
        let reports = self.reports.clone();
        tokio::spawn(async move {
            for event in events {
                if reports.send(Report::Fact(event)).await.is_err() {
                    return;
                }
            }
        });
    }
}

#[async_trait]
impl Link for ScriptedLink {
    fn dial(&self, link: LinkId, _: Option<Method>, rebuild: bool, _: bool) {
        self.note(&format!("dial {link}{}", if rebuild { " rebuilt" } else { "" }));
        match self.read(|script| script.dials.pop_front().unwrap_or_else(|| script.usual.clone())) {
            Dial::Online => {
                *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(link);
                self.tell(vec![Event::Authenticated { link }, Event::Ready { link }]);
            }
            Dial::Qr => self.tell(vec![Event::QrShown { link, text: "qr".into(), valid: Duration::from_secs(20) }]),
            Dial::Hang => {}
            Dial::Down(why) => self.tell(vec![Event::LinkDown { link, why }]),
            Dial::Panic => panic!("planned"),
        }
    }

    fn request_code(&self, link: LinkId, number: String) {
        self.note(&format!("code {link} {number}"));
    }

    fn close(&self, link: LinkId) {
        self.note(&format!("close {link}"));
        match self.read(|script| script.closes) {
            Answer::Well => self.tell(vec![Event::LinkDown { link, why: DownReason::Requested }]),
            Answer::Never => {}
            Answer::Panic => panic!("planned"),
        }
    }

    fn log_out(&self, link: LinkId) {
        self.note(&format!("log out {link}"));
        // Nothing more is sent on a link that WhatsApp has not answered in time.
        match self.read(|script| script.log_outs) {
            Answer::Well => {
                self.tell(vec![Event::Unlinked { link }, Event::LinkDown { link, why: DownReason::Requested }]);
            }
            Answer::Never => self.tell(vec![Event::LinkDown { link, why: DownReason::Requested }]),
            Answer::Panic => panic!("planned"),
        }
    }

    fn ping(&self, link: LinkId, _: Duration) {
        self.note(&format!("ping {link}"));
        match self.read(|script| script.pings) {
            Answer::Well => self.tell(vec![Event::Pong { link, at: self.clock.now() }]),
            Answer::Never => {}
            Answer::Panic => panic!("planned"),
        }
    }

    fn save(&self, link: LinkId) {
        self.note(&format!("save {link}"));
        match self.read(|script| script.saves) {
            Answer::Well => self.tell(vec![Event::Saved { link, ok: true }]),
            Answer::Never => {}
            Answer::Panic => panic!("planned"),
        }
    }

    fn seal(&self, why: SealReason) {
        self.note(&format!("seal {why:?}"));
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let (SealReason::LeaseEnded, Some(link)) = (why, current) {
            self.tell(vec![Event::LinkDown { link, why: DownReason::LeaseLost }]);
        }
    }

    async fn settings_changed(&self) {
        self.note("settings changed");
    }

    async fn show(&self, link: LinkId, presence: Presence) -> Result<(), SendError> {
        self.note(&format!("show {link} {}", presence.as_str()));
        Ok(())
    }

    async fn send_text(&self, link: LinkId, message: OutgoingText) -> Result<SentMessage, SendError> {
        let named = message.id.as_deref().map(|id| format!(" as {id}")).unwrap_or_default();
        self.note(&format!("send {link} {}{named}", message.text));
        let unconfirmed = SendError::Unconfirmed { id: message.id.clone().unwrap_or_else(|| "fresh".to_owned()) };
        match self.read(|script| script.fates.pop_front().unwrap_or(Fate::Acknowledged)) {
            Fate::Acknowledged => Ok(SentMessage { body: json!({ "text": message.text }) }),
            Fate::Refused(code) => Err(SendError::Refused { code }),
            Fate::Lost => {
                self.tell(vec![Event::LinkDown { link, why: DownReason::SocketLost { code: None } }]);
                Err(unconfirmed)
            }
            Fate::Silence => {
                tokio::time::sleep(Duration::from_secs(30)).await;
                Err(unconfirmed)
            }
        }
    }
}

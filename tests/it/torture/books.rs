//! What was written to whom and what came of it, in both directions.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use holdfast_sim::{EventKind, EventQuery, Operator, Simulator};
use tokio::time::{sleep, timeout};

use crate::harness::receiver::{Received, Receiver};

const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The phone of an account and the id of a message to it.
type Message = (String, String);

/// What the engine said of a text that it was to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// WhatsApp has it.
    Confirmed,
    /// It was not sent.
    Refused,
    /// Neither, or nothing at all.
    Unconfirmed,
}

#[derive(Default)]
struct Pages {
    seen: u64,
    /// Messages of people.
    written: BTreeSet<Message>,
    /// Those that the webhook took, with how often they came under which event id.
    delivered: HashMap<Message, BTreeMap<String, u32>>,
    /// Texts that the engine was to send, each for so many readers.
    sent: BTreeMap<String, (Said, u32)>,
}

#[derive(Default)]
pub(crate) struct Books(Mutex<Pages>);

impl Books {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().expect("books that no panic has left")
    }

    /// Forgets what was written before everybody was paired.
    pub(crate) fn begin(&self, sim: &Simulator) {
        self.pages().seen = sim.last_event();
    }

    pub(crate) fn sent(&self, text: String, said: Said, readers: u32) {
        self.pages().sent.insert(text, (said, readers));
    }

    /// Enters what has happened since the last time.
    pub(crate) fn update(&self, sim: &Simulator, receiver: &Receiver) {
        self.enter(&sim.operator(), receiver.drain());
    }

    /// The same, with what the receiver was sent.
    pub(crate) fn enter(&self, sim: &Operator, received: Vec<Received>) {
        let mut pages = self.pages();
        // The newest is read first: what is queued meanwhile is entered the next time.
        let newest = sim.last_event();
        let queued =
            EventQuery { since: Some(pages.seen), kind: Some(EventKind::MessageQueued), ..EventQuery::default() };
        let queued = sim.events(&queued).expect("the events");
        // What a phone tells its own devices is no message to anybody.
        for event in queued.into_iter().filter(|event| event.detail["peer"] != true) {
            let account = event.jid.expect("the device").phone.to_string();
            pages.written.insert((account, event.detail["id"].as_str().expect("an id").to_owned()));
        }
        pages.seen = newest;
        for one in received {
            let key = &one.body["data"]["key"];
            if !one.taken || one.event() != "messages.upsert" || key["fromMe"] == true {
                continue;
            }
            let account = one.body["instance"].as_str().unwrap_or_default().to_owned();
            let id = key["id"].as_str().unwrap_or_default().to_owned();
            *pages.delivered.entry((account, id)).or_default().entry(one.event_id).or_default() += 1;
        }
    }

    fn lost(&self) -> Vec<Message> {
        let pages = self.pages();
        pages.written.iter().filter(|message| !pages.delivered.contains_key(*message)).cloned().collect()
    }

    /// Waits until nothing is missing, or it is clear that something is.
    pub(crate) async fn balance(&self, sim: &Simulator, receiver: &Receiver, patience: Duration) {
        let settling = async {
            loop {
                self.update(sim, receiver);
                let queued = sim.counters(None).expect("the counters").queued;
                if queued == 0 && self.lost().is_empty() && self.result(sim).sent.lost.is_empty() {
                    return;
                }
                sleep(LOOK_AGAIN).await;
            }
        };
        // What is missing then is what the result tells.
        let _late = timeout(patience, settling).await;
    }

    pub(crate) fn result(&self, sim: &Simulator) -> Outcome {
        let mut arrived: HashMap<String, (u32, u32)> = HashMap::new();
        for message in sim.messages() {
            let (readers, most) = arrived.entry(message.text.unwrap_or_default()).or_default();
            *readers += 1;
            *most = message.copies.max(*most);
        }
        let pages = self.pages();
        let mut sent = Sent::default();
        for (text, (said, readers)) in &pages.sent {
            let (read_by, copies) = arrived.get(text).copied().unwrap_or_default();
            match said {
                Said::Confirmed => {
                    sent.confirmed += 1;
                    if read_by < *readers {
                        sent.lost.push(text.clone());
                    }
                }
                Said::Refused if read_by == 0 => sent.refused += 1,
                Said::Refused => sent.refused_and_arrived.push(text.clone()),
                Said::Unconfirmed if read_by == 0 => sent.unconfirmed += 1,
                Said::Unconfirmed => sent.unconfirmed_and_arrived += 1,
            }
            if copies > 1 || read_by > *readers {
                sent.duplicated.push(text.clone());
            }
        }
        let lost = pages.written.iter().filter(|message| !pages.delivered.contains_key(*message));
        let doubled = pages.delivered.iter().filter(|(_, events)| events.len() > 1);
        let again = pages.delivered.values().flat_map(BTreeMap::values).map(|times| u64::from(*times - 1)).sum();
        let counters = sim.counters(None).expect("the counters");
        Outcome {
            written: pages.written.len(),
            delivered: pages.delivered.keys().filter(|message| pages.written.contains(*message)).count(),
            lost: lost.cloned().collect(),
            duplicated: doubled.map(|(message, _)| message.clone()).collect(),
            again,
            sent,
            queued: counters.queued,
            reused: counters.tally.counters_reused,
            undecryptable: counters.tally.undecryptable,
            retry_receipts: counters.tally.retry_receipts,
            nacked: counters.tally.nacked,
            stale_frames: counters.tally.stale_frames,
            static_mismatches: counters.tally.static_mismatches,
            overlapped: counters.tally.overlapped,
            logins: counters.tally.logins,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Sent {
    confirmed: u64,
    refused: u64,
    refused_and_arrived: Vec<String>,
    unconfirmed: u64,
    unconfirmed_and_arrived: u64,
    duplicated: Vec<String>,
    lost: Vec<String>,
}

/// The balance.
#[derive(Debug)]
pub(crate) struct Outcome {
    written: usize,
    delivered: usize,
    lost: Vec<Message>,
    /// Messages that came under more than one event id.
    duplicated: Vec<Message>,
    /// Deliveries beyond the first, under the same event id.
    again: u64,
    pub(crate) sent: Sent,
    queued: usize,
    reused: u64,
    undecryptable: u64,
    retry_receipts: u64,
    nacked: u64,
    stale_frames: u64,
    static_mismatches: u64,
    overlapped: bool,
    logins: u64,
}

impl Outcome {
    /// What the simulator did with the messages that did not come, and for whom others wait.
    pub(crate) fn traces(&self, sim: &Simulator) -> Vec<String> {
        let all = sim.events(&EventQuery::default()).expect("the events");
        let about = |id: String| {
            all.iter().filter(move |event| event.detail["id"] == id.as_str()).map(|event| format!("{event:?}"))
        };
        // A text that one reader lacks, others may have read: its id is theirs.
        let messages = sim.messages();
        let id_of = |text: &String| messages.iter().find(|message| message.text.as_ref() == Some(text));
        let out = self.sent.lost.iter().filter_map(id_of).map(|message| message.id.clone());
        let ids = self.lost.iter().map(|(_, id)| id.clone()).chain(out);
        let devices = sim.accounts().into_iter().flat_map(|account| account.devices);
        let waiting = devices.filter(|device| device.pending > 0);
        let waiting = waiting.map(|device| format!("{} messages wait for {}", device.pending, device.jid));
        ids.flat_map(about).chain(waiting).collect()
    }

    /// Tells whether the messages are right, and no device ever had two connections.
    pub(crate) fn is_good(&self) -> bool {
        self.balances() && !self.overlapped
    }

    /// Tells whether nothing was lost, nothing came twice as if it were two, no key was used twice, and nothing was said on a connection
    /// that had been replaced.
    pub(crate) fn balances(&self) -> bool {
        let sent = &self.sent;
        let kept = self.lost.is_empty() && sent.lost.is_empty() && self.queued == 0;
        let once = self.duplicated.is_empty() && sent.duplicated.is_empty() && sent.refused_and_arrived.is_empty();
        kept && once && self.reused == 0 && self.nacked == 0 && self.stale_frames == 0
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, .. } = self;
        writeln!(f, "written to the instances          {:>7}", self.written)?;
        writeln!(f, "  delivered to the webhook        {:>7}", self.delivered)?;
        writeln!(f, "  again, under the same event id  {:>7}", self.again)?;
        writeln!(f, "  duplicated (another event id)   {:>7}", self.duplicated.len())?;
        writeln!(f, "  lost                            {:>7}", self.lost.len())?;
        writeln!(f, "sent by the instances, confirmed  {:>7}", sent.confirmed)?;
        writeln!(f, "  lost                            {:>7}", sent.lost.len())?;
        writeln!(f, "  received twice                  {:>7}", sent.duplicated.len())?;
        writeln!(f, "  unconfirmed, did not arrive     {:>7}", sent.unconfirmed)?;
        writeln!(f, "  unconfirmed, arrived            {:>7}", sent.unconfirmed_and_arrived)?;
        writeln!(f, "  refused                         {:>7}", sent.refused)?;
        writeln!(f, "  refused, but arrived            {:>7}", sent.refused_and_arrived.len())?;
        writeln!(f, "keys used twice                   {:>7}", self.reused)?;
        writeln!(f, "messages refused (nacked)         {:>7}", self.nacked)?;
        writeln!(f, "messages left in the queue        {:>7}", self.queued)?;
        writeln!(f, "asked for again (retry receipts)  {:>7}", self.retry_receipts)?;
        writeln!(f, "not understood by recipients      {:>7}", self.undecryptable)?;
        writeln!(f, "frames on superseded connections  {:>7}", self.stale_frames)?;
        writeln!(f, "two connections of one device     {:>7}", if self.overlapped { "yes" } else { "never" })?;
        writeln!(f, "wrong static keys                 {:>7}", self.static_mismatches)?;
        write!(f, "logins                            {:>7}", self.logins)?;
        let came = |messages: &[Message]| messages.iter().map(|(account, id)| format!("{id} to {account}")).collect();
        let named: [(&str, Vec<String>); 5] = [
            ("lost on the way in", came(&self.lost)),
            ("delivered as two", came(&self.duplicated)),
            ("lost on the way out", sent.lost.clone()),
            ("received twice", sent.duplicated.clone()),
            ("refused, but arrived", sent.refused_and_arrived.clone()),
        ];
        for (what, messages) in named.into_iter().filter(|(_, messages)| !messages.is_empty()) {
            write!(f, "\n{what}: {}", messages[..messages.len().min(20)].join(", "))?;
        }
        Ok(())
    }
}

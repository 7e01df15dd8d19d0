//! Instances that talk: how they are paired, who writes to them, and what they write.

use std::sync::Arc;
use std::time::Duration;

use holdfast_sim::{ScanRequest, Simulator, TrafficRequest};
use reqwest::Method;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::books::{Books, Said};
use super::plan::Dice;
use crate::harness::client::{Answer, Api};
use crate::harness::engine::Engine;
use crate::harness::eventually::eventually;

/// People who write to each instance, and are with it in a group.
const CONTACTS: u32 = 3;
const FIRST_CONTACT: u64 = 5_511_700_000_000;
const WRITTEN_PER_SECOND: f64 = 20.0;
const SENT_EVERY: Duration = Duration::from_millis(100);
/// Requests under way at once; a client waits then.
const UNDER_WAY: u32 = 24;

/// People write to these accounts, to half of them in groups, and answer what they are sent.
pub(crate) fn people_write(sim: &Simulator, seed: u64, to: Option<Vec<String>>) {
    let load = TrafficRequest {
        seed,
        to,
        contacts: CONTACTS,
        per_second: WRITTEN_PER_SECOND,
        groups: true,
        answers: true,
        ..TrafficRequest::default()
    };
    sim.start_traffic(&load).expect("people begin to write");
}

/// Pairs an instance whose name is its number.
pub(crate) async fn pair(engine: &Engine<'_>, sim: &Simulator, phone: String, hook: &str) {
    engine.create(&phone, Some(hook)).await;
    eventually("a linked device", || async {
        let shown = engine.api().get(&format!("/instance/connect/{phone}")).await.body;
        if shown["instance"]["state"] == "open" {
            return Some(());
        }
        let qr = shown["code"].as_str()?.to_owned();
        let request = ScanRequest { qr, phone: Some(phone.clone()), ..ScanRequest::default() };
        // A machine that is busy with other tests may have let the code expire.
        sim.scan(&request).await.ok().map(drop)
    })
    .await;
    engine.reaches(&phone, "open").await;
}

/// Sends texts of the instances, as a client does: one after the other, and some at once.
pub(crate) struct Sender {
    task: JoinHandle<()>,
    under_way: Arc<Semaphore>,
}

impl Sender {
    /// Lets the first `instances` send, each text through the engine that `entrance` chooses.
    pub(crate) fn start(
        sim: &Simulator,
        entrance: impl Fn(&mut Dice) -> Api + Send + 'static,
        books: Arc<Books>,
        mut dice: Dice,
        instances: usize,
    ) -> Self {
        let groups = sim.groups();
        let group = |number| {
            let of = |group: &&holdfast_sim::GroupView| {
                group.participants.iter().any(|member| member.jid.starts_with(&phone(number)))
            };
            groups.iter().find(of).expect("a group of each account").jid.to_string()
        };
        let groups: Vec<String> = (0..instances).map(group).collect();
        let under_way = Arc::new(Semaphore::new(UNDER_WAY as usize));
        let permits = Arc::clone(&under_way);
        let task = tokio::spawn(async move {
            for number in 0_u64.. {
                sleep(SENT_EVERY).await;
                let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
                let instance = dice.below(instances as u64) as usize;
                let (to, readers) = if dice.below(2) == 0 {
                    (groups[instance].clone(), CONTACTS)
                } else {
                    ((FIRST_CONTACT + dice.below(CONTACTS.into())).to_string(), 1)
                };
                let (api, books) = (entrance(&mut dice), Arc::clone(&books));
                tokio::spawn(async move {
                    let text = format!("text {number} of {}", phone(instance));
                    let body = json!({ "number": to, "text": text }).to_string();
                    let path = format!("/message/sendText/{}", phone(instance));
                    let said = said(api.try_call(Method::POST, &path, Some(body)).await);
                    books.sent(text, said, readers);
                    drop(permit);
                });
            }
        });
        Self { task, under_way }
    }

    /// Sends nothing more, and waits for the answers to what was sent.
    pub(crate) async fn stop(&self) {
        self.task.abort();
        let _all = self.under_way.acquire_many(UNDER_WAY).await.expect("the last answers");
    }
}

/// The way of those who know one engine alone.
pub(crate) fn entrance(api: &Api) -> impl Fn(&mut Dice) -> Api + Send + 'static {
    let api = api.clone();
    move |_dice| api.clone()
}

/// Reads an answer as a client does.
fn said(answer: reqwest::Result<Answer>) -> Said {
    match answer {
        Ok(Answer { status: 201, .. }) => Said::Confirmed,
        Ok(Answer { status: 400 | 503, body }) if body.to_string().contains("message-unconfirmed") => Said::Unconfirmed,
        Ok(Answer { status: 400 | 503, .. }) => Said::Refused,
        Err(error) if error.is_connect() => Said::Refused,
        Ok(_) | Err(_) => Said::Unconfirmed,
    }
}

/// The number of an instance, which is its name too.
pub(crate) fn phone(number: usize) -> String {
    format!("55119999{number:05}")
}

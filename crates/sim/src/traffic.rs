//! A steady load: people write to linked accounts, and answer what these write to them.
//!
//! Who writes to whom follows from a seed. Each text says which message of the load it is, and which one to that account,
//! so that a receiver can tell what is missing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::{Deserialize, Serialize};
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};
use utoipa::ToSchema;

use crate::address::{Address, Phone};
use crate::api::groups::GroupRequest;
use crate::api::{MessageRequest, Problem};
use crate::groups::{GroupId, MOST_MEMBERS};
use crate::hub::Hub;
use crate::world::World;

const MOST_MESSAGES: u64 = 10_000_000;
const FASTEST: f64 = 10_000.0;
const MOST_CONTACTS: u32 = 10_000;
/// The numbers of the people who write begin here.
const FIRST_CONTACT: u64 = 5_511_700_000_000;

/// `POST /traffic`: a load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TrafficRequest {
    /// What decides who writes to whom.
    pub seed: u64,
    /// The accounts that are written to: phone numbers or JIDs. All that have linked devices when absent.
    pub to: Option<Vec<String>>,
    /// How many people write to each of them.
    pub contacts: u32,
    /// Messages in a second, all accounts together.
    pub per_second: f64,
    /// How many messages in all. It goes on until it is stopped when absent.
    pub messages: Option<u64>,
    /// Whether half of the messages are written in a group of the account and those people.
    pub groups: bool,
    /// Whether people answer what the accounts write to them while the load lasts.
    pub answers: bool,
}

impl Default for TrafficRequest {
    fn default() -> Self {
        Self { seed: 0, to: None, contacts: 3, per_second: 10.0, messages: None, groups: false, answers: false }
    }
}

/// How far a load has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrafficView {
    /// Whether it goes on.
    pub running: bool,
    /// How many messages were written.
    pub written: u64,
    /// How many could not be, because an account had no linked device left.
    pub failed: u64,
    /// How many messages each account was sent, by phone number.
    pub accounts: BTreeMap<String, u64>,
    /// Why the last one failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Who writes what to whom, one message after the other.
#[derive(Debug)]
pub struct Plan {
    accounts: Vec<Phone>,
    contacts: u32,
    seed: u64,
    rng: StdRng,
    next: u64,
    written_to: Vec<u64>,
    /// The group of each account, if there are groups.
    groups: Vec<GroupId>,
}

/// A message of a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Who writes.
    pub from: Phone,
    /// To whom.
    pub to: Phone,
    /// In which group, if in one.
    pub group: Option<GroupId>,
    /// `traffic SEED #NUMBER` and which one to this account.
    pub text: String,
}

impl Plan {
    /// A plan for these accounts.
    #[must_use]
    pub fn new(accounts: Vec<Phone>, contacts: u32, seed: u64) -> Self {
        let written_to = vec![0; accounts.len()];
        Self { accounts, contacts, seed, rng: StdRng::seed_from_u64(seed), next: 0, written_to, groups: Vec::new() }
    }

    fn contact(number: u32) -> Option<Phone> {
        Phone::parse(&(FIRST_CONTACT + u64::from(number)).to_string())
    }
}

impl Iterator for Plan {
    type Item = Planned;

    fn next(&mut self) -> Option<Planned> {
        if self.accounts.is_empty() || self.contacts == 0 {
            return None;
        }
        let account = self.rng.random_range(0..self.accounts.len());
        let from = Self::contact(self.rng.random_range(0..self.contacts))?;
        let in_group = self.rng.random_bool(0.5);
        self.next += 1;
        self.written_to[account] += 1;
        let (number, which) = (self.next, self.written_to[account]);
        Some(Planned {
            from,
            to: self.accounts[account].clone(),
            group: self.groups.get(account).filter(|_| in_group).cloned(),
            text: format!("traffic {} #{number} ({which})", self.seed),
        })
    }
}

impl World {
    /// The plan of a load.
    ///
    /// # Errors
    /// When a number is out of bounds, or names an account without a linked device.
    pub fn plan_traffic(&mut self, request: &TrafficRequest) -> Result<Plan, Problem> {
        let wrong = |why: String| Err(Problem::bad_request(why));
        if !(request.per_second > 0.0 && request.per_second <= FASTEST) {
            return wrong(format!("perSecond lies above 0 and up to {FASTEST}, not at {}", request.per_second));
        }
        if !(1..=MOST_CONTACTS).contains(&request.contacts) {
            return wrong(format!("contacts are 1 to {MOST_CONTACTS}, not {}", request.contacts));
        }
        if request.messages.is_some_and(|messages| messages > MOST_MESSAGES) {
            return wrong(format!("a load has at most {MOST_MESSAGES} messages"));
        }
        let linked = |phone: &Phone| self.people.get(phone).is_some_and(|person| !person.devices.is_empty());
        let accounts: Vec<Phone> = match &request.to {
            Some(names) => names
                .iter()
                .map(|name| {
                    let phone = self.somebody(name)?.phone;
                    let unlinked =
                        || Problem::conflict(format!("{name} has no linked device that could get a message"));
                    linked(&phone).then_some(phone).ok_or_else(unlinked)
                })
                .collect::<Result<_, _>>()?,
            None => self.people.keys().filter(|phone| linked(phone)).cloned().collect(),
        };
        if accounts.is_empty() {
            return Err(Problem::conflict("nobody has a linked device that could get a message"));
        }
        if request.groups && request.contacts >= MOST_MEMBERS as u32 {
            return wrong(format!("a group has at most {MOST_MEMBERS} members, the account among them"));
        }
        let mut plan = Plan::new(accounts, request.contacts, request.seed);
        if request.groups {
            plan.groups = self.groups_of_load(&plan)?;
        }
        Ok(plan)
    }

    /// A group for each account of a load, made by the first of those who write to it.
    fn groups_of_load(&mut self, plan: &Plan) -> Result<Vec<GroupId>, Problem> {
        let people: Vec<String> = (0..plan.contacts).filter_map(Plan::contact).map(|phone| phone.to_string()).collect();
        let group = |account: &Phone| GroupRequest {
            subject: Some(format!("Traffic {} with {account}", plan.seed)),
            participants: people.iter().cloned().chain([account.to_string()]).collect(),
            ..GroupRequest::default()
        };
        plan.accounts.iter().map(|account| self.create_group(&group(account))).collect()
    }

    /// Somebody got a message from a device while people answer: so they do.
    pub(crate) fn answer(&mut self, device: &Address, person: &Address, text: Option<&str>) {
        if !self.answering {
            return;
        }
        let (from, to) = (person.phone.to_string(), device.to_string());
        let answer = format!("You wrote: {}", text.unwrap_or_default());
        if let Err(problem) = self.write(&from, &to, &answer, None) {
            tracing::debug!(%problem, "no answer was written");
        }
    }
}

/// The load of a simulator: one at a time.
#[derive(Clone, Default)]
pub struct Traffic(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    view: TrafficView,
    task: Option<AbortHandle>,
    /// Which load this is, so that the last step of one that was stopped does not count for the next.
    number: u64,
}

impl Traffic {
    /// Begins a load.
    ///
    /// # Errors
    /// When one is under way, or the request is wrong.
    pub fn start(&self, hub: &Arc<Hub>, request: &TrafficRequest) -> Result<TrafficView, Problem> {
        let mut state = self.state();
        if state.view.running {
            return Err(Problem::conflict("a load is under way; POST /traffic/stop ends it"));
        }
        let plan = hub.with(|world| {
            let plan = world.plan_traffic(request)?;
            world.answering = request.answers;
            Ok::<_, Problem>(plan)
        })?;
        state.view = TrafficView { running: true, ..TrafficView::default() };
        let count = request.messages.unwrap_or(u64::MAX);
        state.number += 1;
        let run = self.clone().run(state.number, hub.clone(), plan, count, request.per_second);
        state.task = Some(tokio::spawn(run).abort_handle());
        Ok(state.view.clone())
    }

    /// How far it has come.
    #[must_use]
    pub fn view(&self) -> TrafficView {
        self.state().view.clone()
    }

    /// Ends the load that is under way, if there is one.
    pub fn stop(&self, hub: &Hub) -> TrafficView {
        let mut state = self.state();
        if let Some(task) = state.task.take() {
            task.abort();
        }
        state.view.running = false;
        hub.with(|world| world.answering = false);
        state.view.clone()
    }

    async fn run(self, load: u64, hub: Arc<Hub>, mut plan: Plan, count: u64, per_second: f64) {
        let began = Instant::now();
        for number in 0..count {
            // What is late is written at once, so that the pace holds on the whole.
            sleep_until(began + Duration::from_secs_f64(number as f64 / per_second)).await;
            let Some(Planned { from, to, group, text }) = plan.next() else { break };
            let (writing, account) = (hub.clone(), to.to_string());
            let group = group.map(|group| group.to_string());
            let request = MessageRequest { from: from.to_string(), to: account.clone(), text, id: None, group };
            let written = spawn_blocking(move || writing.with(|world| world.message(request)));
            let problem = match written.await {
                Ok(Ok(_)) => None,
                Ok(Err(problem)) => Some(problem.sentence),
                Err(error) => Some(error.to_string()),
            };
            let mut state = self.state();
            if state.number != load {
                return;
            }
            match problem {
                None => {
                    state.view.written += 1;
                    *state.view.accounts.entry(account).or_default() += 1;
                }
                Some(problem) => {
                    state.view.failed += 1;
                    state.view.problem = Some(problem);
                }
            }
        }
        let mut state = self.state();
        if state.number == load {
            state.view.running = false;
            hub.with(|world| world.answering = false);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_load_and_another_seed_another() {
        let accounts: Vec<Phone> = ["5511999990001", "5511999990002"].into_iter().filter_map(Phone::parse).collect();
        let load = |seed| Plan::new(accounts.clone(), 3, seed).take(50).collect::<Vec<_>>();
        assert_eq!(load(1), load(1));
        assert_ne!(load(1), load(2));
        let to_each = |phone: &Phone| load(1).iter().filter(|planned| planned.to == *phone).count();
        assert!(accounts.iter().all(|phone| to_each(phone) > 10), "both are written to");
        assert!(load(1)[49].text.starts_with("traffic 1 #50 ("));
    }
}

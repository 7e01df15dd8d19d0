//! A line of the report, as it is told over HTTP and in the event `application.startup`.

use std::time::Duration;

use holdfast_core::id::InstanceId;
use holdfast_core::restoration::{Action, Silence};
use serde_json::{Value, json};

use crate::ports::restoration::{Damaged, Line, Outcome};

/// Writes the line of an instance. What has no value is absent.
pub fn line(id: &InstanceId, line: &Line) -> Value {
    let decision = &line.decision;
    let (outcome, open_after) = outcome(&line.outcome);
    let mut told = json!({
        "instanceId": id,
        "verdict": decision.verdict.word(),
        "action": decision.action.word(),
        "outcome": outcome,
    });
    let mut add = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            told[key] = value;
        }
    };
    add("instanceName", line.name.as_ref().map(|name| json!(name)));
    add("source", decision.source.filter(|_| decision.action != Action::Nothing).map(|source| json!(source.word())));
    add("epoch", decision.mark.map(|mark| json!(mark.epoch.0)));
    add("revision", decision.mark.map(|mark| json!(mark.revision.0)));
    add("ageSeconds", decision.age.map(|age| json!(age.as_secs())));
    add("openAfterMs", open_after.map(|after| json!(millis(after))));
    if let Outcome::Refused { why } = &line.outcome {
        add("why", Some(json!(why)));
    }
    let damaged: Vec<Value> = line.damaged.iter().map(of_damaged).collect();
    add("damaged", Some(json!(damaged)).filter(|_| !damaged.is_empty()));
    let silent: Vec<Value> = decision
        .silent
        .iter()
        .map(|(source, why)| {
            let why = match why {
                Silence::Down => "down",
                Silence::Slow => "slow",
            };
            json!({ "source": source.word(), "why": why })
        })
        .collect();
    add("silent", Some(json!(silent)).filter(|_| !silent.is_empty()));
    told
}

fn of_damaged(damaged: &Damaged) -> Value {
    json!({ "source": damaged.source.word(), "why": damaged.why, "setAside": damaged.aside })
}

fn outcome(outcome: &Outcome) -> (&'static str, Option<Duration>) {
    match outcome {
        Outcome::NoLogin => ("no-login", None),
        Outcome::Waiting => ("waiting", None),
        Outcome::Elsewhere => ("elsewhere", None),
        Outcome::Refused { .. } => ("refused", None),
        Outcome::Resting => ("resting", None),
        Outcome::Dialling => ("dialling", None),
        Outcome::Open { after } => ("open", Some(*after)),
        Outcome::Late { open_after } => ("late", *open_after),
    }
}

/// Whole milliseconds.
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

//! `holdfast doctor`: settings, surroundings, and each instance, with what to do about what is wrong.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use holdfast::app::checkup;
use holdfast::config::{Settings, Severity};
use serde_json::Value;

use super::engine::Engine;
use super::{EX_CONFIG, complain, examine, say};

#[derive(Debug, Args)]
pub(super) struct DoctorArguments {
    /// Where the engine is.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

/// Returns 78 if a setting or something around is so wrong that the engine cannot start, 1 if anything else is to be done.
pub(super) fn doctor(arguments: &DoctorArguments) -> ExitCode {
    let (settings, report) = examine();
    say("Settings:");
    for problem in &report.findings {
        say(&format!("  {problem}"));
    }
    let Some(settings) = settings else {
        say("  the engine does not start with them");
        return ExitCode::from(EX_CONFIG);
    };
    if report.findings.is_empty() {
        say("  nothing to say");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("error: no threads can be started: {error}"));
            return ExitCode::FAILURE;
        }
    };
    say("Surroundings:");
    let around = runtime.block_on(checkup::live(&settings));
    for problem in &around {
        say(&format!("  {problem}"));
    }
    if around.is_empty() {
        say("  disk, database and the way to WhatsApp are as they should be");
    }
    say("Instances:");
    let well = runtime.block_on(instances(arguments.url.as_deref(), &settings)).unwrap_or_else(|error| {
        say(&format!("  they cannot be asked for: {error:#}"));
        false
    });
    match around.iter().map(|problem| problem.severity).min() {
        Some(Severity::Error) => ExitCode::from(EX_CONFIG),
        Some(Severity::Warning) => ExitCode::FAILURE,
        Some(Severity::Recommendation) | None if well => ExitCode::SUCCESS,
        Some(Severity::Recommendation) | None => ExitCode::FAILURE,
    }
}

/// Asks the running engine, and returns whether nobody has anything to do.
async fn instances(url: Option<&str>, settings: &Settings) -> Result<bool> {
    let engine = Engine::of(url, settings)?;
    let all = engine.get(&["instance", "fetchInstances"], &[]).await?;
    let names = all.as_array().context("the engine does not list its instances")?;
    let mut well = true;
    for name in names.iter().filter_map(|instance| instance["name"].as_str()) {
        let answer = engine.state(name).await?;
        let state = &answer["instance"];
        let text = |key: &str| state[key].as_str();
        let shown = text("state").unwrap_or("unknown");
        let action = text("userAction").unwrap_or("wait");
        let Some(message) = text("message") else {
            say(&format!("  {name}: {shown} ({})", text("phase").unwrap_or_default()));
            continue;
        };
        well &= action == "wait";
        let next = text("nextTryAt").map_or_else(String::new, |at| format!("; the next try is at {at}"));
        say(&format!(
            "  {name}: {shown}: {} [{}]; {}{next}",
            message.trim_end_matches('.'),
            code(state),
            advice(action)
        ));
    }
    if names.is_empty() {
        say("  there are none");
    }
    Ok(well)
}

fn code(state: &Value) -> &str {
    state["code"].as_str().unwrap_or("unknown")
}

/// Says what a user action of the API is for whoever sits at the host.
fn advice(action: &str) -> &'static str {
    match action {
        "relogin" => "pair it again: holdfast pair NAME",
        "check_network" => "look at the surroundings above: the network, the name server and the proxy of this host",
        "check_store" => "bring the database back; nothing dials before",
        "close_other" => "stop the other engine that uses a copy of this session",
        "open_phone" => "open WhatsApp on the phone, which says why",
        "upgrade" => "install a newer Holdfast",
        "restart" => "read the log, then POST /instance/restart/NAME",
        _ => "nothing is to be done: it goes on by itself",
    }
}

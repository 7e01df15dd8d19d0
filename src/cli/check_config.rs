//! `holdfast check-config`: what is wrong with the settings, what could be better, and what is in force.

use std::process::ExitCode;

use clap::Args;
use holdfast::app::checkup;
use holdfast::config::{Report, Severity};
use serde_json::json;

use super::{EX_CONFIG, complain, examine, say};

#[derive(Debug, Args)]
pub(super) struct CheckConfigArguments {
    /// Say everything as JSON, with every value that is in force. No secret is in it.
    #[arg(long)]
    json: bool,
    /// Look at disks, the database, the places for copies and the way to WhatsApp too. Nothing is changed, and nobody logs in.
    #[arg(long)]
    live: bool,
}

pub(super) fn check_config(arguments: &CheckConfigArguments) -> ExitCode {
    let (settings, report) = examine();
    let mut report = Report::clone(&report);
    if let Some(settings) = settings.as_ref().filter(|_| arguments.live) {
        match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
            Ok(runtime) => report.findings.extend(runtime.block_on(checkup::live(settings)).findings),
            Err(error) => {
                complain(&format!("error: no threads can be started: {error}"));
                return ExitCode::FAILURE;
            }
        }
        report.findings.sort_by_key(|problem| problem.severity);
    }
    let usable = report.findings.iter().all(|problem| problem.severity != Severity::Error);
    if arguments.json {
        let mut view = report.view();
        view["usable"] = json!(usable);
        say(&format!("{view:#}"));
    } else {
        for problem in &report.findings {
            complain(&problem.to_string());
        }
        tell(&report);
        if usable {
            say("The settings can be used.");
        }
    }
    if usable { ExitCode::SUCCESS } else { ExitCode::from(EX_CONFIG) }
}

fn tell(report: &Report) {
    for (rank, title) in [("critical", "Critical"), ("recommended", "Recommended")] {
        say(&format!("{title}:"));
        for value in report.ranked(rank) {
            let worst = report.about(value.name).map(|problem| problem.severity).min();
            let verdict = worst.map_or("ok", Severity::word);
            let given = if value.set { "" } else { ", by default" };
            let shown = value.value.as_deref().unwrap_or_default();
            let advice = value.advice.as_deref().unwrap_or_default();
            say(&format!("  {} = {shown} ({verdict}{given}): best is {advice}", value.name));
        }
    }
}

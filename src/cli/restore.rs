//! `holdfast restore FILE`: a backup comes back, into an empty place or beside what is there.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use holdfast::app::upkeep::{self, Outcome, Prepared, RestoreRequest};
use holdfast::config::Settings;
use serde_json::{Value, json};

use super::engine::Engine;
use super::passphrase::PassphraseArguments;
use super::{ended, say};

#[derive(Debug, Args)]
pub(super) struct RestoreArguments {
    /// The backup.
    file: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArguments,
    /// Put the backup's state in the place of this instance; the engine must be stopped. May be repeated.
    #[arg(long, value_name = "NAME")]
    replace: Vec<String>,
    /// Take the backup as the database, and set the present one aside, even if it cannot be read; the engine must be stopped.
    #[arg(long, conflicts_with = "replace")]
    whole: bool,
    /// Where the engine is, if one runs.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

pub(super) fn restore(arguments: &RestoreArguments, settings: &Settings) -> ExitCode {
    ended(arguments.passphrase.read().and_then(|passphrase| {
        let request = RestoreRequest {
            file: &arguments.file,
            passphrase: &passphrase,
            replace: &arguments.replace,
            whole: arguments.whole,
        };
        match upkeep::restore(settings, &request)? {
            Outcome::Whole { summary, created_at, set_aside } => {
                if let Some(aside) = set_aside {
                    say(&format!("The earlier database is kept as {}", aside.display()));
                }
                say(&format!(
                    "{} instances are restored, {} of them paired, as they were at {created_at}",
                    summary.rows("Instance"),
                    summary.paired
                ));
            }
            Outcome::Joined { merged, set_aside } => {
                say(&format!("A copy of the database as it was is kept as {}", set_aside.display()));
                let taken: Vec<String> = merged.taken.into_iter().map(|(_id, name)| name).collect();
                tell(&taken, &merged.left, "--replace NAME puts the backup's in its place");
            }
            Outcome::Prepared(prepared) => hand_over(arguments, settings, &prepared)?,
        }
        Ok(())
    }))
}

/// Lets the engine that runs take in what was prepared.
fn hand_over(arguments: &RestoreArguments, settings: &Settings, prepared: &Prepared) -> Result<()> {
    let engine = Engine::of(arguments.url.as_deref(), settings)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime can be started")?;
    let body = json!({ "restoreId": prepared.id() });
    let (status, answer) = runtime.block_on(engine.post(&["engine", "restore"], body))?;
    if !status.is_success() {
        bail!("the engine answered {status}: {}", answer["response"]["message"]);
    }
    let names = |key: &str| -> Vec<String> {
        let names = answer[key].as_array().into_iter().flatten();
        names.filter_map(Value::as_str).map(ToOwned::to_owned).collect()
    };
    tell(
        &names("restored"),
        &names("left"),
        "to put the backup's in its place, stop the engine and use --replace NAME",
    );
    Ok(())
}

fn tell(restored: &[String], left: &[String], advice: &str) {
    for name in restored {
        say(&format!("restored: {name}"));
    }
    for name in left {
        say(&format!("left as it is: {name} ({advice})"));
    }
    if restored.is_empty() {
        say("Nothing was missing, and nothing was changed.");
    }
}

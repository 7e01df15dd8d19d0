//! `holdfast backup FILE`: everything in one encrypted file.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use holdfast::app::upkeep;
use holdfast::config::Settings;

use super::passphrase::PassphraseArguments;
use super::{ended, say};

#[derive(Debug, Args)]
pub(super) struct BackupArguments {
    /// Where the backup goes.
    file: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArguments,
    /// Replace a file that is there, once the new one was read back.
    #[arg(long)]
    force: bool,
}

pub(super) fn backup(arguments: &BackupArguments, settings: &Settings) -> ExitCode {
    let written = arguments
        .passphrase
        .read()
        .and_then(|passphrase| upkeep::back_up(settings, &passphrase, &arguments.file, arguments.force));
    ended(written.map(|written| {
        let summary = &written.summary;
        say(&format!("{} is written and was read back: {} bytes", arguments.file.display(), written.bytes));
        say(&format!(
            "{} instances, {} of them paired; {} session values, revisions {} to {}; {} accepted messages; {} deliveries",
            summary.rows("Instance"),
            summary.paired,
            summary.rows("holdfast_session_value"),
            summary.revisions.0,
            summary.revisions.1,
            summary.rows("holdfast_accepted"),
            summary.rows("holdfast_outbox"),
        ));
        if summary.unreadable > 0 {
            say(&format!("warning: {} values were damaged already, and are in it as they are", summary.unreadable));
        }
    }))
}

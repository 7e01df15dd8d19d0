//! The command line.

mod backup;
mod check_config;
#[cfg(feature = "simulator")]
mod demo;
mod doctor;
mod engine;
mod pair;
mod passphrase;
mod restore;
mod rotate_key;
mod serve;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use holdfast::app::upkeep::BackupError;
use holdfast::config::{Report, Settings, Severity};

/// A file that was given cannot be used (`EX_DATAERR` of sysexits).
const EX_DATAERR: u8 = 65;
/// A setting is wrong (`EX_CONFIG` of sysexits).
const EX_CONFIG: u8 = 78;

/// A WhatsApp connection engine that speaks Evolution API.
///
/// Settings come from the environment and from a file .env in the working directory.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Read variables from this file in the place of .env; those that are set already win.
    #[arg(long, global = true, value_name = "FILE")]
    env_file: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the engine until it is told to stop. This is what happens without a command.
    Serve,
    /// Check the settings and say what is wrong with them, what could be better, and what is in force.
    CheckConfig(check_config::CheckConfigArguments),
    /// Look at the settings, at what is around, and at each instance of a running engine, and say what to do.
    Doctor(doctor::DoctorArguments),
    /// Pair an instance of a running engine: shows the QR code here until a phone has scanned it.
    Pair(pair::PairArguments),
    /// Write everything into one encrypted file, while the engine runs or not, and read it back.
    Backup(backup::BackupArguments),
    /// Bring a backup back: into an empty place, or what is missing into an engine that runs. No QR code is needed.
    Restore(restore::RestoreArguments),
    /// Put everything secret under a new session key; the engine must be stopped.
    RotateKey,
    /// Watch an engine at work on a simulated WhatsApp: instances pair themselves, messages flow, things go wrong.
    #[cfg(feature = "simulator")]
    Demo(demo::DemoArguments),
    /// Watch an engine at work on a simulated WhatsApp. This build has none: it takes the feature `simulator`.
    #[cfg(not(feature = "simulator"))]
    Demo,
}

/// Runs the command and returns the exit code: 0 if all went well, 78 if a setting is wrong, 65 if a file cannot be used, 1 otherwise.
pub(crate) fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let (file, needed) = match &arguments.env_file {
        Some(file) => (file.as_path(), true),
        None => (Path::new(".env"), false),
    };
    if let Err(why) = load_env_file(file, needed) {
        complain(&format!("error [cfg-env-file] {}: {why}", file.display()));
        return ExitCode::from(EX_CONFIG);
    }
    match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => match settings() {
            Ok(settings) => serve::serve(settings),
            Err(code) => code,
        },
        Command::CheckConfig(arguments) => check_config::check_config(&arguments),
        Command::Doctor(arguments) => doctor::doctor(&arguments),
        Command::Pair(arguments) => match settings() {
            Ok(settings) => pair::pair(&arguments, &settings),
            Err(code) => code,
        },
        Command::Backup(arguments) => match settings() {
            Ok(settings) => backup::backup(&arguments, &settings),
            Err(code) => code,
        },
        Command::Restore(arguments) => match settings() {
            Ok(settings) => restore::restore(&arguments, &settings),
            Err(code) => code,
        },
        Command::RotateKey => match settings() {
            Ok(settings) => rotate_key::rotate_key(&settings),
            Err(code) => code,
        },
        #[cfg(feature = "simulator")]
        Command::Demo(arguments) => demo::demo(&arguments),
        #[cfg(not(feature = "simulator"))]
        Command::Demo => {
            complain("error: this build has no simulator; run `cargo run --features simulator -- demo`");
            ExitCode::FAILURE
        }
    }
}

/// Reads a file of variables; those that are set already win.
///
/// The error does not quote the file, whose lines may hold secrets.
fn load_env_file(file: &Path, needed: bool) -> Result<(), String> {
    match dotenvy::from_path(file) {
        Ok(()) => Ok(()),
        Err(error) if error.not_found() && !needed => Ok(()),
        Err(dotenvy::Error::Io(error)) => Err(format!("the file cannot be read: {error}")),
        Err(_) => {
            Err("a line cannot be understood; write NAME=value, with quotes around a value that holds a space"
                .to_owned())
        }
    }
}

/// Looks at everything in the environment.
fn examine() -> (Option<Settings>, Arc<Report>) {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
    Settings::examine(&names, |name| std::env::var(name).ok())
}

/// Reads the settings, and says what is wrong with them.
fn settings() -> Result<Settings, ExitCode> {
    let (settings, report) = examine();
    for problem in report.findings.iter().filter(|problem| problem.severity < Severity::Recommendation) {
        complain(&problem.to_string());
    }
    settings.ok_or(ExitCode::from(EX_CONFIG))
}

/// Says what went wrong, if something did, and returns the exit code.
fn ended(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: {error:#}"));
            let about_the_file = error.downcast_ref::<BackupError>().is_some_and(BackupError::is_about_the_file);
            if about_the_file { ExitCode::from(EX_DATAERR) } else { ExitCode::FAILURE }
        }
    }
}

/// Writes a line to standard output; a reader that has gone away is no reason to fail.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Writes a line to standard error.
fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

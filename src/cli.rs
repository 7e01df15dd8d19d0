//! The command line.

mod backup;
#[cfg(feature = "simulator")]
mod demo;
mod engine;
mod pair;
mod passphrase;
mod restore;
mod rotate_key;
mod serve;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use holdfast::app::upkeep::BackupError;
use holdfast::config::{Problem, Settings};

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
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the engine until it is told to stop. This is what happens without a command.
    Serve,
    /// Check the settings and say what is wrong with them.
    CheckConfig,
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
    if let Err(why) = load_env_file() {
        complain(&format!("error [cfg-env-file] .env: {why}"));
        return ExitCode::from(EX_CONFIG);
    }
    match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => match settings() {
            Ok(settings) => serve::serve(settings),
            Err(code) => code,
        },
        Command::CheckConfig => match settings() {
            Ok(_) => {
                say("The settings can be used.");
                ExitCode::SUCCESS
            }
            Err(code) => code,
        },
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

/// Reads `.env` in the working directory; variables that are set already win.
///
/// The error does not quote the file, whose lines may hold secrets.
fn load_env_file() -> Result<(), String> {
    match dotenvy::from_path(".env") {
        Ok(()) => Ok(()),
        Err(error) if error.not_found() => Ok(()),
        Err(dotenvy::Error::Io(error)) => Err(format!("the file cannot be read: {error}")),
        Err(_) => {
            Err("a line cannot be understood; write NAME=value, with quotes around a value that holds a space"
                .to_owned())
        }
    }
}

fn settings() -> Result<Settings, ExitCode> {
    let read = Settings::read(|name| std::env::var(name).ok());
    let (settings, problems) = match read {
        Ok((settings, warnings)) => (Ok(settings), warnings),
        Err(problems) => (Err(ExitCode::from(EX_CONFIG)), problems),
    };
    for problem in &problems {
        complain(&Problem::to_string(problem));
    }
    settings
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

//! The passphrase of a backup: from a file or the environment, never an argument, which everybody on the machine can read.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use secrecy::{ExposeSecret, SecretString};

const VARIABLE: &str = "HOLDFAST_BACKUP_PASSPHRASE";
/// Whoever has the backup can try as often as he likes.
const SHORTEST: usize = 12;

#[derive(Debug, Args)]
pub(super) struct PassphraseArguments {
    /// A file whose first line is the passphrase. Without it the variable HOLDFAST_BACKUP_PASSPHRASE is read.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl PassphraseArguments {
    pub(super) fn read(&self) -> Result<SecretString> {
        let text = match &self.passphrase_file {
            Some(file) => SecretString::from(
                fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?,
            ),
            None => SecretString::from(std::env::var(VARIABLE).unwrap_or_default()),
        };
        let line = text.expose_secret().lines().next().unwrap_or_default().trim();
        if line.is_empty() {
            bail!("no passphrase is given; set {VARIABLE}, or name a file with --passphrase-file");
        }
        if line.chars().count() < SHORTEST {
            bail!("the passphrase is shorter than {SHORTEST} characters; who has the file can try many of them");
        }
        Ok(SecretString::from(line.to_owned()))
    }
}

//! Where the commands run: the root, the target folder, the binaries that tests are given.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use serde_json::Value;

use super::report::Outcome;
use crate::deps::cargo;
use crate::tree::workspace_root;

/// The workspace and its target folder.
#[derive(Debug)]
pub struct Workshop {
    pub root: PathBuf,
    target: PathBuf,
}

impl Workshop {
    /// Finds the workspace this program belongs to, and asks cargo where it builds.
    pub fn find() -> anyhow::Result<Self> {
        let root = workspace_root();
        let output = Command::new(cargo())
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .current_dir(&root)
            .output()?;
        let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata failed")?;
        let target = metadata["target_directory"].as_str().context("cargo names no target directory")?.into();
        Ok(Self { root, target })
    }

    /// A cargo command at the root, told where the tests find the binaries they drive.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(cargo());
        command
            .args(arguments)
            .current_dir(&self.root)
            .env("HOLDFAST_DEFAULT_BIN", self.default_binary())
            .env("HOLDFAST_BIN", self.target.join("debug/holdfast"))
            .env("HOLDFAST_SIM_BIN", self.target.join("debug/holdfast-sim"));
        // Set by the cargo that runs this program, and nobody else's business: they would make cargo rebuild.
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
                command.env_remove(name);
            }
        }
        command
    }

    /// Runs a cargo command to its end, its output going where ours goes.
    pub fn cargo(&self, arguments: &[&str]) -> anyhow::Result<Outcome> {
        let status = self.command(arguments).status().context("cargo could not be started")?;
        Ok(if status.success() { Outcome::Passed } else { Outcome::Failed })
    }

    /// Tells whether `cargo name` exists.
    pub fn has_command(&self, name: &str) -> bool {
        self.command(&[name, "--version"]).output().is_ok_and(|output| output.status.success())
    }

    /// Tells whether the default binary was built before.
    pub fn has_default_binary(&self) -> bool {
        self.default_binary().exists()
    }

    /// Copies the binary that was just built without the feature `simulator` out of the way of the next build.
    pub fn keep_default_binary(&self) -> anyhow::Result<()> {
        let kept = self.default_binary();
        std::fs::create_dir_all(kept.parent().context("the target folder is the root")?)?;
        // Removed first: a copy over a running binary is refused.
        let _ = std::fs::remove_file(&kept);
        std::fs::copy(self.target.join("debug/holdfast"), &kept).context("the default binary could not be kept")?;
        Ok(())
    }

    fn default_binary(&self) -> PathBuf {
        self.target.join("default/holdfast")
    }
}

//! This repository keeps the rules it is checked by.

use xtask::tree::{Tree, workspace_root};

#[test]
fn this_repository_is_tidy() -> anyhow::Result<()> {
    let findings = xtask::tidy::check(&Tree::load(&workspace_root())?);
    let said: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(said.is_empty(), "{}", said.join("\n"));
    Ok(())
}

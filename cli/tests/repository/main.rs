//! Rules of the repository that no compiler knows. They read sources and `cargo metadata`; they build and start nothing.
//!
//! Each test reports everything it found at once, with file and line.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod complaints;
mod dependencies;
mod documentation;
mod files;

use std::path::{Path, PathBuf};

/// Folders of the workspace's crates.
const CRATES: [&str; 9] =
    ["api", "operator", "completion", "gateway", "engine", "gpu", "cli", "tests", "tests/bench"];
/// Folders that are no part of the sources: built, generated, or a user's own.
const SKIPPED: [&str; 4] = ["target", ".git", ".cluster", "node_modules"];

/// The repository's root folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Every file under a folder of the repository, by path, as `(path relative to the root, text)`; other than UTF-8 is left out.
fn texts(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    collect(&root().join(folder), &mut found);
    found.sort();
    found
}

fn collect(path: &Path, found: &mut Vec<(String, String)>) {
    if path.is_dir() {
        if path.file_name().is_some_and(|name| SKIPPED.iter().any(|skipped| name == *skipped)) {
            return;
        }
        let mut entries: Vec<PathBuf> = path.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        entries.iter().for_each(|entry| collect(entry, found));
    } else if let Ok(text) = std::fs::read_to_string(path) {
        found.push((path.strip_prefix(root()).unwrap().display().to_string(), text));
    }
}

/// Sources of the programs: `<crate>/src/**/*.rs`.
fn sources() -> Vec<(String, String)> {
    CRATES
        .iter()
        .flat_map(|folder| texts(&format!("{folder}/src")))
        .filter(|(path, _)| path.ends_with(".rs"))
        .collect()
}

/// Fails with all findings at once.
fn none(findings: &[String], rule: &str) {
    assert!(findings.is_empty(), "{rule}:\n  {}\n", findings.join("\n  "));
}

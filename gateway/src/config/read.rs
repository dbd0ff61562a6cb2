//! Files of a configuration → their texts and one hash. A folder may be a mounted ConfigMap: the kubelet swaps its
//! `..data` link, so names that begin with a dot are passed over and every file is read anew.

use std::path::{Path, PathBuf};

use modelgate_api::names::CONFIG_FILE;
use sha2::{Digest, Sha256};

/// Largest configuration that is read; a ConfigMap holds 1 MiB.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Texts of a configuration.
#[derive(Debug)]
pub struct Files {
    /// What was given, for messages.
    pub origin: String,
    /// Lower-case hexadecimal SHA-256: of the file's bytes when there is one, else of names and bytes.
    pub hash: String,
    texts: Vec<(String, String)>,
}

impl Files {
    /// Name and text of each file, by name.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// The file that the operator rendered, if this is one.
    #[must_use]
    pub fn rendered(&self) -> Option<(&str, &str)> {
        match self.texts.as_slice() {
            [(name, text)] if text.lines().any(|line| line.starts_with("formatVersion:")) => {
                Some((name, text))
            }
            _ => None,
        }
    }
}

/// Reads `path`, a file or a folder.
///
/// # Errors
/// Every file that cannot be read, by name.
pub fn files(path: &Path) -> Result<Files, Vec<String>> {
    let origin = path.display().to_string();
    let fault = |path: &Path, error: &dyn std::fmt::Display| format!("--config {}: {error}", path.display());
    let kind = std::fs::metadata(path).map_err(|error| vec![fault(path, &error)])?;
    let paths = if kind.is_dir() {
        in_folder(path).map_err(|error| vec![fault(path, &error)])?
    } else {
        vec![path.to_owned()]
    };
    if paths.is_empty() {
        return Err(vec![fault(path, &"the folder has no .yaml, .yml or .json file")]);
    }
    let mut texts = Vec::new();
    let mut faults = Vec::new();
    for path in &paths {
        match read(path) {
            Ok(text) => texts.push((file_name(path), text)),
            Err(why) => faults.push(fault(path, &why)),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let hash = match texts.as_slice() {
        [(_, text)] => hash_of([("", text.as_bytes())]),
        several => hash_of(several.iter().map(|(name, text)| (name.as_str(), text.as_bytes()))),
    };
    Ok(Files { origin, hash, texts })
}

/// Lower-case hexadecimal SHA-256 over names and contents.
#[must_use]
pub fn hash_of<'a>(parts: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut hasher = Sha256::new();
    for (name, bytes) in parts {
        hasher.update(name.as_bytes());
        hasher.update(bytes);
    }
    hasher.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        use std::fmt::Write;
        // Writing to a String cannot fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

fn in_folder(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let rendered = folder.join(CONFIG_FILE);
    if rendered.is_file() {
        return Ok(vec![rendered]);
    }
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let known = path
            .extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|extension| matches!(extension, "yaml" | "yml" | "json"));
        if known && path.is_file() && !file_name(&path).starts_with('.') {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<String, String> {
    let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > MAX_BYTES {
        return Err(format!("{length} bytes; a configuration has {MAX_BYTES} at most"));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_one_file_is_that_of_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.yaml"), "formatVersion: '1.0'\n").unwrap();
        let files = files(folder.path()).unwrap();
        // printf "formatVersion: '1.0'\n" | sha256sum
        assert_eq!(files.hash, "4375786cd0d035dbed9fb22fad54f6731f7b7aac6b44ca8229931d12350f49ab");
        assert!(files.rendered().is_some());
    }

    #[test]
    fn hidden_files_and_other_endings_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        for name in [".hidden.yaml", "notes.txt", "b.yaml", "a.yml"] {
            std::fs::write(folder.path().join(name), "x: 1").unwrap();
        }
        let files = files(folder.path()).unwrap();
        assert_eq!(files.texts().map(|(name, _)| name).collect::<Vec<_>>(), ["a.yml", "b.yaml"]);
    }
}

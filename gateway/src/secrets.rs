//! Keys of mounted Secrets, read from their files. Values are never logged, and no value is kept in the configuration.

use std::path::{Path, PathBuf};

use modelgate_api::contract::SecretFile;

/// Largest file that is read: no token or CA bundle is larger.
const MAX_BYTES: u64 = 1024 * 1024;

/// Where Secrets are mounted.
#[derive(Clone, Debug)]
pub struct Secrets {
    dir: PathBuf,
}

impl Secrets {
    /// Secrets under `dir`, a folder each.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.dir
    }

    /// Path of a key's file.
    #[must_use]
    pub fn path(&self, file: &SecretFile) -> PathBuf {
        self.dir.join(&file.secret).join(&file.key)
    }

    /// The key's value.
    ///
    /// # Errors
    /// When the file is absent, unreadable, too large or empty; the sentence names the file, never its content.
    pub fn read(&self, file: &SecretFile) -> Result<Vec<u8>, String> {
        let path = self.path(file);
        let fault = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
        let length = std::fs::metadata(&path).map_err(|error| fault(&error))?.len();
        if length > MAX_BYTES {
            return Err(fault(&"larger than 1 MiB"));
        }
        let bytes = std::fs::read(&path).map_err(|error| fault(&error))?;
        if bytes.iter().all(u8::is_ascii_whitespace) { Err(fault(&"empty")) } else { Ok(bytes) }
    }
}

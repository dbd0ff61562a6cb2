//! Where things that are built or fetched once are kept: one folder outside the tree.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The cache folder and the places inside it.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The folder that `MODELGATE_CACHE` names, else `modelgate` under the user's cache folder.
    ///
    /// # Errors
    /// When neither that variable, `XDG_CACHE_HOME` nor `HOME` is set, or the path is not absolute.
    pub fn from_environment() -> Result<Self> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = set("MODELGATE_CACHE")
            .or_else(|| set("XDG_CACHE_HOME").map(|base| base.join("modelgate")))
            .or_else(|| set("HOME").map(|home| home.join(".cache/modelgate")))
            .context("no cache folder: set MODELGATE_CACHE or HOME")?;
        Self::at(root)
    }

    /// A cache in the given folder.
    ///
    /// # Errors
    /// When the path is not absolute: the processes that share it have different working directories.
    pub fn at(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        if !root.is_absolute() {
            bail!("the cache folder must be an absolute path, MODELGATE_CACHE is {}", root.display());
        }
        Ok(Self { root })
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Built tools, one folder per tool and version hash.
    #[must_use]
    pub fn tools(&self) -> PathBuf {
        self.root.join("tools")
    }

    /// Go's module and build caches while tools are built.
    #[must_use]
    pub fn go(&self) -> PathBuf {
        self.root.join("go")
    }

    /// Model files.
    #[must_use]
    pub fn models(&self) -> PathBuf {
        self.root.join("models")
    }

    /// Logs of builds and downloads.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// The running cluster's state file and data.
    #[must_use]
    pub fn cluster(&self) -> PathBuf {
        self.root.join("cluster")
    }

    /// Removes everything in the folder. Callers stop a running cluster first.
    ///
    /// # Errors
    /// When something in it cannot be deleted.
    pub fn clean(&self) -> Result<()> {
        match std::fs::remove_dir_all(&self.root) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot empty {}", self.root.display()))
            }
            _ => Ok(()),
        }
    }
}

/// The checkout that this program was built from: charts, examples and tool modules are read from it.
#[must_use]
pub fn repository() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_cache_folder_is_refused_by_name() {
        let error = Cache::at("some/where").unwrap_err().to_string();
        assert!(error.contains("MODELGATE_CACHE is some/where"), "{error}");
    }

    #[test]
    fn cleaning_removes_the_folder_and_an_absent_folder_is_clean() {
        let parent = tempfile::tempdir().unwrap();
        let cache = Cache::at(parent.path().join("modelgate")).unwrap();
        std::fs::create_dir_all(cache.tools().join("etcd")).unwrap();
        cache.clean().unwrap();
        assert!(!cache.root().exists());
        cache.clean().unwrap();
    }
}

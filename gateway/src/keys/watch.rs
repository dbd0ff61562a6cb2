//! The keys in force: the file is read again every second, so a key that was taken out of it stops working within a
//! second of the file's change (in a cluster the kubelet brings a changed Secret within about a minute).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use modelgate_api::state::IssuerState;

use super::file::KeyFile;
use super::{KeyRefusal, Table};
use crate::caller::Caller;

/// How often the file is read.
const INTERVAL: Duration = Duration::from_secs(1);

/// The keys of one file, as they are now.
pub struct Keys {
    path: PathBuf,
    table: ArcSwap<Table>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    bytes: Option<Vec<u8>>,
    /// Why there are no keys, or why the newest file is not in force; empty when all is well.
    message: String,
    usable: bool,
}

impl Keys {
    /// Reads the file, and again every second while the keys are used.
    #[must_use]
    pub fn start(path: PathBuf) -> Arc<Self> {
        let keys = Arc::new(Self::open(path));
        tokio::spawn(follow(Arc::downgrade(&keys)));
        keys
    }

    fn open(path: PathBuf) -> Self {
        let keys = Self { path, table: ArcSwap::default(), seen: Mutex::default() };
        keys.reload();
        keys
    }

    /// Whom the key speaks for.
    ///
    /// # Errors
    /// [`KeyRefusal`].
    pub fn check(&self, key: &str) -> Result<Arc<Caller>, KeyRefusal> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(u64::MAX, |since| since.as_secs());
        self.table.load().check(key, now)
    }

    /// Reads the file if it changed. A file that is gone takes its keys along; one with a mistake leaves the last good
    /// keys in force, since a slip of the pen must not lock everybody out.
    pub fn reload(&self) {
        let read = std::fs::read(&self.path);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error) => {
                if seen.usable || seen.message.is_empty() {
                    tracing::warn!(%error, file = %self.path.display(), "there are no API keys");
                }
                self.table.store(Arc::default());
                *seen =
                    Seen { bytes: None, message: format!("{}: {error}", self.path.display()), usable: false };
                return;
            }
        };
        if seen.bytes.as_ref() == Some(&bytes) {
            return;
        }
        match KeyFile::parse(&bytes) {
            Ok(file) => {
                tracing::info!(keys = file.keys.len(), "API keys loaded");
                self.table.store(Arc::new(Table::new(&file)));
                *seen = Seen { bytes: Some(bytes), message: String::new(), usable: true };
            }
            Err(why) => {
                let message = format!("{}: {why}", self.path.display());
                tracing::error!(
                    problem = message,
                    "the API keys are not valid; the last good ones stay in force"
                );
                seen.bytes = Some(bytes);
                seen.message = message;
            }
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the gateway's state says of the keys.
    #[must_use]
    pub fn state(&self) -> IssuerState {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        IssuerState { issuer: "API keys".into(), resolved: seen.usable, message: seen.message.clone() }
    }
}

/// Reads the file again and again while somebody uses the keys.
async fn follow(keys: Weak<Keys>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Some(keys) = keys.upgrade() else { return };
        // A mounted file is in memory; a slow disk must not stop the reactor all the same.
        if tokio::task::spawn_blocking(move || keys.reload()).await.is_err() {
            return;
        }
    }
}

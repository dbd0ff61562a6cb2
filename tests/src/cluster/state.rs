//! What a running cluster consists of, written down before each part exists.
//!
//! The file outlives the runner: after a SIGKILL the next `up` or `down` finds every remnant by what is
//! recorded here, and a process only by its id together with its start time.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::layout::Layout;
use crate::cache::Cache;

/// A process that cannot be mistaken for a later one with the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Process id on the host.
    pub pid: u32,
    /// Start time in clock ticks since boot, field 22 of `/proc/PID/stat`.
    pub start: u64,
}

impl Process {
    /// Records a process that runs now; none if it does not.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        stat(pid).map(|stat| Self { pid, start: stat.start })
    }

    /// The calling process.
    #[must_use]
    pub fn current() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// Whether this very process still runs; one that waits to be reaped does not.
    #[must_use]
    pub fn is_alive(self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.start == self.start && stat.state != 'Z')
    }
}

/// What `/proc/PID/stat` tells.
#[derive(Debug, Clone, Copy)]
pub struct Stat {
    /// `R`, `S`, `Z` and so on.
    pub state: char,
    /// Parent's process id.
    pub parent: u32,
    /// Start time in clock ticks since boot.
    pub start: u64,
}

/// Reads `/proc/PID/stat`; none when there is no such process.
#[must_use]
pub fn stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&text)
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The second field is the program's name in parentheses and may hold spaces and parentheses itself.
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split_whitespace().collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        start: fields.get(19)?.parse().ok()?,
    })
}

/// The record of one cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    /// Short random name, part of every path and cgroup.
    pub id: String,
    /// The process whose end makes the cluster a remnant; none if it was started to stay.
    pub owner: Option<Process>,
    /// `unshare`, the parent of the namespaces' first process, in the host's process namespace.
    pub parent: Option<Process>,
    /// The namespaces' first process, by its id on the host.
    pub init: Option<Process>,
    /// The process that publishes the API server on loopback.
    pub relay: Option<Process>,
    /// Loopback port of the API server.
    pub api_port: u16,
    /// Folder name under the root of every cgroup hierarchy.
    pub cgroup: String,
    /// Folders that are deleted with the cluster.
    pub folders: Vec<PathBuf>,
    /// Mount points that had to be created on the host; removed if empty.
    pub mount_points: Vec<PathBuf>,
    /// The cluster came up whole.
    pub complete: bool,
}

impl State {
    /// The record of a cluster that is about to be started.
    #[must_use]
    pub fn new(id: &str, layout: &Layout, owner: Option<Process>, api_port: u16) -> Self {
        Self {
            id: id.to_owned(),
            owner,
            parent: None,
            init: None,
            relay: None,
            api_port,
            cgroup: format!("modelgate-{id}"),
            folders: vec![layout.root().to_path_buf(), layout.sockets().to_path_buf()],
            mount_points: Vec::new(),
            complete: false,
        }
    }

    /// Reads the record; none when there is none.
    ///
    /// # Errors
    /// When the file is there but cannot be understood: then nobody knows what to clean up.
    pub fn load(cache: &Cache) -> Result<Option<Self>> {
        let file = path(cache);
        match std::fs::read_to_string(&file) {
            Ok(text) => serde_json::from_str(&text)
                .with_context(|| format!("{} is not a cluster's record", file.display()))
                .map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }

    /// Writes the record in one step.
    ///
    /// # Errors
    /// When the cache folder cannot be written.
    pub fn save(&self, cache: &Cache) -> Result<()> {
        use std::io::Write;
        let folder = cache.cluster();
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let mut file = tempfile::NamedTempFile::new_in(&folder)?;
        file.write_all(serde_json::to_string_pretty(self)?.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path(cache)).context("cannot write the cluster's record")?;
        Ok(())
    }

    /// Deletes the record, last of all.
    ///
    /// # Errors
    /// When it cannot be deleted.
    pub fn forget(cache: &Cache) -> Result<()> {
        for file in [path(cache), cache.cluster().join("kubeconfig")] {
            match std::fs::remove_file(&file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot delete {}", file.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the cluster runs and belongs to somebody: whole, its first process alive, its owner too.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.complete && self.init.is_some_and(Process::is_alive) && self.owner.is_none_or(Process::is_alive)
    }
}

fn path(cache: &Cache) -> PathBuf {
    cache.cluster().join("state.json")
}

/// Holds off every other `up` and `down` on the same cache until dropped.
///
/// # Errors
/// When the lock is held by another process or cannot be created.
pub fn lock(cache: &Cache) -> Result<File> {
    let folder = cache.cluster();
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    lock_file(&folder.join("lock"))
}

fn lock_file(file: &Path) -> Result<File> {
    let handle = File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
    match handle.try_lock() {
        Ok(()) => Ok(handle),
        Err(std::fs::TryLockError::WouldBlock) => {
            bail!("another start or stop of the cluster is under way ({} is locked)", file.display())
        }
        Err(std::fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", file.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(cache: &Cache) -> State {
        State::new("a1b2c3", &Layout::new(cache, "a1b2c3"), Process::current(), 6443)
    }

    #[test]
    fn a_record_comes_back_as_it_was_written_and_is_forgotten_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path()).unwrap();
        assert!(State::load(&cache).unwrap().is_none());
        let mut state = sample(&cache);
        state.init = Process::current();
        state.save(&cache).unwrap();
        let read = State::load(&cache).unwrap().unwrap();
        assert_eq!((read.id.as_str(), read.init, read.folders.len()), ("a1b2c3", state.init, 2));
        State::forget(&cache).unwrap();
        State::forget(&cache).unwrap();
        assert!(State::load(&cache).unwrap().is_none());
    }

    #[test]
    fn a_record_that_cannot_be_understood_is_an_error_not_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path()).unwrap();
        std::fs::create_dir_all(cache.cluster()).unwrap();
        std::fs::write(cache.cluster().join("state.json"), "{").unwrap();
        assert!(format!("{:#}", State::load(&cache).unwrap_err()).contains("state.json"));
    }

    #[test]
    fn a_process_is_known_by_its_start_time_and_not_by_its_id_alone() {
        let me = Process::current().unwrap();
        assert!(me.is_alive());
        assert!(!Process { start: me.start + 1, ..me }.is_alive());
        assert_eq!(
            parse_stat("7 (a (b) c) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 555 0").unwrap().start,
            555
        );
    }

    #[test]
    fn a_cluster_whose_owner_has_gone_is_not_running() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path()).unwrap();
        let mut state = State { complete: true, init: Process::current(), ..sample(&cache) };
        assert!(state.is_running());
        state.owner = Some(Process { pid: 1, start: u64::MAX });
        assert!(!state.is_running());
        state.owner = None;
        assert!(state.is_running());
    }

    #[test]
    fn a_second_start_is_refused_while_the_first_holds_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path()).unwrap();
        let held = lock(&cache).unwrap();
        assert!(lock(&cache).unwrap_err().to_string().contains("under way"));
        drop(held);
        lock(&cache).unwrap();
    }
}

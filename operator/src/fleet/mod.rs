//! The cluster's devices: which nodes have them, which pods hold them, and whether a model's pods find theirs.

pub mod demand;
pub mod fit;
pub mod record;
pub mod watch;

use std::collections::BTreeSet;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::watch::{Receiver, Sender};

use crate::context::Ctx;
use crate::mapping::Wake;
use record::{NodeRecord, PodRecord};

/// Changes of devices within this time are one.
const TOGETHER: Duration = Duration::from_secs(1);

/// What is known of the cluster's devices. Shared by all watches of the process.
#[derive(Clone)]
pub struct Fleet {
    known: Arc<RwLock<Known>>,
    changed: Sender<()>,
}

/// Nodes and pods with devices.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Nodes by name; `None` until they were listed.
    pub nodes: Option<BTreeMap<String, NodeRecord>>,
    /// Pods by `namespace/name`; `None` until they were listed.
    pub pods: Option<HashMap<Box<str>, PodRecord>>,
    /// Why nodes or pods are not known.
    pub nodes_unknown: Option<String>,
    /// Why pods are not known.
    pub pods_unknown: Option<String>,
    /// Nodes that belong to a group which an autoscaler makes larger, with the label that says so.
    pub scaled: BTreeMap<String, &'static str>,
}

impl Default for Fleet {
    fn default() -> Self {
        Self { known: Arc::default(), changed: Sender::new(()) }
    }
}

impl Fleet {
    /// Looks at what is known.
    pub fn look<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        look(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes what is known; those who wait are told if `change` says that something is other than before.
    pub fn change(&self, change: impl FnOnce(&mut Known) -> bool) {
        let changed = change(&mut self.known.write().unwrap_or_else(PoisonError::into_inner));
        if changed {
            self.changed.send_replace(());
        }
    }

    /// Rung with every change of what is known.
    #[must_use]
    pub fn changes(&self) -> Receiver<()> {
        self.changed.subscribe()
    }
}

/// Backends whose pods wait for devices, or roll: those whom a change of the fleet concerns.
#[derive(Default)]
pub struct Waiting(Mutex<BTreeSet<Wake>>);

impl Waiting {
    /// The backend waits, or does not any more.
    pub fn set(&self, backend: Wake, waits: bool) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waits {
            waiting.insert(backend);
        } else {
            waiting.remove(&backend);
        }
    }

    fn all(&self) -> BTreeSet<Wake> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Wakes those who wait whenever devices come or go; runs until dropped.
pub async fn wake_waiting(ctx: Arc<Ctx>, wake: mpsc::Sender<Wake>) {
    let mut changes = ctx.fleet.changes();
    // The fleet lives as long as the process, so this ends with it alone.
    while changes.changed().await.is_ok() {
        for backend in ctx.waiting.all() {
            let _ = wake.send(backend).await;
        }
        tokio::time::sleep(TOGETHER).await;
    }
}

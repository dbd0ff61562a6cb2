//! What every reconcile is given: handles, never global state.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::core::DeserializeGuard;
use kube::core::DynamicObject;
use kube::runtime::reflector::{ObjectRef, Store};
use modelgate_api::v1alpha1::{ModelBackend, ModelGateway};

use crate::acknowledge::Acknowledgements;
use crate::activity::Activity;
use crate::args::Settings;
use crate::error::ErrorKind;
use crate::fleet::{Fleet, Waiting};
use crate::k8s::child::{ChildKind, OwnerKind};
use crate::k8s::events::Events;
use crate::leader::Leadership;
use crate::metrics::Metrics;
use crate::model_backend::probe::Proofs;
use crate::model_gateway::nudge::Nudges;
use crate::outbound::Outbound;

/// A ModelBackend as watched: one that cannot be read stands as its error.
pub type WatchedBackend = DeserializeGuard<ModelBackend>;
/// A ModelGateway as watched.
pub type WatchedGateway = DeserializeGuard<ModelGateway>;

/// Everything a reconcile needs.
pub struct Ctx {
    /// Settings of the process.
    pub settings: Settings,
    /// Client of the API server.
    pub client: Client,
    /// HTTP clients for pods, engines and external servers.
    pub outbound: Outbound,
    /// Metrics.
    pub metrics: Metrics,
    /// Leave to write.
    pub leadership: Leadership,
    /// Events.
    pub events: Events,
    /// What watches have seen.
    pub stores: Stores,
    /// What gateway pods answered.
    pub acknowledgements: Acknowledgements,
    /// When backends last had requests.
    pub activity: Activity,
    /// The cluster's devices.
    pub fleet: Fleet,
    /// Backends that are looked at again when devices come or go.
    pub waiting: Waiting,
    /// Which engines and servers were proved.
    pub proofs: Proofs,
    /// Which pods were nudged.
    pub nudges: Nudges,
    /// Failures in a row.
    pub failures: Failures,
    /// Which optional APIs are served.
    pub served: Served,
}

impl Ctx {
    /// Whether the API that a kind belongs to is served.
    #[must_use]
    pub fn serves(&self, kind: ChildKind) -> bool {
        self.served.is(kind)
    }
}

/// Which optional APIs are served, as their watches last found.
#[derive(Default)]
pub struct Served([AtomicBool; ChildKind::OPTIONAL.len()]);

impl Served {
    /// Whether objects of a kind can be made.
    #[must_use]
    pub fn is(&self, kind: ChildKind) -> bool {
        self.flag(kind).is_none_or(|flag| flag.load(Ordering::Relaxed))
    }

    /// Notes that a kind is served or not; whether that is news.
    pub fn note(&self, kind: ChildKind, served: bool) -> bool {
        self.flag(kind).is_some_and(|flag| flag.swap(served, Ordering::Relaxed) != served)
    }

    fn flag(&self, kind: ChildKind) -> Option<&AtomicBool> {
        let at = ChildKind::OPTIONAL.iter().position(|optional| *optional == kind)?;
        self.0.get(at)
    }
}

/// What watches have seen, in memory.
pub struct Stores {
    /// ModelBackends.
    pub backends: Store<WatchedBackend>,
    /// ModelGateways.
    pub gateways: Store<WatchedGateway>,
    /// Pods of ours, trimmed.
    pub pods: Store<Pod>,
    /// Children by kind.
    pub children: BTreeMap<ChildKind, Store<DynamicObject>>,
}

impl Stores {
    /// A child as watched, if the watch knows it.
    #[must_use]
    pub fn child(&self, kind: ChildKind, namespace: &str, name: &str) -> Option<Arc<DynamicObject>> {
        let key = ObjectRef::<DynamicObject>::new_with(name, kind.resource()).within(namespace);
        self.children.get(&kind)?.get(&key)
    }

    /// Pods in `namespace` whose label `label` is `name`.
    #[must_use]
    pub fn pods_of(&self, namespace: &str, kind: OwnerKind, name: &str) -> Vec<Arc<Pod>> {
        let mut pods = self.pods.state_filter(|pod| {
            pod.metadata.namespace.as_deref() == Some(namespace)
                && pod
                    .metadata
                    .labels
                    .as_ref()
                    .and_then(|labels| labels.get(kind.label()))
                    .is_some_and(|of| of == name)
        });
        pods.sort_by(|left, right| left.metadata.name.cmp(&right.metadata.name));
        pods
    }
}

/// Failures in a row of each object, so that the wait before the next try grows.
#[derive(Default)]
pub struct Failures(Mutex<HashMap<(OwnerKind, String, String), u32>>);

impl Failures {
    /// One more failure; how long to wait.
    #[must_use]
    pub fn note(&self, kind: OwnerKind, namespace: &str, name: &str, error: ErrorKind) -> Duration {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry((kind, namespace.to_owned(), name.to_owned())).or_default();
        *count = count.saturating_add(1);
        error.wait(*count)
    }

    /// The object was reconciled, or is gone.
    pub fn clear(&self, kind: OwnerKind, namespace: &str, name: &str) {
        let key = (kind, namespace.to_owned(), name.to_owned());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }
}

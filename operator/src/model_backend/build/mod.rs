//! Step 3: `ValidatedBackend` → objects. Pure; nothing but the spec and the operator's settings decides.

mod embedded;
mod engine;
mod service;
mod vllm;

use super::validate::{Place, ValidatedBackend};
use crate::args::Render;
use crate::k8s::child::{Child, Prepared};
use crate::k8s::pods;
use modelgate_api::names::backend_child;
use modelgate_api::v1alpha1::Engine;

/// Objects of a ModelBackend. External and fake ones have none.
#[derive(Debug, PartialEq)]
pub struct Resources<S> {
    /// One address for all pods.
    pub service: Option<Child<S>>,
    /// One address for each pod.
    pub headless: Option<Child<S>>,
    /// The engine.
    pub deployment: Option<Child<S>>,
    /// Tells Prometheus.
    pub monitor: Option<Child<S>>,
}

/// Builds them.
#[must_use]
pub fn build(backend: &ValidatedBackend, render: &Render) -> Resources<Prepared> {
    let Place::Server(server) = &backend.place else {
        return Resources { service: None, headless: None, deployment: None, monitor: None };
    };
    let owner = &backend.owner;
    let engine = match server.server.engine {
        Engine::Embedded => embedded::engine(backend, server, render),
        Engine::Vllm => vllm::engine(backend, server, render),
    };
    let name = backend_child(&owner.name);
    Resources {
        service: Some(service::service(owner, server.port)),
        headless: Some(service::headless(owner, server.port)),
        deployment: Some(engine.deployment(owner, server, render)),
        monitor: pods::monitor(owner, name, "http", server.monitoring.as_ref(), render),
    }
}

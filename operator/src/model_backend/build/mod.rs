//! Step 3: `ValidatedBackend` → objects. Pure; nothing but the spec and the operator's settings decides.

mod custom;
mod devices;
mod embedded;
mod engine;
pub mod facts;
mod network;
mod program;
mod service;

pub use self::engine::FETCH;
use self::engine::Port;
use self::facts::Metrics;
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
    /// Who may reach the pods.
    pub network_policy: Option<Child<S>>,
    /// Where what its pods fetch is kept.
    pub cache: Option<Child<S>>,
    /// The engine.
    pub deployment: Option<Child<S>>,
    /// Tells Prometheus.
    pub monitor: Option<Child<S>>,
}

/// Builds them.
#[must_use]
pub fn build(backend: &ValidatedBackend, render: &Render) -> Resources<Prepared> {
    let Place::Server(server) = &backend.place else {
        return Resources {
            service: None,
            headless: None,
            cache: None,
            network_policy: None,
            deployment: None,
            monitor: None,
        };
    };
    let owner = &backend.owner;
    let known = facts::facts(server.server.engine);
    let engine = match known {
        Some(facts) => program::engine(backend, server, facts, render),
        None if server.server.engine == Engine::Custom => custom::engine(server, render),
        None => embedded::engine(backend, server, render),
    };
    let metrics = match known.map(|facts| facts.metrics) {
        Some(Metrics::OwnPort(port)) => Some(Port { name: "metrics", port }),
        Some(Metrics::SamePort) | None => None,
    };
    let scraped = metrics.as_ref().map_or("http", |port| port.name);
    let name = backend_child(&owner.name);
    Resources {
        service: Some(service::service(owner, server.port, metrics.as_ref())),
        headless: Some(service::headless(owner, server.port)),
        network_policy: network::policy(owner, server, metrics.as_ref(), render),
        cache: engine::cache_claim(owner, server),
        deployment: Some(engine.deployment(owner, server, render)),
        monitor: pods::monitor(
            owner,
            name,
            scraped,
            server.monitoring.as_ref(),
            serde_json::Value::Null,
            render,
        ),
    }
}

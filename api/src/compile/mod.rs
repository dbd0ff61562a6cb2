//! Resources → the configuration a gateway runs. Pure: no clock, no files, no network, so the operator and a gateway
//! that stands alone give the same YAML the same meaning. All problems are reported, not the first alone.

mod access;
mod backend;
mod boundary;
mod check;
mod completion;
mod exposure;
mod gitlab;
mod pods;
mod route;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::contract::{BackendConfig, FORMAT_VERSION, GatewayConfig, Input, RouteConfig, SecretFile};
use crate::manifest::Object;
use crate::v1alpha1::{
    DEFAULT_HTTP_PORT, DEFAULT_METRICS_PORT, ModelBackendSpec, ModelGatewaySpec, Protocol, SecretKeyRef,
    backend_of_key,
};

pub use access::network;
pub use check::{check_backend, check_gateway};
pub use gitlab::GITLAB_AUDIENCES;

/// Where the configuration will run, which decides how backends are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In pods of a cluster: engines are found by their headless Service.
    Cluster {
        /// The cluster's DNS domain, such as `cluster.local`.
        domain: String,
    },
    /// In one process: an Embedded engine is its child, and other servers need an address.
    Standalone {
        /// Addresses of `server` backends by name (`--endpoint NAME=URL`).
        endpoints: BTreeMap<String, String>,
        /// Whether the http listener's address is one that others can reach.
        reachable: bool,
    },
}

/// What kind of mistake a [`Problem`] is; the condition's reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A field's value is wrong, or fields contradict each other.
    Invalid,
    /// Nobody could use the gateway.
    AuthMissing,
    /// Everybody could, and the spec does not say that this is meant.
    AnonymousExposed,
    /// A route names a backend that does not exist.
    BackendNotFound,
    /// A route names a backend whose own spec is wrong.
    BackendInvalid,
    /// A route would send code outside without saying so.
    DataBoundary,
    /// A backend cannot be reached from where the gateway runs.
    NoEndpoint,
}

impl Reason {
    /// The reason as one CamelCase word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "Invalid",
            Self::AuthMissing => "AuthMissing",
            Self::AnonymousExposed => "AnonymousExposed",
            Self::BackendNotFound => "BackendNotFound",
            Self::BackendInvalid => "BackendInvalid",
            Self::DataBoundary => "DataBoundary",
            Self::NoEndpoint => "NoEndpoint",
        }
    }
}

/// One mistake of a user: which field, what is wrong, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `Kind name`.
    pub object: String,
    /// Path of the field, such as `spec.routes[0].backends[1].name`.
    pub path: String,
    /// What kind of mistake.
    pub reason: Reason,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.object, self.path, self.message)
    }
}

impl std::error::Error for Problem {}

/// Collects the problems of one object.
pub(crate) struct Problems {
    object: String,
    list: Vec<Problem>,
}

impl Problems {
    pub(crate) fn of(kind: &str, name: &str) -> Self {
        Self { object: format!("{kind} {name}"), list: Vec::new() }
    }

    pub(crate) fn add(&mut self, reason: Reason, path: impl Into<String>, message: impl Into<String>) {
        let (object, path, message) = (self.object.clone(), path.into(), message.into());
        self.list.push(Problem { object, path, reason, message });
    }

    pub(crate) fn into_list(self) -> Vec<Problem> {
        self.list
    }
}

/// Renders the configuration of `gateway`. Of `backends` only those that a route names, and that let themselves be used by
/// it, are used; `inputs` of the result lists them.
///
/// # Errors
/// Every mistake found in the gateway and in the backends that it uses.
pub fn compile(
    gateway: &Object<ModelGatewaySpec>,
    backends: &[Object<ModelBackendSpec>],
    place: &Place,
) -> Result<GatewayConfig, Vec<Problem>> {
    let mut problems = Problems::of("ModelGateway", &gateway.name);
    check::gateway(&gateway.spec, &mut problems);
    access::check_access(&gateway.spec, place, &mut problems);
    let known: BTreeMap<(&str, &str), &Object<ModelBackendSpec>> = backends
        .iter()
        .map(|backend| ((backend.namespace.as_str(), backend.name.as_str()), backend))
        .collect();
    let mut compiled: BTreeMap<String, BackendConfig> = BTreeMap::new();
    let mut inputs = vec![gateway.input("ModelGateway")];
    for (key, path) in used_backends(gateway) {
        let (namespace, name) = backend_of_key(&key, &gateway.namespace);
        let object = known.get(&(namespace, name)).filter(|object| admits(object, gateway));
        let Some(object) = object else {
            problems.add(Reason::BackendNotFound, path, not_found(name, namespace, gateway, &known));
            continue;
        };
        match backend::compile(object, place) {
            Ok(config) => {
                if let Some(secret) = config.mounted().filter(|_| namespace != gateway.namespace) {
                    let message = format!(
                        "backend \"{key}\" has a credential (Secret {secret}) that only pods of its own namespace can mount; use it through a ModelGateway there"
                    );
                    problems.add(Reason::BackendInvalid, path, message);
                    continue;
                }
                let input = object.input("ModelBackend");
                inputs.push(Input { name: key.clone(), ..input });
                compiled.insert(key, config);
            }
            Err(faults) => problems.list.extend(faults),
        }
    }
    let routes = gateway.spec.routes.iter().enumerate();
    let routes: Vec<_> = routes
        .map(|(index, route)| route::compile(index, route, &gateway.namespace, &compiled, &mut problems))
        .collect();
    if !problems.list.is_empty() {
        return Err(problems.into_list());
    }
    Ok(assemble(gateway, place, inputs, routes, compiled))
}

fn assemble(
    gateway: &Object<ModelGatewaySpec>,
    place: &Place,
    mut inputs: Vec<Input>,
    routes: Vec<RouteConfig>,
    backends: BTreeMap<String, BackendConfig>,
) -> GatewayConfig {
    let spec = &gateway.spec;
    let listeners = spec.listeners.clone().unwrap_or_default();
    let http = listeners.http.as_ref().and_then(|listener| listener.port);
    let metrics = listeners.metrics.as_ref().and_then(|listener| listener.port);
    inputs.sort();
    GatewayConfig {
        format_version: FORMAT_VERSION.into(),
        inputs,
        gateway: gateway.name.clone(),
        namespace: gateway.namespace.clone(),
        http_port: http.unwrap_or(DEFAULT_HTTP_PORT),
        metrics_port: metrics.unwrap_or(DEFAULT_METRICS_PORT),
        protocols: spec.protocols.clone().unwrap_or_else(|| vec![Protocol::GitLab, Protocol::OpenAI]),
        listeners: access::listeners(listeners),
        auth: access::auth(spec),
        limits: access::limits(spec),
        redis: access::redis(spec),
        compat: spec.completion.clone().unwrap_or_default().compat,
        in_cluster: matches!(place, Place::Cluster { .. }),
        completion: completion::compile(spec.completion.clone().unwrap_or_default()),
        routes,
        backends,
    }
}

pub(crate) fn secret_file(reference: SecretKeyRef, default_key: &str) -> SecretFile {
    SecretFile { secret: reference.name, key: reference.key.unwrap_or_else(|| default_key.into()) }
}

/// Whether the backend lets itself be used by the gateway.
fn admits(backend: &Object<ModelBackendSpec>, gateway: &Object<ModelGatewaySpec>) -> bool {
    let allowed = backend.spec.allowed_gateways.clone().unwrap_or_default();
    allowed.admits(&backend.namespace, &gateway.namespace)
}

/// Keys of the backends that routes use, each with the path that names it first.
fn used_backends(gateway: &Object<ModelGatewaySpec>) -> Vec<(String, String)> {
    let mut seen = BTreeSet::new();
    let mut used = Vec::new();
    for (index, route) in gateway.spec.routes.iter().enumerate() {
        for (position, backend) in route.backends.iter().enumerate() {
            let key = backend.key(&gateway.namespace);
            if seen.insert(key.clone()) {
                used.push((key, format!("spec.routes[{index}].backends[{position}].name")));
            }
        }
    }
    used
}

/// Of another namespace it is not told whether the backend is missing or may not be used: who may not use it learns nothing.
fn not_found(
    name: &str,
    namespace: &str,
    gateway: &Object<ModelGatewaySpec>,
    known: &BTreeMap<(&str, &str), &Object<ModelBackendSpec>>,
) -> String {
    if namespace != gateway.namespace {
        return format!(
            "namespace \"{namespace}\" has no ModelBackend \"{name}\" that ModelGateways of \"{}\" may use; create it, or let its spec.allowedGateways admit them",
            gateway.namespace
        );
    }
    let own = known.keys().filter(|(of, _)| *of == namespace).map(|(_, name)| *name);
    let names: Vec<&str> = own.take(8).collect();
    let have = if names.is_empty() {
        "there is none yet".into()
    } else {
        format!("there are: {}", names.join(", "))
    };
    format!("no ModelBackend \"{name}\" in namespace \"{namespace}\" ({have}); create it or correct the name")
}

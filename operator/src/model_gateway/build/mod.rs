//! Step 3: `ValidatedGateway` → objects. Pure.

mod deployment;
mod expose;
mod network;
mod small;

use modelgate_api::names::gateway_child;

use super::validate::ValidatedGateway;
use crate::args::Render;
use crate::k8s::child::{Child, Prepared};
use crate::k8s::pods;

/// Objects of a ModelGateway.
#[derive(Debug, PartialEq)]
pub struct Resources<S> {
    /// Identity of the pods; its token is mounted nowhere.
    pub service_account: Child<S>,
    /// The rendered configuration.
    pub config_map: Child<S>,
    /// Address for clients and Prometheus.
    pub service: Child<S>,
    /// Keeps one pod when nodes are drained.
    pub disruption_budget: Child<S>,
    /// The gateway.
    pub deployment: Child<S>,
    /// Who may reach the pods.
    pub network_policy: Option<Child<S>>,
    /// Way in from outside.
    pub ingress: Option<Child<S>>,
    /// Another.
    pub route: Option<Child<S>>,
    /// Another: a Service with the http port alone.
    pub public: Option<Child<S>>,
    /// Tells Prometheus.
    pub monitor: Option<Child<S>>,
}

/// Builds them.
#[must_use]
pub fn build(gateway: &ValidatedGateway, render: &Render) -> Resources<Prepared> {
    let owner = &gateway.owner;
    let name = gateway_child(&owner.name);
    let ways = expose::ways(owner, name.clone(), gateway.spec.expose.as_ref(), &gateway.config);
    let annotations = gateway.spec.service_account.clone().unwrap_or_default().annotations;
    Resources {
        service_account: small::service_account(owner, name.clone(), &annotations),
        config_map: small::config_map(owner, name.clone(), &gateway.text),
        service: small::service(owner, name.clone(), &gateway.config),
        disruption_budget: small::disruption_budget(owner, name.clone()),
        deployment: deployment::deployment(gateway, &name, render),
        network_policy: network::policy(gateway, name.clone(), render),
        ingress: ways.ingress,
        route: ways.route,
        public: ways.public,
        monitor: pods::monitor(
            owner,
            name.clone(),
            "metrics",
            gateway.spec.monitoring.as_ref(),
            small::scrape_access(owner, &name, &gateway.config),
            render,
        ),
    }
}

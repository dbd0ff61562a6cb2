//! Who may reach a model's pods: requests come from gateways, the proving completion from the operator, scrapes from
//! Prometheus. Engines ask nobody who they are, so nobody else may.

use modelgate_api::names::backend_child;
use modelgate_api::v1alpha1::BackendPolicy;

use super::engine::Port;
use crate::args::Render;
use crate::k8s::child::{Child, Owner, Prepared};
use crate::k8s::network::{self, Admit};
use crate::model_backend::validate::ValidatedServer;

pub(super) fn policy(
    owner: &Owner,
    server: &ValidatedServer,
    metrics: Option<&Port>,
    render: &Render,
) -> Option<Child<Prepared>> {
    if server.network == BackendPolicy::None {
        return None;
    }
    let mut requests = network::gateways(&server.allowed_gateways);
    requests.extend(network::operator(&render.admitted));
    let metrics = metrics.map_or(server.port, |port| port.port);
    let rules = vec![
        Admit { from: requests, ports: vec![server.port] },
        Admit { from: network::prometheus(&render.admitted), ports: vec![metrics] },
    ];
    Some(network::policy(owner, backend_child(&owner.name), rules))
}

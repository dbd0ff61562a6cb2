//! Who may reach a gateway's pods.

use modelgate_api::names::CONTROL_PORT;
use modelgate_api::v1alpha1::GatewayPolicy;

use crate::args::Render;
use crate::k8s::child::{Child, Prepared};
use crate::k8s::network::{self, Admit};
use crate::model_gateway::validate::ValidatedGateway;

/// Clients are admitted from everywhere: who may use the gateway is decided by tokens, not by addresses.
pub(super) fn policy(gateway: &ValidatedGateway, name: String, render: &Render) -> Option<Child<Prepared>> {
    let policy = gateway.spec.network.as_ref().map(|network| network.policy).unwrap_or_default();
    if policy == GatewayPolicy::None {
        return None;
    }
    let config = &gateway.config;
    let rules = vec![
        Admit { from: Vec::new(), ports: vec![config.http_port] },
        Admit { from: network::prometheus(&render.admitted), ports: vec![config.metrics_port] },
        Admit { from: network::operator(&render.admitted), ports: vec![CONTROL_PORT] },
    ];
    Some(network::policy(&gateway.owner, name, rules))
}

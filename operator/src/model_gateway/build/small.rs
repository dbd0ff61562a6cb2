//! The small objects of a gateway: ServiceAccount, ConfigMap, Service, PodDisruptionBudget.

use modelgate_api::contract::GatewayConfig;
use modelgate_api::names::CONFIG_FILE;
use serde_json::json;

use crate::k8s::child::{Child, ChildKind, Owner, Prepared};

pub(super) fn service_account(owner: &Owner, name: String) -> Child<Prepared> {
    let fields = json!({"automountServiceAccountToken": false});
    Child::new(ChildKind::ServiceAccount, name, owner, &owner.labels(), fields)
}

pub(super) fn config_map(owner: &Owner, name: String, text: &str) -> Child<Prepared> {
    Child::new(ChildKind::ConfigMap, name, owner, &owner.labels(), json!({"data": {CONFIG_FILE: text}}))
}

/// Clients and Prometheus. The control port is not in it: only the kubelet and the operator ask there, pod by pod.
pub(super) fn service(owner: &Owner, name: String, config: &GatewayConfig) -> Child<Prepared> {
    let port =
        |name: &str, port: u16| json!({"name": name, "port": port, "targetPort": name, "protocol": "TCP"});
    let spec = json!({
        "type": "ClusterIP",
        "selector": owner.selector(),
        "ports": [port("http", config.http_port), port("metrics", config.metrics_port)],
    });
    Child::new(ChildKind::Service, name, owner, &owner.scraped_labels(), json!({"spec": spec}))
}

/// One pod at a time may be taken away; `maxUnavailable` and not `minAvailable`, so that a gateway of one pod does not
/// keep a node from being drained for ever.
pub(super) fn disruption_budget(owner: &Owner, name: String) -> Child<Prepared> {
    let spec = json!({"maxUnavailable": 1, "selector": {"matchLabels": owner.selector()}});
    Child::new(ChildKind::PodDisruptionBudget, name, owner, &owner.labels(), json!({"spec": spec}))
}

//! NetworkPolicies: who may reach pods of ours. Pure. Ports are numbers, not names: not every network plugin knows names.

use modelgate_api::v1alpha1::{AllowedGateways, GatewaysFrom};
use serde_json::{Value, json};

use super::child::{Child, ChildKind, Owner, OwnerKind, Prepared};
use crate::args::Admitted;

/// Label of the operator's pods, as the chart sets it.
const OPERATOR: (&str, &str) = ("app.kubernetes.io/name", "modelgate-operator");
/// The label that says which program a pod is.
const APPLICATION: &str = "app.kubernetes.io/name";

/// One rule: who may reach which ports; nobody named means everybody.
pub struct Admit {
    /// Peers.
    pub from: Vec<Value>,
    /// TCP ports.
    pub ports: Vec<u16>,
}

/// The policy of the pods of `owner`: what no rule admits is refused.
#[must_use]
pub fn policy(owner: &Owner, name: String, rules: Vec<Admit>) -> Child<Prepared> {
    let rules: Vec<Value> = rules
        .into_iter()
        .map(|rule| {
            let ports: Vec<_> =
                rule.ports.iter().map(|port| json!({"port": port, "protocol": "TCP"})).collect();
            let from = if rule.from.is_empty() { Value::Null } else { Value::Array(rule.from) };
            json!({"from": from, "ports": ports})
        })
        .collect();
    let spec = json!({
        "podSelector": {"matchLabels": owner.selector()},
        "policyTypes": ["Ingress"],
        "ingress": rules,
    });
    Child::new(ChildKind::NetworkPolicy, name, owner, &owner.labels(), json!({"spec": spec}))
}

/// Gateways that may use a backend: those of its own namespace, and of others as it allows.
#[must_use]
pub fn gateways(allowed: &AllowedGateways) -> Vec<Value> {
    let labels = json!({APPLICATION: OwnerKind::Gateway.application()});
    let own = json!({"podSelector": {"matchLabels": labels}});
    match (allowed.from, allowed.namespaces.as_slice()) {
        (GatewaysFrom::All, _) => vec![pods_in(&[], &labels)],
        (GatewaysFrom::Same, _) | (GatewaysFrom::Selector, []) => vec![own],
        (GatewaysFrom::Selector, namespaces) => vec![own, pods_in(namespaces, &labels)],
    }
}

/// The operator.
#[must_use]
pub fn operator(admitted: &Admitted) -> Vec<Value> {
    let namespaces: Vec<String> = admitted.operator_namespace.iter().cloned().collect();
    vec![pods_in(&namespaces, &json!({OPERATOR.0: OPERATOR.1}))]
}

/// Prometheus.
#[must_use]
pub fn prometheus(admitted: &Admitted) -> Vec<Value> {
    vec![pods_in(&admitted.prometheus_namespaces, &json!(admitted.prometheus_labels))]
}

/// Pods with labels in namespaces by name; none named means all.
fn pods_in(namespaces: &[String], labels: &Value) -> Value {
    let namespaces = match namespaces {
        [] => json!({}),
        [only] => json!({"matchLabels": {"kubernetes.io/metadata.name": only}}),
        several => json!({"matchExpressions": [
            {"key": "kubernetes.io/metadata.name", "operator": "In", "values": several},
        ]}),
    };
    json!({"namespaceSelector": namespaces, "podSelector": {"matchLabels": labels}})
}

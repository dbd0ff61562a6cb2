//! The two Services of an engine.

use std::collections::BTreeMap;

use modelgate_api::names::{backend_child, backend_headless};
use serde_json::{Value, json};

use super::engine::Port;
use crate::k8s::child::{Child, ChildKind, Owner, Prepared};

/// One address for all pods: for people, Prometheus and the proving completion.
pub(super) fn service(owner: &Owner, port: u16, metrics: Option<&Port>) -> Child<Prepared> {
    let fields = json!({"type": "ClusterIP"});
    make(owner, backend_child(&owner.name), &owner.scraped_labels(), fields, port, metrics)
}

/// One address for each ready pod: for gateways, which balance by themselves.
pub(super) fn headless(owner: &Owner, port: u16) -> Child<Prepared> {
    let fields = json!({"type": "ClusterIP", "clusterIP": "None", "publishNotReadyAddresses": false});
    make(owner, backend_headless(&owner.name), &owner.labels(), fields, port, None)
}

fn make(
    owner: &Owner,
    name: String,
    labels: &BTreeMap<String, String>,
    mut spec: Value,
    port: u16,
    metrics: Option<&Port>,
) -> Child<Prepared> {
    if let Some(spec) = spec.as_object_mut() {
        spec.insert("selector".into(), json!(owner.selector()));
        let requests = Port { name: "http", port };
        let ports = std::iter::once(&requests).chain(metrics).map(
            |port| json!({"name": port.name, "port": port.port, "targetPort": port.name, "protocol": "TCP"}),
        );
        spec.insert("ports".into(), ports.collect());
    }
    Child::new(ChildKind::Service, name, owner, labels, json!({"spec": spec}))
}

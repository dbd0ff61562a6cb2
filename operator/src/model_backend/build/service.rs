//! The two Services of an engine.

use std::collections::BTreeMap;

use modelgate_api::names::{backend_child, backend_headless};
use serde_json::{Value, json};

use crate::k8s::child::{Child, ChildKind, Owner, Prepared};

/// One address for all pods: for people, Prometheus and the proving completion.
pub(super) fn service(owner: &Owner, port: u16) -> Child<Prepared> {
    make(owner, backend_child(&owner.name), &owner.scraped_labels(), json!({"type": "ClusterIP"}), port)
}

/// One address for each ready pod: for gateways, which balance by themselves.
pub(super) fn headless(owner: &Owner, port: u16) -> Child<Prepared> {
    let fields = json!({"type": "ClusterIP", "clusterIP": "None", "publishNotReadyAddresses": false});
    make(owner, backend_headless(&owner.name), &owner.labels(), fields, port)
}

fn make(
    owner: &Owner,
    name: String,
    labels: &BTreeMap<String, String>,
    mut spec: Value,
    port: u16,
) -> Child<Prepared> {
    if let Some(spec) = spec.as_object_mut() {
        spec.insert("selector".into(), json!(owner.selector()));
        let ports = json!([{"name": "http", "port": port, "targetPort": "http", "protocol": "TCP"}]);
        spec.insert("ports".into(), ports);
    }
    Child::new(ChildKind::Service, name, owner, labels, json!({"spec": spec}))
}

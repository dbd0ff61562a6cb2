//! The small objects of a gateway: ServiceAccount, ConfigMap, Service, PodDisruptionBudget.

use std::collections::BTreeMap;

use modelgate_api::contract::GatewayConfig;
use modelgate_api::names::{CONFIG_FILE, DEFAULT_CA_KEY};
use serde_json::{Value, json};

use crate::k8s::child::{Child, ChildKind, Owner, Prepared};

pub(super) fn service_account(
    owner: &Owner,
    name: String,
    annotations: &BTreeMap<String, String>,
) -> Child<Prepared> {
    let fields = json!({"automountServiceAccountToken": false});
    Child::new(ChildKind::ServiceAccount, name, owner, &owner.labels(), fields).annotated(annotations)
}

pub(super) fn config_map(owner: &Owner, name: String, text: &str) -> Child<Prepared> {
    Child::new(ChildKind::ConfigMap, name, owner, &owner.labels(), json!({"data": {CONFIG_FILE: text}}))
}

/// Clients and Prometheus. The control port is not in it: only the kubelet and the operator ask there, pod by pod.
pub(super) fn service(owner: &Owner, name: String, config: &GatewayConfig) -> Child<Prepared> {
    let port =
        |name: &str, port: u16| json!({"name": name, "port": port, "targetPort": name, "protocol": "TCP"});
    let mut http = port("http", config.http_port);
    if config.listeners.tls.is_some() {
        // Ingress controllers and meshes read here that the gateway speaks TLS itself.
        http["appProtocol"] = json!("https");
    }
    let spec = json!({
        "type": "ClusterIP",
        "selector": owner.selector(),
        "ports": [http, port("metrics", config.metrics_port)],
    });
    Child::new(ChildKind::Service, name, owner, &owner.scraped_labels(), json!({"spec": spec}))
}

/// What Prometheus must give and know to scrape the gateway: members of the monitor's endpoint. It reads the Secrets
/// itself, in the gateway's namespace.
pub(super) fn scrape_access(owner: &Owner, service: &str, config: &GatewayConfig) -> Value {
    let mut access = serde_json::Map::new();
    let key = |secret: &str, key: &str| json!({"name": secret, "key": key});
    if let Some(login) = &config.listeners.metrics_basic_auth {
        let (name, password) = (&login.username, &login.password);
        let login = json!({
            "username": key(&name.secret, &name.key),
            "password": key(&password.secret, &password.key),
        });
        access.insert("basicAuth".into(), login);
    }
    if let Some(tls) = &config.listeners.metrics_tls {
        let ca = json!({"secret": key(&tls.certificate.secret, DEFAULT_CA_KEY)});
        let name = format!("{service}.{}.svc", owner.namespace);
        access.insert("scheme".into(), json!("https"));
        access.insert("tlsConfig".into(), json!({"ca": ca, "serverName": name}));
    }
    if access.is_empty() { Value::Null } else { Value::Object(access) }
}

/// One pod at a time may be taken away; `maxUnavailable` and not `minAvailable`, so that a gateway of one pod does not
/// keep a node from being drained for ever.
pub(super) fn disruption_budget(owner: &Owner, name: String) -> Child<Prepared> {
    let spec = json!({"maxUnavailable": 1, "selector": {"matchLabels": owner.selector()}});
    Child::new(ChildKind::PodDisruptionBudget, name, owner, &owner.labels(), json!({"spec": spec}))
}

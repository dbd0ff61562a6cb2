//! Ways in from outside: an Ingress, an HTTPRoute, or a Service of its own with the http port alone, so that metrics and
//! control stay within the cluster.

use std::collections::BTreeMap;

use modelgate_api::contract::GatewayConfig;
use modelgate_api::names::{gateway_public, gateway_tls};
use modelgate_api::v1alpha1::{Expose, ExposeTls, ExposeType, IssuerKind, ParentRef};
use serde_json::{Value, json};

use crate::k8s::child::{Child, ChildKind, Owner, Prepared};

/// What leads to a gateway from outside.
pub(super) struct Ways {
    pub ingress: Option<Child<Prepared>>,
    pub route: Option<Child<Prepared>>,
    pub public: Option<Child<Prepared>>,
}

pub(super) fn ways(owner: &Owner, name: String, expose: Option<&Expose>, config: &GatewayConfig) -> Ways {
    let mut ways = Ways { ingress: None, route: None, public: None };
    let Some(expose) = expose else { return ways };
    match expose.kind {
        ExposeType::None => {}
        ExposeType::Ingress => ways.ingress = Some(ingress(owner, name, expose)),
        ExposeType::HttpRoute => ways.route = Some(route(owner, name, expose, config)),
        ExposeType::LoadBalancer => ways.public = Some(public(owner, "LoadBalancer", expose, config)),
        ExposeType::NodePort => ways.public = Some(public(owner, "NodePort", expose, config)),
    }
    ways
}

fn ingress(owner: &Owner, name: String, expose: &Expose) -> Child<Prepared> {
    let backend = json!({"service": {"name": name, "port": {"name": "http"}}});
    let tls = expose.tls.as_ref().map(|tls| {
        json!([{"hosts": expose.host.iter().collect::<Vec<_>>(), "secretName": certificate(owner, tls)}])
    });
    let spec = json!({
        "ingressClassName": expose.class_name,
        "rules": [{
            "host": expose.host,
            "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
        }],
        "tls": tls,
    });
    let mut annotations = given(expose);
    if let Some(issuer) = expose.tls.as_ref().and_then(|tls| tls.issuer_ref.as_ref()) {
        // cert-manager makes a Certificate for every Ingress with one of these two.
        let key = match issuer.kind {
            IssuerKind::ClusterIssuer => "cert-manager.io/cluster-issuer",
            IssuerKind::Issuer => "cert-manager.io/issuer",
        };
        annotations.insert(key.into(), issuer.name.clone());
    }
    Child::new(ChildKind::Ingress, name, owner, &owner.labels(), json!({"spec": spec}))
        .annotated(&annotations)
}

/// Name of the Secret with an Ingress's certificate.
fn certificate(owner: &Owner, tls: &ExposeTls) -> String {
    tls.secret_ref.as_ref().map_or_else(|| gateway_tls(&owner.name), |secret| secret.name.clone())
}

fn route(owner: &Owner, name: String, expose: &Expose, config: &GatewayConfig) -> Child<Prepared> {
    let parents: Vec<Value> = expose.parent_refs.iter().map(parent).collect();
    let hosts = expose.host.as_ref().map(|host| json!([host]));
    let spec = json!({
        "parentRefs": parents,
        "hostnames": hosts,
        "rules": [{"backendRefs": [{"name": name, "port": config.http_port}]}],
    });
    let annotations = given(expose);
    Child::new(ChildKind::HttpRoute, name, owner, &owner.labels(), json!({"spec": spec}))
        .annotated(&annotations)
}

fn parent(parent: &ParentRef) -> Value {
    json!({
        "name": parent.name,
        "namespace": parent.namespace,
        "sectionName": parent.section_name,
        "port": parent.port,
    })
}

fn public(owner: &Owner, kind: &str, expose: &Expose, config: &GatewayConfig) -> Child<Prepared> {
    let port = if config.listeners.tls.is_some() { 443 } else { 80 };
    let spec = json!({
        "type": kind,
        "selector": owner.selector(),
        "ports": [{"name": "http", "port": port, "targetPort": "http", "protocol": "TCP"}],
    });
    let name = gateway_public(&owner.name);
    Child::new(ChildKind::Service, name, owner, &owner.labels(), json!({"spec": spec}))
        .annotated(&given(expose))
}

fn given(expose: &Expose) -> BTreeMap<String, String> {
    expose.annotations.clone().unwrap_or_default()
}

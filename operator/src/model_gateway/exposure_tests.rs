//! Ways in from outside: what live objects say becomes addresses and conditions.

use modelgate_api::manifest;
use modelgate_api::state::CertificateState;
use modelgate_api::v1alpha1::{Condition, ModelGatewaySpec};
use serde_json::json;

use super::*;
use crate::args::Render;
use crate::k8s::child::{Child, Owner, OwnerKind, Prepared};
use crate::model_gateway::build;
use crate::model_gateway::validate::validate;

fn gateway(expose: &str, listeners: &str) -> ValidatedGateway {
    let text = format!(
        "apiVersion: modelgate.dev/v1alpha1\nkind: ModelBackend\nmetadata: {{name: fake}}\nspec: {{model: {{name: m}}, fake: {{}}}}\n---\napiVersion: modelgate.dev/v1alpha1\nkind: ModelGateway\nmetadata: {{name: code}}\nspec: {{auth: {{anonymous: true, anonymousExposed: true}}, {listeners}expose: {expose}, routes: [{{name: r, backends: [{{name: fake}}]}}]}}\n"
    );
    let manifests = manifest::parse("in.yaml", &text).unwrap();
    let spec: &ModelGatewaySpec = &manifests.gateways[0].spec;
    let namespace = manifests.gateways[0].namespace.clone();
    let owner = Owner { kind: OwnerKind::Gateway, name: "code".into(), namespace, uid: "u".into() };
    validate(&owner, 1, spec, &manifests.backends, &Render::default()).unwrap()
}

/// The objects as if they had been applied; `live` changes those that are there, and takes optional APIs away.
fn applied(gateway: &ValidatedGateway, live: &Value, optional: bool) -> Resources<Applied> {
    let status = |child: Child<Prepared>| {
        let mut body = child.body.clone();
        if let (Some(body), Some(live)) = (body.as_object_mut(), live.as_object()) {
            body.extend(live.clone());
        }
        child.applied(body)
    };
    let built = build::build(gateway, &Render::default());
    Resources {
        service_account: status(built.service_account),
        config_map: status(built.config_map),
        service: status(built.service),
        disruption_budget: status(built.disruption_budget),
        deployment: status(built.deployment),
        network_policy: built.network_policy.map(status),
        ingress: built.ingress.map(status),
        route: built.route.filter(|_| optional).map(status),
        public: built.public.map(status),
        monitor: built.monitor.filter(|_| optional).map(status),
    }
}

fn said(gateway: &ValidatedGateway, applied: &Resources<Applied>, certificate: &Certificate) -> Vec<String> {
    let list: Vec<Condition> =
        conditions(Conditions::new(&[], 1), gateway, applied, Some(certificate), &[]).finish();
    list.iter().map(|found| format!("{} {} {}", found.kind, found.status, found.reason)).collect()
}

fn given(address: &Value) -> Value {
    json!({"status": {"loadBalancer": {"ingress": [address]}}})
}

#[test]
fn addresses_are_those_that_controllers_gave() {
    let inside = "http://code-gateway.default.svc:5000";
    let tls = "listeners: {tls: {secretRef: {name: own}}}, ";
    let cases = [
        ("{type: None}", "", json!({}), vec![]),
        ("{type: Ingress, host: code.example.com}", "", json!({}), vec!["http://code.example.com"]),
        ("{type: Ingress}", "", json!({}), vec![]),
        ("{type: Ingress}", "", given(&json!({"hostname": "lb.example.com"})), vec!["http://lb.example.com"]),
        (
            "{type: Ingress, host: code.example.com, tls: {secretRef: {name: t}}}",
            "",
            json!({}),
            vec!["https://code.example.com"],
        ),
        (
            "{type: HTTPRoute, host: code.example.com, parentRefs: [{name: public, port: 443}]}",
            "",
            json!({"status": {"parents": [{"conditions": [{"type": "Accepted", "status": "True"}]}]}}),
            vec!["https://code.example.com"],
        ),
        ("{type: HTTPRoute, host: code.example.com, parentRefs: [{name: public}]}", "", json!({}), vec![]),
        ("{type: LoadBalancer}", "", json!({}), vec![]),
        ("{type: LoadBalancer}", "", given(&json!({"ip": "203.0.113.7"})), vec!["http://203.0.113.7"]),
        ("{type: LoadBalancer}", tls, given(&json!({"ip": "2001:db8::7"})), vec!["https://[2001:db8::7]"]),
        (
            "{type: NodePort}",
            "",
            json!({"spec": {"ports": [{"nodePort": 31234}]}}),
            vec!["http://<node>:31234"],
        ),
    ];
    for (expose, listeners, live, outside) in cases {
        let gateway = gateway(expose, listeners);
        let mut found = addresses(&gateway, &applied(&gateway, &live, true));
        let own = found.pop().unwrap();
        assert_eq!(
            own,
            if listeners.is_empty() { inside.to_owned() } else { inside.replace("http:", "https:") }
        );
        assert_eq!(found, outside, "{expose}");
    }
}

#[test]
fn a_route_is_attached_when_every_gateway_accepted_its_newest_generation() {
    let gateway = gateway("{type: HTTPRoute, parentRefs: [{name: public}, {name: inner}]}", "");
    let parent = |name: &str, status: &str, observed: i64| {
        json!({"parentRef": {"name": name}, "conditions": [
            {"type": "Accepted", "status": status, "reason": "R", "message": "m", "observedGeneration": observed}]})
    };
    let cases = [
        (json!([]), "RouteAttached Unknown Pending"),
        (json!([parent("public", "True", 2)]), "RouteAttached Unknown Pending"),
        (json!([parent("public", "True", 1), parent("inner", "True", 2)]), "RouteAttached Unknown Pending"),
        (
            json!([parent("public", "True", 2), parent("inner", "False", 2)]),
            "RouteAttached False NotAttached",
        ),
        (json!([parent("public", "True", 2), parent("inner", "True", 2)]), "RouteAttached True Attached"),
    ];
    for (parents, expected) in cases {
        let live = json!({"metadata": {"generation": 2}, "status": {"parents": parents}});
        let found = said(&gateway, &applied(&gateway, &live, true), &Certificate::default());
        assert_eq!(found, [expected], "{parents}");
    }
    let absent = applied(&gateway, &json!({}), false);
    assert_eq!(said(&gateway, &absent, &Certificate::default()), ["RouteAttached False ApiNotServed"]);
    assert_eq!(addresses(&gateway, &absent).len(), 1, "an address that leads nowhere is not told");
}

#[test]
fn a_certificate_is_what_cert_manager_says() {
    let issuer = "{type: Ingress, host: code.example.com, tls: {issuerRef: {name: i}}}";
    let gateway_of = |expose: &str| gateway(expose, "");
    let certificate = |status: Option<&str>| Certificate {
        api_served: true,
        object: Some(match status {
            Some(status) => {
                json!({"status": {"conditions": [{"type": "Ready", "status": status, "message": "x"}]}})
            }
            None => json!({"spec": {}}),
        }),
    };
    let pending = Certificate { api_served: true, object: None };
    let cases = [
        (issuer, Certificate::default(), "CertificateReady False ApiNotServed"),
        (issuer, pending, "CertificateReady Unknown Pending"),
        (issuer, certificate(None), "CertificateReady Unknown Pending"),
        (issuer, certificate(Some("False")), "CertificateReady False NotIssued"),
        (issuer, certificate(Some("True")), "CertificateReady True Issued"),
        (
            "{type: Ingress, host: code.example.com, tls: {secretRef: {name: t}}}",
            Certificate::default(),
            "CertificateReady Unknown SecretNotRead",
        ),
    ];
    for (expose, certificate, expected) in cases {
        let gateway = gateway_of(expose);
        let live = given(&json!({"ip": "203.0.113.7"}));
        let found = said(&gateway, &applied(&gateway, &live, true), &certificate);
        assert_eq!(found, ["RouteAttached True Attached", expected]);
    }
}

/// Optional APIs that go away cost one condition each: the other objects are built all the same.
#[test]
fn what_is_made_does_not_depend_on_which_optional_apis_are_served() {
    let gateway = gateway("{type: HTTPRoute, parentRefs: [{name: public}]}", "");
    let (with, without) = (applied(&gateway, &json!({}), true), applied(&gateway, &json!({}), false));
    assert_eq!(with.deployment, without.deployment);
    assert_eq!(with.service, without.service);
    assert_eq!(with.network_policy, without.network_policy);
}

#[test]
fn a_listeners_certificate_is_what_every_pod_says() {
    let gateway = gateway("{type: None}", "listeners: {tls: {secretRef: {name: own}}}, ");
    let state = |serving: bool| GatewayState {
        certificates: vec![CertificateState {
            listener: "http".into(),
            secret: "own".into(),
            serving,
            message: if serving { String::new() } else { "tls.crt is missing".into() },
        }],
        ..GatewayState::default()
    };
    let (well, sick) = (state(true), state(false));
    let applied = applied(&gateway, &json!({}), true);
    for (current, expected) in [
        (vec![], "Unknown WaitingForPods"),
        (vec![&well, &sick], "False CredentialMissing"),
        (vec![&well, &well], "True Served"),
    ] {
        let made = conditions(Conditions::new(&[], 1), &gateway, &applied, None, &current).finish();
        let found: Vec<_> = made.iter().map(|found| format!("{} {}", found.status, found.reason)).collect();
        assert_eq!(found, [expected]);
    }
}

//! The Gateway API and cert-manager, absent, then installed, then removed while the operator runs: each costs one condition.
//! Their definitions are stand-ins that hold any field; what controllers would answer is written by hand.

use anyhow::ensure;
use serde_json::Value;
use testkit::cluster::Cluster;
use testkit::command::wait_until;

use crate::world::{self, PATIENCE, apply_in, condition, fake_gateway, installed};

const NAMESPACE: &str = "e2e-optional";
const GATEWAY: &str = "modelgateway/code";

fn definition(group: &str, kind: &str, plural: &str) -> String {
    format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: {plural}.{group}, annotations: {{api-approved.kubernetes.io: unapproved}}}}\nspec:\n  group: {group}\n  names: {{kind: {kind}, plural: {plural}}}\n  scope: Namespaced\n  versions: [{{name: v1, served: true, storage: true, subresources: {{status: {{}}}}, schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}}}]\n"
    )
}

/// Waits until a condition has a status and a reason.
fn becomes(cluster: &Cluster, kind: &str, wanted: (&str, &str)) {
    let what = format!("{kind} {wanted:?}");
    wait_until(PATIENCE, &what, || {
        let (status, reason, message) = condition(&world::get(cluster, NAMESPACE, GATEWAY)?, kind);
        ensure!((status.as_str(), reason.as_str()) == wanted, "{status} {reason}: {message}");
        Ok(())
    })
    .unwrap();
}

fn set(cluster: &Cluster, patch: &str) {
    cluster.kubectl(&["patch", GATEWAY, "--namespace", NAMESPACE, "--type=merge", "--patch", patch]).unwrap();
}

fn set_status(cluster: &Cluster, object: &str, status: &str) {
    let patch = format!("{{\"status\": {status}}}");
    let kubectl =
        ["patch", object, "--namespace", NAMESPACE, "--subresource=status", "--type=merge", "--patch"];
    cluster.kubectl(&kubectl.into_iter().chain([patch.as_str()]).collect::<Vec<_>>()).unwrap();
}

fn generation(cluster: &Cluster) -> i64 {
    let deployment = world::get(cluster, NAMESPACE, "deployment/code-gateway").unwrap();
    deployment.pointer("/metadata/generation").and_then(Value::as_i64).unwrap()
}

#[test]
fn the_gateway_api_comes_and_goes_and_costs_one_condition() {
    let cluster = installed();
    fake_gateway(cluster, NAMESPACE, "");
    let before = generation(cluster);
    let expose = r#"{"spec": {"expose": {"type": "HTTPRoute", "host": "code.example.com", "tls": null, "parentRefs": [{"name": "public"}]}}}"#;
    set(cluster, expose);
    becomes(cluster, "RouteAttached", ("False", "ApiNotServed"));
    becomes(cluster, "Ready", ("True", "Programmed"));

    cluster.apply(&definition("gateway.networking.k8s.io", "HTTPRoute", "httproutes")).unwrap();
    becomes(cluster, "RouteAttached", ("Unknown", "Pending"));
    let accepted = r#"{"parents": [{"parentRef": {"name": "public"}, "conditions": [{"type": "Accepted", "status": "True"}]}]}"#;
    set_status(cluster, "httproute/code-gateway", accepted);
    becomes(cluster, "RouteAttached", ("True", "Attached"));

    // Another way: the route goes with the wish for it. Then back again.
    set(cluster, r#"{"spec": {"expose": {"type": "NodePort", "host": null, "parentRefs": null}}}"#);
    wait_until(PATIENCE, "no HTTPRoute, and a node's port", || {
        ensure!(
            world::get(cluster, NAMESPACE, "httproute/code-gateway").is_err(),
            "the route is still there"
        );
        let gateway = world::get(cluster, NAMESPACE, GATEWAY)?;
        let address = gateway.pointer("/status/addresses/0").and_then(Value::as_str).unwrap_or_default();
        ensure!(address.starts_with("http://<node>:3"), "{address}");
        Ok(())
    })
    .unwrap();
    set(cluster, expose);
    becomes(cluster, "RouteAttached", ("Unknown", "Pending"));

    cluster.kubectl(&["delete", "crd", "httproutes.gateway.networking.k8s.io", "--wait"]).unwrap();
    becomes(cluster, "RouteAttached", ("False", "ApiNotServed"));
    becomes(cluster, "Ready", ("True", "Programmed"));
    assert_eq!(generation(cluster), before, "no pod was replaced for any of it");
}

#[test]
fn cert_manager_comes_and_goes_and_costs_one_condition() {
    let cluster = installed();
    fake_gateway(cluster, NAMESPACE, "");
    set(
        cluster,
        r#"{"spec": {"expose": {"type": "Ingress", "host": "code.example.com", "parentRefs": null, "tls": {"issuerRef": {"name": "letsencrypt"}}}}}"#,
    );
    becomes(cluster, "CertificateReady", ("False", "ApiNotServed"));
    cluster.apply(&definition("cert-manager.io", "Certificate", "certificates")).unwrap();
    becomes(cluster, "CertificateReady", ("Unknown", "Pending"));

    // As cert-manager does: named after the Secret, owned by the Ingress, with the Ingress's labels.
    let ingress = world::get(cluster, NAMESPACE, "ingress/code-gateway").unwrap();
    let annotations = &ingress["metadata"]["annotations"];
    assert_eq!(annotations["cert-manager.io/cluster-issuer"], "letsencrypt");
    let certificate = format!(
        "apiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata:\n  name: code-gateway-tls\n  labels: {}\n  ownerReferences: [{{apiVersion: networking.k8s.io/v1, kind: Ingress, name: code-gateway, uid: {}, controller: true}}]\nspec: {{secretName: code-gateway-tls}}\n",
        ingress["metadata"]["labels"], ingress["metadata"]["uid"],
    );
    apply_in(cluster, NAMESPACE, &certificate);
    let ready = |status: &str| {
        format!(r#"{{"conditions": [{{"type": "Ready", "status": "{status}", "message": "m"}}]}}"#)
    };
    set_status(cluster, "certificate/code-gateway-tls", &ready("False"));
    becomes(cluster, "CertificateReady", ("False", "NotIssued"));
    set_status(cluster, "certificate/code-gateway-tls", &ready("True"));
    becomes(cluster, "CertificateReady", ("True", "Issued"));
    let gateway = world::get(cluster, NAMESPACE, GATEWAY).unwrap();
    assert_eq!(gateway["status"]["addresses"][0], "https://code.example.com");

    cluster.kubectl(&["delete", "crd", "certificates.cert-manager.io", "--wait"]).unwrap();
    becomes(cluster, "CertificateReady", ("False", "ApiNotServed"));
    becomes(cluster, "Ready", ("True", "Programmed"));
}

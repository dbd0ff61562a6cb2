//! Traffic through every change: no request fails while the gateway rolls, while a backend with a mounted Secret is added,
//! or while a Secret with a new name makes the gateway roll.

use std::collections::BTreeSet;

use anyhow::ensure;
use testkit::cluster::Cluster;
use testkit::command::wait_until;

use crate::traffic::{ask, completion, echo_traffic, echoes, expect_flawless, gateway};
use crate::world::{NODE_ADDRESS, PATIENCE, apply_in, await_condition, installed, namespace, start_echo};

const NAMESPACE: &str = "e2e-rolling";
const PLAIN_PORT: u16 = 9100;
const GUARDED_PORT: u16 = 9101;

fn backend(name: &str, port: u16, extra: &str) -> String {
    format!(
        "apiVersion: modelgate.dev/v1alpha1\nkind: ModelBackend\nmetadata: {{name: {name}}}\nspec:\n  model: {{name: model-{name}}}\n  external: {{protocol: OpenAI, url: \"http://{NODE_ADDRESS}:{port}/v1\", boundary: Inside{extra}}}\n"
    )
}

fn routes(backends: &[&str]) -> String {
    let routes: String = backends
        .iter()
        .map(|name| format!("    - {{name: {name}, backends: [{{name: {name}}}]}}\n"))
        .collect();
    format!(
        "apiVersion: modelgate.dev/v1alpha1\nkind: ModelGateway\nmetadata: {{name: code}}\nspec:\n  auth: {{anonymous: true, anonymousExposed: true}}\n  routes:\n{routes}"
    )
}

fn pods(cluster: &Cluster) -> BTreeSet<String> {
    let query = "--output=jsonpath={.items[*].metadata.uid}";
    let selector = "--selector=modelgate.dev/gateway=code";
    let uids = cluster.kubectl(&["get", "pods", "--namespace", NAMESPACE, selector, query]).unwrap();
    uids.split(' ').map(str::to_owned).collect()
}

/// One backend `a` whose credential lies in Secret `keys`; the gateway serves it.
fn set_up() -> &'static Cluster {
    let cluster = installed();
    start_echo(cluster, PLAIN_PORT, None);
    start_echo(cluster, GUARDED_PORT, Some("right"));
    namespace(cluster, NAMESPACE);
    cluster
        .kubectl(&[
            "create",
            "secret",
            "generic",
            "keys",
            "--namespace",
            NAMESPACE,
            "--from-literal=a=right",
            "--from-literal=b=right",
        ])
        .unwrap();
    apply_in(cluster, NAMESPACE, &backend("a", GUARDED_PORT, ", authSecretRef: {name: keys, key: a}"));
    apply_in(cluster, NAMESPACE, &routes(&["a"]));
    await_condition(cluster, NAMESPACE, "modelgateway/code", "Ready", "True");
    cluster
}

#[test]
fn no_request_fails_while_the_gateway_rolls_and_its_backends_change() {
    let cluster = set_up();
    let way = gateway(cluster, NAMESPACE, "code");
    let traffic = echo_traffic(way.address(), "model-a");

    // A change of the pod template replaces every pod.
    let before = pods(cluster);
    let patch = r#"{"spec":{"resources":{"requests":{"cpu":"11m"}}}}"#;
    cluster
        .kubectl(&["patch", "mgw/code", "--namespace", NAMESPACE, "--type=merge", "--patch", patch])
        .unwrap();
    wait_until(PATIENCE, "new pods alone", || {
        ensure!(pods(cluster).is_disjoint(&before), "old pods are still there");
        Ok(())
    })
    .unwrap();
    await_condition(cluster, NAMESPACE, "modelgateway/code", "Ready", "True");

    // A backend whose Secret is mounted already: no pod changes.
    let before = pods(cluster);
    apply_in(cluster, NAMESPACE, &backend("b", GUARDED_PORT, ", authSecretRef: {name: keys, key: b}"));
    apply_in(cluster, NAMESPACE, &with_requests(&routes(&["a", "b"])));
    await_condition(cluster, NAMESPACE, "modelgateway/code", "Ready", "True");
    let served = ask(way.address(), &completion("model-b", "nonce-b"));
    echoes(&served, "nonce-b").unwrap();
    assert_eq!(pods(cluster), before, "a mounted Secret needs no new pod");

    // A Secret with a new name: the gateway rolls, and says so.
    cluster
        .kubectl(&[
            "create",
            "secret",
            "generic",
            "more",
            "--namespace",
            NAMESPACE,
            "--from-literal=token=right",
        ])
        .unwrap();
    apply_in(cluster, NAMESPACE, &backend("c", GUARDED_PORT, ", authSecretRef: {name: more}"));
    apply_in(cluster, NAMESPACE, &with_requests(&routes(&["a", "b", "c"])));
    wait_until(PATIENCE, "pods that mount the new Secret", || {
        ensure!(pods(cluster).is_disjoint(&before), "old pods are still there");
        Ok(())
    })
    .unwrap();
    await_condition(cluster, NAMESPACE, "modelgateway/code", "Ready", "True");
    echoes(&ask(way.address(), &completion("model-c", "nonce-c")), "nonce-c").unwrap();

    expect_flawless(traffic, 100);
}

/// Keeps the request for CPU that the first step patched in, so that applying the routes again does not roll the pods.
fn with_requests(manifest: &str) -> String {
    manifest.replace("spec:\n  auth", "spec:\n  resources: {requests: {cpu: 11m}}\n  auth")
}

#[test]
fn a_missing_secret_hurts_its_own_backend_alone() {
    let cluster = set_up();
    apply_in(cluster, NAMESPACE, &backend("plain", PLAIN_PORT, ""));
    apply_in(cluster, NAMESPACE, &backend("lost", GUARDED_PORT, ", authSecretRef: {name: not-there}"));
    apply_in(cluster, NAMESPACE, &routes(&["plain", "lost"]));
    let gateway_object = await_condition(cluster, NAMESPACE, "modelgateway/code", "Degraded", "True");
    let said = serde_json::to_string(&gateway_object["status"]).unwrap();
    assert!(
        said.contains("CredentialMissing") && said.contains("not-there"),
        "{:#}",
        gateway_object["status"]
    );
    let way = gateway(cluster, NAMESPACE, "code");
    echoes(&ask(way.address(), &completion("model-plain", "nonce-p")), "nonce-p").unwrap();
    assert_ne!(ask(way.address(), &completion("model-lost", "nonce-l")).status, 200);

    // The Secret appears: no restart, it works.
    cluster
        .kubectl(&[
            "create",
            "secret",
            "generic",
            "not-there",
            "--namespace",
            NAMESPACE,
            "--from-literal=token=right",
        ])
        .unwrap();
    wait_until(PATIENCE, "the credential to arrive", || {
        echoes(&ask(way.address(), &completion("model-lost", "nonce-m")), "nonce-m")
    })
    .unwrap();
    await_condition(cluster, NAMESPACE, "modelgateway/code", "Degraded", "False");
}

//! Rollouts of a model: a surge that fails leaves the old pod serving. The other ways are tested without a cluster (`model_backend/rollout`).

use anyhow::ensure;
use serde_json::{Value, json};
use testkit::cluster::Cluster;
use testkit::command::wait_until;

use crate::traffic::{ask, completion, gateway};
use crate::world::{self, PATIENCE, apply_in, await_condition, condition, get, installed, namespace};

const NAMESPACE: &str = "e2e-rollouts";
const BACKEND: &str = "modelbackend/small";

fn manifests() -> String {
    format!(
        "apiVersion: modelgate.dev/v1alpha1\nkind: ModelBackend\nmetadata: {{name: small}}\nspec:\n  model: {{name: small, source: {{pvc: {{claim: models, path: {file}}}}}}}\n  server: {{engine: Embedded}}\n  rollout: {{progressDeadline: 45s}}\n---\napiVersion: modelgate.dev/v1alpha1\nkind: ModelGateway\nmetadata: {{name: code}}\nspec:\n  auth: {{anonymous: true, anonymousExposed: true}}\n  routes: [{{name: code, backends: [{{name: small}}]}}]\n",
        file = testkit::model::FILE
    )
}

fn patch(cluster: &Cluster, spec: &Value) {
    let patch = json!({"spec": spec}).to_string();
    cluster
        .kubectl(&["patch", BACKEND, "--namespace", NAMESPACE, "--type=merge", "--patch", &patch])
        .unwrap();
}

fn await_reason(cluster: &Cluster, kind: &str, reason: &str) -> Value {
    let mut last = Value::Null;
    wait_until(PATIENCE, &format!("{kind} says {reason}"), || {
        last = get(cluster, NAMESPACE, BACKEND)?;
        let found = condition(&last, kind);
        ensure!(found.1 == reason, "{found:?}");
        Ok(())
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{:#}", last["status"]));
    last
}

fn path(object: &Value) -> &str {
    object.pointer("/status/rollout/strategy").and_then(Value::as_str).unwrap_or_default()
}

#[test]
fn a_surge_that_fails_leaves_what_served() {
    let cluster = installed();
    namespace(cluster, NAMESPACE);
    world::model_claim(cluster, NAMESPACE);
    apply_in(cluster, NAMESPACE, &manifests());
    await_condition(cluster, NAMESPACE, BACKEND, "Ready", "True");
    await_condition(cluster, NAMESPACE, "modelgateway/code", "Ready", "True");
    let way = gateway(cluster, NAMESPACE, "code");
    let serves = |nonce: &str| ask(way.address(), &completion("small", nonce)).status;
    assert_eq!(serves("a"), 200);

    // Auto surges on a CPU. The file that is named now is none that the engine loads: the old pod serves on.
    let broken = json!({"model": {"source": {"pvc": {"path": "not-a-model.gguf"}}}});
    patch(cluster, &broken);
    let late = await_reason(cluster, "Stalled", "ProgressDeadlineExceeded");
    assert_eq!(path(&late), "Surge", "{:#}", late["status"]);
    assert_eq!(serves("b"), 200);
    let right = json!({"model": {"source": {"pvc": {"path": testkit::model::FILE}}}});
    patch(cluster, &right);
    await_condition(cluster, NAMESPACE, BACKEND, "Ready", "True");

    cluster.kubectl(&["delete", "namespace", NAMESPACE, "--wait", "--timeout=110s"]).unwrap();
}

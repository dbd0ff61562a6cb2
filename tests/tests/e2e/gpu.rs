//! VLLM backends: their pods are complete and land on GPUs. No image can be pulled here, so they are checked as objects.

use anyhow::ensure;
use serde_json::{Value, json};
use testkit::command::wait_until;

use crate::world::{PATIENCE, apply_in, condition, file, get, installed, namespace};

const NAMESPACE: &str = "e2e-gpu";

#[test]
fn a_vllm_backend_s_pod_is_complete_and_is_scheduled_onto_a_gpu() {
    let cluster = installed();
    namespace(cluster, NAMESPACE);
    apply_in(cluster, NAMESPACE, &file("examples/vllm.yaml"));
    let backends = get(cluster, NAMESPACE, "modelbackends").unwrap();
    let backend = &backends["items"][0];
    let name = backend.pointer("/metadata/name").and_then(Value::as_str).unwrap().to_owned();
    let selector = format!("--selector=modelgate.dev/backend={name}");
    wait_until(PATIENCE, "a scheduled pod", || {
        let query = "--output=jsonpath={.items[*].spec.nodeName}";
        let node = cluster.kubectl(&["get", "pods", "--namespace", NAMESPACE, &selector, query])?;
        ensure!(node.contains("modelgate-node"), "no node yet");
        Ok(())
    })
    .unwrap();
    let pods: Value = serde_json::from_str(
        &cluster.kubectl(&["get", "pods", "--namespace", NAMESPACE, &selector, "--output=json"]).unwrap(),
    )
    .unwrap();
    let container = &pods["items"][0]["spec"]["containers"][0];
    let count = backend.pointer("/spec/accelerator/count").and_then(Value::as_u64).unwrap_or(1);
    assert_eq!(container.pointer("/resources/limits/nvidia.com~1gpu"), Some(&json!(count.to_string())));
    let arguments = container["args"].to_string();
    let repo = backend.pointer("/spec/model/source/hf/repo").and_then(Value::as_str).unwrap();
    for expected in [repo, "--served-model-name", "--port"] {
        assert!(arguments.contains(expected), "{expected} is missing in {arguments}");
    }
    let object = get(cluster, NAMESPACE, &format!("modelbackend/{name}")).unwrap();
    assert_eq!(
        condition(&object, "Ready").0,
        "False",
        "without an image it is not ready: {:#}",
        object["status"]
    );
    // Its pod would go on trying to pull, and its status with it.
    cluster.kubectl(&["delete", "namespace", NAMESPACE, "--wait", "--timeout=110s"]).unwrap();
}

#[test]
fn a_backend_that_asks_for_more_gpus_than_there_are_says_why_it_waits() {
    let cluster = installed();
    namespace(cluster, "e2e-gpu-short");
    let backend = "apiVersion: modelgate.dev/v1alpha1\nkind: ModelBackend\nmetadata: {name: large}\nspec:\n  model: {name: large, source: {hf: {repo: org/large}}}\n  server: {engine: VLLM}\n  accelerator: {count: 8}\n";
    apply_in(cluster, "e2e-gpu-short", backend);
    wait_until(PATIENCE, "the scheduler's reason in status", || {
        let object = get(cluster, "e2e-gpu-short", "modelbackend/large")?;
        let said = object["status"].to_string();
        ensure!(said.contains("nvidia.com/gpu"), "{said}");
        ensure!(condition(&object, "Reconciling").0 == "True", "{said}");
        Ok(())
    })
    .unwrap();
    cluster.kubectl(&["delete", "namespace", "e2e-gpu-short", "--wait", "--timeout=110s"]).unwrap();
}

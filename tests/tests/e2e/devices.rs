//! The arithmetic of devices on nodes that are nothing but objects: what a backend that waits says of need, of what there
//! is and of who holds it, and that it goes on when devices appear.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testkit::cluster::Cluster;
use testkit::command::wait_until;

use crate::world::{PATIENCE, apply_in, condition, get, installed, namespace};

const NAMESPACE: &str = "e2e-devices";
/// A resource that no other test asks for, so that nobody else's pods come here.
const RESOURCE: &str = "example.com/gpu";

/// A node that no kubelet runs on, with devices and the labels that GPU feature discovery gives.
struct PlainNode {
    name: &'static str,
    product: &'static str,
    mebibytes: u32,
    devices: u32,
}

impl PlainNode {
    fn create(&self, cluster: &Cluster) {
        cluster.kubectl(&["delete", "node", self.name, "--ignore-not-found"]).unwrap();
        let labels = json!({"nvidia.com/gpu.product": self.product, "nvidia.com/gpu.memory": self.mebibytes.to_string(),
            "kubernetes.io/hostname": self.name});
        let node =
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.name, "labels": labels}});
        cluster.apply(&node.to_string()).unwrap();
    }

    /// A kubelet's heartbeat: without it the node is soon taken for lost.
    fn beat(&self, cluster: &Cluster) -> Result<()> {
        let amounts =
            json!({"cpu": "64", "memory": "512Gi", "pods": "100", RESOURCE: self.devices.to_string()});
        let now = cluster.kubectl(&[
            "get",
            "lease",
            "--all-namespaces",
            "--output=jsonpath={.items[0].spec.renewTime}",
        ])?;
        let now = now.split('.').next().unwrap_or_default().trim_end_matches('Z').to_owned() + "Z";
        let ready = json!({"type": "Ready", "status": "True", "reason": "Plain", "message": "no kubelet",
            "lastHeartbeatTime": now, "lastTransitionTime": now});
        let status = json!({"status": {"capacity": amounts, "allocatable": amounts, "conditions": [ready]}});
        let patch = status.to_string();
        cluster.kubectl(&[
            "patch",
            "node",
            self.name,
            "--subresource=status",
            "--type=merge",
            "--patch",
            &patch,
        ])?;
        Ok(())
    }
}

const SMALL: PlainNode = PlainNode { name: "plain-l4", product: "NVIDIA-L4", mebibytes: 23_034, devices: 3 };
const LARGE: PlainNode =
    PlainNode { name: "plain-a100", product: "NVIDIA-A100-SXM4-80GB", mebibytes: 81_920, devices: 8 };

fn backend(name: &str, model: &str, accelerator: &str) -> String {
    format!(
        "apiVersion: modelgate.dev/v1alpha1\nkind: ModelBackend\nmetadata: {{name: {name}}}\nspec:\n  model: {{name: {name}, source: {{hf: {{repo: org/{name}}}}}{model}}}\n  server: {{engine: VLLM}}\n  accelerator: {{resourceName: {RESOURCE}, {accelerator}}}\n  monitoring: {{mode: Disabled}}\n"
    )
}

/// Waits, with the nodes' hearts beating, until a backend's status is as `check` wants it.
fn await_status(
    cluster: &Cluster,
    nodes: &[&PlainNode],
    name: &str,
    check: impl Fn(&Value) -> Result<()>,
) -> Value {
    let mut last = Value::Null;
    wait_until(PATIENCE, &format!("the status of {name}"), || {
        for node in nodes {
            node.beat(cluster)?;
        }
        last = get(cluster, NAMESPACE, &format!("modelbackend/{name}"))?;
        check(&last)
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{:#}", last["status"]));
    last
}

fn blocked(object: &Value, by: &str, parts: &[&str]) -> Result<()> {
    let blocked = object.pointer("/status/blocked").cloned().unwrap_or_default();
    ensure!(blocked["by"] == by, "{blocked:#}");
    let text = blocked.to_string();
    for part in parts {
        ensure!(text.contains(part), "{part} is not in {text}");
    }
    let (status, reason, message) = condition(object, "Scheduled");
    ensure!(status == "False" && reason == "Unschedulable", "{status} {reason} {message}");
    let summary = object.pointer("/status/summary").and_then(Value::as_str).unwrap_or_default();
    ensure!(summary.contains(blocked["suggestion"].as_str().unwrap_or("?")), "no next step in: {summary}");
    Ok(())
}

#[test]
fn a_backend_without_devices_says_the_arithmetic_and_goes_on_when_they_are_there() {
    let cluster = installed();
    namespace(cluster, NAMESPACE);
    cluster.kubectl(&["delete", "node", LARGE.name, "--ignore-not-found"]).unwrap();
    SMALL.create(cluster);
    SMALL.beat(cluster).unwrap();

    // One takes two of three; it is scheduled, though nothing runs there.
    apply_in(cluster, NAMESPACE, &backend("first", "", "count: 2"));
    await_status(cluster, &[&SMALL], "first", |object| {
        let scheduled = condition(object, "Scheduled");
        ensure!(scheduled.0 == "True", "{scheduled:?}");
        Ok(())
    });
    // The next needs two, one is left.
    apply_in(cluster, NAMESPACE, &backend("second", "", "count: 2"));
    await_status(cluster, &[&SMALL], "second", |object| {
        blocked(
            object,
            "Taken",
            &["needs 2 example.com/gpu on one node, best has 1 free", "backend e2e-devices/first"],
        )
    });
    // More than any node has; a product that no node has; a model that is too large for the devices there are.
    apply_in(cluster, NAMESPACE, &backend("many", "", "count: 8"));
    await_status(cluster, &[&SMALL], "many", |object| {
        blocked(object, "TooFewDevices", &["the largest that suits has 3"])
    });
    apply_in(cluster, NAMESPACE, &backend("other", "", "count: 1, products: [NVIDIA-H100]"));
    await_status(cluster, &[&SMALL], "other", |object| blocked(object, "Product", &["NVIDIA-L4"]));
    apply_in(cluster, NAMESPACE, &backend("large", ", preset: Qwen2.5-Coder-32B", "count: 1"));
    await_status(cluster, &[&SMALL], "large", |object| {
        let by = object.pointer("/status/blocked/by").cloned().unwrap_or_default();
        ensure!(by == "ModelTooLarge", "{:#}", object["status"]);
        Ok(())
    });

    // A node with larger devices comes: the scheduler takes those that fit, and the statuses follow.
    LARGE.create(cluster);
    for name in ["second", "many"] {
        await_status(cluster, &[&SMALL, &LARGE], name, |object| {
            let scheduled = condition(object, "Scheduled");
            let told = object.pointer("/status/blocked").is_none();
            // Ten devices are asked for and eight came: one of the two waits for the other now, and says so.
            ensure!(
                (scheduled.0 == "True" && told)
                    || blocked(object, "Taken", &["backend e2e-devices/"]).is_ok(),
                "{:#}",
                object["status"]
            );
            Ok(())
        });
    }
    cluster.kubectl(&["delete", "modelbackends", "--all", "--namespace", NAMESPACE]).unwrap();
    // Pods of nodes without a kubelet are never seen to end.
    let pods = ["delete", "pods", "--all", "--namespace", NAMESPACE, "--force", "--grace-period=0"];
    wait_until(PATIENCE, "no pod left", || {
        cluster.kubectl(&pods)?;
        let left = cluster.kubectl(&["get", "pods", "--namespace", NAMESPACE, "--output=name"])?;
        ensure!(left.trim().is_empty(), "{left}");
        Ok(())
    })
    .unwrap();
    cluster.kubectl(&["delete", "node", SMALL.name, LARGE.name]).unwrap();
    cluster.kubectl(&["delete", "namespace", NAMESPACE, "--wait", "--timeout=110s"]).unwrap();
}

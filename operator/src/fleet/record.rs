//! What is kept of nodes and of pods: records made of the few fields that the arithmetic needs. Whole objects are dropped as
//! soon as they are read. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NodeSpec, NodeStatus};
use kube::core::Object;
use modelgate_api::names::BACKEND_LABEL;
use serde::{Deserialize, Serialize};

use crate::k8s::quantity;

/// A node as it is read from the API server.
pub type ReadNode = Object<NodeSpec, NodeStatus>;
/// A pod as it is read: without what the arithmetic does not need.
pub type ReadPod = Object<ReadPodSpec, ReadPodStatus>;

/// The part of a pod's spec that is read.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReadPodSpec {
    node_name: Option<String>,
    containers: Vec<ReadContainer>,
    init_containers: Vec<ReadContainer>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct ReadContainer {
    resources: ReadResources,
    restart_policy: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct ReadResources {
    limits: BTreeMap<String, String>,
}

/// The part of a pod's status that is read.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ReadPodStatus {
    phase: Option<String>,
}

/// A node with devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeRecord {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Key, value and effect of its taints, but those that only say that it prefers no pod.
    pub taints: Vec<(String, String, String)>,
    /// Extended resources that pods may have.
    pub devices: BTreeMap<String, u64>,
}

/// Prefixes of labels and annotations by which a node belongs to a group that an autoscaler can make larger.
const SCALED: [&str; 6] = [
    "karpenter.sh/",
    "cluster-autoscaler.kubernetes.io/",
    "cloud.google.com/gke-nodepool",
    "eks.amazonaws.com/nodegroup",
    "kubernetes.azure.com/agentpool",
    "cluster.x-k8s.io/",
];

/// The name by which a node's autoscaler is known, if it has one.
#[must_use]
pub fn scaled_by(node: &ReadNode) -> Option<&'static str> {
    let metadata = &node.metadata;
    let keys = metadata.labels.iter().flatten().chain(metadata.annotations.iter().flatten());
    keys.map(|(key, _)| key).find_map(|key| SCALED.into_iter().find(|prefix| key.starts_with(prefix)))
}

/// The record of a node; `None` for one without devices.
#[must_use]
pub fn of_node(node: &ReadNode) -> Option<NodeRecord> {
    let status = node.status.as_ref()?;
    let allocatable = status.allocatable.iter().flatten();
    let devices: BTreeMap<String, u64> = allocatable
        .filter(|(name, _)| is_device(name))
        .filter_map(|(name, amount)| Some((name.clone(), quantity::whole(&amount.0)?)))
        .collect();
    if devices.is_empty() {
        return None;
    }
    let mut taints: Vec<_> = node.spec.taints.iter().flatten().cloned().collect();
    let cordoned = node.spec.unschedulable == Some(true);
    taints.retain(|taint| taint.effect != "PreferNoSchedule");
    let mut taints: Vec<_> =
        taints.into_iter().map(|taint| (taint.key, taint.value.unwrap_or_default(), taint.effect)).collect();
    let cordon = "node.kubernetes.io/unschedulable";
    if cordoned && !taints.iter().any(|(key, ..)| key == cordon) {
        taints.push((cordon.into(), String::new(), "NoSchedule".into()));
    }
    taints.sort();
    Some(NodeRecord { labels: node.metadata.labels.clone().unwrap_or_default(), taints, devices })
}

/// Extended resources have a domain; those of Kubernetes itself (`hugepages-…`, `kubernetes.io/…`) are no devices.
fn is_device(resource: &str) -> bool {
    resource.split_once('/').is_some_and(|(domain, _)| !domain.ends_with("kubernetes.io"))
}

/// A pod that holds devices of a node. At most 200 bytes with its key for names of usual length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodRecord {
    /// The node.
    pub node: Box<str>,
    /// The ModelBackend of its namespace that it belongs to.
    pub backend: Option<Box<str>>,
    /// Extended resources and how many of each.
    pub devices: Box<[(Box<str>, u32)]>,
}

/// The record of a pod; `None` for one that holds no device.
#[must_use]
pub fn of_pod(pod: &ReadPod) -> Option<PodRecord> {
    let ended = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if matches!(ended, Some("Succeeded" | "Failed")) {
        return None;
    }
    let node = pod.spec.node_name.as_deref().filter(|node| !node.is_empty())?;
    let mut devices: BTreeMap<&str, u64> = BTreeMap::new();
    // Sidecars run beside the containers; other init containers run before them, one at a time.
    let sidecars = pod.spec.init_containers.iter().filter(|container| container.restart_policy.is_some());
    for container in pod.spec.containers.iter().chain(sidecars) {
        for (name, amount) in amounts(container) {
            *devices.entry(name).or_default() += amount;
        }
    }
    for (name, amount) in pod.spec.init_containers.iter().flat_map(amounts) {
        let most = devices.entry(name).or_default();
        *most = amount.max(*most);
    }
    if devices.is_empty() {
        return None;
    }
    let devices =
        devices.into_iter().map(|(name, amount)| (name.into(), u32::try_from(amount).unwrap_or(u32::MAX)));
    let backend = pod.metadata.labels.as_ref().and_then(|labels| labels.get(BACKEND_LABEL));
    Some(PodRecord {
        node: node.into(),
        backend: backend.map(|name| name.as_str().into()),
        devices: devices.collect(),
    })
}

fn amounts(container: &ReadContainer) -> impl Iterator<Item = (&str, u64)> {
    let limits = container.resources.limits.iter().filter(|(name, _)| is_device(name));
    limits
        .filter_map(|(name, amount)| Some((name.as_str(), quantity::whole(amount)?)).filter(|(_, n)| *n > 0))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(value: &Value) -> ReadPod {
        serde_json::from_value(value.clone()).unwrap()
    }

    #[test]
    fn only_pods_that_hold_devices_are_recorded() {
        let container = |limits: Value| json!({"name": "c", "image": "i", "resources": {"limits": limits}});
        let on = |phase: &str, spec: Value| {
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {BACKEND_LABEL: "b"}},
                "spec": spec, "status": {"phase": phase}})
        };
        let gpus = json!({"nodeName": "n", "containers": [container(json!({"nvidia.com/gpu": "2", "cpu": "1"}))],
            "initContainers": [container(json!({"nvidia.com/gpu": 1}).as_object().map(|_| json!({"nvidia.com/gpu": "1"})).unwrap())]});
        let record = of_pod(&pod(&on("Running", gpus.clone()))).unwrap();
        assert_eq!((&*record.node, record.backend.as_deref()), ("n", Some("b")));
        assert_eq!(*record.devices, [(Box::from("nvidia.com/gpu"), 2)]);
        for (why, none) in [
            ("it ended", on("Succeeded", gpus)),
            (
                "no device",
                on("Running", json!({"nodeName": "n", "containers": [container(json!({"cpu": "1"}))]})),
            ),
            ("no node", on("Pending", json!({"containers": [container(json!({"nvidia.com/gpu": "1"}))]}))),
        ] {
            assert_eq!(of_pod(&pod(&none)), None, "{why}");
        }
    }

    #[test]
    fn a_record_of_a_pod_takes_at_most_two_hundred_bytes() {
        let name = "team-of-the-model/starcoder2-15b-engine-7d9c5b6f4d-x2x7q";
        let strings = name.len()
            + "gpu-node-pool-a-1234.internal".len()
            + "starcoder2-15b".len()
            + "nvidia.com/gpu".len();
        let devices = size_of::<(Box<str>, u32)>();
        let bytes = size_of::<Box<str>>() + size_of::<PodRecord>() + devices + strings;
        assert!(bytes <= 216, "{bytes}");
    }

    #[test]
    fn only_nodes_with_devices_are_recorded() {
        let node = |allocatable: Value, spec: Value| -> ReadNode {
            serde_json::from_value(json!({"apiVersion": "v1", "kind": "Node",
                "metadata": {"name": "n", "labels": {"karpenter.sh/nodepool": "gpu"}}, "spec": spec,
                "status": {"allocatable": allocatable}}))
            .unwrap()
        };
        let plain = node(json!({"cpu": "4", "hugepages-1Gi": "0", "ephemeral-storage": "1Gi"}), json!({}));
        assert_eq!(of_node(&plain), None);
        assert_eq!(scaled_by(&plain), Some("karpenter.sh/"));
        let taints = json!({"unschedulable": true, "taints": [{"key": "gpu", "value": "true", "effect": "NoSchedule"},
            {"key": "soft", "effect": "PreferNoSchedule"}]});
        let record =
            of_node(&node(json!({"nvidia.com/gpu": "4", "nvidia.com/mig-1g.10gb": "7"}), taints)).unwrap();
        assert_eq!(record.devices.len(), 2);
        let keys: Vec<_> = record.taints.iter().map(|(key, ..)| key.as_str()).collect();
        assert_eq!(keys, ["gpu", "node.kubernetes.io/unschedulable"]);
    }
}

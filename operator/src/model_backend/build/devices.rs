//! What the devices of a backend ask of a node, by the labels of NVIDIA's GPU feature discovery
//! (`nvidia.com/gpu.product`, `.memory` in MiB, `.compute.major`, `.compute.minor`). Pure.

use modelgate_api::v1alpha1::Accelerator;
use serde_json::{Value, json};

use crate::k8s::quantity;

const MEBIBYTE: u64 = 1 << 20;

/// The `nodeAffinity`, unless nothing but a number of devices is asked for.
pub(super) fn affinity(accelerator: &Accelerator) -> Option<Value> {
    let mut shared = Vec::new();
    if !accelerator.products.is_empty() {
        shared
            .push(json!({"key": "nvidia.com/gpu.product", "operator": "In", "values": accelerator.products}));
    }
    let memory = accelerator.memory_per_device.as_ref().and_then(|memory| quantity::whole(&memory.0));
    if let Some(memory) = memory {
        // `Gt` is strict and compares whole numbers.
        let below = memory.div_ceil(MEBIBYTE).saturating_sub(1);
        shared.push(json!({"key": "nvidia.com/gpu.memory", "operator": "Gt", "values": [below.to_string()]}));
    }
    let terms: Vec<Vec<Value>> = match accelerator.min_compute_capability.as_deref().and_then(capability) {
        None => vec![shared],
        Some((major, minor)) => capable(major, minor)
            .into_iter()
            .map(|mut of_capability| {
                of_capability.extend(shared.iter().cloned());
                of_capability
            })
            .collect(),
    };
    if terms.iter().all(Vec::is_empty) {
        return None;
    }
    let terms: Vec<Value> = terms.into_iter().map(|term| json!({"matchExpressions": term})).collect();
    Some(json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}))
}

/// `8.6` → (8, 6).
fn capability(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// A node is capable if its major number is greater, or the same with at least the minor number: terms are alternatives.
fn capable(major: u32, minor: u32) -> Vec<Vec<Value>> {
    let greater = |key: &str, than: i64| json!({"key": key, "operator": "Gt", "values": [than.to_string()]});
    if minor == 0 {
        return vec![vec![greater("nvidia.com/gpu.compute.major", i64::from(major) - 1)]];
    }
    vec![
        vec![greater("nvidia.com/gpu.compute.major", i64::from(major))],
        vec![
            json!({"key": "nvidia.com/gpu.compute.major", "operator": "In", "values": [major.to_string()]}),
            greater("nvidia.com/gpu.compute.minor", i64::from(minor) - 1),
        ],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accelerator(yaml: &str) -> Accelerator {
        serde_saphyr::from_str(yaml).unwrap()
    }

    #[test]
    fn a_number_of_devices_asks_nothing_more_of_a_node() {
        assert_eq!(affinity(&accelerator("{count: 2}")), None);
    }

    #[test]
    fn product_memory_and_capability_become_alternatives_of_node_labels() {
        let found = affinity(&accelerator(
            r#"{count: 1, products: [A, B], memoryPerDevice: 40Gi, minComputeCapability: "8.6"}"#,
        ));
        let shared = [
            json!({"key": "nvidia.com/gpu.product", "operator": "In", "values": ["A", "B"]}),
            json!({"key": "nvidia.com/gpu.memory", "operator": "Gt", "values": ["40959"]}),
        ];
        let newer = json!({"key": "nvidia.com/gpu.compute.major", "operator": "Gt", "values": ["8"]});
        let same = json!({"key": "nvidia.com/gpu.compute.major", "operator": "In", "values": ["8"]});
        let minor = json!({"key": "nvidia.com/gpu.compute.minor", "operator": "Gt", "values": ["5"]});
        let expected = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [newer, shared[0], shared[1]]},
            {"matchExpressions": [same, minor, shared[0], shared[1]]},
        ]}});
        assert_eq!(found, Some(expected));
    }
}

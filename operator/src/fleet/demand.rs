//! What a pod of a model asks of a node. Pure.

use std::collections::BTreeMap;

use modelgate_api::sizing::{self, Need};
use modelgate_api::v1alpha1::{Accelerator, ModelSpec, Toleration};

use super::record::NodeRecord;
use crate::k8s::quantity;
use crate::model_backend::validate::ValidatedServer;

/// What a pod asks of a node.
#[derive(Clone, Debug)]
pub struct Demand {
    /// Extended resource.
    pub resource: String,
    /// How many of it, on one node.
    pub count: u64,
    /// What the model takes of their memory, where that is known.
    pub need: Option<Need>,
    /// The devices as the spec asks for them.
    pub accelerator: Accelerator,
    /// Labels that the node must have.
    pub selector: BTreeMap<String, String>,
    /// Taints that the pods tolerate.
    pub tolerations: Vec<Toleration>,
}

/// Why a node does not suit, the first reason found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unsuited {
    /// A label that `placement.nodeSelector` names.
    Selector,
    /// A taint that is not tolerated.
    Taint,
    /// Another product.
    Product,
    /// An older device.
    Capability,
    /// Less memory than `accelerator.memoryPerDevice`.
    Memory,
    /// Less memory than the model needs.
    Model,
}

impl Demand {
    /// The demand of a backend's pods; `None` when they need no device.
    #[must_use]
    pub fn of(model: &ModelSpec, server: &ValidatedServer) -> Option<Self> {
        let accelerator = server.accelerator.clone()?;
        let placement = server.placement.clone().unwrap_or_default();
        Some(Self {
            resource: accelerator.resource(),
            count: u64::from(accelerator.devices()),
            need: sizing::need(model),
            accelerator,
            selector: placement.node_selector.unwrap_or_default(),
            tolerations: placement.tolerations,
        })
    }

    /// Why `node` does not suit, whatever is free on it. A label that is not there is no reason but where the spec asks for it.
    #[must_use]
    pub fn unsuited(&self, node: &NodeRecord) -> Option<Unsuited> {
        let label = |key: &str| node.labels.get(key).map(String::as_str);
        if self.selector.iter().any(|(key, value)| label(key) != Some(value)) {
            return Some(Unsuited::Selector);
        }
        if node.taints.iter().any(|taint| !self.tolerates(taint)) {
            return Some(Unsuited::Taint);
        }
        let products = &self.accelerator.products;
        if !products.is_empty()
            && !label("nvidia.com/gpu.product").is_some_and(|own| products.iter().any(|of| of == own))
        {
            return Some(Unsuited::Product);
        }
        if let Some(least) = self.accelerator.min_compute_capability.as_deref() {
            let number = |key: &str| label(key).and_then(|text| text.parse::<u32>().ok());
            let own = (number("nvidia.com/gpu.compute.major"), number("nvidia.com/gpu.compute.minor"));
            let least = least
                .split_once('.')
                .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
            let capable = matches!((own, least), ((Some(major), minor), Some(least)) if (major, minor.unwrap_or(0)) >= least);
            if !capable {
                return Some(Unsuited::Capability);
            }
        }
        let memory = self.memory(node);
        let wanted =
            self.accelerator.memory_per_device.as_ref().and_then(|amount| quantity::whole(&amount.0));
        #[allow(clippy::cast_precision_loss)] // Bytes of a device are far below 2^52.
        if wanted.is_some_and(|wanted| memory.is_none_or(|own| own < wanted as f64)) {
            return Some(Unsuited::Memory);
        }
        match (&self.need, memory) {
            (Some(need), Some(memory)) if need.of_each(self.devices()) > memory => Some(Unsuited::Model),
            _ => None,
        }
    }

    /// Devices over which the model is split.
    #[must_use]
    pub fn devices(&self) -> u32 {
        u32::try_from(self.count).unwrap_or(u32::MAX)
    }

    /// Memory of one device of `node` in bytes, by the labels of GPU feature discovery.
    #[must_use]
    pub fn memory(&self, node: &NodeRecord) -> Option<f64> {
        let label = self
            .accelerator
            .mig
            .as_ref()
            .map_or_else(|| "nvidia.com/gpu.memory".to_owned(), |_| format!("{}.memory", self.resource));
        let mebibytes = node.labels.get(&label).and_then(|text| text.parse::<f64>().ok());
        mebibytes.map(|mebibytes| mebibytes * 1_048_576.0)
    }

    fn tolerates(&self, (key, value, effect): &(String, String, String)) -> bool {
        self.tolerations.iter().any(|toleration| {
            let exists = toleration.operator.as_deref() == Some("Exists");
            let of_key = toleration.key.as_deref().unwrap_or_default();
            let key_fits = (of_key.is_empty() && exists) || of_key == key;
            let value_fits = exists || toleration.value.as_deref().unwrap_or_default() == value;
            let effect_fits = toleration.effect.as_deref().is_none_or(|own| own.is_empty() || own == effect);
            key_fits && value_fits && effect_fits
        })
    }
}

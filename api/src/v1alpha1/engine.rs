//! Engines that serve a model in pods of ours, and the devices they run on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Quantity;

/// Programs that serve a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum Engine {
    /// `modelgate-engine`, for one GGUF file on the CPU.
    Embedded,
    /// vLLM's OpenAI-compatible server.
    #[serde(rename = "VLLM")]
    Vllm,
    /// SGLang's OpenAI-compatible server.
    SGLang,
    /// Hugging Face's Text Generation Inference.
    #[serde(rename = "TGI")]
    Tgi,
    /// llama.cpp's `llama-server`, for one GGUF file, on GPUs or on the CPU.
    LlamaCpp,
    /// NVIDIA's Triton Inference Server with a model repository (FasterTransformer, TensorRT-LLM and other backends).
    Triton,
    /// Any server that speaks OpenAI's protocol; image and arguments are the user's.
    Custom,
}

/// Whether an engine needs a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Devices {
    /// It runs on the CPU alone.
    Never,
    /// It runs on the CPU unless GPUs are asked for.
    Optional,
    /// One GPU when none is asked for.
    Required,
}

/// What an engine can do, as far as the resource's rules depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineTraits {
    /// GPUs.
    pub devices: Devices,
    /// Fetches a repository of the Hugging Face hub by itself.
    pub reads_hub: bool,
    /// Fetches a given revision of it.
    pub pins_hub: bool,
    /// Serves one file, which can be fetched for it.
    pub reads_file: bool,
    /// Can do without a model source, since its image or arguments bring the model.
    pub brings_model: bool,
}

impl Engine {
    /// Every engine.
    pub const ALL: [Self; 7] =
        [Self::Embedded, Self::Vllm, Self::SGLang, Self::Tgi, Self::LlamaCpp, Self::Triton, Self::Custom];

    /// The engine's name in manifests.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Embedded => "Embedded",
            Self::Vllm => "VLLM",
            Self::SGLang => "SGLang",
            Self::Tgi => "TGI",
            Self::LlamaCpp => "LlamaCpp",
            Self::Triton => "Triton",
            Self::Custom => "Custom",
        }
    }

    /// What it can do.
    #[must_use]
    pub fn traits(self) -> EngineTraits {
        let on_gpus = EngineTraits {
            devices: Devices::Required,
            reads_hub: true,
            pins_hub: true,
            reads_file: false,
            brings_model: false,
        };
        match self {
            Self::Vllm | Self::SGLang | Self::Tgi => on_gpus,
            Self::Triton => EngineTraits { reads_hub: false, pins_hub: false, ..on_gpus },
            Self::Embedded => EngineTraits {
                devices: Devices::Never,
                reads_hub: false,
                pins_hub: false,
                reads_file: true,
                brings_model: false,
            },
            Self::LlamaCpp => EngineTraits {
                devices: Devices::Optional,
                reads_hub: true,
                pins_hub: false,
                reads_file: true,
                brings_model: false,
            },
            Self::Custom => EngineTraits {
                devices: Devices::Optional,
                reads_hub: false,
                pins_hub: false,
                reads_file: true,
                brings_model: true,
            },
        }
    }
}

/// GPUs of each pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Accelerator {
    /// Devices in each pod; the engine splits the model over them as `parallel` says. Absent: as many as the model needs by
    /// its size and `memoryPerDevice`, where both are known, else 1.
    #[cfg_attr(feature = "crd", schemars(range(min = 1, max = 64)))]
    pub count: Option<u32>,
    /// Extended resource that stands for a device; absent means `nvidia.com/gpu`.
    #[cfg_attr(
        feature = "crd",
        schemars(
            length(min = 3, max = 128),
            regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
        )
    )]
    pub resource_name: Option<String>,
    /// Products of which the device must be one, as the label `nvidia.com/gpu.product` spells them, such as
    /// `NVIDIA-A100-SXM4-80GB`. The label is that of NVIDIA's GPU feature discovery.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "crd", schemars(length(max = 16), inner(length(min = 1, max = 63))))]
    pub products: Vec<String>,
    /// A slice of a device instead of a whole one (Multi-Instance GPU, strategy `mixed`).
    pub mig: Option<Mig>,
    /// Least compute capability of the device, such as `8.0`; by the labels `nvidia.com/gpu.compute.major` and `.minor`.
    /// Absent: 6.0, which is checked only where nodes carry the labels.
    #[cfg_attr(feature = "crd", schemars(length(max = 5), regex(pattern = r"^[0-9]{1,2}\.[0-9]$")))]
    pub min_compute_capability: Option<String>,
    /// Least memory of each device, such as `40Gi`; by the label `nvidia.com/gpu.memory`.
    pub memory_per_device: Option<Quantity>,
    /// How the engine splits the model over the devices of a pod; absent means tensor parallelism over all of them.
    pub parallel: Option<Parallel>,
}

/// A slice of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Mig {
    /// The slice's profile as NVIDIA names it: `1g.10gb`, `3g.40gb`, `1g.10gb+me`.
    #[cfg_attr(
        feature = "crd",
        schemars(
            length(min = 4, max = 32),
            regex(pattern = r"^[1-7]g\.[0-9]{1,3}gb(\+me(\.all)?|\+gfx|-me)?$")
        )
    )]
    pub profile: String,
}

/// How a model is split over the devices of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Parallel {
    /// Devices over which each layer is split, or `Auto`: `count` divided by `pipeline`.
    #[serde(default)]
    pub tensor: TensorParallel,
    /// Groups of layers that follow one another on different devices; absent means 1.
    #[cfg_attr(feature = "crd", schemars(range(min = 1, max = 64)))]
    pub pipeline: Option<u32>,
}

/// A number of devices, or `Auto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TensorParallel {
    /// As many as there are for each pipeline stage.
    #[default]
    Auto,
    /// This many.
    Devices(u32),
}

impl Serialize for TensorParallel {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("Auto"),
            Self::Devices(devices) => serializer.serialize_u32(*devices),
        }
    }
}

impl<'de> Deserialize<'de> for TensorParallel {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(u32),
            Text(String),
        }
        match Form::deserialize(deserializer)? {
            Form::Number(devices @ 1..=64) => Ok(Self::Devices(devices)),
            Form::Text(text) if text == "Auto" => Ok(Self::Auto),
            Form::Number(_) | Form::Text(_) => {
                Err(serde::de::Error::custom("parallel.tensor: write Auto or a number from 1 to 64"))
            }
        }
    }
}

#[cfg(feature = "crd")]
impl schemars::JsonSchema for TensorParallel {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TensorParallel".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "x-kubernetes-int-or-string": true })
    }
}

/// Extended resource of a whole device when none is named.
pub const DEFAULT_DEVICE: &str = "nvidia.com/gpu";

impl Accelerator {
    /// One device of the default kind.
    #[must_use]
    pub fn one() -> Self {
        Self { count: Some(1), ..Self::default() }
    }

    /// The extended resource that a pod asks for. NVIDIA's device plugin writes `+` of a MIG profile as `.`.
    #[must_use]
    pub fn resource(&self) -> String {
        match (&self.mig, &self.resource_name) {
            (Some(mig), _) => format!("nvidia.com/mig-{}", mig.profile.replace('+', ".")),
            (None, Some(name)) => name.clone(),
            (None, None) => DEFAULT_DEVICE.into(),
        }
    }

    /// Devices in each pod; 1 when the spec does not say.
    #[must_use]
    pub fn devices(&self) -> u32 {
        self.count.unwrap_or(1)
    }

    /// Stages of the pipeline.
    #[must_use]
    pub fn pipeline(&self) -> u32 {
        self.parallel.as_ref().and_then(|parallel| parallel.pipeline).unwrap_or(1).max(1)
    }

    /// Devices over which each layer is split.
    #[must_use]
    pub fn tensor(&self) -> u32 {
        match self.parallel.as_ref().map(|parallel| parallel.tensor) {
            Some(TensorParallel::Devices(devices)) => devices,
            Some(TensorParallel::Auto) | None => (self.devices() / self.pipeline()).max(1),
        }
    }

    /// What a pod asks for, as `resources.limits` spells it.
    #[must_use]
    pub fn limits(&self) -> BTreeMap<String, Quantity> {
        BTreeMap::from([(self.resource(), Quantity(self.devices().to_string()))])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accelerator(yaml: &str) -> Accelerator {
        serde_saphyr::from_str(yaml).expect("an accelerator")
    }

    #[test]
    fn devices_are_split_as_the_spec_says() {
        let cases = [
            ("{count: 1}", "nvidia.com/gpu", 1, 1),
            ("{count: 4}", "nvidia.com/gpu", 4, 1),
            ("{count: 8, parallel: {pipeline: 2}}", "nvidia.com/gpu", 4, 2),
            ("{count: 8, parallel: {tensor: Auto, pipeline: 4}}", "nvidia.com/gpu", 2, 4),
            ("{count: 4, resourceName: amd.com/gpu, parallel: {tensor: 4}}", "amd.com/gpu", 4, 1),
            ("{count: 1, mig: {profile: 3g.40gb}}", "nvidia.com/mig-3g.40gb", 1, 1),
            ("{count: 1, mig: {profile: 1g.10gb+me}}", "nvidia.com/mig-1g.10gb.me", 1, 1),
        ];
        for (yaml, resource, tensor, pipeline) in cases {
            let found = accelerator(yaml);
            assert_eq!(
                (found.resource().as_str(), found.tensor(), found.pipeline()),
                (resource, tensor, pipeline),
                "{yaml}"
            );
        }
        for bad in ["{count: 2, parallel: {tensor: many}}", "{count: 2, parallel: {tensor: 0}}"] {
            assert!(serde_saphyr::from_str::<Accelerator>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_engine_is_named_as_manifests_name_it() {
        for engine in Engine::ALL {
            let named: Engine = serde_saphyr::from_str(engine.as_str()).expect("an engine");
            assert_eq!(named, engine);
        }
    }
}

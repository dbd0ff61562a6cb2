//! How large a model is: what its weights and its cache of attention take of a device's memory.

use serde::{Deserialize, Serialize};

use super::Quantity;

/// A model's size, where no preset says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ModelSize {
    /// Number of parameters, such as `7B` or `350M`.
    #[cfg_attr(
        feature = "crd",
        schemars(length(max = 12), regex(pattern = r"^[0-9]{1,4}(\.[0-9]{1,3})?[MBT]$"))
    )]
    pub parameters: String,
    /// How each is stored; absent means `BF16`.
    #[serde(default)]
    pub precision: Precision,
    /// Memory of the attention cache for each token of context, such as `128Ki`; absent means that it is not counted.
    pub kv_cache_per_token: Option<Quantity>,
}

/// How a parameter is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum Precision {
    /// 32 bits.
    FP32,
    /// 16 bits.
    #[default]
    BF16,
    /// 16 bits.
    FP16,
    /// 8 bits.
    FP8,
    /// 8 bits.
    INT8,
    /// 4 bits, and half a bit for scales (AWQ, GPTQ with groups of 128, `Q4_K`).
    INT4,
}

impl Precision {
    /// Bits of a parameter, scales included.
    #[must_use]
    pub fn bits(self) -> f64 {
        match self {
            Self::FP32 => 32.0,
            Self::BF16 | Self::FP16 => 16.0,
            Self::FP8 | Self::INT8 => 8.0,
            Self::INT4 => 4.5,
        }
    }
}

/// A model whose size is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preset {
    /// The name that `model.preset` takes.
    pub name: &'static str,
    /// Millions of parameters.
    pub millions: f64,
    /// Layers.
    pub layers: u32,
    /// Heads of keys and values in each layer.
    pub kv_heads: u32,
    /// Numbers in each head.
    pub head_size: u32,
    /// Tokens of context that it was trained for.
    pub context: u32,
}

const fn preset(
    name: &'static str,
    millions: f64,
    (layers, kv_heads, head_size): (u32, u32, u32),
    context: u32,
) -> Preset {
    Preset { name, millions, layers, kv_heads, head_size, context }
}

/// Known models, from the `config.json` that each is published with (CodeGen as the reference platform serves it).
pub const PRESETS: [Preset; 18] = [
    preset("CodeGemma-7B", 8_538.0, (28, 16, 256), 8_192),
    preset("CodeGen-2B", 2_780.0, (32, 32, 80), 2_048),
    preset("CodeGen-6B", 7_070.0, (33, 16, 256), 2_048),
    preset("CodeGen-16B", 16_100.0, (34, 24, 256), 2_048),
    preset("CodeLlama-7B", 6_738.0, (32, 32, 128), 16_384),
    preset("CodeLlama-13B", 13_016.0, (40, 40, 128), 16_384),
    preset("CodeLlama-34B", 33_744.0, (48, 8, 128), 16_384),
    preset("Codestral-22B", 22_247.0, (56, 8, 128), 32_768),
    preset("DeepSeek-Coder-1.3B", 1_346.0, (24, 16, 128), 16_384),
    preset("DeepSeek-Coder-6.7B", 6_740.0, (32, 32, 128), 16_384),
    preset("DeepSeek-Coder-33B", 33_343.0, (62, 8, 128), 16_384),
    preset("Qwen2.5-Coder-1.5B", 1_544.0, (28, 2, 128), 32_768),
    preset("Qwen2.5-Coder-7B", 7_616.0, (28, 4, 128), 32_768),
    preset("Qwen2.5-Coder-14B", 14_770.0, (48, 8, 128), 32_768),
    preset("Qwen2.5-Coder-32B", 32_764.0, (64, 8, 128), 32_768),
    preset("StarCoder2-3B", 3_030.0, (30, 2, 128), 16_384),
    preset("StarCoder2-7B", 7_174.0, (32, 4, 128), 16_384),
    preset("StarCoder2-15B", 15_958.0, (40, 4, 128), 16_384),
];

/// The preset of a name.
#[must_use]
pub fn preset_named(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

/// Why pods find no node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Blocked {
    /// One CamelCase word: Taken, TooFewDevices, NoDevice, ModelTooLarge, Memory, Product, ComputeCapability, Taint,
    /// NodeSelector, Uncounted, Scheduler.
    pub by: String,
    /// The arithmetic in words.
    pub detail: String,
    /// What each pod needs.
    pub need: Option<BlockedNeed>,
    /// What the best node has.
    pub have: Option<BlockedHave>,
    /// What would help.
    pub suggestion: String,
}

/// What a pod needs on one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct BlockedNeed {
    /// Extended resource.
    pub resource: String,
    /// How many.
    pub count: i64,
    /// Memory that each must have for the model, where its size is known.
    pub memory_per_device: Option<String>,
}

/// What the best node has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct BlockedHave {
    /// Its name; absent when none has the resource.
    pub node: Option<String>,
    /// Free.
    pub free: i64,
    /// In all.
    pub total: i64,
}

/// Names of all presets, for the definition's schema.
#[cfg(feature = "crd")]
#[must_use]
pub fn preset_names() -> Vec<&'static str> {
    PRESETS.iter().map(|preset| preset.name).collect()
}

//! How a code model is asked to fill in between two texts (fill in the middle, FIM).

use serde::{Deserialize, Serialize};

/// How the model fills in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct FimSpec {
    /// Which family's special tokens and order the model was trained with. `Auto` goes by the model's name; `None` sends
    /// what is before the cursor and nothing of what follows it.
    #[serde(default)]
    pub family: FimFamily,
}

/// Families of models by how they fill in. docs/completion-engine.md lists their tokens and where each is known from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum FimFamily {
    /// By the model's name.
    #[default]
    Auto,
    /// StarCoder 1, StableCode, CodeQwen 1.5.
    StarCoder,
    /// StarCoder 2.
    StarCoder2,
    /// SantaCoder.
    SantaCoder,
    /// Granite Code 3.
    Granite,
    /// Granite 4.
    Granite4,
    /// Code Llama 7B and 13B.
    CodeLlama,
    /// DeepSeek-Coder V1, DeepSeek-Coder-V2-Lite base, DeepSeek V3 and V4.
    DeepSeek,
    /// Qwen2.5-Coder, Qwen3-Coder.
    Qwen,
    /// CodeGemma.
    CodeGemma,
    /// Codestral.
    Codestral,
    /// JetBrains Mellum.
    Mellum,
    /// Seed-Coder.
    SeedCoder,
    /// GLM 4.5.
    #[serde(rename = "GLM")]
    Glm,
    /// Falcon-H1-Tiny-Coder.
    FalconCoder,
    /// CodeGen 2.
    CodeGen2,
    /// The model does not fill in.
    None,
}

//! How completions are made and answered, with every default filled in.

use serde::{Deserialize, Serialize};

use crate::v1alpha1::{CommentOnly, EmptyChoice, OnUnavailable, PostProcessStep, SuffixScope};

/// Limits and policies of completions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CompletionConfig {
    /// Tokens of the prompt at most; absent means what the model's context holds.
    pub prompt_budget: Option<u32>,
    /// Tokens of the answer at most.
    pub max_output_tokens: u32,
    /// Tokens of a generation at most.
    pub max_generation_tokens: u32,
    /// Milliseconds from a request's head to its answer.
    pub deadline_ms: u64,
    /// What becomes of a request that no backend can answer; absent lets the protocol decide.
    pub on_unavailable: Option<OnUnavailable>,
    /// What an empty answer holds; absent lets `compat` decide.
    pub empty_choice: Option<EmptyChoice>,
    /// Experiments.
    pub experiments: Vec<ExperimentConfig>,
    /// What is done with an answer.
    pub post_process: PostProcessConfig,
}

/// What is done with a model's answer before an editor shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PostProcessConfig {
    /// Steps that are left out.
    pub skip: Vec<PostProcessStep>,
    /// Characters, white space left out, that an answer needs to be shown.
    pub min_length: u32,
    /// What becomes of an answer that is nothing but a comment.
    pub comment_only: CommentOnly,
}

impl Default for PostProcessConfig {
    fn default() -> Self {
        Self { skip: Vec::new(), min_length: 1, comment_only: CommentOnly::Drop }
    }
}

impl Default for CompletionConfig {
    fn default() -> Self {
        Self {
            prompt_budget: None,
            max_output_tokens: 64,
            max_generation_tokens: 2048,
            deadline_ms: 4_500,
            on_unavailable: None,
            empty_choice: None,
            experiments: Vec::new(),
            post_process: PostProcessConfig::default(),
        }
    }
}

/// An experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExperimentConfig {
    /// Its name.
    pub name: String,
    /// Its variants; at least one has a weight.
    pub variants: Vec<VariantConfig>,
}

/// A variant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VariantConfig {
    /// Relative share of users.
    pub weight: u32,
    /// How much of the suffix the model sees.
    pub suffix: Option<SuffixScope>,
    /// Tokens of the prompt at most.
    pub prompt_budget: Option<u32>,
    /// Tokens of the answer at most.
    pub max_output_tokens: Option<u32>,
}

/// How many requests a backend takes at once, and how long others wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AdmissionConfig {
    /// Completions under way at once from one gateway pod.
    pub max_concurrent: Option<u32>,
    /// Requests that wait at once.
    pub queue_depth: u32,
    /// Milliseconds that a request waits for a place.
    pub queue_timeout_ms: u64,
    /// Milliseconds that a wake-up is expected to take until one was observed.
    pub cold_start_ms: u64,
}

impl Default for AdmissionConfig {
    fn default() -> Self {
        Self { max_concurrent: None, queue_depth: 64, queue_timeout_ms: 1_000, cold_start_ms: 60_000 }
    }
}

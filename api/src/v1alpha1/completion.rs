//! `ModelGateway.spec.completion`: how code completions are made and answered. `ModelBackend.spec.admission`: how many
//! requests a backend takes at once, and how long others wait for it.

use serde::{Deserialize, Serialize};

use super::GoDuration;

/// How code completions are answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Completion {
    /// `Current`: as a GitLab of today expects. `Strict`: to the byte what GitLab's gateway of 2023 answered.
    #[serde(default)]
    pub compat: Compat,
    /// Tokens of the prompt at most; absent means what the model's context holds beside the answer.
    #[cfg_attr(feature = "crd", schemars(range(min = 64, max = 1_000_000)))]
    pub prompt_budget: Option<u32>,
    /// Tokens of the answer at most; absent means 64.
    #[cfg_attr(feature = "crd", schemars(range(min = 1, max = 8192)))]
    pub max_output_tokens: Option<u32>,
    /// Tokens of a generation at most, which is a piece of code and not a line: GitLab's `/code/generations`. Absent means
    /// 2048.
    #[cfg_attr(feature = "crd", schemars(range(min = 1, max = 65_536)))]
    pub max_generation_tokens: Option<u32>,
    /// Time for the whole completion, from the request's head; what is clean by then is answered. Absent means 4.5s.
    pub deadline: Option<GoDuration>,
    /// What becomes of a request while its backend wakes, rolls out, is full, limited or fails. `Empty` answers a success
    /// without a choice, `Error` 503 with Retry-After. Absent means Empty on GitLab's completion routes and Error elsewhere.
    pub on_unavailable: Option<OnUnavailable>,
    /// What GitLab's clients get when there is nothing to offer: `None` no choice, `OneEmpty` one without text. Absent
    /// means None, and OneEmpty with `compat: Strict`.
    pub empty_choice: Option<EmptyChoice>,
    /// Experiments; each user stays with one variant of each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "crd", schemars(length(max = 8)))]
    pub experiments: Vec<Experiment>,
    /// What is done with a model's answer before an editor shows it.
    pub post_process: Option<PostProcess>,
}

/// What is done with a model's answer before an editor shows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PostProcess {
    /// Steps that are left out. Special tokens and stop words always end an answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "crd", schemars(length(max = 10)))]
    pub skip: Vec<PostProcessStep>,
    /// Answers with fewer characters, white space left out, are not shown; absent means 1.
    #[cfg_attr(feature = "crd", schemars(range(min = 1, max = 64)))]
    pub min_length: Option<u32>,
    /// What becomes of an answer that is nothing but a comment where none was begun: `Drop` or `Keep`. Absent means Drop.
    pub comment_only: Option<CommentOnly>,
}

/// A step of post-processing that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum PostProcessStep {
    /// Code fences, thinking, an echo of the cursor's line, a leading space.
    Rewrite,
    /// Loops.
    Repetition,
    /// Lines copied from above the cursor.
    Reflection,
    /// Text that already stands after the cursor.
    SuffixOverlap,
    /// Closing brackets that are already there.
    Brackets,
    /// What lies behind the end of the block in which the cursor stands.
    Scope,
    /// A broken token at the end of an answer that was cut for its length.
    Truncation,
    /// The file's indentation.
    Indentation,
    /// Answers with nothing but a comment, or too short.
    Filter,
    /// White space at the end.
    WhiteSpace,
}

/// What becomes of an answer that is nothing but a comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum CommentOnly {
    /// It is not shown.
    Drop,
    /// It is shown.
    Keep,
}

/// Which GitLab the completion routes answer for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum Compat {
    /// The gateway of 2023.
    Strict,
    /// A GitLab of today.
    #[default]
    Current,
}

/// What becomes of a request that no backend can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum OnUnavailable {
    /// A success without a choice: editors switch themselves off after a few errors.
    Empty,
    /// 503 with Retry-After.
    Error,
}

/// What an empty answer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum EmptyChoice {
    /// One choice without text.
    OneEmpty,
    /// No choice.
    None,
}

/// An experiment on how completions are made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Experiment {
    /// Name, as answers and telemetry say it, such as `exp_truncate_suffix`.
    #[cfg_attr(
        feature = "crd",
        schemars(length(min = 1, max = 64), regex(pattern = r"^[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"))
    )]
    pub name: String,
    /// Variants; answers report the position of the one that was used, from 0.
    #[cfg_attr(feature = "crd", schemars(length(min = 2, max = 8)))]
    pub variants: Vec<Variant>,
}

/// A variant of an experiment: what is absent stays as `completion` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Variant {
    /// Share of users, relative to the others; 0 takes none.
    #[cfg_attr(feature = "crd", schemars(range(min = 0, max = 1000)))]
    pub weight: u32,
    /// How much of the text after the cursor the model sees.
    pub suffix: Option<SuffixScope>,
    /// Tokens of the prompt at most.
    #[cfg_attr(feature = "crd", schemars(range(min = 64, max = 1_000_000)))]
    pub prompt_budget: Option<u32>,
    /// Tokens of the answer at most.
    #[cfg_attr(feature = "crd", schemars(range(min = 1, max = 8192)))]
    pub max_output_tokens: Option<u32>,
}

/// How much of the text after the cursor the model sees, before the budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum SuffixScope {
    /// All of it.
    #[default]
    Whole,
    /// The rest of the class or function that holds the cursor.
    Enclosing,
}

/// How many requests a backend takes at once, and how long others wait for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Admission {
    /// Completions under way at once from each gateway pod; absent means no limit.
    #[cfg_attr(feature = "crd", schemars(range(min = 1, max = 10_000)))]
    pub max_concurrent: Option<u32>,
    /// Requests that wait at once in each gateway pod, for a place or for the model to wake; absent means 64.
    #[cfg_attr(feature = "crd", schemars(range(min = 0, max = 10_000)))]
    pub queue_depth: Option<u32>,
    /// Time that a request waits for a place at most; absent means 1s. Its own deadline holds too.
    pub queue_timeout: Option<GoDuration>,
    /// Time from the first request to a pod that answers, expected until one was observed; absent means 1m. A request
    /// waits for a model to wake only when this is less than the time it has left.
    pub cold_start: Option<GoDuration>,
}

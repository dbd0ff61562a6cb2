//! How the pods of a ModelBackend are replaced, and what the operator reports of it.

use serde::{Deserialize, Serialize};

use super::GoDuration;

/// How pods are replaced when their template changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RolloutSpec {
    /// `Surge`: a new pod is ready before an old one goes. `DrainThenReplace`: one pod after the other finishes its requests
    /// and goes, its successor takes its devices. `Recreate`: all go, then all come. `Auto` looks at what is free when the
    /// template changes and chooses between the first two; the status says why.
    #[serde(default)]
    pub strategy: RolloutStrategy,
    /// Time that a pod is given to finish its requests, up to 1h; absent means 2m, and 50s for Embedded.
    pub drain_timeout: Option<GoDuration>,
    /// Time without progress after which a rollout has failed, from 10s to 24h; absent means what the engine needs.
    pub progress_deadline: Option<GoDuration>,
}

/// Ways to replace pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum RolloutStrategy {
    /// What the free devices allow.
    #[default]
    Auto,
    /// New before old; needs room for one pod more.
    Surge,
    /// Old before new, pod by pod.
    DrainThenReplace,
    /// All old before any new.
    Recreate,
}

impl RolloutStrategy {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "Auto",
            Self::Surge => "Surge",
            Self::DrainThenReplace => "DrainThenReplace",
            Self::Recreate => "Recreate",
        }
    }
}

/// What became of rollouts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// How pods are replaced: `Surge`, `DrainThenReplace` or `Recreate`.
    pub strategy: String,
    /// Why that way.
    #[serde(default)]
    pub why: String,
    /// Said when the newest template failed and the one before it was put back.
    pub restored: Option<String>,
    /// RFC 3339 time since which no pod is ready although one was; absent while one is.
    pub unavailable_since: Option<String>,
    /// The longest time, in seconds, that no pod was ready after one had been.
    pub longest_unavailable_seconds: Option<i64>,
}

/// A change of the pod template that this version of the operator would make and holds back, so that its upgrade restarts
/// no model. It comes with the next change of the spec, or of the annotation `modelgate.dev/renew`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PendingChange {
    /// Where in the pod template.
    pub path: String,
    /// What stands there; absent when nothing does.
    pub from: Option<String>,
    /// What would; absent when nothing.
    pub to: Option<String>,
}

//! What the operator reports. Every list is keyed, every sentence ends with the next step.

use serde::{Deserialize, Serialize};

use super::{Blocked, CacheStatus, PendingChange, RolloutStatus};

/// A condition as in `metav1.Condition`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Name of the condition, see [`crate::conditions`].
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    #[cfg_attr(feature = "crd", schemars(extend("enum" = ["True", "False", "Unknown"])))]
    pub status: String,
    /// One CamelCase word for programs.
    pub reason: String,
    /// One sentence for people.
    #[serde(default)]
    pub message: String,
    /// Generation of the spec that this was decided for.
    #[serde(default)]
    pub observed_generation: i64,
    /// RFC 3339 time of the last change of `status`.
    #[serde(default)]
    #[cfg_attr(feature = "crd", schemars(extend("format" = "date-time")))]
    pub last_transition_time: String,
}

/// Status of a ModelBackend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ModelBackendStatus {
    /// Generation of the spec that this status is about.
    pub observed_generation: Option<i64>,
    /// One word for people, derived from the conditions: Pending, Loading, Rolling, Ready, Degraded, Failed.
    pub phase: Option<String>,
    /// One sentence with the next step.
    pub summary: Option<String>,
    /// `ready/desired` pods, as `kubectl get` prints it.
    pub ready_replicas: Option<String>,
    /// Conditions, keyed by type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Pods.
    pub replicas: Option<BackendReplicas>,
    /// Address at which the model is served, `http://…`.
    pub endpoint: Option<String>,
    /// Names by which the model is served.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub served_models: Vec<String>,
    /// What its server was measured to do.
    pub dialect: Option<DialectReport>,
    /// How far the fetch of the model is; absent when none is under way.
    pub cache: Option<CacheStatus>,
    /// Why pods find no node, and what would help.
    pub blocked: Option<Blocked>,
    /// How pods are replaced, and what became of it.
    pub rollout: Option<RolloutStatus>,
    /// Changes of the pod template that this version of the operator holds back, keyed by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending_changes: Vec<PendingChange>,
}

/// Pods of a ModelBackend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct BackendReplicas {
    /// Wanted.
    pub desired: i32,
    /// Existing.
    pub total: i32,
    /// Ready.
    pub ready: i32,
    /// Existing with the current template.
    pub updated: i32,
}

/// What a server was measured to do, by a gateway that uses it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct DialectReport {
    /// What it speaks, as `external.protocol` spells it.
    pub protocol: String,
    /// RFC 3339 time of the measurement.
    pub measured_at: String,
    /// What was found, keyed by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<DialectFinding>,
}

/// One thing that a server does or not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct DialectFinding {
    /// What was tried: `reachable`, `model`, `inputs`, `completion`, `usage`, `stream`, `suffix`, …
    pub name: String,
    /// What came of it.
    pub result: Measured,
    /// In words, or the server's own.
    #[serde(default)]
    pub detail: String,
}

/// What came of a measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum Measured {
    /// The server does it.
    Supported,
    /// The server answers with an error.
    Refused,
    /// The server takes the request and does not do it.
    Absent,
    /// It could not be found out.
    #[default]
    Unknown,
}

impl Measured {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Supported => "Supported",
            Self::Refused => "Refused",
            Self::Absent => "Absent",
            Self::Unknown => "Unknown",
        }
    }
}

/// Status of a ModelGateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ModelGatewayStatus {
    /// Generation of the spec that this status is about.
    pub observed_generation: Option<i64>,
    /// One word for people, derived from the conditions: Pending, Rolling, Ready, Degraded, Failed.
    pub phase: Option<String>,
    /// One sentence with the next step.
    pub summary: Option<String>,
    /// `programmed/total` pods, as `kubectl get` prints it.
    pub ready_instances: Option<String>,
    /// Conditions, keyed by type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Where clients reach the gateway, `http://…`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Pods.
    pub instances: Option<GatewayInstances>,
    /// Routes, keyed by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteStatus>,
    /// Why the gateway's pods are being replaced, for example a Secret that they do not mount yet.
    pub pending_rollout: Option<String>,
    /// Hash of the configuration last rendered.
    pub config_hash: Option<String>,
}

/// Pods of a ModelGateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct GatewayInstances {
    /// Ready pods.
    pub total: i32,
    /// Ready pods that run the configuration last rendered.
    pub programmed: i32,
}

/// A route as the gateway's pods see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RouteStatus {
    /// Name of the route.
    pub name: String,
    /// Its backends, keyed by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<RouteBackendStatus>,
}

/// A backend as the gateway's pods see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RouteBackendStatus {
    /// Name of the ModelBackend.
    pub name: String,
    /// Whether every pod of the gateway finds it healthy.
    pub healthy: bool,
    /// Addresses that answer; the fewest that a pod of the gateway sees.
    pub endpoints: i32,
    /// One CamelCase word: `Healthy`, or why not.
    pub reason: String,
}

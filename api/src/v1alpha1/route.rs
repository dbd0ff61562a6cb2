//! Routes of a `ModelGateway`: which requests they take, which backends answer, and how long and how often is tried.

use super::{ConfigMapKeyRef, GoDuration, SecretKeyRef};
use serde::{Deserialize, Serialize};

/// Which backends answer for which models.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Name of the route, unique in the gateway; it labels metrics.
    #[cfg_attr(
        feature = "crd",
        schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))
    )]
    pub name: String,
    /// Which requests the route takes; absent means those for a model that its backends serve.
    #[serde(rename = "match")]
    pub matches: Option<RouteMatch>,
    /// How far source code may go: `Cluster` refuses backends outside, `External` allows them.
    #[serde(default)]
    pub data_boundary: DataBoundary,
    /// Backends, chosen by weight.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 16)))]
    pub backends: Vec<RouteBackend>,
    /// Time limits of the route's requests.
    pub timeout: Option<RouteTimeout>,
    /// Further attempts after a failure.
    pub retries: Option<RouteRetries>,
    /// Ask a second address when the first token is late; absent means never.
    pub hedging: Option<RouteHedging>,
}

/// Which requests a route takes: those that meet every condition given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RouteMatch {
    /// Paths of requests; a trailing `*` stands for any ending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "crd", schemars(length(max = 32), inner(length(min = 1, max = 256))))]
    pub paths: Vec<String>,
    /// Model names that requests ask for; a trailing `*` stands for any ending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "crd", schemars(length(max = 64), inner(length(min = 1, max = 128))))]
    pub models: Vec<String>,
    /// Languages of completions, as GitLab labels them: `python`, `go`, `js`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "crd", schemars(length(max = 64), inner(length(min = 1, max = 32))))]
    pub languages: Vec<String>,
    /// GitLab projects that requests come from.
    pub projects: Option<ProjectMatch>,
    /// Headers that requests carry, all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "crd", schemars(length(max = 16)))]
    pub headers: Vec<HeaderMatch>,
    /// Share of projects, 0 to 100; a project stays on the side it is on.
    #[cfg_attr(feature = "crd", schemars(range(min = 0, max = 100)))]
    pub percent: Option<f64>,
}

/// GitLab projects, each an id, a full path, or both as `<id>,<full path>`: exactly one of the three.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ProjectMatch {
    /// The projects themselves.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 256), inner(length(min = 1, max = 512))))]
    pub list: Option<Vec<String>>,
    /// A Secret that lists them, one a line; key `list.txt` when none is named.
    pub secret_ref: Option<SecretKeyRef>,
    /// A ConfigMap that lists them, one a line; key `list.txt` when none is named.
    pub config_map_ref: Option<ConfigMapKeyRef>,
}

/// A header that a request must carry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct HeaderMatch {
    /// Name of the header, in any case.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 128), regex(pattern = r"^[-_.A-Za-z0-9]+$")))]
    pub name: String,
    /// Its value; a trailing `*` stands for any ending. Absent means any value.
    #[cfg_attr(feature = "crd", schemars(length(max = 1024)))]
    pub value: Option<String>,
}

/// How far source code may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum DataBoundary {
    /// Only to backends inside.
    #[default]
    Cluster,
    /// Also to backends outside.
    External,
}

/// A backend of a route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RouteBackend {
    /// Name of a ModelBackend.
    #[cfg_attr(
        feature = "crd",
        schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))
    )]
    pub name: String,
    /// Its namespace, where it is another than the gateway's; its `allowedGateways` must admit that.
    #[cfg_attr(
        feature = "crd",
        schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))
    )]
    pub namespace: Option<String>,
    /// Share of the route's requests, relative to the others of its role; absent means 1, and 0 takes none. For a `Shadow`
    /// the requests of a hundred that are copied; absent means all.
    #[cfg_attr(feature = "crd", schemars(range(min = 0, max = 1000)))]
    pub weight: Option<u32>,
    /// What it is there for.
    #[serde(default)]
    pub role: Role,
}

impl RouteBackend {
    /// Its namespace, for a gateway of `own`.
    #[must_use]
    pub fn namespace<'a>(&'a self, own: &'a str) -> &'a str {
        self.namespace.as_deref().unwrap_or(own)
    }

    /// What tells it from all others that a gateway of `own` uses: its name, with the namespace before it where that is
    /// another.
    #[must_use]
    pub fn key(&self, own: &str) -> String {
        match self.namespace(own) {
            namespace if namespace == own => self.name.clone(),
            namespace => format!("{namespace}/{}", self.name),
        }
    }
}

/// Namespace and name of the backend that a gateway of `own` knows by this key.
#[must_use]
pub fn backend_of_key<'a>(key: &'a str, own: &'a str) -> (&'a str, &'a str) {
    key.split_once('/').unwrap_or((own, key))
}

/// What a backend of a route is there for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum Role {
    /// Answers requests.
    #[default]
    Primary,
    /// Answers when no primary can.
    Fallback,
    /// Gets copies of requests; its answers are dropped.
    Shadow,
}

/// Time limits of a route's requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RouteTimeout {
    /// Until the connection to a backend stands; absent means 1s.
    pub connect: Option<GoDuration>,
    /// Until the answer's first byte; absent means 30s.
    pub first_byte: Option<GoDuration>,
    /// Until the first token of a stream; absent means 30s.
    pub first_token: Option<GoDuration>,
    /// Between two pieces of an answer; absent means 30s.
    pub idle: Option<GoDuration>,
    /// Until the whole answer is there; absent means 5m.
    pub total: Option<GoDuration>,
}

/// Further attempts after a failure that allows one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RouteRetries {
    /// Attempts of one request after its first; absent means 2.
    #[cfg_attr(feature = "crd", schemars(range(min = 0, max = 5)))]
    pub max: Option<u32>,
    /// Attempts beyond the first that all requests together may cause, of a hundred requests; absent means 20.
    #[cfg_attr(feature = "crd", schemars(range(min = 0, max = 100)))]
    pub budget_percent: Option<u32>,
}

/// A second address is asked when the first token is late; the slower answer is canceled.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RouteHedging {
    /// When it is late; absent means after the time in which 95 of 100 first tokens of the route come.
    pub after: Option<GoDuration>,
    /// Second questions, of a hundred requests; absent means 5.
    #[cfg_attr(feature = "crd", schemars(range(min = 1, max = 20)))]
    pub budget_percent: Option<u32>,
}

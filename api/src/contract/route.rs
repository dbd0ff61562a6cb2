//! Routes of the rendered configuration.

use serde::{Deserialize, Serialize};

use super::SecretFile;
use crate::v1alpha1::{DataBoundary, Role};

/// A route with every default filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteConfig {
    /// Name of the route.
    pub name: String,
    /// Model names that it takes; a trailing `*` stands for any ending. Empty only where requests are handed on by path.
    pub models: Vec<String>,
    /// Further conditions.
    #[serde(default, rename = "match", skip_serializing_if = "MatchConfig::is_empty")]
    pub matches: MatchConfig,
    /// How far source code may go.
    pub data_boundary: DataBoundary,
    /// Backends with their weights.
    pub backends: Vec<WeightedBackend>,
    /// Time limits.
    pub timeout: TimeoutConfig,
    /// Further attempts.
    #[serde(default)]
    pub retries: RetriesConfig,
    /// Second questions when the first token is late.
    #[serde(default)]
    pub hedging: Option<HedgingConfig>,
}

/// What a request must be for a route to take it, besides its model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MatchConfig {
    /// Paths; a trailing `*` stands for any ending. Empty: any.
    #[serde(default)]
    pub paths: Vec<String>,
    /// Languages. Empty: any.
    #[serde(default)]
    pub languages: Vec<String>,
    /// Projects.
    #[serde(default)]
    pub projects: Option<ProjectsConfig>,
    /// Headers, all of which it must carry.
    #[serde(default)]
    pub headers: Vec<HeaderConfig>,
    /// Thousandths of a percent of projects.
    #[serde(default)]
    pub millipercent: Option<u32>,
}

impl MatchConfig {
    /// Whether there is no further condition.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Where projects are listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProjectsConfig {
    /// Here.
    List(Vec<String>),
    /// In a mounted Secret, one a line.
    Secret(SecretFile),
    /// In a mounted ConfigMap, one a line.
    ConfigMap(ConfigMapFile),
}

/// One key of a mounted ConfigMap: the file `<config maps dir>/<config map>/<key>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapFile {
    /// Name of the ConfigMap, and of its folder.
    pub config_map: String,
    /// Key of the ConfigMap, and name of the file.
    pub key: String,
}

/// A header that a request must carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeaderConfig {
    /// Name in lower case.
    pub name: String,
    /// Value; a trailing `*` stands for any ending. Absent: any.
    #[serde(default)]
    pub value: Option<String>,
}

/// A backend of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WeightedBackend {
    /// Key in [`super::GatewayConfig::backends`].
    pub name: String,
    /// Relative share; 0 takes none.
    pub weight: u32,
    /// What it is there for.
    #[serde(default)]
    pub role: Role,
}

/// Time limits of a route, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TimeoutConfig {
    /// Until the connection to a backend stands.
    pub connect_ms: u64,
    /// Until the answer's first byte.
    pub first_byte_ms: u64,
    /// Until the first token of a stream.
    #[serde(default = "default_first_token")]
    pub first_token_ms: u64,
    /// Between two pieces of an answer.
    pub idle_ms: u64,
    /// Until the whole answer is there.
    pub total_ms: u64,
}

fn default_first_token() -> u64 {
    30_000
}

impl Default for TimeoutConfig {
    fn default() -> Self {
        Self {
            connect_ms: 1_000,
            first_byte_ms: 30_000,
            first_token_ms: default_first_token(),
            idle_ms: 30_000,
            total_ms: 300_000,
        }
    }
}

/// Further attempts after a failure that allows one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetriesConfig {
    /// Attempts of one request after its first.
    pub max: u32,
    /// Attempts of all requests together, of a hundred requests.
    pub budget_percent: u32,
}

impl Default for RetriesConfig {
    fn default() -> Self {
        Self { max: 2, budget_percent: 20 }
    }
}

/// Second questions when the first token is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HedgingConfig {
    /// When it is late, in milliseconds; absent: after the time in which 95 of 100 first tokens come.
    #[serde(default)]
    pub after_ms: Option<u64>,
    /// Second questions, of a hundred requests.
    pub budget_percent: u32,
}

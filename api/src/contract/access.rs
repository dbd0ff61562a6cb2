//! What the configuration says of listeners, API keys, limits and where their counts are kept.

use serde::{Deserialize, Serialize};

use super::SecretFile;
use crate::v1alpha1::LimitBy;

/// What listeners ask of their clients, besides ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListenersConfig {
    /// Addresses or networks of proxies whose forwarded headers are believed.
    pub trusted_proxies: Vec<String>,
    /// Origins let in on every path; absent means any on GitLab's.
    pub cors_origins: Option<Vec<String>>,
    /// TLS for clients.
    pub tls: Option<TlsFiles>,
    /// TLS for Prometheus.
    pub metrics_tls: Option<TlsFiles>,
    /// What a scrape must give.
    pub metrics_basic_auth: Option<BasicAuthFiles>,
}

/// Files of a listener's certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsFiles {
    /// Certificates, the server's own first, PEM.
    pub certificate: SecretFile,
    /// Private key, PEM.
    pub key: SecretFile,
    /// CA of client certificates; with it every connection needs one.
    pub client_ca: Option<SecretFile>,
}

/// Files of a name and password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuthFiles {
    /// The name.
    pub username: SecretFile,
    /// The password.
    pub password: SecretFile,
}

/// A claim that a token must have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimConfig {
    /// Name of the claim.
    pub name: String,
    /// Values accepted.
    pub values: Vec<String>,
}

/// How much each key, subject, project or model may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitConfig {
    /// Name of the limit.
    pub name: String,
    /// What is counted apart.
    pub by: LimitBy,
    /// Requests a minute.
    #[serde(default)]
    pub requests_per_minute: Option<u32>,
    /// Tokens a minute.
    #[serde(default)]
    pub tokens_per_minute: Option<u32>,
    /// Requests under way at once.
    #[serde(default)]
    pub concurrent: Option<u32>,
}

/// A Redis server that pods share counts in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RedisConfig {
    /// File with its address.
    pub url: SecretFile,
    /// File with CA certificates, PEM.
    #[serde(default)]
    pub ca: Option<SecretFile>,
}

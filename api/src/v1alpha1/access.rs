//! Fields of a ModelGateway about who reaches it and how much each may use: listeners, API keys, claims, limits.

use super::{GoDuration, SecretKeyRef};
use serde::{Deserialize, Serialize};

/// A Secret in the same namespace whose keys are those of its type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of the Secret.
    #[cfg_attr(
        feature = "crd",
        schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))
    )]
    pub name: String,
}

/// Ports of the gateway, one audience each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Listeners {
    /// For clients; port 5000 when absent.
    pub http: Option<HttpListener>,
    /// For Prometheus; port 8082 when absent.
    pub metrics: Option<MetricsListener>,
    /// TLS of the listener for clients; absent means plain HTTP.
    pub tls: Option<ListenerTls>,
}

/// The listener for clients.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct HttpListener {
    /// TCP port; absent means 5000.
    #[cfg_attr(feature = "crd", schemars(range(min = 1024, max = 65535)))]
    pub port: Option<u16>,
    /// Addresses or networks of proxies whose `Forwarded` and `X-Forwarded-For` are believed; none when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "crd", schemars(length(max = 32), inner(length(min = 2, max = 49))))]
    pub trusted_proxies: Vec<String>,
    /// Web pages that may use the gateway; absent means any on GitLab's paths, as GitLab's own gateway, and none elsewhere.
    pub cors: Option<Cors>,
}

/// Cross-origin requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Cors {
    /// Origins let in on every path, such as `https://ide.example.com`; `*` is any, and an empty list none.
    #[cfg_attr(
        feature = "crd",
        schemars(
            length(max = 32),
            inner(length(min = 1, max = 262), regex(pattern = r"^(\*|https?://[^/*\s]+)$"))
        )
    )]
    pub origins: Vec<String>,
}

/// The listener for Prometheus.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct MetricsListener {
    /// TCP port; absent means 8082.
    #[cfg_attr(feature = "crd", schemars(range(min = 1024, max = 65535)))]
    pub port: Option<u16>,
    /// Secret with `username` and `password` that a scrape must give; absent means nobody is asked.
    pub basic_auth_secret_ref: Option<SecretRef>,
    /// Secret with `tls.crt` and `tls.key`, and `ca.crt` by which Prometheus knows them; absent means plain HTTP.
    pub tls_secret_ref: Option<SecretRef>,
}

/// TLS of the listener for clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ListenerTls {
    /// Secret with `tls.crt` and `tls.key`.
    pub secret_ref: SecretRef,
    /// CA certificates, PEM; key `ca.crt` when none is named. With them a connection needs a client certificate of that CA.
    pub client_ca_secret_ref: Option<SecretKeyRef>,
}

/// A claim that a token must have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RequiredClaim {
    /// Name of the claim.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 128)))]
    pub name: String,
    /// Values accepted: the claim is one of them, or a list that holds one of them.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 64), inner(length(max = 256))))]
    pub values: Vec<String>,
}

/// API keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ApiKeys {
    /// Secret with the keys' hashes, as `modelgate-gateway keys` writes it; key `keys.json` when none is named.
    pub secret_ref: SecretKeyRef,
}

/// How much each key, subject, project or model may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Limit {
    /// Name of the limit, unique in the gateway; it labels metrics.
    #[cfg_attr(
        feature = "crd",
        schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))
    )]
    pub name: String,
    /// What is counted apart.
    pub by: LimitBy,
    /// Requests a minute.
    #[cfg_attr(feature = "crd", schemars(range(min = 1, max = 1_000_000)))]
    pub requests_per_minute: Option<u32>,
    /// Tokens of prompts and answers a minute.
    #[cfg_attr(feature = "crd", schemars(range(min = 1, max = 1_000_000_000)))]
    pub tokens_per_minute: Option<u32>,
    /// Requests under way at once.
    #[cfg_attr(feature = "crd", schemars(range(min = 1, max = 100_000)))]
    pub concurrent: Option<u32>,
}

/// What a limit counts apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum LimitBy {
    /// Each API key.
    Key,
    /// Each subject of each issuer, and each key.
    Subject,
    /// Each project, as the request names it.
    Project,
    /// Each model.
    Model,
}

/// Where the gateway's pods keep the counts that they share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Cache {
    /// `Local`: each pod by itself. `Redis`: together.
    #[serde(default)]
    pub store: Store,
    /// The Redis server, with `store: Redis`.
    pub redis: Option<Redis>,
}

/// Where shared counts are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum Store {
    /// In each pod.
    #[default]
    Local,
    /// In Redis.
    Redis,
}

/// A Redis server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Redis {
    /// Its address with user and password, `redis://` or `rediss://`; key `url` when none is named.
    pub secret_ref: SecretKeyRef,
    /// CA certificates for `rediss://`, PEM; key `ca.crt` when none is named. Absent means the system's.
    pub ca_secret_ref: Option<SecretKeyRef>,
}

/// How long an issuer's keys are used when the field is absent.
pub const DEFAULT_JWKS_CACHE: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
/// Shortest time for which they may be.
pub const MIN_JWKS_CACHE: std::time::Duration = std::time::Duration::from_secs(60);

/// The time after which an issuer's keys are fetched again; a text that is no duration counts as absent.
#[must_use]
pub fn jwks_cache(given: Option<&GoDuration>) -> std::time::Duration {
    given.and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_JWKS_CACHE)
}

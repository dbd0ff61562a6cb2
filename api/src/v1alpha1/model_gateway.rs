//! `ModelGateway`: a gateway's listeners, who may use it, and which backends answer for which models.

#[cfg(feature = "crd")]
use super::ModelGatewayStatus;
use super::{
    ApiKeys, Cache, Completion, Expose, GatewayNetwork, GitlabAuth, GoDuration, Limit, Listeners,
    MonitoringSpec, Placement, PullSecret, RequiredClaim, Resources, Route, Schemaless, SecretKeyRef,
    ServiceAccountSpec,
};
use serde::{Deserialize, Serialize};

/// Port for clients when none is given (completion contract of the seed: `FASTAPI_API_PORT`).
pub const DEFAULT_HTTP_PORT: u16 = 5000;
/// Port for Prometheus when none is given (the seed's `FASTAPI_API_METRICS_PORT`).
pub const DEFAULT_METRICS_PORT: u16 = 8082;

/// A gateway: listeners, authentication and routes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(kube::CustomResource, schemars::JsonSchema))]
#[cfg_attr(
    feature = "crd",
    kube(
        group = "modelgate.dev",
        version = "v1alpha1",
        kind = "ModelGateway",
        plural = "modelgateways",
        shortname = "mgw",
        category = "modelgate",
        namespaced,
        status = "ModelGatewayStatus",
        printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
        printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.readyInstances"}"#,
        printcolumn = r#"{"name":"Address","type":"string","jsonPath":".status.addresses[0]"}"#,
        printcolumn = r#"{"name":"Summary","type":"string","jsonPath":".status.summary"}"#,
        printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
    )
)]
#[serde(rename_all = "camelCase")]
pub struct ModelGatewaySpec {
    /// Ports of the gateway.
    pub listeners: Option<Listeners>,
    /// Protocols served; absent means GitLab and OpenAI.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 5)))]
    pub protocols: Option<Vec<Protocol>>,
    /// Who may use the gateway. Without an issuer, API keys and `anonymous: true` nobody may (`AuthMissing`).
    pub auth: Option<Auth>,
    /// Which backends answer for which models; the first route that matches is taken.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 64)))]
    pub routes: Vec<Route>,
    /// How much each key, subject, project or model may use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "crd", schemars(length(max = 32)))]
    pub limits: Vec<Limit>,
    /// Where the pods keep what they share; absent means each by itself.
    pub cache: Option<Cache>,
    /// How code completions are answered.
    pub completion: Option<Completion>,
    /// How the gateway is reached from outside the cluster; absent means it is not.
    pub expose: Option<Expose>,
    /// Who may reach the gateway's pods.
    pub network: Option<GatewayNetwork>,
    /// How Prometheus is told about the gateway's pods.
    pub monitoring: Option<MonitoringSpec>,
    /// Pods of the gateway; absent means 2.
    #[cfg_attr(feature = "crd", schemars(range(min = 1, max = 100)))]
    pub replicas: Option<i32>,
    /// CPU and memory of each pod.
    pub resources: Option<Resources>,
    /// The ServiceAccount of the pods.
    pub service_account: Option<ServiceAccountSpec>,
    /// Nodes for the pods.
    pub placement: Option<Placement>,
    /// Secrets with credentials for pulling the gateway's image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "crd", schemars(length(max = 8)))]
    pub image_pull_secrets: Vec<PullSecret>,
    /// A pod template (`metadata` and `spec`) laid over the gateway's, list items by their keys.
    pub pod_overrides: Option<Schemaless>,
}

/// Protocols that clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum Protocol {
    /// GitLab's code completions: `/v2/completions`, `/v2/code/completions`.
    GitLab,
    /// OpenAI's: `/v1/completions`, `/v1/chat/completions`, `/v1/embeddings`, `/v1/models`.
    OpenAI,
    /// Mistral's: `/v1/fim/completions`.
    Mistral,
    /// llama.cpp's: `/infill`, `/health`, `/props`.
    LlamaCppInfill,
    /// Tabby's: `/v1/completions` with `segments`, `/v1/health`, `/v1beta/server_setting`, `/v1/events`.
    Tabby,
}

/// Who may use the gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Auth {
    /// A GitLab instance whose tokens are accepted.
    pub gitlab: Option<GitlabAuth>,
    /// Issuers of JSON web tokens, found by OpenID Connect discovery.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "crd", schemars(length(max = 8)))]
    pub oidc: Vec<Oidc>,
    /// Keys that callers show instead of a token.
    pub api_keys: Option<ApiKeys>,
    /// Let everybody in, without a token.
    #[serde(default)]
    pub anonymous: bool,
    /// Let everybody in even where others can reach the gateway: with `expose`, or on an address that is not loopback
    /// (as that of every pod).
    #[serde(default)]
    pub anonymous_exposed: bool,
}

/// An issuer of JSON web tokens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Oidc {
    /// The issuer as tokens spell it; `/.well-known/openid-configuration` is asked for under it.
    #[cfg_attr(feature = "crd", schemars(length(min = 8, max = 512)))]
    pub issuer: String,
    /// Audiences accepted; a token must be for one of them. GitLab's is `gitlab-code-suggestions`.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 16), inner(length(min = 1, max = 256))))]
    pub audiences: Vec<String>,
    /// CA certificates for the issuer's server, PEM; key `ca.crt` when none is named. Absent means the system's.
    pub ca_secret_ref: Option<SecretKeyRef>,
    /// Age at which the issuer's keys are fetched again, at least 1m; absent means 24h.
    pub jwks_cache: Option<GoDuration>,
    /// Claims that a token must have besides those of every token.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "crd", schemars(length(max = 16)))]
    pub claims: Vec<RequiredClaim>,
}

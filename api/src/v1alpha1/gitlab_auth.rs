//! `auth.gitlab`: the short form of what a gateway needs to let a GitLab instance and its users in.

use super::SecretKeyRef;
use serde::{Deserialize, Serialize};

/// Tokens of a GitLab instance, and of the Customers Portal that signs for it. The audiences of both generations of
/// GitLab's gateway are accepted: `gitlab-code-suggestions` and `gitlab-ai-gateway`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct GitlabAuth {
    /// Address of the instance, which issues tokens under it.
    #[cfg_attr(feature = "crd", schemars(length(min = 8, max = 512)))]
    pub url: String,
    /// CA certificates for the instance's server, PEM; key `ca.crt` when none is named. Absent means the system's.
    pub ca_secret_ref: Option<SecretKeyRef>,
    /// The Customers Portal, `https://customers.gitlab.com`, whose tokens are accepted too. It signs for every customer
    /// of GitLab, so one of `instanceIds`, `namespaceIds` and `subjects` is required with it.
    #[cfg_attr(feature = "crd", schemars(length(min = 8, max = 512)))]
    pub customers_url: Option<String>,
    /// Instances whose tokens are accepted, by the token's own claims; empty means every one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "crd", schemars(length(max = 32), inner(length(min = 1, max = 128))))]
    pub instance_ids: Vec<String>,
    /// Top-level namespaces or groups whose tokens are accepted, by the token's own claims; empty means every one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "crd", schemars(length(max = 64), inner(length(min = 1, max = 64))))]
    pub namespace_ids: Vec<String>,
    /// Subjects whose tokens are accepted; empty means every one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "crd", schemars(length(max = 64), inner(length(min = 1, max = 256))))]
    pub subjects: Vec<String>,
    /// RSA private key, PEM, with which the gateway signs the tokens that `POST /v1/code/user_access_token` answers, so
    /// that editors ask it directly; key `key.pem` when none is named. Absent means that it signs none.
    pub signing_key_secret_ref: Option<SecretKeyRef>,
    /// A second key, private or public, whose tokens are still accepted while the signing key is rotated; key `key.pem`
    /// when none is named.
    pub validation_key_secret_ref: Option<SecretKeyRef>,
}

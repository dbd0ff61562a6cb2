//! Who may use a ModelBackend from another namespace, and what the ServiceAccount of a gateway's pods says to a cloud.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// ModelGateways that may use a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct AllowedGateways {
    /// Where they are; absent means `Same`.
    #[serde(default)]
    pub from: GatewaysFrom,
    /// Names of the namespaces they are in, for `Selector`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "crd",
        schemars(
            length(max = 64),
            inner(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))
        )
    )]
    pub namespaces: Vec<String>,
}

/// Where ModelGateways are that may use a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum GatewaysFrom {
    /// In the backend's own namespace.
    #[default]
    Same,
    /// Anywhere.
    All,
    /// In the namespaces listed, and in the backend's own.
    Selector,
}

impl AllowedGateways {
    /// Whether a gateway of `gateway`'s namespace may use a backend of `own`.
    #[must_use]
    pub fn admits(&self, own: &str, gateway: &str) -> bool {
        own == gateway
            || match self.from {
                GatewaysFrom::Same => false,
                GatewaysFrom::All => true,
                GatewaysFrom::Selector => self.namespaces.iter().any(|namespace| namespace == gateway),
            }
    }
}

/// The ServiceAccount of a gateway's pods, whose token they never mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountSpec {
    /// Annotations by which a cloud knows the pods, such as `iam.gke.io/gcp-service-account`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "crd", schemars(extend("maxProperties" = 32)))]
    pub annotations: BTreeMap<String, String>,
}

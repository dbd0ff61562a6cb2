//! What a spec says of pods beyond its own fields: parts whose schema is Kubernetes' own, and Secrets for pulling images.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A part of Kubernetes' own API. It stands in our schema without one, so that the definitions stay small; the API server
/// checks it when the pod template is applied, and a mistake is told as `ChildRefused`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Schemaless(pub Map<String, Value>);

#[cfg(feature = "crd")]
impl schemars::JsonSchema for Schemaless {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Schemaless".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
    }
}

/// A Secret of the same namespace from which the kubelet takes credentials for pulling images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PullSecret {
    /// Name of the Secret.
    #[cfg_attr(
        feature = "crd",
        schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))
    )]
    pub name: String,
}

//! What operator and gateway share: the resources a user writes, the configuration the operator renders from them,
//! and the state the gateway answers with. Operator and gateway meet here and nowhere else.
//!
//! - [`v1alpha1`]: `ModelBackend` and `ModelGateway` as typed data (read by both halves).
//! - [`compile`](mod@compile): resources → [`contract::GatewayConfig`], pure. The operator writes the result into a ConfigMap;
//!   the gateway standing alone calls the same function on the same manifests.
//! - [`contract`]: the rendered configuration, versioned, with a tolerant reader.
//! - [`manifest`]: YAML text → resources, with an error for each field nobody declared.
//! - [`state`]: the answer of `GET /v1/state`, which the operator polls.
//! - [`address`]: addresses that no user may name.
//! - [`names`], [`conditions`]: names of children and of conditions, parsed and spelled once.
//! - `crd` (feature `crd`): the CustomResourceDefinitions with their cross-field rules.

pub mod address;
pub mod compile;
pub mod conditions;
pub mod contract;
#[cfg(feature = "crd")]
pub mod crd;
pub mod manifest;
pub mod names;
pub mod sizing;
pub mod state;
pub mod v1alpha1;

/// The product's name as people read it.
pub const PRODUCT: &str = "Modelgate";
/// The product's name in labels, field managers and image names.
pub const PRODUCT_ID: &str = "modelgate";
/// API group of both resources.
pub const GROUP: &str = "modelgate.dev";
/// The served and stored API version.
pub const VERSION: &str = "v1alpha1";
/// `apiVersion` of every manifest of ours.
pub const API_VERSION: &str = "modelgate.dev/v1alpha1";
/// Prefix of every metric family that is ours.
pub const METRIC_PREFIX: &str = "modelgate_";

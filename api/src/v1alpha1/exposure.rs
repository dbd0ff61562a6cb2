//! How a gateway is reached from outside the cluster, and who may reach pods within it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::SecretRef;

/// How the gateway is reached from outside the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Expose {
    /// What is made for the http listener: an `Ingress`, an `HTTPRoute`, a Service of type `LoadBalancer` or `NodePort`, or
    /// nothing (`None`).
    #[serde(rename = "type")]
    pub kind: ExposeType,
    /// Host name of the Ingress or HTTPRoute; absent means every host.
    #[cfg_attr(
        feature = "crd",
        schemars(length(min = 1, max = 253), regex(pattern = r"^(\*\.)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))
    )]
    pub host: Option<String>,
    /// IngressClass; absent means the cluster's default.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 253)))]
    pub class_name: Option<String>,
    /// Gateways (of the Gateway API) that the HTTPRoute attaches to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "crd", schemars(length(max = 8)))]
    pub parent_refs: Vec<ParentRef>,
    /// Certificate of the Ingress; absent means plain HTTP.
    pub tls: Option<ExposeTls>,
    /// Annotations of the object that is made, such as those that an ingress controller or a cloud reads.
    #[cfg_attr(feature = "crd", schemars(extend("maxProperties" = 32)))]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// Ways out of the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum ExposeType {
    /// Not reachable from outside.
    #[default]
    None,
    /// Through an Ingress.
    Ingress,
    /// Through an HTTPRoute of the Gateway API.
    #[serde(rename = "HTTPRoute")]
    HttpRoute,
    /// Through a load balancer of the cloud.
    LoadBalancer,
    /// Through a port of every node.
    NodePort,
}

/// A Gateway (of the Gateway API), or one of its listeners.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// Name of the Gateway.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 253)))]
    pub name: String,
    /// Its namespace; absent means the ModelGateway's.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 63)))]
    pub namespace: Option<String>,
    /// Name of one of its listeners; absent means all that fit.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 253)))]
    pub section_name: Option<String>,
    /// Port of its listeners; absent means any.
    #[cfg_attr(feature = "crd", schemars(range(min = 1, max = 65535)))]
    pub port: Option<u16>,
}

/// Where an Ingress's certificate comes from: exactly one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ExposeTls {
    /// Issuer of cert-manager that signs a certificate for `host`, kept in Secret `<name>-gateway-tls`.
    pub issuer_ref: Option<IssuerRef>,
    /// Secret of type `kubernetes.io/tls`, read by the ingress controller.
    pub secret_ref: Option<SecretRef>,
}

/// An issuer of cert-manager.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct IssuerRef {
    /// Its name.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 253)))]
    pub name: String,
    /// Absent means `ClusterIssuer`.
    #[serde(default)]
    pub kind: IssuerKind,
}

/// Kinds of issuers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum IssuerKind {
    /// For every namespace.
    #[default]
    ClusterIssuer,
    /// Of the ModelGateway's namespace.
    Issuer,
}

/// Who may reach a gateway's pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct GatewayNetwork {
    /// Absent means `Restricted`.
    #[serde(default)]
    pub policy: GatewayPolicy,
}

/// NetworkPolicies of a gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum GatewayPolicy {
    /// Everybody reaches the http port, Prometheus the metrics port, the operator the control port; nobody anything else.
    #[default]
    Restricted,
    /// No NetworkPolicy is made.
    None,
}

/// Who may reach a model's pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct BackendNetwork {
    /// Absent means `GatewayOnly`.
    #[serde(default)]
    pub policy: BackendPolicy,
}

/// NetworkPolicies of a model's pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum BackendPolicy {
    /// Gateways, the operator and Prometheus reach them; nobody else.
    #[default]
    GatewayOnly,
    /// No NetworkPolicy is made.
    None,
}

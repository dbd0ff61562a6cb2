//! Names of the objects and files that belong to a resource. Both halves compute them here, so what the operator makes
//! is what the gateway looks for.

/// Longest name of a ModelBackend or ModelGateway: the longest suffix below still fits a DNS label of 63 characters.
pub const MAX_RESOURCE_NAME: usize = 48;
/// Domain of the cluster's own DNS names unless it is set otherwise.
pub const DEFAULT_CLUSTER_DOMAIN: &str = "cluster.local";
/// Port of an engine when the ModelBackend names none.
pub const DEFAULT_ENGINE_PORT: u16 = 8000;
/// Port of the gateway's control listener: `/livez`, `/readyz`, `/v1/state`.
pub const CONTROL_PORT: u16 = 8083;
/// Port of the gateway's debug listener, on loopback alone.
pub const DEBUG_PORT: u16 = 8084;
/// Where a gateway pod finds its configuration.
pub const CONFIG_DIR: &str = "/etc/modelgate/config";
/// File in [`CONFIG_DIR`], and key of the ConfigMap.
pub const CONFIG_FILE: &str = "config.yaml";
/// Where a gateway pod finds its Secrets, a folder each.
pub const SECRETS_DIR: &str = "/etc/modelgate/secrets";
/// Where a gateway pod finds the ConfigMaps that its configuration names, a folder each.
pub const CONFIG_MAPS_DIR: &str = "/etc/modelgate/configmaps";
/// Key of a Secret or ConfigMap that lists projects, when none is named.
pub const DEFAULT_PROJECTS_KEY: &str = "list.txt";
/// Key of a Secret that holds a bearer token, when none is named.
pub const DEFAULT_TOKEN_KEY: &str = "token";
/// Key of a Secret that holds a Google credentials file, when none is named.
pub const DEFAULT_GOOGLE_KEY: &str = "credentials.json";
/// Key of a Secret that holds CA certificates, when none is named.
pub const DEFAULT_CA_KEY: &str = "ca.crt";
/// Key of a Secret that holds a private or public key, PEM, when none is named.
pub const DEFAULT_KEY_KEY: &str = "key.pem";
/// Annotation that the operator touches on gateway pods so that the kubelet remounts their ConfigMap at once.
pub const NUDGE_ANNOTATION: &str = "modelgate.dev/nudge";
/// Annotation of a ModelBackend: another value takes over what a new version of the operator holds back.
pub const RENEW_ANNOTATION: &str = "modelgate.dev/renew";
/// Key of the Secret with API keys when none is named.
pub const DEFAULT_KEYS_KEY: &str = "keys.json";
/// Key of the Secret with the address of a Redis server when none is named.
pub const DEFAULT_REDIS_KEY: &str = "url";
/// Label of every child: name of the ModelBackend it belongs to.
pub const BACKEND_LABEL: &str = "modelgate.dev/backend";
/// Label of every child: name of the ModelGateway it belongs to.
pub const GATEWAY_LABEL: &str = "modelgate.dev/gateway";

/// Deployment, Service and ServiceMonitor of a ModelBackend.
#[must_use]
pub fn backend_child(backend: &str) -> String {
    format!("{backend}-engine")
}

/// PersistentVolumeClaim in which a ModelBackend keeps what its pods fetch.
#[must_use]
pub fn backend_cache(backend: &str) -> String {
    format!("{backend}-cache")
}

/// Headless Service of a ModelBackend: its DNS name answers with one address for each ready pod.
#[must_use]
pub fn backend_headless(backend: &str) -> String {
    format!("{backend}-engine-pods")
}

/// Deployment, Service, ConfigMap and all else of a ModelGateway.
#[must_use]
pub fn gateway_child(gateway: &str) -> String {
    format!("{gateway}-gateway")
}

/// Service of a ModelGateway for clients outside the cluster; the longest suffix there is.
#[must_use]
pub fn gateway_public(gateway: &str) -> String {
    format!("{gateway}-gateway-public")
}

/// Secret and Certificate that cert-manager makes for a ModelGateway's Ingress.
#[must_use]
pub fn gateway_tls(gateway: &str) -> String {
    format!("{gateway}-gateway-tls")
}

/// Full DNS name of a Service.
#[must_use]
pub fn service_fqdn(service: &str, namespace: &str, cluster_domain: &str) -> String {
    format!("{service}.{namespace}.svc.{cluster_domain}")
}

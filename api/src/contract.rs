//! The configuration that the operator renders and the gateway loads. It is versioned from the first day: fields that a
//! newer minor version added are ignored, a newer major version is refused, and a file of every released version still loads.

mod access;
mod completion;
mod route;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use access::{BasicAuthFiles, ClaimConfig, LimitConfig, ListenersConfig, RedisConfig, TlsFiles};
pub use route::{
    ConfigMapFile, HeaderConfig, HedgingConfig, MatchConfig, ProjectsConfig, RetriesConfig, RouteConfig,
    TimeoutConfig, WeightedBackend,
};

use crate::v1alpha1::{Boundary, Compat, DEFAULT_JWKS_CACHE, ExternalProtocol, FimFamily, Probe, Protocol};

pub use completion::{AdmissionConfig, CompletionConfig, ExperimentConfig, PostProcessConfig, VariantConfig};

/// Version of the format written today, `major.minor`.
pub const FORMAT_VERSION: &str = "1.0";
/// Newest major version that can be read.
pub const FORMAT_MAJOR: u32 = 1;

/// Everything a gateway needs to serve, with no secret in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayConfig {
    /// `major.minor` of this format.
    pub format_version: String,
    /// The resources this was made from.
    pub inputs: Vec<Input>,
    /// Name of the ModelGateway.
    pub gateway: String,
    /// Namespace of the ModelGateway.
    pub namespace: String,
    /// Port for clients.
    pub http_port: u16,
    /// Port for Prometheus.
    pub metrics_port: u16,
    /// What listeners ask of their clients.
    #[serde(default)]
    pub listeners: ListenersConfig,
    /// Protocols served.
    pub protocols: Vec<Protocol>,
    /// Who may use the gateway.
    pub auth: AuthConfig,
    /// How much each caller, project or model may use.
    #[serde(default)]
    pub limits: Vec<LimitConfig>,
    /// Where pods share their counts; absent means that each counts for itself.
    #[serde(default)]
    pub redis: Option<RedisConfig>,
    /// Which GitLab the completion routes answer for.
    pub compat: Compat,
    /// Limits and policies of completions.
    #[serde(default)]
    pub completion: CompletionConfig,
    /// Routes, in the order they are tried.
    pub routes: Vec<RouteConfig>,
    /// Whether it runs in a cluster, where no backend may be at a loopback address.
    #[serde(default)]
    pub in_cluster: bool,
    /// Backends that routes use, by name.
    pub backends: BTreeMap<String, BackendConfig>,
}

/// A resource that the configuration was made from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// `ModelGateway` or `ModelBackend`.
    pub kind: String,
    /// Name of the object.
    pub name: String,
    /// UID; empty when the object came from a file.
    #[serde(default)]
    pub uid: String,
    /// Generation of its spec; 0 when the object came from a file.
    #[serde(default)]
    pub generation: i64,
}

/// Who may use the gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthConfig {
    /// Accepted issuers.
    #[serde(default)]
    pub oidc: Vec<IssuerConfig>,
    /// What tokens of GitLab must satisfy besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gitlab: Option<GitlabConfig>,
    /// File with the hashes of API keys.
    #[serde(default)]
    pub api_keys: Option<SecretFile>,
    /// Everybody is let in.
    #[serde(default)]
    pub anonymous: bool,
    /// …also on an address that others can reach.
    #[serde(default)]
    pub anonymous_exposed: bool,
}

/// What tokens of GitLab must satisfy besides their signature; its issuers stand in [`AuthConfig::oidc`] too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GitlabConfig {
    /// Issuers that these rules bind: the instance and the Customers Portal.
    pub issuers: Vec<String>,
    /// Instances accepted; empty means every one.
    #[serde(default)]
    pub instance_ids: Vec<String>,
    /// Namespaces accepted; empty means every one.
    #[serde(default)]
    pub namespace_ids: Vec<String>,
    /// Subjects accepted; empty means every one.
    #[serde(default)]
    pub subjects: Vec<String>,
    /// File with the RSA private key that signs tokens for direct access.
    pub signing_key: Option<SecretFile>,
    /// File with a key whose tokens are accepted too.
    pub validation_key: Option<SecretFile>,
}

/// An issuer of JSON web tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuerConfig {
    /// The issuer as tokens spell it.
    pub issuer: String,
    /// Audiences accepted.
    pub audiences: Vec<String>,
    /// File with CA certificates, PEM.
    pub ca: Option<SecretFile>,
    /// Age in seconds at which its keys are fetched again.
    #[serde(default = "jwks_cache_seconds")]
    pub jwks_cache_seconds: u64,
    /// Claims that a token must have.
    #[serde(default)]
    pub claims: Vec<ClaimConfig>,
}

fn jwks_cache_seconds() -> u64 {
    DEFAULT_JWKS_CACHE.as_secs()
}

/// One key of a mounted Secret: the file `<secrets dir>/<secret>/<key>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretFile {
    /// Name of the Secret, and of its folder.
    pub secret: String,
    /// Key of the Secret, and name of the file.
    pub key: String,
}

/// A backend with every default filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendConfig {
    /// Name under which the server is asked for the model.
    pub model: String,
    /// Further names that requests may use.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Tokens of prompt and answer together, where known.
    pub context_length: Option<u32>,
    /// How the model fills in between two texts.
    #[serde(default)]
    pub fim_family: FimFamily,
    /// Which side of the data boundary it is on.
    pub boundary: Boundary,
    /// Why it is on that side, for people.
    pub boundary_reason: String,
    /// How many requests it takes at once, and how long others wait.
    #[serde(default)]
    pub admission: AdmissionConfig,
    /// Where it is reached.
    pub target: Target,
}

impl BackendConfig {
    /// Whether it is another GitLab AI gateway, which gets requests as they are.
    #[must_use]
    pub fn is_gitlab_gateway(&self) -> bool {
        matches!(self.target, Target::External { protocol: ExternalProtocol::GitLab, .. })
    }

    /// A Secret that a gateway must mount for it.
    #[must_use]
    pub fn mounted(&self) -> Option<&str> {
        match &self.target {
            Target::External { credential, ca, .. } => {
                credential.iter().chain(ca).map(|file| file.secret.as_str()).next()
            }
            Target::Pods { .. } | Target::Child { .. } | Target::Fake { .. } => None,
        }
    }
}

/// Where a backend is reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "type")]
pub enum Target {
    /// Pods behind a headless Service: plain HTTP to each address its DNS name answers with.
    Pods {
        /// Full DNS name of the headless Service.
        host: String,
        /// Port of the engine.
        port: u16,
        /// What the engine speaks.
        #[serde(default)]
        protocol: ExternalProtocol,
    },
    /// A child process of a gateway that stands alone, on a Unix socket.
    Child {
        /// The model's file, relative to the models folder (`<claim>/<path>`), or its address.
        model: ChildModel,
        /// Arguments added by the user.
        args: Vec<String>,
    },
    /// A server elsewhere.
    External {
        /// What it speaks.
        #[serde(default)]
        protocol: ExternalProtocol,
        /// Base address, without a trailing slash.
        url: String,
        /// File with the bearer token, or with Google's credentials for Vertex AI.
        credential: Option<SecretFile>,
        /// File with the CA certificates that its own must be signed by, PEM.
        #[serde(default)]
        ca: Option<SecretFile>,
        /// HTTP/2 without TLS from the first byte.
        #[serde(default)]
        h2c: bool,
        /// Where the model is on Vertex AI.
        #[serde(default)]
        vertex: Option<VertexTarget>,
        /// How its health is found out.
        probe: Probe,
    },
    /// Canned answers.
    Fake {
        /// The answer's text.
        text: String,
        /// Pieces of a streamed answer.
        chunks: u32,
        /// Milliseconds before each piece.
        delay_ms: u64,
        /// Share of requests that fail, 0 to 1.
        fail_rate: f64,
    },
}

/// Where a model is on Vertex AI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VertexTarget {
    /// Project that pays.
    pub project: String,
    /// Region, or `global`.
    pub location: String,
    /// Who publishes the model, such as `google`.
    pub publisher: String,
    /// The model as its publisher calls it.
    pub model: String,
}

/// Where the child engine of a gateway that stands alone finds its model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "from")]
pub enum ChildModel {
    /// `<models dir>/<claim>/<path>`.
    Claim {
        /// Name of the claim, a folder of the models folder.
        claim: String,
        /// Path in it.
        path: String,
    },
    /// A file fetched first.
    Http {
        /// Its address.
        url: String,
        /// Its SHA-256.
        sha256: String,
    },
}

impl GatewayConfig {
    /// The configuration as YAML, the same text for the same configuration.
    ///
    /// # Errors
    /// When the serialiser refuses, which no value of this type makes it do.
    pub fn to_yaml(&self) -> Result<String, serde_saphyr::ser::Error> {
        serde_saphyr::to_string(self)
    }

    /// Reads a rendered configuration.
    ///
    /// # Errors
    /// When the text is not YAML, lacks a field, or has a major version newer than [`FORMAT_MAJOR`].
    pub fn from_yaml(text: &str) -> Result<Self, ReadError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Head {
            format_version: String,
        }
        let head: Head = serde_saphyr::from_str(text).map_err(ReadError::malformed)?;
        let major = head.format_version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        match major {
            Some(major) if (1..=FORMAT_MAJOR).contains(&major) => {
                serde_saphyr::from_str(text).map_err(ReadError::malformed)
            }
            _ => Err(ReadError::Version { found: head.format_version }),
        }
    }

    /// Names of the Secrets that a gateway must mount, sorted and without repetition.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        let issuers = self.auth.oidc.iter().filter_map(|issuer| issuer.ca.as_ref());
        let gitlab = self.auth.gitlab.iter();
        let keys = gitlab.flat_map(|gitlab| gitlab.signing_key.iter().chain(&gitlab.validation_key));
        let credentials = self.backends.values().flat_map(|backend| match &backend.target {
            Target::External { credential, ca, .. } => [credential.as_ref(), ca.as_ref()],
            Target::Pods { .. } | Target::Child { .. } | Target::Fake { .. } => [None, None],
        });
        let credentials = credentials.flatten();
        let projects = self.routes.iter().filter_map(|route| match &route.matches.projects {
            Some(ProjectsConfig::Secret(file)) => Some(file),
            _ => None,
        });
        let listeners = &self.listeners;
        let certificates = listeners.tls.iter().chain(&listeners.metrics_tls);
        let certificates =
            certificates.flat_map(|tls| [Some(&tls.certificate), tls.client_ca.as_ref()]).flatten();
        let redis = self.redis.iter().flat_map(|redis| [Some(&redis.url), redis.ca.as_ref()]).flatten();
        let names: std::collections::BTreeSet<_> = issuers
            .chain(credentials)
            .chain(keys)
            .chain(&self.auth.api_keys)
            .chain(certificates)
            .chain(listeners.metrics_basic_auth.iter().map(|basic| &basic.username))
            .chain(redis)
            .chain(projects)
            .map(|file| file.secret.clone())
            .collect();
        names.into_iter().collect()
    }

    /// Names of the ConfigMaps that a gateway must mount besides its own, sorted and without repetition.
    #[must_use]
    pub fn config_maps(&self) -> Vec<String> {
        let projects = self.routes.iter().filter_map(|route| match &route.matches.projects {
            Some(ProjectsConfig::ConfigMap(file)) => Some(file.config_map.clone()),
            _ => None,
        });
        let names: std::collections::BTreeSet<_> = projects.collect();
        names.into_iter().collect()
    }
}

/// Why a rendered configuration cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not YAML, or not of this shape.
    #[error("the configuration cannot be read: {0}")]
    Malformed(String),
    /// Written by a newer major version.
    #[error(
        "formatVersion \"{found}\" is not one this gateway reads (1.x); upgrade the gateway to the operator's version"
    )]
    Version {
        /// The version found.
        found: String,
    },
}

impl ReadError {
    #[allow(clippy::needless_pass_by_value)] // as map_err hands it over
    fn malformed(error: serde_saphyr::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

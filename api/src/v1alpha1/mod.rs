//! The two resources of `modelgate.dev/v1alpha1`, exactly the fields that have behaviour today.
//! A field enters here together with what it does, so nothing a user writes is silently ignored.

mod access;
mod common;
mod completion;
mod engine;
mod exposure;
mod external;
mod fim;
mod gitlab_auth;
mod model_backend;
mod model_cache;
mod model_gateway;
mod pods;
mod rollout;
mod route;
mod sharing;
mod size;
mod status;

pub use access::{
    ApiKeys, Cache, Cors, DEFAULT_JWKS_CACHE, HttpListener, Limit, LimitBy, ListenerTls, Listeners,
    MIN_JWKS_CACHE, MetricsListener, Redis, RequiredClaim, SecretRef, Store, jwks_cache,
};
pub use common::{
    ConfigMapKeyRef, EnvVar, EnvVarSource, FieldSelector, GoDuration, KeySelector, MonitoringMode,
    MonitoringSpec, Placement, Quantity, Resources, SecretKeyRef, Toleration,
};
pub use completion::{
    Admission, CommentOnly, Compat, Completion, EmptyChoice, Experiment, OnUnavailable, PostProcess,
    PostProcessStep, SuffixScope, Variant,
};
pub use engine::{Accelerator, DEFAULT_DEVICE, Devices, Engine, EngineTraits, Mig, Parallel, TensorParallel};
pub use exposure::{
    BackendNetwork, BackendPolicy, Expose, ExposeTls, ExposeType, GatewayNetwork, GatewayPolicy, IssuerKind,
    IssuerRef, ParentRef,
};
pub use external::{Boundary, ExternalProtocol, ExternalServer, Probe, Vertex};
pub use fim::{FimFamily, FimSpec};
pub use gitlab_auth::GitlabAuth;
#[cfg(feature = "crd")]
pub use model_backend::ModelBackend;
pub use model_backend::{
    FakeServer, HfSource, HttpSource, ModelBackendSpec, ModelSource, ModelSpec, PvcSource, Server,
};
pub use model_cache::{AccessMode, CacheMode, CacheSpec, CacheStatus, OciSource};
#[cfg(feature = "crd")]
pub use model_gateway::ModelGateway;
pub use model_gateway::{Auth, DEFAULT_HTTP_PORT, DEFAULT_METRICS_PORT, ModelGatewaySpec, Oidc, Protocol};
pub use pods::{PullSecret, Schemaless};
pub use rollout::{PendingChange, RolloutSpec, RolloutStatus, RolloutStrategy};
pub use route::{
    DataBoundary, HeaderMatch, ProjectMatch, Role, Route, RouteBackend, RouteHedging, RouteMatch,
    RouteRetries, RouteTimeout, backend_of_key,
};
pub use sharing::{AllowedGateways, GatewaysFrom, ServiceAccountSpec};
#[cfg(feature = "crd")]
pub use size::preset_names;
pub use size::{Blocked, BlockedHave, BlockedNeed, ModelSize, PRESETS, Precision, Preset, preset_named};
pub use status::{
    BackendReplicas, Condition, DialectFinding, DialectReport, GatewayInstances, Measured,
    ModelBackendStatus, ModelGatewayStatus, RouteBackendStatus, RouteStatus,
};

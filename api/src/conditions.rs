//! Types and reasons of conditions, spelled once. The table of design §3 that combines them is in the operator's status step.

/// The object does what its spec says.
pub const READY: &str = "Ready";
/// Something is still under way (kstatus: in progress).
pub const RECONCILING: &str = "Reconciling";
/// Nothing will change until a person acts (kstatus: failed).
pub const STALLED: &str = "Stalled";
/// It serves, but not all of it does.
pub const DEGRADED: &str = "Degraded";
/// The spec and what it refers to make a valid configuration.
pub const ACCEPTED: &str = "Accepted";
/// Every ready pod of the gateway runs the configuration last rendered.
pub const PROGRAMMED: &str = "Programmed";
/// Issuers and credentials that the configuration names are usable, as the gateway's pods report.
pub const AUTH_RESOLVED: &str = "AuthResolved";
/// Which gateways acknowledged the backend.
pub const ROUTED: &str = "Routed";
/// The way in from outside leads to the gateway.
pub const ROUTE_ATTACHED: &str = "RouteAttached";
/// The certificate of the way in from outside is there.
pub const CERTIFICATE_READY: &str = "CertificateReady";
/// Prometheus reads the object's metrics.
pub const SCRAPED: &str = "Scraped";

/// What the pods need of the model is fetched.
pub const MODEL_CACHED: &str = "ModelCached";
/// Every pod has a node.
pub const SCHEDULED: &str = "Scheduled";
/// Every pod runs the newest template.
pub const ROLLED_OUT: &str = "RolledOut";

/// Reasons: one CamelCase word each.
pub mod reasons {
    /// Nobody has looked at the object yet (the schema's default).
    pub const PENDING: &str = "Pending";
    /// All is as it should be.
    pub const AS_DESIRED: &str = "AsDesired";
    /// The engine answered one completion at its own Service.
    pub const SERVED: &str = "Served";
    /// Scaled to zero.
    pub const IDLE: &str = "Idle";
    /// The external server's probe passed.
    pub const REACHABLE: &str = "Reachable";
    /// The external server's probe failed.
    pub const UNREACHABLE: &str = "Unreachable";
    /// The external server is not probed.
    pub const NOT_PROBED: &str = "NotProbed";
    /// Canned answers: nothing to wait for.
    pub const FAKE: &str = "Fake";
    /// Pods start or load the model.
    pub const LOADING: &str = "Loading";
    /// Pods of an older template are being replaced.
    pub const ROLLING: &str = "Rolling";
    /// Every pod has a node.
    pub const SCHEDULED: &str = "Scheduled";
    /// Pods find no node.
    pub const UNSCHEDULABLE: &str = "Unschedulable";
    /// The pods are ready but the proving completion failed.
    pub const PROBE_FAILED: &str = "ProbeFailed";
    /// The rollout did not finish in time.
    pub const PROGRESS_DEADLINE: &str = "ProgressDeadlineExceeded";
    /// The newest pod template failed and the one before it was put back.
    pub const ROLLED_BACK: &str = "RolledBack";
    /// Every pod runs the newest template.
    pub const ROLLED_OUT: &str = "RolledOut";
    /// The model's file is there with the right digest.
    pub const CACHED: &str = "Cached";
    /// A pod fetches the model.
    pub const DOWNLOADING: &str = "Downloading";
    /// The model could not be fetched.
    pub const DOWNLOAD_FAILED: &str = "DownloadFailed";
    /// The engine fetches the model by itself.
    pub const FETCHED_BY_ENGINE: &str = "FetchedByEngine";
    /// The model's files are mounted.
    pub const NOT_FETCHED: &str = "NotFetched";
    /// The API server refused a child.
    pub const CHILD_REFUSED: &str = "ChildRefused";
    /// The spec is wrong.
    pub const INVALID: &str = "Invalid";
    /// Every ready pod runs the configuration last rendered.
    pub const PROGRAMMED: &str = "Programmed";
    /// Pods have not acknowledged the configuration yet.
    pub const WAITING_FOR_PODS: &str = "WaitingForPods";
    /// A ready pod could not be asked.
    pub const INSTANCE_UNREACHABLE: &str = "InstanceUnreachable";
    /// No backend of any route answers.
    pub const NO_BACKEND_SERVES: &str = "NoBackendServes";
    /// A route or backend does not serve.
    pub const PARTLY_SERVING: &str = "PartlyServing";
    /// A Secret's file is missing in the gateway's pods.
    pub const CREDENTIAL_MISSING: &str = "CredentialMissing";
    /// An issuer's keys could not be fetched.
    pub const ISSUER_UNREACHABLE: &str = "IssuerUnreachable";
    /// No gateway uses the backend.
    pub const NOT_REFERENCED: &str = "NotReferenced";
    /// An API that is needed is not installed in the cluster.
    pub const API_NOT_SERVED: &str = "ApiNotServed";
    /// A controller took the way in from outside, or gave it an address.
    pub const ATTACHED: &str = "Attached";
    /// A controller refused it.
    pub const NOT_ATTACHED: &str = "NotAttached";
    /// The certificate was issued.
    pub const ISSUED: &str = "Issued";
    /// The certificate could not be issued.
    pub const NOT_ISSUED: &str = "NotIssued";
    /// The operator reads no Secret, so it cannot tell.
    pub const SECRET_NOT_READ: &str = "SecretNotRead";
}

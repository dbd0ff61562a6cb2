//! The answer of `GET /v1/state?since=SEQ&wait=25s` on a gateway pod's control listener: which configuration it runs and
//! what it sees. It holds no prompt, no key and no subject.
//!
//! `since` is the `seq` of the answer last seen; the pod answers at once when its own is another, else when something
//! changes or `wait` (a Go duration, 30 s at most) is over. Without `since` it answers at once.

use serde::{Deserialize, Serialize};

use crate::contract::Input;
use crate::v1alpha1::DialectReport;

/// What one gateway pod runs and sees.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayState {
    /// Grows with every change; starts anew with the process (see `instance`).
    pub seq: u64,
    /// Identifies the process.
    pub instance: String,
    /// Lower-case hexadecimal SHA-256 of the configuration file in force.
    pub config_hash: String,
    /// Resources that the configuration in force was made from.
    #[serde(default)]
    pub inputs: Vec<Input>,
    /// Why the newest file is not in force; empty when it is.
    #[serde(default)]
    pub problems: Vec<String>,
    /// Issuers of tokens.
    #[serde(default)]
    pub issuers: Vec<IssuerState>,
    /// Certificates of the listeners that speak TLS.
    #[serde(default)]
    pub certificates: Vec<CertificateState>,
    /// Backends, by name.
    #[serde(default)]
    pub backends: Vec<BackendState>,
    /// Routes, by name.
    #[serde(default)]
    pub routes: Vec<RouteState>,
    /// Whether the pod stops taking requests.
    #[serde(default)]
    pub draining: bool,
}

/// A listener's certificate as one pod sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateState {
    /// `http` or `metrics`.
    pub listener: String,
    /// Name of its Secret.
    pub secret: String,
    /// Connections are served with one; while there is none they are cut.
    pub serving: bool,
    /// Why what the Secret holds now is not in use, in one sentence; empty when it is.
    #[serde(default)]
    pub message: String,
}

/// An issuer as one pod sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuerState {
    /// The issuer.
    pub issuer: String,
    /// Its keys are known.
    pub resolved: bool,
    /// Why not, in one sentence.
    #[serde(default)]
    pub message: String,
}

/// A backend as one pod sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendState {
    /// Name of the ModelBackend.
    pub name: String,
    /// Requests may be sent to it.
    pub healthy: bool,
    /// One CamelCase word: Healthy, NoEndpoints, Unreachable, CredentialMissing, ProbeFailed, NotProbed, Starting.
    pub reason: String,
    /// One sentence for people.
    #[serde(default)]
    pub message: String,
    /// Addresses known.
    pub endpoints: u32,
    /// Requests under way.
    pub in_flight: u64,
    /// Requests held until the backend is there.
    #[serde(default)]
    pub held: u64,
    /// Requests since the process began that found no pod: while it grows, somebody wants the model.
    #[serde(default)]
    pub demand: u64,
    /// Requests sent to it since the process began: while it stands still and none is under way, the model is idle.
    #[serde(default)]
    pub requests: u64,
    /// RFC 3339 time of the last probe; absent when none was made.
    pub last_probe: Option<String>,
    /// What its server was measured to do; absent before the first measurement.
    #[serde(default)]
    pub dialect: Option<DialectReport>,
}

/// A route as one pod sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteState {
    /// Name of the route.
    pub name: String,
    /// At least one backend with a weight is healthy, and the pod's own proving completion for this configuration passed
    /// (or was not asked for).
    pub serving: bool,
    /// Why not, in one sentence.
    #[serde(default)]
    pub message: String,
}

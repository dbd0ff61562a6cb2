//! Whether requests may be sent to a backend: what was last found out, and the probe that finds it out.

use std::sync::{Mutex, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::StatusCode;
use modelgate_api::contract::Target;
use modelgate_api::v1alpha1::Probe;

use super::Backend;
use super::circuit::Fault;
use super::endpoint::Endpoint;
use super::measure::{self, Depth};
use crate::dialect::openai::Api;
use crate::dialect::{Generation, Wire};
use crate::error::GatewayError;

const INTERVAL: Duration = Duration::from_secs(5);
const INTERVAL_WHEN_SICK: Duration = Duration::from_secs(1);
/// A probe by completion costs tokens, so it is rare while it passes.
const INTERVAL_OF_COMPLETION: Duration = Duration::from_secs(60);
/// What a server does changes rarely, and asking may cost.
const INTERVAL_OF_MEASUREMENT: Duration = Duration::from_secs(3600);
/// Health is not looked at meanwhile.
const LONGEST_MEASUREMENT: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(5);
/// Addresses that are asked at once.
const PROBED: usize = 64;
/// Failures in a row until a healthy backend is called sick: one may be a restart or a lost packet.
const FAILURES: u32 = 2;

/// Why a backend is healthy or not; the words of `api::state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The last probe passed.
    Healthy,
    /// No address is known.
    NoEndpoints,
    /// No answer.
    Unreachable,
    /// The file of its credential is missing.
    CredentialMissing,
    /// An answer, but not the right one.
    ProbeFailed,
    /// It is not probed.
    NotProbed,
    /// Nothing is known yet.
    Starting,
}

impl Reason {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::NoEndpoints => "NoEndpoints",
            Self::Unreachable => "Unreachable",
            Self::CredentialMissing => "CredentialMissing",
            Self::ProbeFailed => "ProbeFailed",
            Self::NotProbed => "NotProbed",
            Self::Starting => "Starting",
        }
    }

    /// Whether requests may be sent.
    #[must_use]
    pub fn is_healthy(self) -> bool {
        matches!(self, Self::Healthy | Self::NotProbed)
    }
}

/// What was last found out.
#[derive(Clone, Debug)]
pub struct Health {
    /// The word.
    pub reason: Reason,
    /// One sentence for people.
    pub message: String,
    /// When the last probe ended.
    pub last_probe: Option<SystemTime>,
}

/// The health of one backend.
pub(super) struct Record {
    health: Mutex<Health>,
}

impl Record {
    pub(super) fn new() -> Self {
        let health =
            Health { reason: Reason::Starting, message: "no probe has ended yet".into(), last_probe: None };
        Self { health: Mutex::new(health) }
    }

    pub(super) fn get(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn reason(&self) -> Reason {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).reason
    }

    /// Takes over what a probe found; tells whether the word or the sentence changed.
    pub(super) fn set(&self, reason: Reason, message: String, probed: bool) -> bool {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = health.reason != reason || health.message != message;
        let last_probe = if probed { Some(SystemTime::now()) } else { health.last_probe };
        *health = Health { reason, message, last_probe };
        changed
    }
}

/// Probes until the backend is gone.
pub(super) async fn watch(backend: Weak<Backend>) {
    let mut failures = 0;
    let mut measured = None;
    loop {
        let Some(strong) = backend.upgrade() else { return };
        let (reason, message, probed) = strong.probe().await;
        failures = if reason.is_healthy() { 0 } else { failures + 1 };
        let was = strong.health().reason;
        // What concerns the gateway itself (no address, no credential) needs no second opinion.
        let sure = matches!(reason, Reason::NoEndpoints | Reason::CredentialMissing) || failures >= FAILURES;
        if reason.is_healthy() || !was.is_healthy() || sure {
            strong.set_health(reason, message, probed);
        }
        let healthy = strong.health().reason.is_healthy() && failures == 0;
        // Measured when it has come up, since it may be another server than before, and now and then.
        if !healthy {
            measured = None;
        } else if probed
            && strong.is_asked()
            && measured.is_none_or(|at: Instant| at.elapsed() >= INTERVAL_OF_MEASUREMENT)
        {
            let measuring = measure::measure(&strong, strong.depth());
            if let Ok(found) = tokio::time::timeout(LONGEST_MEASUREMENT, measuring).await {
                strong.learn(found);
            }
            measured = Some(Instant::now());
        }
        let pause = match &strong.config.target {
            _ if !healthy => INTERVAL_WHEN_SICK,
            Target::External { probe: Probe::Completion, .. } => INTERVAL_OF_COMPLETION,
            _ => INTERVAL,
        };
        drop(strong);
        tokio::time::sleep(pause).await;
    }
}

impl Backend {
    /// Whether there is a model server to ask.
    fn is_asked(&self) -> bool {
        !matches!(self.config.target, Target::Fake { .. }) && !self.config.is_gitlab_gateway()
    }

    /// How much a measurement may cost: what the user allowed.
    fn depth(&self) -> Depth {
        match &self.config.target {
            Target::External { probe: Probe::Completion, .. } => Depth::Full,
            _ => Depth::Free,
        }
    }

    /// Finds out whether the backend can take requests: word, sentence, and whether it was asked.
    async fn probe(&self) -> (Reason, String, bool) {
        if let Some(missing) = self.missing_credential() {
            return (Reason::CredentialMissing, missing, false);
        }
        let probe = match &self.config.target {
            Target::Fake { .. } => return (Reason::Healthy, "it answers from memory".into(), true),
            Target::External { probe, .. } => *probe,
            Target::Pods { .. } | Target::Child { .. } => Probe::Models,
        };
        if self.endpoint_count() == 0 {
            return (Reason::NoEndpoints, "no pod is ready".into(), false);
        }
        let result = match probe {
            Probe::None => return (Reason::NotProbed, "probe: None".into(), false),
            Probe::Models | Probe::Completion if self.config.is_gitlab_gateway() => self.probe_gitlab().await,
            Probe::Models => self.probe_models().await,
            Probe::Completion => self.probe_completion().await,
        };
        match result {
            Ok(()) => (Reason::Healthy, "the last probe passed".into(), true),
            Err(GatewayError::UpstreamStatus { status, .. }) => {
                let hint = if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
                    "; correct its credential"
                } else {
                    ""
                };
                (Reason::ProbeFailed, format!("the probe {} was answered {status}{hint}", word(probe)), true)
            }
            Err(error) => match self.child_says() {
                Some(said) => (Reason::Starting, said, true),
                None => (Reason::Unreachable, error.to_string(), true),
            },
        }
    }

    /// What costs nothing: the list of models, or what the server has instead.
    async fn probe_models(&self) -> Result<(), GatewayError> {
        let path = self.dialect().health_path(&self.config.model);
        self.probe_by(Wire { method: http::Method::GET, path, body: Bytes::new(), stream: false }, PROBED)
            .await
    }

    /// The path that tells whether another GitLab AI gateway is alive.
    async fn probe_gitlab(&self) -> Result<(), GatewayError> {
        let path = "/monitoring/healthz".into();
        let wire = Wire { method: http::Method::GET, path, body: Bytes::new(), stream: false };
        self.probe_by(wire, PROBED).await
    }

    async fn probe_completion(&self) -> Result<(), GatewayError> {
        let abilities = self.abilities();
        let prompt = abilities.prompt_of("a".into(), String::new());
        let ask =
            Generation { prompt, model: self.config.model.clone(), max_tokens: 1, ..Generation::default() };
        // It costs tokens, so it is for one address.
        self.probe_by(self.dialect().render(&ask, &abilities)?, 1).await
    }

    /// Asks so many addresses; one that answers is enough. Those that refuse a connection are passed over from here on.
    async fn probe_by(&self, wire: Wire, count: usize) -> Result<(), GatewayError> {
        let endpoints = self.endpoints();
        let asked = endpoints.iter().take(count).map(|endpoint| self.probe_one(endpoint, wire.clone()));
        let mut results = futures::future::join_all(asked).await;
        let passed = results.iter().position(Result::is_ok).unwrap_or(0);
        if results.is_empty() {
            Err(GatewayError::NoBackend("no address is known"))
        } else {
            results.swap_remove(passed)
        }
    }

    async fn probe_one(&self, endpoint: &Endpoint, wire: Wire) -> Result<(), GatewayError> {
        let request = self.ask(endpoint, wire, &http::HeaderMap::new())?;
        let response = tokio::time::timeout(TIMEOUT, self.send(request, Api::Completions, false))
            .await
            .map_err(|_| GatewayError::UpstreamTimeout("probe"))?;
        match &response {
            Ok(_) => endpoint.circuit.probe_passed(),
            Err(GatewayError::Connect) => {
                endpoint.circuit.failed(Fault::Unreachable, Instant::now());
            }
            Err(_) => {}
        }
        let status = response?.status();
        if status.is_success() {
            Ok(())
        } else {
            Err(GatewayError::UpstreamStatus { status, body: Bytes::new(), retry_after: None })
        }
    }
}

fn word(probe: Probe) -> &'static str {
    match probe {
        Probe::Completion => "by a completion",
        Probe::Models | Probe::None => "of its models",
    }
}

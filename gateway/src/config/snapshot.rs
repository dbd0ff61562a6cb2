//! A configuration ready for use: routes, backends, verifier and metric handles. A request keeps the snapshot that it
//! began with, so a reload touches no request under way.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use modelgate_api::contract::{GatewayConfig, ProjectsConfig, RouteConfig, Target, TimeoutConfig};
use modelgate_api::state::{IssuerState, RouteState};
use modelgate_api::v1alpha1::{DataBoundary, Protocol, Role};
use tokio::sync::Semaphore;

use super::Loaded;
use crate::args::Settings;
use crate::backend::child::{self, Child};
use crate::backend::{Backend, Parts};
use crate::caller::Caller;
use crate::gitlab::DirectAccess;
use crate::keys::Keys;
use crate::limit::Limits;
use crate::limits;
use crate::metrics::Metrics;
use crate::oidc::Verifier;
use crate::outbound::Reach;
use crate::pipeline::{auth, boundary};
use crate::routing::budget::Budget;
use crate::routing::matcher::Matcher;
use crate::routing::projects::Projects;
use crate::routing::quantile::Quantile;
use crate::secrets::Secrets;
use crate::series::BackendSeries;
use crate::server::client::TrustedProxies;
use crate::state::Changed;

/// Attempts that a quiet route gets each second beside its share, and those it begins with.
const RETRIES_A_SECOND: f64 = 1.0;
const SAVED_RETRIES: f64 = 10.0;

/// What snapshots are built with; the same for the whole life of the process.
pub struct Workshop {
    /// Metric families.
    pub metrics: Arc<Metrics>,
    /// What TLS connections trust.
    pub tls: Arc<rustls::ClientConfig>,
    /// Mounted Secrets.
    pub secrets: Secrets,
    /// Flags.
    pub settings: Settings,
    /// Told when the state document changes.
    pub changed: Changed,
    /// Folder of the sockets of child processes.
    pub sockets: PathBuf,
}

impl Workshop {
    /// For one use by a command: metrics that nobody reads, and no socket of a child process.
    ///
    /// # Errors
    /// When metrics or TLS cannot be set up.
    pub fn alone(settings: Settings) -> Result<Self, Vec<String>> {
        let one = |error: &dyn std::fmt::Display| vec![error.to_string()];
        Ok(Self {
            metrics: Arc::new(Metrics::new().map_err(|error| one(&error))?),
            tls: crate::outbound::trust::system().map_err(|error| one(&error))?,
            secrets: Secrets::new(&settings.secrets),
            settings,
            changed: Changed::default(),
            sockets: std::env::temp_dir(),
        })
    }
}

/// A configuration in force.
pub struct Snapshot {
    /// The configuration.
    pub config: GatewayConfig,
    /// Hash of the bytes that it was read from.
    pub hash: String,
    /// Checks tokens; absent when everybody is let in.
    pub verifier: Option<Arc<Verifier>>,
    /// Signs and checks tokens for direct access; absent without a key.
    pub direct_access: Option<Arc<DirectAccess>>,
    /// API keys, where there is a file of them.
    pub keys: Option<Arc<Keys>>,
    /// How much each caller, project or model may use.
    pub limits: Arc<Limits>,
    /// Proxies whose word on the client's address counts.
    pub proxies: TrustedProxies,
    /// The caller of everybody, where nobody is asked.
    pub nobody_asked: Arc<Caller>,
    /// Routes, in the order they are tried.
    pub routes: Vec<Arc<Route>>,
    /// Backends by name.
    pub backends: BTreeMap<String, Arc<Backend>>,
    /// Series of requests that never reached a backend.
    pub nobody: Arc<BackendSeries>,
}

impl Snapshot {
    /// Builds the snapshot. Backends, and the verifier with its keys, are taken over from `previous` where nothing of
    /// theirs changed.
    ///
    /// # Errors
    /// Every part that cannot be built.
    pub fn build(loaded: Loaded, workshop: &Workshop, previous: Option<&Self>) -> Result<Self, Vec<String>> {
        let Loaded { config, hash, models } = loaded;
        let mut faults = Vec::new();
        let verifier = match previous {
            Some(old) if old.config.auth == config.auth => old.verifier.clone(),
            _ => auth::verifier(&config.auth, &workshop.secrets, &reach(&config, workshop)).map(Arc::new),
        };
        let direct_access = match previous {
            Some(old) if old.config.auth == config.auth => old.direct_access.clone(),
            _ => config
                .auth
                .gitlab
                .as_ref()
                .and_then(|gitlab| DirectAccess::new(gitlab, &workshop.secrets))
                .map(Arc::new),
        };
        let keys = previous.and_then(|old| old.keys.clone());
        let keys = config.auth.api_keys.as_ref().map(|file| {
            let path = workshop.secrets.path(file);
            keys.filter(|keys| keys.path() == path).unwrap_or_else(|| Keys::start(path))
        });
        let limits = Limits::build(
            &config,
            previous.map(|old| &old.limits),
            &workshop.secrets,
            &workshop.metrics,
            &reach(&config, workshop),
        );
        let proxies = TrustedProxies::new(&config.listeners.trusted_proxies);
        let mut backends = BTreeMap::new();
        for name in config.backends.keys() {
            match backend(name, &config, models.get(name).cloned(), workshop, previous) {
                Ok(backend) => {
                    backends.insert(name.clone(), backend);
                }
                Err(fault) => faults.push(fault),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let routes =
            config.routes.iter().map(|route| Arc::new(Route::new(route, &backends, workshop))).collect();
        let nobody = Arc::new(BackendSeries::new(&workshop.metrics, &config.gateway, "", ""));
        let nobody_asked = Arc::new(Caller::anonymous());
        Ok(Self {
            config,
            hash,
            verifier,
            direct_access,
            keys,
            limits,
            proxies,
            nobody_asked,
            routes,
            backends,
            nobody,
        })
    }

    /// Whether clients may speak `protocol`.
    #[must_use]
    pub fn serves(&self, protocol: Protocol) -> bool {
        self.config.protocols.contains(&protocol)
    }

    /// Issuers as the state document shows them.
    #[must_use]
    pub fn issuers(&self) -> Vec<IssuerState> {
        let issuers = self.verifier.iter().flat_map(|verifier| verifier.states());
        issuers.chain(self.keys.iter().map(|keys| keys.state())).collect()
    }

    /// Removes the metric series of backends that `self` has and `next` has not.
    pub fn retire_series(&self, next: &Self, metrics: &Metrics) {
        let labels = |snapshot: &Self| -> BTreeSet<(String, String, String)> {
            let gateway = &snapshot.config.gateway;
            let backends = snapshot.backends.values();
            backends
                .map(|backend| (gateway.clone(), backend.config.model.clone(), backend.name.clone()))
                .collect()
        };
        for (gateway, model, backend) in labels(self).difference(&labels(next)) {
            BackendSeries::retire(metrics, gateway, model, backend);
            if !next.backends.contains_key(backend) {
                BackendSeries::retire_name(metrics, backend);
            }
        }
    }
}

/// What an address that a user gave may lead to.
fn reach(config: &GatewayConfig, workshop: &Workshop) -> Reach {
    Reach::Named { in_cluster: config.in_cluster, proxies: Arc::clone(&workshop.settings.proxies) }
}

fn backend(
    name: &str,
    config: &GatewayConfig,
    file: Option<PathBuf>,
    workshop: &Workshop,
    previous: Option<&Snapshot>,
) -> Result<Arc<Backend>, String> {
    let Some(of_backend) = config.backends.get(name) else {
        return Err(format!("ModelBackend {name} is missing"));
    };
    // Routes may differ; a connection is shared by all of them, so the most impatient one decides.
    let using = config.routes.iter().filter(|route| route.backends.iter().any(|used| used.name == name));
    let connect =
        using.map(|route| route.timeout.connect_ms).min().unwrap_or(TimeoutConfig::default().connect_ms);
    let connect = Duration::from_millis(connect);
    let child = match &of_backend.target {
        Target::Child { model, args } => Some(Child {
            backend: name.into(),
            program: child::find_program(workshop.settings.engine_bin.as_deref()),
            file,
            model: model.clone(),
            cache: child::cache_dir(workshop.settings.models.as_deref()),
            model_name: of_backend.model.clone(),
            context_length: of_backend.context_length,
            args: args.clone(),
            socket: workshop.sockets.join(format!("{}.sock", name.replace('/', "_"))),
        }),
        Target::Pods { .. } | Target::External { .. } | Target::Fake { .. } => None,
    };
    if let Some(old) =
        previous.filter(|old| old.config.gateway == config.gateway).and_then(|old| old.backends.get(name))
        && old.config == *of_backend
        && old.connect == connect
        && old.child == child
    {
        return Ok(Arc::clone(old));
    }
    let parts = Parts {
        series: BackendSeries::new(&workshop.metrics, &config.gateway, &of_backend.model, name),
        tls: Arc::clone(&workshop.tls),
        reach: reach(config, workshop),
        google: workshop.settings.google.clone(),
        connect,
        secrets: workshop.secrets.clone(),
        child,
        changed: workshop.changed.clone(),
    };
    Backend::start(name, of_backend, parts)
}

/// A route ready for use.
pub struct Route {
    /// Name of the route.
    pub name: String,
    /// Which requests it takes.
    pub matcher: Matcher,
    /// Backends that answer, with their weights.
    pub backends: Vec<(Arc<Backend>, u32)>,
    /// How far source code may go.
    pub data_boundary: DataBoundary,
    /// Backends that answer when none of those can.
    pub fallbacks: Vec<(Arc<Backend>, u32)>,
    /// Backends that get copies, with the share of requests in percent.
    pub shadows: Vec<(Arc<Backend>, u32)>,
    /// Time limits.
    pub timeout: TimeoutConfig,
    /// Attempts of one request after its first.
    pub retries: u32,
    /// Attempts of all requests together.
    pub budget: Budget,
    /// Second questions when the first token is late.
    pub hedging: Option<Hedging>,
    /// Copies under way.
    pub copies: Arc<Semaphore>,
    proof: Mutex<Proof>,
}

/// Second questions of a route.
pub struct Hedging {
    /// When a first token is late; absent: later than 95 of 100.
    pub after: Option<Duration>,
    /// How many there may be.
    pub budget: Budget,
    /// How long first tokens took.
    pub first_tokens: Quantile,
}

/// Whether the gateway's own completion passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// No backend of the route may be asked for one.
    NotAsked,
    /// Not yet.
    Pending,
    /// It did.
    Passed,
    /// It did not; why.
    Failed(String),
}

impl Route {
    fn new(config: &RouteConfig, backends: &BTreeMap<String, Arc<Backend>>, workshop: &Workshop) -> Self {
        let of = |role: Role| -> Vec<_> {
            let used = config.backends.iter().filter(|used| used.role == role);
            used.filter_map(|used| Some((Arc::clone(backends.get(&used.name)?), used.weight))).collect()
        };
        let (primaries, fallbacks) = (of(Role::Primary), of(Role::Fallback));
        let proof = if primaries.iter().chain(&fallbacks).any(|(backend, _)| backend.is_provable()) {
            Proof::Pending
        } else {
            Proof::NotAsked
        };
        let projects = |listed: &ProjectsConfig| match listed {
            ProjectsConfig::List(items) => Projects::fixed(items),
            ProjectsConfig::Secret(file) => Projects::in_file(&config.name, workshop.secrets.path(file)),
            ProjectsConfig::ConfigMap(file) => {
                let path = workshop.settings.config_maps.join(&file.config_map).join(&file.key);
                Projects::in_file(&config.name, path)
            }
        };
        Self {
            name: config.name.clone(),
            matcher: Matcher::new(config, projects),
            backends: primaries,
            fallbacks,
            shadows: of(Role::Shadow),
            data_boundary: config.data_boundary,
            timeout: config.timeout,
            retries: config.retries.max,
            budget: Budget::new(config.retries.budget_percent, RETRIES_A_SECOND, SAVED_RETRIES),
            hedging: config.hedging.map(|hedging| Hedging {
                after: hedging.after_ms.map(Duration::from_millis),
                budget: Budget::new(hedging.budget_percent, 0.0, 1.0),
                first_tokens: Quantile::default(),
            }),
            copies: Arc::new(Semaphore::new(limits::COPIES)),
            proof: Mutex::new(proof),
        }
    }

    /// Backends that can answer: those of the first choice, then the others.
    pub fn answering(&self) -> impl Iterator<Item = &(Arc<Backend>, u32)> {
        self.backends.iter().chain(&self.fallbacks)
    }

    /// Whether the gateway's own completion passed.
    #[must_use]
    pub fn proof(&self) -> Proof {
        self.proof.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes over the result of a completion of the gateway's own; tells whether it is news.
    pub fn set_proof(&self, new: Proof) -> bool {
        let mut proof = self.proof.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = *proof != new;
        *proof = new;
        changed
    }

    /// Whether requests are answered by a model.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        matches!(self.proof(), Proof::Passed | Proof::NotAsked) && self.has_healthy_backend()
    }

    fn has_healthy_backend(&self) -> bool {
        self.answering()
            .any(|(backend, weight)| *weight > 0 && backend.is_healthy() && self.keeps_boundary(backend))
    }

    fn keeps_boundary(&self, backend: &Backend) -> bool {
        boundary::check(self, backend, None).is_ok()
    }

    /// The route as the state document shows it.
    #[must_use]
    pub fn state(&self) -> RouteState {
        let outside = self.backends.iter().find(|(backend, _)| !self.keeps_boundary(backend));
        let message = match (self.proof(), outside) {
            (_, Some((backend, _))) if !self.has_healthy_backend() => format!(
                "backend {} is outside, since a proxy leads there, and this route's dataBoundary is Cluster; set dataBoundary: External, or add its host to NO_PROXY",
                backend.name
            ),
            (proof, _) => self.message(&proof),
        };
        RouteState { name: self.name.clone(), serving: self.is_serving(), message }
    }

    fn message(&self, proof: &Proof) -> String {
        match proof {
            _ if !self.has_healthy_backend() => "no backend is healthy".into(),
            Proof::Pending => "the gateway's own completion has not ended yet".into(),
            Proof::Failed(why) => format!("the gateway's own completion failed: {why}"),
            Proof::Passed | Proof::NotAsked => String::new(),
        }
    }
}

//! Composition root: reads the configuration, binds the listeners, starts what runs beside requests, and ends it all.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use modelgate_api::state::GatewayState;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::args::Settings;
use crate::complete;
use crate::config::snapshot::{Snapshot, Workshop};
use crate::config::{self, watch};
use crate::metrics::Metrics;
use crate::secrets::Secrets;
use crate::server::docs::Docs;
use crate::server::drain::Drain;
use crate::server::in_flight::InFlight;
use crate::server::reports::Reports;
use crate::server::tls::ListenerTls;
use crate::state::{self, Changed};
use crate::{layers, prove, server};

/// How often the issuers' states are compared with those last told.
const ISSUER_INTERVAL: Duration = Duration::from_millis(500);

/// What every request and every listener shares.
pub struct Gateway {
    /// The configuration in force.
    pub snapshot: ArcSwap<Snapshot>,
    /// Metric families.
    pub metrics: Arc<Metrics>,
    /// What snapshots are built with.
    pub workshop: Workshop,
    /// Whether the process is ending.
    pub drain: Drain,
    /// TLS of the listener for clients.
    pub http_tls: ListenerTls,
    /// TLS of the listener for Prometheus.
    pub metrics_tls: ListenerTls,
    /// Requests under way.
    pub in_flight: Arc<InFlight>,
    /// What completions share.
    pub completions: complete::Core,
    /// To whom requests that have ended are told.
    pub reports: Arc<Reports>,
    /// The API's own documentation.
    pub docs: Docs,
    /// Whether the debug listener takes profiles.
    pub takes_profiles: bool,
    instance: String,
    problems: ArcSwap<Vec<String>>,
    /// Fetches issuers' keys until all are known, for the snapshot in force.
    resolving: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl Gateway {
    /// Puts a snapshot in force and sets out to prove that its routes serve.
    pub fn install(self: &Arc<Self>, snapshot: Snapshot) {
        let snapshot = Arc::new(snapshot);
        let previous = self.snapshot.swap(Arc::clone(&snapshot));
        previous.retire_series(&snapshot, &self.metrics);
        self.problems.store(Arc::default());
        self.announce(&snapshot);
    }

    fn announce(self: &Arc<Self>, snapshot: &Arc<Snapshot>) {
        self.metrics.set_config(&snapshot.hash);
        self.metrics.reload_successful.set(1);
        self.follow_certificates();
        self.workshop.changed.notify();
        if snapshot.config.auth.anonymous {
            tracing::warn!(
                "auth.anonymous is true: EVERYBODY who reaches this gateway can use it, without a token"
            );
        }
        let resolving = snapshot
            .verifier
            .clone()
            .map(|verifier| AbortOnDropHandle::new(tokio::spawn(async move { verifier.maintain().await })));
        *self.resolving.lock().unwrap_or_else(PoisonError::into_inner) = resolving;
        prove::start(self, snapshot);
    }

    /// Reads the listeners' certificates, where they changed.
    pub fn follow_certificates(&self) {
        let snapshot = self.snapshot.load();
        let (listeners, secrets) = (&snapshot.config.listeners, &self.workshop.secrets);
        let http = self.http_tls.follow(listeners.tls.as_ref(), secrets);
        let metrics = self.metrics_tls.follow(listeners.metrics_tls.as_ref(), secrets);
        if http || metrics {
            self.workshop.changed.notify();
        }
    }

    /// Tells why the newest configuration is not in force.
    pub fn set_problems(&self, problems: Vec<String>) {
        self.problems.store(Arc::new(problems));
        self.workshop.changed.notify();
    }

    /// The state document.
    #[must_use]
    pub fn state(&self) -> GatewayState {
        state::document(
            &self.instance,
            &self.workshop.changed,
            &self.snapshot.load(),
            &self.problems.load(),
            &self.drain,
            self.http_tls
                .certificate("http")
                .into_iter()
                .chain(self.metrics_tls.certificate("metrics"))
                .collect(),
        )
    }
}

/// A gateway whose listeners are bound and which has not begun to serve.
pub struct App {
    gateway: Arc<Gateway>,
    listeners: Listeners,
    sockets: PathBuf,
}

/// Addresses that the listeners got; a port of 0 has become a real one.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// For clients.
    pub http: SocketAddr,
    /// For Prometheus.
    pub metrics: SocketAddr,
    /// For the kubelet and the operator.
    pub control: SocketAddr,
    /// For debugging.
    pub debug: SocketAddr,
}

struct Listeners {
    http: TcpListener,
    metrics: TcpListener,
    control: TcpListener,
    debug: TcpListener,
    addresses: Addresses,
}

impl App {
    /// Checks the whole configuration, then binds the listeners.
    ///
    /// # Errors
    /// Every mistake, before a port is open; after that, the first address that cannot be bound, naming its flag.
    pub async fn start(settings: Settings) -> Result<Self, Vec<String>> {
        let loaded = config::load(&settings)?;
        let one = |error: &dyn std::fmt::Display| vec![error.to_string()];
        let metrics = Arc::new(Metrics::new().map_err(|error| one(&error))?);
        let sockets = std::env::temp_dir().join(format!("modelgate-{}", std::process::id()));
        let has_children = loaded
            .config
            .backends
            .values()
            .any(|backend| matches!(backend.target, modelgate_api::contract::Target::Child { .. }));
        if has_children {
            private_folder(&sockets).map_err(|error| vec![format!("{}: {error}", sockets.display())])?;
        }
        let docs = Docs::new(settings.docs.clone());
        let takes_profiles = settings.debug_profile;
        let tls = crate::outbound::trust::system().map_err(|error| one(&error))?;
        let reports = Reports::open(&settings, &tls).map(Arc::new).map_err(|fault| vec![fault])?;
        let listeners =
            Listeners::bind(&settings, loaded.config.http_port, loaded.config.metrics_port).await?;
        let workshop = Workshop {
            metrics: Arc::clone(&metrics),
            tls,
            secrets: Secrets::new(&settings.secrets),
            settings,
            changed: Changed::default(),
            sockets: sockets.clone(),
        };
        let snapshot = Snapshot::build(loaded, &workshop, None)?;
        let gateway = Arc::new(Gateway {
            snapshot: ArcSwap::from_pointee(snapshot),
            metrics,
            workshop,
            drain: Drain::default(),
            http_tls: ListenerTls::default(),
            metrics_tls: ListenerTls::default(),
            in_flight: Arc::default(),
            completions: complete::Core::default(),
            reports,
            docs,
            takes_profiles,
            instance: uuid::Uuid::new_v4().to_string(),
            problems: ArcSwap::default(),
            resolving: Mutex::new(None),
        });
        gateway.announce(&gateway.snapshot.load_full());
        Ok(Self { gateway, listeners, sockets })
    }

    /// What requests and listeners share.
    #[must_use]
    pub fn gateway(&self) -> Arc<Gateway> {
        Arc::clone(&self.gateway)
    }

    /// Addresses that the listeners got.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.listeners.addresses
    }

    /// Serves until `stop`, then drains: unready at once, accepting for the grace, then finishing what is under way.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { gateway, listeners, sockets } = self;
        let at = listeners.addresses;
        tracing::info!(http = %at.http, metrics = %at.metrics, control = %at.control, debug = %at.debug, version = env!("CARGO_PKG_VERSION"), "serving");
        let clients = server::clients(Arc::clone(&gateway), listeners.http, layers::serve);
        let clients = AbortOnDropHandle::new(tokio::spawn(clients));
        // These end with the process: they must answer while it drains.
        let _beside = [
            tokio::spawn(server::admin(
                Arc::clone(&gateway),
                listeners.metrics,
                Some(|gateway| &gateway.metrics_tls),
                server::metrics::answer,
            )),
            tokio::spawn(server::admin(
                Arc::clone(&gateway),
                listeners.control,
                None,
                server::control::answer,
            )),
            tokio::spawn(server::admin(Arc::clone(&gateway), listeners.debug, None, server::debug::answer)),
            tokio::spawn(watch::watch(Arc::clone(&gateway))),
            tokio::spawn(server::tls::watch(Arc::clone(&gateway))),
            tokio::spawn(follow_issuers(Arc::clone(&gateway))),
        ]
        .map(AbortOnDropHandle::new);
        stop.await;
        let settings = &gateway.workshop.settings;
        tracing::info!(grace = ?settings.drain_grace, timeout = ?settings.drain_timeout, "draining: not ready any more, still accepting");
        gateway.drain.begin();
        gateway.workshop.changed.notify();
        tokio::time::sleep(settings.drain_grace).await;
        gateway.drain.close();
        match tokio::time::timeout(settings.drain_timeout, clients).await {
            Ok(_) => tracing::info!("every request is finished"),
            Err(_) => {
                let cut = gateway.in_flight.count();
                tracing::warn!(cut, "the drain timeout is over; requests still under way are cut");
                gateway.drain.cut();
            }
        }
        gateway.reports.flush().await;
        if let Err(error) = std::fs::remove_dir_all(&sockets)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(error = %error, folder = %sockets.display(), "sockets of child processes could not be removed");
        }
    }
}

/// Tells of issuers that became known or were lost.
async fn follow_issuers(gateway: Arc<Gateway>) {
    let mut seen = gateway.snapshot.load().issuers();
    loop {
        tokio::time::sleep(ISSUER_INTERVAL).await;
        let now = gateway.snapshot.load().issuers();
        if now != seen {
            seen = now;
            gateway.workshop.changed.notify();
        }
    }
}

impl Listeners {
    async fn bind(settings: &Settings, http: u16, metrics: u16) -> Result<Self, Vec<String>> {
        let http = bind("--listen", "MODELGATE_LISTEN", settings.http_address(http)).await?;
        let metrics =
            bind("--metrics-listen", "MODELGATE_METRICS_LISTEN", settings.metrics_address(metrics)).await?;
        let control = bind("--control-listen", "MODELGATE_CONTROL_LISTEN", settings.control_listen).await?;
        let debug = bind("--debug-listen", "MODELGATE_DEBUG_LISTEN", settings.debug_listen).await?;
        let address = |listener: &TcpListener| listener.local_addr().map_err(|error| vec![error.to_string()]);
        let addresses = Addresses {
            http: address(&http)?,
            metrics: address(&metrics)?,
            control: address(&control)?,
            debug: address(&debug)?,
        };
        Ok(Self { http, metrics, control, debug, addresses })
    }
}

async fn bind(flag: &str, variable: &str, address: SocketAddr) -> Result<TcpListener, Vec<String>> {
    TcpListener::bind(address).await.map_err(|error| {
        vec![format!(
            "cannot listen on {address}: {error}; choose another address by {flag} ADDR:PORT or {variable}"
        )]
    })
}

/// A folder that nobody else can enter.
fn private_folder(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if path.is_dir() {
        // Left behind by a process that had this id before; what is in it is nobody's.
        std::fs::remove_dir_all(path)?;
    }
    std::fs::DirBuilder::new().mode(0o700).create(path)
}

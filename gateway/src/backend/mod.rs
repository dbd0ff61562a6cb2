//! One backend: how it is reached, what is known of it, and the tasks that keep that knowledge fresh. A backend lives
//! across reloads as long as its configuration is the same, so connections, counts and child processes survive them.

pub mod child;
pub mod connect;
pub mod endpoint;
mod fake;
pub mod health;
mod pods;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use modelgate_api::contract::{BackendConfig, SecretFile, Target};
use modelgate_api::state::BackendState;
use tokio_util::task::AbortOnDropHandle;

use crate::backend::child::Child;
use crate::backend::connect::Connector;
use crate::backend::endpoint::{Endpoint, Endpoints};
use crate::backend::fake::Fake;
use crate::backend::health::{Health, Reason};
use crate::dialect::openai::Api;
use crate::error::GatewayError;
use crate::pipeline::body::{RequestBody, UpstreamBody};
use crate::secrets::Secrets;
use crate::series::BackendSeries;
use crate::state::Changed;

/// Idle connections are closed before the servers do it (uvicorn, under vLLM, after 5 s), so none is used as it closes.
const POOL_IDLE: Duration = Duration::from_secs(4);
const POOL_SIZE: usize = 64;
/// How often the file of a credential is read again.
const CREDENTIAL_INTERVAL: Duration = Duration::from_secs(1);

type HttpClient = Client<Connector, RequestBody>;

/// What a backend is made of, besides its configuration.
pub struct Parts {
    /// Its metric series.
    pub series: BackendSeries,
    /// What TLS connections trust.
    pub tls: Arc<rustls::ClientConfig>,
    /// Time for a connection to stand.
    pub connect: Duration,
    /// Where credentials are.
    pub secrets: Secrets,
    /// How to run its engine, for a child process.
    pub child: Option<Child>,
    /// Told when anything of the state document changes.
    pub changed: Changed,
}

/// One backend.
pub struct Backend {
    /// Name of the ModelBackend.
    pub name: String,
    /// Its configuration.
    pub config: BackendConfig,
    /// Its metric series.
    pub series: BackendSeries,
    /// Time for a connection to stand.
    pub connect: Duration,
    /// How its engine is run, for a child process.
    pub child: Option<Child>,
    link: Link,
    health: health::Record,
    credential: Credential,
    in_flight: AtomicU64,
    said: Mutex<Option<String>>,
    changed: Changed,
    tasks: Mutex<Vec<AbortOnDropHandle<()>>>,
}

enum Link {
    Http { client: Box<HttpClient>, endpoints: Endpoints },
    Fake(Box<Fake>),
}

/// The bearer token of a backend, read from its file again and again so that a rotated one needs no restart.
struct Credential {
    file: Option<SecretFile>,
    secrets: Secrets,
    header: ArcSwapOption<HeaderValue>,
    missing: Mutex<Option<String>>,
}

impl Credential {
    fn new(file: Option<SecretFile>, secrets: Secrets) -> Self {
        let credential = Self { file, secrets, header: ArcSwapOption::empty(), missing: Mutex::new(None) };
        credential.refresh();
        credential
    }

    fn refresh(&self) {
        let Some(file) = &self.file else { return };
        let header = self.secrets.read(file).and_then(|token| {
            let mut value =
                HeaderValue::from_bytes(&[b"Bearer ", token.trim_ascii()].concat()).map_err(|_| {
                    format!("{}: holds bytes that no HTTP header may have", self.secrets.path(file).display())
                })?;
            value.set_sensitive(true);
            Ok(value)
        });
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        match header {
            Ok(header) => {
                self.header.store(Some(Arc::new(header)));
                *missing = None;
            }
            Err(why) => {
                self.header.store(None);
                *missing = Some(why);
            }
        }
    }
}

impl Backend {
    /// Makes the backend and starts its tasks, which end with it.
    ///
    /// # Errors
    /// When its address is none.
    pub fn start(name: &str, config: &BackendConfig, parts: Parts) -> Result<Arc<Self>, String> {
        let bad = |error: http::uri::InvalidUri| {
            format!("ModelBackend {name}: its address cannot be used: {error}")
        };
        let host = |guarded| Connector::to_host(Arc::clone(&parts.tls), parts.connect, guarded);
        let mut file = None;
        let link = match &config.target {
            Target::Fake { text, chunks, delay_ms, fail_rate } => {
                Link::Fake(Box::new(Fake::new(&config.model, text, *chunks, *delay_ms, *fail_rate)))
            }
            Target::Pods { .. } => {
                Link::Http { client: client(host(false)), endpoints: Endpoints::default() }
            }
            Target::External { url, credential, .. } => {
                file.clone_from(credential);
                Link::Http {
                    client: client(host(true)),
                    endpoints: Endpoints::fixed(Endpoint::new(url).map_err(bad)?),
                }
            }
            Target::Child { .. } => {
                let socket = parts.child.as_ref().map(|child| child.socket.clone()).unwrap_or_default();
                let endpoint = Endpoint::new("http://engine/v1").map_err(bad)?;
                Link::Http {
                    client: client(Connector::to_socket(socket, parts.connect)),
                    endpoints: Endpoints::fixed(endpoint),
                }
            }
        };
        let backend = Arc::new(Self {
            name: name.into(),
            config: config.clone(),
            series: parts.series,
            connect: parts.connect,
            said: Mutex::new(parts.child.as_ref().map(|_| "the engine is being started".into())),
            child: parts.child,
            link,
            health: health::Record::new(),
            credential: Credential::new(file, parts.secrets),
            in_flight: AtomicU64::new(0),
            changed: parts.changed,
            tasks: Mutex::new(Vec::new()),
        });
        backend.spawn_tasks();
        Ok(backend)
    }

    fn spawn_tasks(self: &Arc<Self>) {
        let weak = Arc::downgrade(self);
        let mut tasks = vec![AbortOnDropHandle::new(tokio::spawn(health::watch(weak.clone())))];
        if let Target::Pods { host, port } = &self.config.target {
            tasks.push(AbortOnDropHandle::new(tokio::spawn(pods::follow(weak.clone(), host.clone(), *port))));
        }
        if let Some(child) = self.child.clone() {
            let weak = weak.clone();
            tasks.push(AbortOnDropHandle::new(tokio::spawn(child.supervise(move |said| {
                if let Some(backend) = weak.upgrade() {
                    *backend.said.lock().unwrap_or_else(PoisonError::into_inner) = Some(said);
                }
            }))));
        }
        if self.credential.file.is_some() {
            tasks.push(AbortOnDropHandle::new(tokio::spawn(async move {
                while let Some(backend) = weak.upgrade() {
                    backend.credential.refresh();
                    drop(backend);
                    tokio::time::sleep(CREDENTIAL_INTERVAL).await;
                }
            })));
        }
        *self.tasks.lock().unwrap_or_else(PoisonError::into_inner) = tasks;
    }

    /// Whether requests may be sent to it.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.health.reason().is_healthy()
    }

    /// What was last found out.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.get()
    }

    fn set_health(&self, reason: Reason, message: String, probed: bool) {
        let was = self.health.reason();
        if was != reason {
            tracing::info!(backend = %self.name, reason = reason.as_str(), message, "health changed");
        }
        self.series.healthy.set(i64::from(reason.is_healthy()));
        if self.health.set(reason, message, probed) {
            self.changed.notify();
        }
    }

    fn set_endpoints(&self, bases: &[String]) {
        if let Link::Http { endpoints, .. } = &self.link
            && endpoints.set(bases)
        {
            tracing::debug!(backend = %self.name, endpoints = bases.len(), "addresses changed");
            self.changed.notify();
        }
    }

    fn endpoint_count(&self) -> usize {
        match &self.link {
            Link::Http { endpoints, .. } => endpoints.count(),
            Link::Fake(_) => 1,
        }
    }

    /// Why the credential cannot be used, if it is asked for and cannot.
    #[must_use]
    pub fn missing_credential(&self) -> Option<String> {
        self.credential.missing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn child_says(&self) -> Option<String> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The address to send to: the least busy, `except` and refused ones last.
    #[must_use]
    pub fn pick(&self, except: Option<&Arc<Endpoint>>) -> Option<Arc<Endpoint>> {
        match &self.link {
            Link::Http { endpoints, .. } => endpoints.pick(except),
            Link::Fake(_) => Endpoint::new("http://fake/v1").ok().map(Arc::new),
        }
    }

    /// A request with the backend's own credential; of the caller's headers only those given.
    #[must_use]
    pub fn request(
        &self,
        endpoint: &Endpoint,
        api: Api,
        body: RequestBody,
        headers: &HeaderMap,
    ) -> Request<RequestBody> {
        let mut request = Request::new(body);
        *request.method_mut() = if api == Api::Models { Method::GET } else { Method::POST };
        *request.uri_mut() = endpoint.uri(api);
        headers.clone_into(request.headers_mut());
        let own = request.headers_mut();
        if api != Api::Models {
            own.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(credential) = self.credential.header.load_full() {
            own.insert(header::AUTHORIZATION, (*credential).clone());
        }
        request
    }

    /// Sends a request and waits for the answer's head.
    ///
    /// # Errors
    /// [`GatewayError::Connect`] when no byte was sent, [`GatewayError::UpstreamBroken`] otherwise.
    pub async fn send(
        &self,
        endpoint: &Endpoint,
        request: Request<RequestBody>,
        api: Api,
        stream: bool,
    ) -> Result<Response<UpstreamBody>, GatewayError> {
        match &self.link {
            Link::Fake(fake) => Ok(fake.answer(api, stream).await),
            Link::Http { client, .. } => match client.request(request).await {
                Ok(response) => Ok(response.map(UpstreamBody::Incoming)),
                Err(error) if error.is_connect() => {
                    endpoint.eject();
                    tracing::debug!(backend = %self.name, error = %error, cause = ?std::error::Error::source(&error).map(ToString::to_string), "no connection");
                    Err(GatewayError::Connect)
                }
                Err(error) => {
                    tracing::warn!(backend = %self.name, error = %error, cause = ?std::error::Error::source(&error).map(ToString::to_string), "the answer broke off before its head");
                    Err(GatewayError::UpstreamBroken)
                }
            },
        }
    }

    /// The backend as the state document shows it.
    #[must_use]
    pub fn state(&self) -> BackendState {
        let health = self.health();
        BackendState {
            name: self.name.clone(),
            healthy: health.reason.is_healthy(),
            reason: health.reason.as_str().into(),
            message: health.message,
            endpoints: u32::try_from(self.endpoint_count()).unwrap_or(u32::MAX),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            held: 0,
            last_probe: health.last_probe.map(crate::state::rfc3339),
        }
    }
}

fn client(connector: Connector) -> Box<HttpClient> {
    let client = Client::builder(TokioExecutor::new())
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(POOL_SIZE)
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .build(connector);
    Box::new(client)
}

/// One request under way: counted at the backend and at the address until dropped.
pub struct Permit {
    backend: Arc<Backend>,
    endpoint: Arc<Endpoint>,
}

impl Permit {
    /// Counts a request in.
    #[must_use]
    pub fn new(backend: Arc<Backend>, endpoint: Arc<Endpoint>) -> Self {
        backend.in_flight.fetch_add(1, Ordering::Relaxed);
        backend.series.in_flight.inc();
        endpoint.begin();
        Self { backend, endpoint }
    }

    /// The backend.
    #[must_use]
    pub fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }

    /// The address.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.backend.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.backend.series.in_flight.dec();
        self.endpoint.end();
    }
}

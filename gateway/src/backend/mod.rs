//! One backend: how it is reached, what is known of it, and the tasks that keep that knowledge fresh. A backend lives
//! across reloads as long as its configuration is the same, so connections, counts and child processes survive them.

pub mod admission;
pub mod child;
pub mod circuit;
mod client;
pub mod connect;
mod credential;
pub mod endpoint;
mod fake;
pub mod health;
mod known;
pub mod measure;
mod permit;
mod pods;
pub mod relay;
mod routed;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use modelgate_api::contract::{BackendConfig, Target};
use modelgate_api::state::BackendState;
use modelgate_api::v1alpha1::Boundary;
use tokio_util::task::AbortOnDropHandle;

pub use permit::Permit;

use crate::backend::admission::Admission;
use crate::backend::child::Child;
use crate::backend::client::{HttpClient, client};
use crate::backend::connect::Connector;
use crate::backend::credential::{Credential, credentials};
use crate::backend::endpoint::{Endpoint, Endpoints};
use crate::backend::fake::Fake;
use crate::backend::health::{Health, Reason};
use crate::backend::known::Known;
use crate::dialect::openai::Api;
use crate::dialect::{Dialect, Wire};
use crate::error::GatewayError;
use crate::outbound::Reach;
use crate::outbound::trust::Trust;
use crate::pipeline::body::{RequestBody, UpstreamBody};
use crate::secrets::Secrets;
use crate::series::BackendSeries;
use crate::state::Changed;

/// What a backend is made of, besides its configuration.
pub struct Parts {
    /// Its metric series.
    pub series: BackendSeries,
    /// What TLS connections trust, where no CA of the backend's own says otherwise.
    pub tls: Arc<rustls::ClientConfig>,
    /// What an address that a user gave may lead to.
    pub reach: Reach,
    /// Where Google's credentials are looked for.
    pub google: crate::google::Environment,
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
    trust: Arc<Trust>,
    known: ArcSwap<Known>,
    /// What a proxy that reads whole addresses is shown.
    proxy_authorization: Option<HeaderValue>,
    proxied: bool,
    admission: Admission,
    in_flight: AtomicU64,
    requests: AtomicU64,
    no_usage_in_streams: AtomicBool,
    said: Mutex<Option<String>>,
    changed: Changed,
    tasks: Mutex<Vec<AbortOnDropHandle<()>>>,
}

enum Link {
    Http { client: Box<HttpClient>, endpoints: Endpoints },
    Fake(Box<Fake>, Arc<Endpoint>),
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
        let (origin, ca) = credentials(&config.target, &parts);
        let trust = Arc::new(Trust::new(&parts.tls, ca, parts.secrets.clone()));
        trust.refresh();
        let host = |reach| Connector::to_host(Arc::clone(&trust), parts.connect, reach);
        let dialect = Dialect::of(&config.target);
        let mut proxy = None;
        let link = match &config.target {
            Target::Fake { text, chunks, delay_ms, fail_rate } => {
                let fake = Fake::new(&config.model, text, *chunks, *delay_ms, *fail_rate);
                Link::Fake(Box::new(fake), Arc::new(Endpoint::new("http://fake/v1", &dialect).map_err(bad)?))
            }
            Target::Pods { .. } => {
                Link::Http { client: client(host(Reach::Own), false), endpoints: Endpoints::of(&dialect) }
            }
            Target::External { url, h2c, .. } => {
                let endpoint = Endpoint::new(url, &dialect).map_err(bad)?;
                proxy = endpoint.proxy(&parts.reach);
                Link::Http {
                    client: client(host(parts.reach.clone()), *h2c),
                    endpoints: Endpoints::fixed(endpoint),
                }
            }
            Target::Child { .. } => {
                let socket = parts.child.as_ref().map(|child| child.socket.clone()).unwrap_or_default();
                let endpoint = Endpoint::new("http://engine/v1", &dialect).map_err(bad)?;
                Link::Http {
                    client: client(Connector::to_socket(socket, parts.connect), false),
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
            credential: Credential::new(origin),
            trust,
            known: ArcSwap::from_pointee(Known::of(dialect)),
            proxied: proxy.is_some(),
            proxy_authorization: proxy
                .filter(|(secure, _)| !secure)
                .and_then(|(_, proxy)| proxy.authorization),
            admission: Admission::new(config.admission),
            in_flight: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            no_usage_in_streams: AtomicBool::new(false),
            changed: parts.changed,
            tasks: Mutex::new(Vec::new()),
        });
        backend.spawn_tasks();
        Ok(backend)
    }

    fn spawn_tasks(self: &Arc<Self>) {
        let weak = Arc::downgrade(self);
        let mut tasks = vec![AbortOnDropHandle::new(tokio::spawn(health::watch(weak.clone())))];
        if let Target::Pods { host, port, .. } = &self.config.target {
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
        if matches!(&self.config.target, Target::External { .. }) {
            tasks.push(AbortOnDropHandle::new(tokio::spawn(credential::watch(weak))));
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
            if !bases.is_empty() {
                self.admission.woke();
            }
            tracing::debug!(backend = %self.name, endpoints = bases.len(), "addresses changed");
            self.changed.notify();
        }
    }

    /// How many addresses are known.
    #[must_use]
    pub fn endpoint_count(&self) -> usize {
        match &self.link {
            Link::Http { endpoints, .. } => endpoints.count(),
            Link::Fake(..) => 1,
        }
    }

    /// Why the credential cannot be used, if it is asked for and cannot.
    #[must_use]
    pub fn missing_credential(&self) -> Option<String> {
        self.credential.missing().or_else(|| self.trust.missing())
    }

    /// Whether nothing is known of its health yet, or its engine is being started.
    #[must_use]
    pub fn is_starting(&self) -> bool {
        self.health.reason() == Reason::Starting
    }

    /// Which side of the data boundary it is on: outside too when a proxy leads there, whatever the configuration says, since
    /// nobody here knows where the proxy sends what it is given.
    #[must_use]
    pub fn boundary(&self) -> Boundary {
        if self.proxied { Boundary::Outside } else { self.config.boundary }
    }

    fn child_says(&self) -> Option<String> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A request of OpenAI's that passes through, with the backend's own credential; of the caller's headers only those
    /// given.
    ///
    /// # Errors
    /// [`GatewayError::BadRequest`] when the server has no such path.
    pub fn request(
        &self,
        endpoint: &Endpoint,
        api: Api,
        body: RequestBody,
        headers: &HeaderMap,
    ) -> Result<Request<RequestBody>, GatewayError> {
        let uri = endpoint.uri(api).ok_or_else(|| {
            GatewayError::BadRequest(format!(
                "the model's server ({}) has no {}",
                self.dialect().as_str(),
                api.path()
            ))
        })?;
        let method = if api == Api::Models { Method::GET } else { Method::POST };
        Ok(self.with_own(method, uri, body, headers))
    }

    /// A request in the server's own dialect.
    ///
    /// # Errors
    /// [`GatewayError::Internal`] when its path is no part of an address, which no dialect writes.
    pub fn ask(
        &self,
        endpoint: &Endpoint,
        wire: Wire,
        headers: &HeaderMap,
    ) -> Result<Request<RequestBody>, GatewayError> {
        let uri = endpoint.uri_of(&wire.path).ok_or(GatewayError::Internal)?;
        Ok(self.with_own(wire.method, uri, RequestBody::whole(wire.body), headers))
    }

    fn with_own(
        &self,
        method: Method,
        uri: Uri,
        body: RequestBody,
        headers: &HeaderMap,
    ) -> Request<RequestBody> {
        let mut request = Request::new(body);
        headers.clone_into(request.headers_mut());
        let own = request.headers_mut();
        if method == Method::POST {
            own.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(credential) = self.credential.header() {
            own.insert(header::AUTHORIZATION, (*credential).clone());
        }
        if let Some(authorization) = &self.proxy_authorization {
            own.insert(header::PROXY_AUTHORIZATION, authorization.clone());
        }
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        request
    }

    /// Sends a request and waits for the answer's head.
    ///
    /// # Errors
    /// [`GatewayError::Connect`] when no byte was sent, [`GatewayError::UpstreamBroken`] otherwise.
    pub async fn send(
        &self,
        request: Request<RequestBody>,
        api: Api,
        stream: bool,
    ) -> Result<Response<UpstreamBody>, GatewayError> {
        match &self.link {
            Link::Fake(fake, _) => Ok(fake.answer(api, stream).await),
            Link::Http { client, .. } => match client.request(request).await {
                Ok(response) => {
                    if response.status() == StatusCode::UNAUTHORIZED {
                        self.credential.was_refused();
                    }
                    Ok(response.map(UpstreamBody::Incoming))
                }
                Err(error) if error.is_connect() => {
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
            requests: self.requests.load(Ordering::Relaxed),
            held: self.admission.held(),
            demand: self.admission.demand(),
            last_probe: health.last_probe.map(crate::state::rfc3339),
            dialect: self.known.load().report.clone(),
        }
    }
}

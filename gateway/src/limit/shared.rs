//! Counts that the gateway's pods share in Redis. Each decision is one script, so it is atomic for all pods. A request
//! waits for Redis for [`TIMEOUT`] at most; after a failure Redis is left alone for [`PAUSE`] and each pod counts for itself.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use modelgate_api::contract::{RedisConfig, SecretFile};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::sync::Semaphore;

use super::redis::{Address, Connection, Stream, Value};
use super::{Charge, Denied};
use crate::metrics::Metrics;
use crate::outbound::Reach;
use crate::secrets::Secrets;

/// Longest time that a request waits for Redis, connecting included.
const TIMEOUT: Duration = Duration::from_millis(100);
/// Time for which Redis is left alone after a failure.
const PAUSE: Duration = Duration::from_secs(1);
/// Connections at once.
const CONNECTIONS: usize = 32;
/// A place that a pod took and never gave back is free again this long after the longest time of a route.
const LEASE_SLACK_MS: u64 = 30_000;

const TAKE: &str = include_str!("take.lua");
const SETTLE: &str = include_str!("settle.lua");

/// The shared counts.
pub struct Shared {
    url: SecretFile,
    ca: Option<SecretFile>,
    secrets: Secrets,
    reach: Reach,
    metrics: Arc<Metrics>,
    lease_ms: u64,
    idle: Mutex<Vec<Connection>>,
    slots: Semaphore,
    epoch: Instant,
    /// Milliseconds of `epoch` until which Redis is left alone.
    resting_until: AtomicU64,
    up: AtomicBool,
    take: Script,
    settle: Script,
    /// Tells the leases of this process from those of others.
    instance: String,
    leases: AtomicU64,
}

struct Script {
    text: &'static str,
    sha1: Mutex<Option<String>>,
}

impl Script {
    fn new(text: &'static str) -> Self {
        Self { text, sha1: Mutex::default() }
    }
}

impl Shared {
    pub(super) fn new(
        redis: &RedisConfig,
        secrets: &Secrets,
        reach: &Reach,
        metrics: Arc<Metrics>,
        longest_ms: u64,
    ) -> Self {
        metrics.limit_store_up.set(1);
        Self {
            url: redis.url.clone(),
            ca: redis.ca.clone(),
            secrets: secrets.clone(),
            reach: reach.clone(),
            metrics,
            lease_ms: longest_ms.saturating_add(LEASE_SLACK_MS),
            idle: Mutex::default(),
            slots: Semaphore::new(CONNECTIONS),
            epoch: Instant::now(),
            resting_until: AtomicU64::new(0),
            up: AtomicBool::new(true),
            take: Script::new(TAKE),
            settle: Script::new(SETTLE),
            instance: uuid::Uuid::new_v4().simple().to_string(),
            leases: AtomicU64::new(0),
        }
    }

    /// Takes every charge or none, with the id of the places taken; `None` when Redis cannot be asked.
    pub(super) async fn take(&self, charges: &[Charge]) -> Option<(Result<Vec<u32>, Denied>, String)> {
        if !self.may_try() {
            return None;
        }
        let number = self.leases.fetch_add(1, Ordering::Relaxed);
        let lease = format!("{}-{number}", self.instance);
        let mut arguments = vec![self.lease_ms.to_string(), lease.clone()];
        for charge in charges {
            arguments.extend([
                charge.kind.as_str().into(),
                charge.limit.to_string(),
                charge.cost.to_string(),
            ]);
        }
        let answer = self.run(&self.take, charges, &arguments).await?;
        Some((answer_of(&answer)?, lease))
    }

    /// The request is over. Nobody waits for this; where it does not reach Redis, the lease ends by itself.
    pub(super) fn settle(self: &Arc<Self>, charges: Vec<Charge>, owed: f64, lease: String) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let shared = Arc::clone(self);
        runtime.spawn(async move {
            if shared.is_resting() {
                return;
            }
            let mut arguments = vec![owed.to_string(), lease];
            for charge in &charges {
                arguments.extend([charge.kind.as_str().to_owned(), charge.limit.to_string()]);
            }
            let _failed_and_told = shared.run(&shared.settle, &charges, &arguments).await;
        });
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn is_resting(&self) -> bool {
        self.now_ms() < self.resting_until.load(Ordering::Relaxed)
    }

    /// While Redis is down, one request in each pause finds out whether it is back; the others do not wait for it.
    fn may_try(&self) -> bool {
        if self.up.load(Ordering::Relaxed) {
            return true;
        }
        let (now, until) = (self.now_ms(), self.resting_until.load(Ordering::Relaxed));
        let next = now + u64::try_from(PAUSE.as_millis()).unwrap_or(1000);
        now >= until
            && self.resting_until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    async fn run(&self, script: &Script, charges: &[Charge], arguments: &[String]) -> Option<Value> {
        let result = match tokio::time::timeout(TIMEOUT, self.evaluate(script, charges, arguments)).await {
            Ok(result) => result,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")),
        };
        match result {
            Ok(value) => {
                if !self.up.swap(true, Ordering::Relaxed) {
                    tracing::info!("Redis answers again; limits are shared between the gateway's pods");
                }
                self.metrics.limit_store_up.set(1);
                Some(value)
            }
            Err(error) => {
                self.metrics.limit_store_failures.inc();
                self.metrics.limit_store_up.set(0);
                let pause = u64::try_from(PAUSE.as_millis()).unwrap_or(1000);
                self.resting_until.store(self.now_ms() + pause, Ordering::Relaxed);
                if self.up.swap(false, Ordering::Relaxed) {
                    tracing::error!(%error, "Redis cannot be asked; until it can, each of the gateway's pods applies the limits by itself");
                }
                // Connections of before may be as dead as this one.
                self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
                None
            }
        }
    }

    async fn evaluate(&self, script: &Script, charges: &[Charge], arguments: &[String]) -> io::Result<Value> {
        let _slot = self.slots.acquire().await.map_err(io::Error::other)?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        // One hash slot, so that a script may touch all of them in a Redis Cluster too.
        let keys: Vec<String> =
            charges.iter().map(|charge| format!("{{modelgate}}:{}", charge.key)).collect();
        let sha1 = script.sha1.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut answer = match &sha1 {
            Some(sha1) => call(&mut connection, "EVALSHA", sha1, &keys, arguments).await?,
            None => Value::Error("NOSCRIPT".into()),
        };
        if matches!(&answer, Value::Error(why) if why.starts_with("NOSCRIPT")) {
            // Not loaded yet, or Redis started anew.
            let loaded = connection.call(&[b"SCRIPT", b"LOAD", script.text.as_bytes()]).await?;
            let Value::Bulk(Some(sha1)) = loaded else {
                return Err(io::Error::other("the script was not taken"));
            };
            let sha1 = String::from_utf8_lossy(&sha1).into_owned();
            answer = call(&mut connection, "EVALSHA", &sha1, &keys, arguments).await?;
            *script.sha1.lock().unwrap_or_else(PoisonError::into_inner) = Some(sha1);
        }
        if let Value::Error(why) = answer {
            return Err(io::Error::other(why));
        }
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(answer)
    }

    async fn connect(&self) -> io::Result<Connection> {
        let text = self.secrets.read(&self.url).map_err(io::Error::other)?;
        let address = Address::parse(&String::from_utf8_lossy(&text)).map_err(io::Error::other)?;
        // A tunnel is for what it cannot read; plain Redis is nothing that a proxy for HTTP could forward.
        let reach = if address.tls { self.reach.clone() } else { self.reach.direct() };
        let tcp = reach.open(address.tls, &address.host, address.port).await?;
        let stream: Box<dyn Stream> = if address.tls {
            let name = ServerName::try_from(address.host.clone()).map_err(io::Error::other)?;
            let connector = tokio_rustls::TlsConnector::from(self.tls()?);
            Box::new(connector.connect(name, tcp).await?)
        } else {
            Box::new(tcp)
        };
        Connection::open(stream, &address).await
    }

    fn tls(&self) -> io::Result<Arc<rustls::ClientConfig>> {
        let Some(ca) = &self.ca else {
            return crate::outbound::trust::system().map_err(io::Error::other);
        };
        let pem = self.secrets.read(ca).map_err(io::Error::other)?;
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
        }
        let provider = rustls::crypto::ring::default_provider().into();
        let builder = rustls::ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
        Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
    }
}

async fn call(
    connection: &mut Connection,
    command: &str,
    sha1: &str,
    keys: &[String],
    arguments: &[String],
) -> io::Result<Value> {
    let count = keys.len().to_string();
    let head = [command.as_bytes(), sha1.as_bytes(), count.as_bytes()];
    let rest = keys.iter().chain(arguments).map(|part| part.as_bytes());
    connection.call(&head.into_iter().chain(rest).collect::<Vec<_>>()).await
}

/// What `take.lua` says.
fn answer_of(value: &Value) -> Option<Result<Vec<u32>, Denied>> {
    let Value::List(items) = value else { return None };
    let number = |item: &Value| if let Value::Integer(number) = item { Some(*number) } else { None };
    let (first, rest) = items.split_first()?;
    let first = usize::try_from(number(first)?).ok()?;
    if first == 0 {
        let left = rest.iter().map(|item| u32::try_from(number(item)?).ok());
        return Some(Ok(left.collect::<Option<_>>()?));
    }
    let wait = number(rest.first()?)?;
    Some(Err(Denied { index: first - 1, wait: u64::try_from(wait).ok().map(Duration::from_millis) }))
}

//! Traces, and usage records as log records, by OTLP over HTTP. A request costs one attempt to put it on a bounded queue;
//! a task of its own makes batches and sends them. What cannot be delivered is dropped and counted.

mod context;
mod otlp;
pub mod settings;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::outbound::Reach;
use crate::outbound::fetch::Fetcher;
use crate::outbound::trust::Trust;
use crate::server::summary::Summary;
use crate::usage;
pub use context::Context;
use settings::{OtlpSettings, Sampler};

/// Requests that may wait to be exported.
const QUEUE: usize = 4096;
/// Requests in one export.
const BATCH: usize = 512;
/// Longest wait for a batch to fill.
const DELAY: Duration = Duration::from_secs(1);
/// Attempts for a batch, with growing pauses between them.
const ATTEMPTS: u32 = 3;
/// How long the end of the process waits for what is on the queue.
const FLUSH: Duration = Duration::from_secs(5);

enum Item {
    Request(Arc<Summary>),
    Flush(oneshot::Sender<()>),
}

/// A way in.
pub struct Exporter {
    queue: mpsc::Sender<Item>,
    sampler: Option<Sampler>,
    logs: bool,
    dropped: Arc<AtomicU64>,
}

impl Exporter {
    /// Starts the task that exports to where `reach` leads.
    #[must_use]
    pub fn start(settings: OtlpSettings, tls: &rustls::ClientConfig, reach: Reach) -> Self {
        let client = Fetcher::new(reach, Arc::new(Trust::fixed(tls))).within(settings.timeout);
        let (queue, items) = mpsc::channel(QUEUE);
        let dropped = Arc::<AtomicU64>::default();
        let exporter = Self {
            queue,
            sampler: settings.traces.is_some().then_some(settings.sampler),
            logs: settings.logs.is_some(),
            dropped: Arc::clone(&dropped),
        };
        tokio::spawn(Task { settings, client, dropped }.run(items));
        exporter
    }

    /// The place of a request in a trace, when traces are exported.
    #[must_use]
    pub fn context(&self, headers: &http::HeaderMap) -> Option<Context> {
        self.sampler.map(|sampler| Context::of(headers, sampler, rand::random()))
    }

    /// Takes a request that has ended, if anything of it is exported.
    pub fn take(&self, request: &Arc<Summary>) {
        let traced = request.trace.is_some_and(|context| context.sampled);
        let logged = self.logs && usage::is_due(request);
        if (traced || logged) && self.queue.try_send(Item::Request(Arc::clone(request))).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Requests that could not be exported since this was last asked.
    #[must_use]
    pub fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }

    /// Waits, for a limited time, until what was taken is delivered.
    pub async fn flush(&self) {
        let (done, delivered) = oneshot::channel();
        if self.queue.try_send(Item::Flush(done)).is_ok() {
            // A collector that does not answer keeps no process from ending.
            let _late = tokio::time::timeout(FLUSH, delivered).await;
        }
    }
}

struct Task {
    settings: OtlpSettings,
    client: Fetcher,
    dropped: Arc<AtomicU64>,
}

impl Task {
    async fn run(self, mut items: mpsc::Receiver<Item>) {
        let mut reachable = true;
        while let Some(first) = items.recv().await {
            let (mut batch, mut waiting) = (Vec::new(), None);
            let full = tokio::time::sleep(DELAY);
            tokio::pin!(full);
            let mut next = Some(first);
            loop {
                match next {
                    Some(Item::Request(request)) => batch.push(request),
                    Some(Item::Flush(done)) => waiting = Some(done),
                    None => break,
                }
                if waiting.is_some() || batch.len() >= BATCH {
                    break;
                }
                next = tokio::select! {
                    item = items.recv() => item,
                    () = full.as_mut() => None,
                };
            }
            let outcome = self.export(&batch).await;
            if let Err(why) = &outcome {
                self.dropped.fetch_add(batch.len() as u64, Ordering::Relaxed);
                if reachable {
                    tracing::warn!(error = %why, "telemetry could not be exported; what is missing is counted in modelgate_otlp_dropped_total");
                }
            }
            reachable = outcome.is_ok();
            if let Some(done) = waiting {
                // Whoever waited may have given up.
                let _gone = done.send(());
            }
        }
    }

    async fn export(&self, batch: &[Arc<Summary>]) -> Result<(), String> {
        let resource = &self.settings.resource;
        let all = || batch.iter().map(|request| &**request);
        if let Some(address) = &self.settings.traces {
            let sampled = || all().filter(|request| request.trace.is_some_and(|context| context.sampled));
            if sampled().next().is_some() {
                self.post(address, &otlp::traces(resource, sampled())).await?;
            }
        }
        if let Some(address) = &self.settings.logs {
            let due = || all().filter(|request| usage::is_due(request));
            if due().next().is_some() {
                self.post(address, &otlp::logs(resource, due())).await?;
            }
        }
        Ok(())
    }

    async fn post(&self, address: &str, body: &Value) -> Result<(), String> {
        let body = Bytes::from(body.to_string());
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in &self.settings.headers {
            let pair = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value));
            if let (Ok(name), Ok(value)) = pair {
                headers.insert(name, value);
            }
        }
        let mut pause = Duration::from_millis(500);
        for attempt in 1.. {
            let why = match self.client.send(Method::POST, address, headers.clone(), body.clone()).await {
                Ok(answer) if answer.status.is_success() => return Ok(()),
                // OTLP names the statuses that may be tried again; any other means that the batch is refused.
                Ok(answer) if !matches!(answer.status.as_u16(), 429 | 502 | 503 | 504) => {
                    return Err(format!("{address} answered {}", answer.status));
                }
                Ok(answer) => format!("{address} answered {}", answer.status),
                Err(why) => why,
            };
            if attempt >= ATTEMPTS {
                return Err(why);
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Ok(())
    }
}

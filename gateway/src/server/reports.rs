//! To whom a request that has ended is told: the access log, the usage log and the history for `/debug/requests`.

use std::sync::Arc;

use http::HeaderMap;

use super::history::History;
use super::summary::Summary;
use crate::args::Settings;
use crate::outbound::Reach;
use crate::telemetry::sink::{Line, Sink};
use crate::trace::{Context, Exporter};
use crate::{telemetry, usage};

/// The listeners.
#[derive(Default)]
pub struct Reports {
    /// Requests that ended last.
    pub history: History,
    usage: Option<Sink>,
    otlp: Option<Exporter>,
}

struct UsageLine(Arc<Summary>);

impl Line for UsageLine {
    fn append(&self, to: &mut Vec<u8>) {
        // Serialising plain values does not fail.
        let _infallible = serde_json::to_writer(&mut *to, &usage::record(&self.0));
        to.push(b'\n');
    }
}

impl Reports {
    /// Opens what the settings ask for.
    ///
    /// # Errors
    /// When the usage log cannot be opened or nothing be exported, naming flag or variable.
    pub fn open(settings: &Settings, tls: &rustls::ClientConfig) -> Result<Self, String> {
        let open = |to| Sink::open(to).map_err(|error| format!("--usage-log: {to:?}: {error}"));
        // The collector's address comes from the environment, from whoever runs the process: it may stand beside it.
        let reach = Reach::Named { in_cluster: false, proxies: Arc::clone(&settings.proxies) };
        let otlp = settings.otlp.clone().map(|otlp| Exporter::start(otlp, tls, reach));
        Ok(Self {
            history: History::default(),
            usage: settings.usage_log.as_ref().map(open).transpose()?,
            otlp,
        })
    }

    /// Tells everyone.
    pub fn tell(&self, summary: Summary) {
        let summary = Arc::new(summary);
        telemetry::access(&summary);
        if let Some(log) = self.usage.as_ref().filter(|_| usage::is_due(&summary)) {
            log.send(UsageLine(Arc::clone(&summary)));
        }
        if let Some(otlp) = &self.otlp {
            otlp.take(&summary);
        }
        self.history.push(summary);
    }

    /// The place of a request in a trace, when traces are exported.
    #[must_use]
    pub fn trace(&self, headers: &HeaderMap) -> Option<Context> {
        self.otlp.as_ref().and_then(|otlp| otlp.context(headers))
    }

    /// Requests that could not be exported since this was last asked.
    #[must_use]
    pub fn take_dropped_otlp(&self) -> u64 {
        self.otlp.as_ref().map_or(0, Exporter::take_dropped)
    }

    /// Usage records that found no room since this was last asked.
    #[must_use]
    pub fn take_dropped_usage(&self) -> u64 {
        self.usage.as_ref().map_or(0, Sink::take_dropped)
    }

    /// Waits, for a limited time, until everything is written.
    pub async fn flush(&self) {
        if let Some(log) = &self.usage {
            log.flush();
        }
        if let Some(otlp) = &self.otlp {
            otlp.flush().await;
        }
    }
}

//! Every metric family of the gateway, its labels and buckets. Labels come from the configuration or from the enums
//! here, never from a request; handles are resolved when a snapshot is built, never looked up for a request.

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use crate::complete::Measures;
use crate::error::AuthFailure;
use crate::gitlab::SuggestionSeries;
use crate::routing::series::Families;
use crate::series::HttpSeries;
use crate::server::facts::{Phase, Phases};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered to the end.
    Success,
    /// The request was wrong.
    ClientError,
    /// Nobody was let in.
    AuthFailed,
    /// Turned away because the gateway was full.
    Shed,
    /// Turned away by a limit of the caller, project or model.
    Limited,
    /// A time limit passed.
    Timeout,
    /// The backend failed.
    UpstreamError,
    /// The gateway failed.
    InternalError,
    /// The answer broke off.
    Truncated,
    /// The client went away, or asked for something newer.
    Canceled,
    /// The time for the whole was over; what was clean by then was answered.
    Deadline,
    /// The model answered, and nothing of it could be offered.
    Empty,
}

impl Outcome {
    /// Every outcome, in the order of [`Outcome::index`].
    pub const ALL: [Self; 12] = [
        Self::Success,
        Self::ClientError,
        Self::AuthFailed,
        Self::Shed,
        Self::Limited,
        Self::Timeout,
        Self::UpstreamError,
        Self::InternalError,
        Self::Truncated,
        Self::Canceled,
        Self::Deadline,
        Self::Empty,
    ];

    /// Label value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::ClientError => "client_error",
            Self::AuthFailed => "auth_failed",
            Self::Shed => "shed",
            Self::Limited => "limited",
            Self::Timeout => "timeout",
            Self::UpstreamError => "upstream_error",
            Self::InternalError => "internal_error",
            Self::Truncated => "truncated",
            Self::Canceled => "canceled",
            Self::Deadline => "deadline",
            Self::Empty => "empty",
        }
    }

    /// Position in [`Outcome::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// GitLab's code completion.
    CodeCompletion,
    /// OpenAI's text completion.
    TextCompletion,
    /// OpenAI's chat.
    Chat,
    /// OpenAI's embeddings.
    Embeddings,
}

impl Operation {
    /// Every operation, in the order of [`Operation::index`].
    pub const ALL: [Self; 4] = [Self::CodeCompletion, Self::TextCompletion, Self::Chat, Self::Embeddings];

    /// Label value; the names of OpenTelemetry where it has one.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CodeCompletion => "code_completion",
            Self::TextCompletion => "text_completion",
            Self::Chat => "chat",
            Self::Embeddings => "embeddings",
        }
    }

    /// Position in [`Operation::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }
}

const HTTP_BUCKETS: [f64; 17] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];
// OpenTelemetry's advice for gen_ai durations, with 0.5, 1, 5, 10, 30, 60, 120 and 300 added for objectives.
const DURATION_BUCKETS: [f64; 20] = [
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.64, 1.0, 1.28, 2.56, 5.0, 5.12, 10.0, 10.24, 20.48, 30.0,
    60.0, 120.0, 300.0,
];
const FIRST_TOKEN_BUCKETS: [f64; 19] = [
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 15.0, 20.0,
    30.0,
];

// From what a lookup takes to what a model does.
const PHASE_BUCKETS: [f64; 14] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0,
];

/// The families of requests to backends.
pub(crate) struct PerBackend {
    pub(crate) requests: IntCounterVec,
    pub(crate) tokens: IntCounterVec,
    pub(crate) in_flight: IntGaugeVec,
    pub(crate) healthy: IntGaugeVec,
    pub(crate) duration: HistogramVec,
    pub(crate) first_token: HistogramVec,
    pub(crate) routing: Families,
}

/// The families, registered once for the process.
pub struct Metrics {
    registry: Registry,
    pub(crate) per_backend: PerBackend,
    /// Per handler and status, resolved when first seen.
    pub http: HttpSeries,
    phases: [Histogram; Phase::ALL.len()],
    auth_failures: IntCounterVec,
    /// Whether the newest configuration is in force.
    pub reload_successful: IntGauge,
    config_info: IntGaugeVec,
    /// Connections closed at once because too many were open.
    pub connections_shed: IntCounter,
    /// What clients tell about earlier suggestions.
    pub suggestions: SuggestionSeries,
    /// Requests turned away, by limit and kind.
    pub(crate) limited: IntCounterVec,
    /// Whether limits are counted in Redis, where they should be.
    pub(crate) limit_store_up: IntGauge,
    /// Questions to Redis that failed.
    pub(crate) limit_store_failures: IntCounter,
    lines_dropped: [IntCounter; 2],
    otlp_dropped: IntCounter,
    /// The completion core's own.
    pub completion: Measures,
}

type Made<F> = Result<F, prometheus::Error>;

impl PerBackend {
    fn new(registry: &Registry) -> Made<Self> {
        let target = ["gateway", "model", "backend"];
        let outcome = ["gateway", "model", "backend", "operation", "outcome"];
        let operation = ["gateway", "model", "backend", "gen_ai_operation_name"];
        let kind = ["gateway", "model", "backend", "type"];
        let requests = ("modelgate_requests_total", "Requests for a model, counted once when they end.");
        let tokens = ("modelgate_tokens_total", "Tokens that backends reported, by type.");
        let in_flight = ("modelgate_requests_in_flight", "Requests under way at a backend.");
        let healthy = ("modelgate_backend_healthy", "1 when the backend's last probe passed.");
        let duration = (
            "gen_ai_server_request_duration_seconds",
            "Time from a request's head to the end of its answer.",
        );
        let first_token = (
            "gen_ai_server_time_to_first_token_seconds",
            "Time from a request's head to the first piece of its answer.",
        );
        Ok(Self {
            requests: counters(registry, requests, &outcome)?,
            tokens: counters(registry, tokens, &kind)?,
            in_flight: gauges(registry, in_flight, &target)?,
            healthy: gauges(registry, healthy, &target)?,
            duration: histograms(registry, duration, &operation, &DURATION_BUCKETS)?,
            first_token: histograms(registry, first_token, &target, &FIRST_TOKEN_BUCKETS)?,
            routing: Families::new(registry)?,
        })
    }
}

impl Metrics {
    /// Registers every family.
    ///
    /// # Errors
    /// When two families have one name, which is a mistake of this file.
    pub fn new() -> Made<Self> {
        let registry = Registry::new();
        let http = ["method", "handler", "status"];
        let requests = ("http_requests_total", "HTTP requests answered on the client listener.");
        let duration =
            ("http_request_duration_seconds", "Time from a request's head to the end of its answer.");
        let requests = counters(&registry, requests, &http)?;
        let duration = histograms(&registry, duration, &http, &HTTP_BUCKETS)?;
        let auth = ("modelgate_auth_failures_total", "Requests whose caller was not let in, by reason.");
        let auth_failures = counters(&registry, auth, &["reason"])?;
        for reason in AuthFailure::LABELS {
            auth_failures.with_label_values(&[reason]);
        }
        let build = ("modelgate_build_info", "Always 1; its label tells the version.");
        gauges(&registry, build, &["version"])?.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let reload =
            ("modelgate_config_last_reload_successful", "1 when the newest configuration is in force.");
        let info =
            ("modelgate_config_info", "Always 1; its label is the hash of the configuration in force.");
        let limited =
            ("modelgate_limited_requests_total", "Requests turned away by a limit, by its name and kind.");
        let store = (
            "modelgate_limit_store_up",
            "1 while counts of limits are shared in Redis, 0 while each pod counts by itself.",
        );
        let failures =
            ("modelgate_limit_store_failures_total", "Questions to Redis that failed or took too long.");
        let shed =
            ("modelgate_connections_shed_total", "Connections closed at once because too many were open.");
        let dropped = ("modelgate_log_lines_dropped_total", "Lines that a log had no room for, by log.");
        let dropped = counters(&registry, dropped, &["log"])?;
        let otlp = (
            "modelgate_otlp_dropped_total",
            "Requests that could not be exported by OpenTelemetry's protocol.",
        );
        Ok(Self {
            otlp_dropped: register(&registry, IntCounter::new(otlp.0, otlp.1)?)?,
            lines_dropped: ["log", "usage"].map(|log| dropped.with_label_values(&[log])),
            per_backend: PerBackend::new(&registry)?,
            http: HttpSeries::new(requests, duration),
            phases: phases(&registry)?,
            auth_failures,
            reload_successful: register(&registry, IntGauge::new(reload.0, reload.1)?)?,
            config_info: gauges(&registry, info, &["hash"])?,
            suggestions: suggestions(&registry)?,
            limited: counters(&registry, limited, &["limit", "kind"])?,
            limit_store_up: register(&registry, IntGauge::new(store.0, store.1)?)?,
            limit_store_failures: register(&registry, IntCounter::new(failures.0, failures.1)?)?,
            completion: Measures::new(&registry)?,
            connections_shed: register(&registry, IntCounter::new(shed.0, shed.1)?)?,
            registry,
        }
        .with_process())
    }

    fn with_process(self) -> Self {
        #[cfg(target_os = "linux")]
        if let Err(error) =
            self.registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
        {
            tracing::warn!(error = %error, "process metrics are not available");
        }
        self
    }

    /// Counts where the time of a request for a model went.
    pub fn observe_phases(&self, phases: &Phases) {
        for (phase, spent) in phases.iter() {
            if let Some(histogram) = self.phases.get(phase as usize) {
                histogram.observe(spent.as_secs_f64());
            }
        }
    }

    /// Counts a caller that was not let in.
    pub fn count_auth_failure(&self, failure: AuthFailure) {
        self.auth_failures.with_label_values(&[failure.as_str()]).inc();
    }

    /// Tells which configuration is in force.
    pub fn set_config(&self, hash: &str) {
        self.config_info.reset();
        self.config_info.with_label_values(&[hash]).set(1);
    }

    /// Counts lines that the log and the usage log had no room for, and requests that could not be exported.
    pub fn count_dropped(&self, log: u64, usage: u64, otlp: u64) {
        self.otlp_dropped.inc_by(otlp);
        let [of_log, of_usage] = &self.lines_dropped;
        of_log.inc_by(log);
        of_usage.inc_by(usage);
    }

    /// The text format that Prometheus reads.
    ///
    /// # Errors
    /// When a family cannot be written, which no family of this file makes happen.
    pub fn encode(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::with_capacity(64 * 1024);
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

fn phases(registry: &Registry) -> Made<[Histogram; Phase::ALL.len()]> {
    let name = ("modelgate_request_phase_seconds", "Time of requests for a model by where it went.");
    let family = histograms(registry, name, &["phase"], &PHASE_BUCKETS)?;
    Ok(Phase::ALL.map(|phase| family.with_label_values(&[phase.as_str()])))
}

fn suggestions(registry: &Registry) -> Made<SuggestionSeries> {
    let family = |name, help| {
        let family = counters(registry, (name, help), &SuggestionSeries::LABELS)?;
        // There from the start, so that a rate begins at 0 and not at the first client.
        family.with_label_values(&["none", "none", "none"]);
        Ok::<_, prometheus::Error>(family)
    };
    Ok(SuggestionSeries {
        requests: family("code_suggestions_requests_total", "Suggestions that clients say they asked for.")?,
        accepts: family("code_suggestions_accepts_total", "Suggestions that clients say were accepted.")?,
        errors: family("code_suggestions_errors_total", "Requests for suggestions that clients say failed.")?,
    })
}

type Named = (&'static str, &'static str);

fn counters(registry: &Registry, (name, help): Named, labels: &[&str]) -> Made<IntCounterVec> {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
}

fn gauges(registry: &Registry, (name, help): Named, labels: &[&str]) -> Made<IntGaugeVec> {
    register(registry, IntGaugeVec::new(Opts::new(name, help), labels)?)
}

fn histograms(
    registry: &Registry,
    (name, help): Named,
    labels: &[&str],
    buckets: &[f64],
) -> Made<HistogramVec> {
    register(registry, HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)?)
}

fn register<C: prometheus::core::Collector + Clone + 'static>(registry: &Registry, family: C) -> Made<C> {
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

/// Histogram and counter of one handler and status.
pub(crate) type HttpCell = (IntCounter, Histogram);

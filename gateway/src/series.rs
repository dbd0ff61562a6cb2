//! Handles of metric series, resolved before requests come: per backend when a snapshot is built, per handler and status
//! when first seen (both sets are closed).

use std::sync::OnceLock;
use std::time::Duration;

use http::{Method, StatusCode};
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge};

use crate::metrics::{HttpCell, Metrics, Operation, Outcome};
use crate::routing::series::Series;

/// Which path template a request matched; the label `handler`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handler {
    /// `POST /completions`, the address of the editors of 2023.
    GitlabRoot,
    /// `POST /v2/completions`.
    GitlabCompletions,
    /// `POST /v2/code/completions`.
    GitlabCodeCompletions,
    /// `POST /v2/code/generations`.
    GitlabGenerations,
    /// `POST /v2/experimental/code/completions`.
    GitlabExperimental,
    /// `POST /v3/code/completions`.
    GitlabComponents,
    /// `POST /v4/code/suggestions`.
    GitlabSuggestions,
    /// `POST /v1/code/user_access_token`.
    GitlabToken,
    /// `GET /v1/models/definitions`.
    GitlabModels,
    /// `POST /v1/completions`.
    Completions,
    /// `POST /v1/chat/completions`.
    Chat,
    /// `POST /v1/embeddings`.
    Embeddings,
    /// `GET /v1/models`.
    Models,
    /// `GET /v1/models/{model}`.
    Model,
    /// `POST /v1/fim/completions`.
    MistralFim,
    /// `POST /infill`.
    Infill,
    /// `GET /health`.
    LlamaHealth,
    /// `GET /props`.
    LlamaProps,
    /// `POST /v1/completions` with a body of Tabby's.
    TabbyCompletions,
    /// `GET /v1/health`.
    TabbyHealth,
    /// `GET /v1beta/server_setting`.
    TabbySetting,
    /// `POST /v1/events`.
    TabbyEvents,
    /// `GET /monitoring/healthz`.
    Healthz,
    /// `GET /monitoring/ready`.
    Ready,
    /// The pages that document the API, wherever they are.
    Docs,
    /// Any other path.
    Other,
}

impl Handler {
    const COUNT: usize = 26;

    /// Label value: the path, `none` for paths that match no template.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GitlabRoot => "/completions",
            Self::GitlabCompletions => "/v2/completions",
            Self::GitlabCodeCompletions => "/v2/code/completions",
            Self::GitlabGenerations => "/v2/code/generations",
            Self::GitlabExperimental => "/v2/experimental/code/completions",
            Self::GitlabComponents => "/v3/code/completions",
            Self::GitlabSuggestions => "/v4/code/suggestions",
            Self::GitlabToken => "/v1/code/user_access_token",
            Self::GitlabModels => "/v1/models/definitions",
            Self::Completions | Self::TabbyCompletions => "/v1/completions",
            Self::Chat => "/v1/chat/completions",
            Self::Embeddings => "/v1/embeddings",
            Self::Models => "/v1/models",
            Self::Model => "/v1/models/{model}",
            Self::MistralFim => "/v1/fim/completions",
            Self::Infill => "/infill",
            Self::LlamaHealth => "/health",
            Self::LlamaProps => "/props",
            Self::TabbyHealth => "/v1/health",
            Self::TabbySetting => "/v1beta/server_setting",
            Self::TabbyEvents => "/v1/events",
            Self::Healthz => "/monitoring/healthz",
            Self::Ready => "/monitoring/ready",
            Self::Docs => "/docs",
            Self::Other => "none",
        }
    }

    /// Whether it is one of GitLab's that ask for code.
    #[must_use]
    pub fn is_gitlab_code(self) -> bool {
        matches!(
            self,
            Self::GitlabRoot
                | Self::GitlabCompletions
                | Self::GitlabCodeCompletions
                | Self::GitlabGenerations
                | Self::GitlabExperimental
                | Self::GitlabComponents
                | Self::GitlabSuggestions
        )
    }

    /// Whether it is one of GitLab's.
    #[must_use]
    pub fn is_gitlab(self) -> bool {
        self.is_gitlab_code() || matches!(self, Self::GitlabToken | Self::GitlabModels)
    }

    /// Whether answers carry what tells of the request: all but those to probes.
    #[must_use]
    pub fn is_told(self) -> bool {
        !matches!(self, Self::Healthz | Self::Ready | Self::LlamaHealth | Self::Docs)
    }

    /// The methods the path is meant for.
    #[must_use]
    pub fn method(self) -> Method {
        match self {
            Self::Models
            | Self::Model
            | Self::GitlabModels
            | Self::LlamaHealth
            | Self::LlamaProps
            | Self::TabbyHealth
            | Self::TabbySetting
            | Self::Healthz
            | Self::Ready
            | Self::Docs => Method::GET,
            _ => Method::POST,
        }
    }
}

/// Every handler.
pub(crate) const HANDLERS: [Handler; Handler::COUNT] = [
    Handler::GitlabRoot,
    Handler::GitlabCompletions,
    Handler::GitlabCodeCompletions,
    Handler::GitlabGenerations,
    Handler::GitlabExperimental,
    Handler::GitlabComponents,
    Handler::GitlabSuggestions,
    Handler::GitlabToken,
    Handler::GitlabModels,
    Handler::Completions,
    Handler::Chat,
    Handler::Embeddings,
    Handler::Models,
    Handler::Model,
    Handler::MistralFim,
    Handler::Infill,
    Handler::LlamaHealth,
    Handler::LlamaProps,
    Handler::TabbyCompletions,
    Handler::TabbyHealth,
    Handler::TabbySetting,
    Handler::TabbyEvents,
    Handler::Healthz,
    Handler::Ready,
    Handler::Docs,
    Handler::Other,
];
/// Statuses with a cell of their own; 499 stands for a client that left before it had an answer.
const STATUSES: [u16; 19] =
    [200, 204, 307, 400, 401, 404, 405, 408, 413, 414, 422, 429, 431, 499, 500, 502, 503, 504, 403];

/// `http_requests_total` and `http_request_duration_seconds`.
pub struct HttpSeries {
    requests: IntCounterVec,
    duration: HistogramVec,
    cells: Vec<OnceLock<HttpCell>>,
}

impl HttpSeries {
    pub(crate) fn new(requests: IntCounterVec, duration: HistogramVec) -> Self {
        let cells = (0..HANDLERS.len() * STATUSES.len()).map(|_| OnceLock::new()).collect();
        let series = Self { requests, duration, cells };
        for handler in HANDLERS.into_iter().filter(|handler| *handler != Handler::Other) {
            series.cell(handler, 200);
        }
        series
    }

    /// Counts an answered request. Probes of a kubelet and unknown paths have no duration.
    pub fn observe(&self, handler: Handler, method: &Method, status: u16, took: Duration) {
        let timed =
            !matches!(handler, Handler::Healthz | Handler::Ready | Handler::LlamaHealth | Handler::Other);
        if *method == handler.method()
            && let Some((counter, histogram)) = self.cell(handler, status)
        {
            counter.inc();
            if timed {
                histogram.observe(took.as_secs_f64());
            }
            return;
        }
        let status = StatusCode::from_u16(status).map_or("other", |status| known_text(&status));
        let labels = [method_label(method), handler.as_str(), status];
        self.requests.with_label_values(&labels).inc();
        if timed {
            self.duration.with_label_values(&labels).observe(took.as_secs_f64());
        }
    }

    fn cell(&self, handler: Handler, status: u16) -> Option<&HttpCell> {
        let column = STATUSES.iter().position(|known| *known == status)?;
        let cell = self.cells.get(handler as usize * STATUSES.len() + column)?;
        Some(cell.get_or_init(|| {
            let method = handler.method();
            let status = status.to_string();
            let labels = [method_label(&method), handler.as_str(), status.as_str()];
            (self.requests.with_label_values(&labels), self.duration.with_label_values(&labels))
        }))
    }
}

/// A closed set of methods, so that a client cannot make series.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

fn known_text(status: &StatusCode) -> &'static str {
    match status.as_u16() {
        200 => "200",
        204 => "204",
        307 => "307",
        400 => "400",
        401 => "401",
        404 => "404",
        405 => "405",
        414 => "414",
        500 => "500",
        503 => "503",
        _ => "other",
    }
}

/// Series of one backend.
pub struct BackendSeries {
    requests: Vec<[IntCounter; Outcome::ALL.len()]>,
    duration: Vec<Histogram>,
    /// Time to the first piece of an answer.
    pub first_token: Histogram,
    /// Tokens of prompts.
    pub input_tokens: IntCounter,
    /// Tokens of answers.
    pub output_tokens: IntCounter,
    /// Requests under way.
    pub in_flight: IntGauge,
    /// 1 when healthy.
    pub healthy: IntGauge,
    /// Attempts beyond the first.
    pub routing: Series,
}

impl BackendSeries {
    /// Makes every series of the backend. `backend` and `model` are empty for requests that never got that far.
    #[must_use]
    pub fn new(metrics: &Metrics, gateway: &str, model: &str, backend: &str) -> Self {
        let target = [gateway, model, backend];
        Self {
            requests: Operation::ALL
                .iter()
                .map(|operation| {
                    Outcome::ALL.map(|outcome| {
                        metrics.per_backend.requests.with_label_values(&[
                            gateway,
                            model,
                            backend,
                            operation.as_str(),
                            outcome.as_str(),
                        ])
                    })
                })
                .collect(),
            duration: Operation::ALL
                .iter()
                .map(|operation| {
                    metrics.per_backend.duration.with_label_values(&[
                        gateway,
                        model,
                        backend,
                        operation.as_str(),
                    ])
                })
                .collect(),
            first_token: metrics.per_backend.first_token.with_label_values(&target),
            input_tokens: metrics.per_backend.tokens.with_label_values(&[gateway, model, backend, "input"]),
            output_tokens: metrics.per_backend.tokens.with_label_values(&[gateway, model, backend, "output"]),
            in_flight: metrics.per_backend.in_flight.with_label_values(&target),
            healthy: metrics.per_backend.healthy.with_label_values(&target),
            routing: metrics.per_backend.routing.of(backend),
        }
    }

    /// Counts a request that ended.
    pub fn observe(&self, operation: Operation, outcome: Outcome, took: Duration) {
        if let Some(counter) = self.requests.get(operation.index()).and_then(|row| row.get(outcome.index())) {
            counter.inc();
        }
        if let Some(histogram) = self.duration.get(operation.index()) {
            histogram.observe(took.as_secs_f64());
        }
    }

    /// Removes the series of a backend that is gone, so that it does not look alive for ever.
    pub fn retire(metrics: &Metrics, gateway: &str, model: &str, backend: &str) {
        let target = [gateway, model, backend];
        // A series that was never made cannot be removed; that is what is wanted.
        for operation in Operation::ALL {
            for outcome in Outcome::ALL {
                let labels = [gateway, model, backend, operation.as_str(), outcome.as_str()];
                let _absent = metrics.per_backend.requests.remove_label_values(&labels);
            }
            let _absent = metrics.per_backend.duration.remove_label_values(&[
                gateway,
                model,
                backend,
                operation.as_str(),
            ]);
        }
        for kind in ["input", "output"] {
            let _absent = metrics.per_backend.tokens.remove_label_values(&[gateway, model, backend, kind]);
        }
        let _absent = metrics.per_backend.first_token.remove_label_values(&target);
        let _absent = metrics.per_backend.in_flight.remove_label_values(&target);
        let _absent = metrics.per_backend.healthy.remove_label_values(&target);
    }

    /// Removes the series that only name the backend.
    pub fn retire_name(metrics: &Metrics, backend: &str) {
        metrics.per_backend.routing.retire(backend);
    }
}

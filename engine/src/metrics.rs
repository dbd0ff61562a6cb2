//! All metric families of the engine, and the account that counts each request exactly once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder, core::Collector, process_collector::ProcessCollector,
};

const FIRST_TOKEN: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0];
const PER_TOKEN: &[f64] = &[0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5];
const REQUEST: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];
const TOKENS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0, 20000.0, 50000.0,
];

/// The routes that generate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// `POST /v1/completions`
    Completions,
    /// `POST /v1/chat/completions`
    ChatCompletions,
}

impl Route {
    /// Value of the label `route`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completions => "completions",
            Self::ChatCompletions => "chat_completions",
        }
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Complete: the model's end or a stop string.
    Stop,
    /// Complete: `max_tokens` or the context reached.
    Length,
    /// The client left first.
    Cancelled,
    /// Refused: 4xx other than 429.
    Invalid,
    /// Refused: the queue is full, 429.
    QueueFull,
    /// Refused: loading or stopping, 503.
    Unavailable,
    /// The engine failed.
    Error,
}

impl Outcome {
    const ALL: [Self; 7] = [
        Self::Stop,
        Self::Length,
        Self::Cancelled,
        Self::Invalid,
        Self::QueueFull,
        Self::Unavailable,
        Self::Error,
    ];

    /// Value of the label `outcome`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Cancelled => "cancelled",
            Self::Invalid => "invalid",
            Self::QueueFull => "queue_full",
            Self::Unavailable => "unavailable",
            Self::Error => "error",
        }
    }
}

/// Handles of all families; every label value exists from the start.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    waiting: IntGauge,
    running: IntGauge,
    prompt_tokens: IntCounter,
    generation_tokens: IntCounter,
    time_to_first_token: Histogram,
    time_per_output_token: Histogram,
    request_duration: Histogram,
    queue_duration: Histogram,
    request_prompt_tokens: Histogram,
    request_generation_tokens: Histogram,
    model_load: Gauge,
    context_length: IntGauge,
    slots: IntGauge,
}

impl Metrics {
    /// Registers all families.
    ///
    /// # Errors
    /// When two families have one name, which a test would have shown.
    pub fn new(model_name: &str) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let info = IntGaugeVec::new(
            Opts::new(
                "modelgate_engine_info",
                "Version of the engine and name of the model it serves; always 1.",
            ),
            &["version", "model_name"],
        )?;
        info.with_label_values(&[env!("CARGO_PKG_VERSION"), model_name]).set(1);
        register(&registry, info)?;
        registry.register(Box::new(ProcessCollector::for_self()))?;
        let requests = IntCounterVec::new(
            Opts::new("modelgate_engine_requests_total", "Requests to generate, by how they ended."),
            &["route", "outcome"],
        )?;
        for route in [Route::Completions, Route::ChatCompletions] {
            for outcome in Outcome::ALL {
                requests.with_label_values(&[route.as_str(), outcome.as_str()]).inc_by(0);
            }
        }
        let gauge = |name, help| register(&registry, IntGauge::new(name, help)?);
        let counter = |name, help| register(&registry, IntCounter::new(name, help)?);
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            register(
                &registry,
                Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?,
            )
        };
        Ok(Self {
            requests: register(&registry, requests)?,
            waiting: gauge("modelgate_engine_requests_waiting", "Requests in the queue.")?,
            running: gauge("modelgate_engine_requests_running", "Requests being computed.")?,
            prompt_tokens: counter(
                "modelgate_engine_prompt_tokens_total",
                "Prompt tokens of requests begun.",
            )?,
            generation_tokens: counter("modelgate_engine_generation_tokens_total", "Tokens generated.")?,
            time_to_first_token: histogram(
                "modelgate_engine_time_to_first_token_seconds",
                "From the request's arrival to its first token.",
                FIRST_TOKEN,
            )?,
            time_per_output_token: histogram(
                "modelgate_engine_time_per_output_token_seconds",
                "Between two tokens of a request.",
                PER_TOKEN,
            )?,
            request_duration: histogram(
                "modelgate_engine_request_duration_seconds",
                "From arrival to the last token, of complete requests.",
                REQUEST,
            )?,
            queue_duration: histogram(
                "modelgate_engine_queue_duration_seconds",
                "Time in the queue.",
                REQUEST,
            )?,
            request_prompt_tokens: histogram(
                "modelgate_engine_request_prompt_tokens",
                "Prompt tokens of a request begun.",
                TOKENS,
            )?,
            request_generation_tokens: histogram(
                "modelgate_engine_request_generation_tokens",
                "Tokens generated for a request, also if it was cut short.",
                TOKENS,
            )?,
            model_load: register(
                &registry,
                Gauge::new(
                    "modelgate_engine_model_load_seconds",
                    "Time to load the model; 0 while loading.",
                )?,
            )?,
            context_length: gauge(
                "modelgate_engine_context_length_tokens",
                "Context of a request; 0 while loading.",
            )?,
            slots: gauge(
                "modelgate_engine_parallel_requests",
                "Requests that can run at once; 0 while loading.",
            )?,
            registry,
        })
    }

    /// Records that the model is ready.
    pub fn loaded(&self, took: Duration, context_length: u32, parallel: u16) {
        self.model_load.set(took.as_secs_f64());
        self.context_length.set(context_length.into());
        self.slots.set(parallel.into());
    }

    /// The exposition in Prometheus' text format.
    ///
    /// # Errors
    /// When a family is inconsistent.
    pub fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

/// Keeps one handle of a family and gives the other to the registry.
fn register<C: Collector + Clone + 'static>(registry: &Registry, family: C) -> Result<C, prometheus::Error> {
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

/// Where a request is, for the gauges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Arrived,
    Waiting,
    Running,
}

/// Counts one request. Dropped without an outcome, it counts as cancelled: its client left.
#[derive(Debug)]
pub struct Account {
    metrics: Arc<Metrics>,
    route: Route,
    stage: Stage,
    outcome: Outcome,
    arrived: Instant,
    last_token: Option<Instant>,
    prompt: usize,
    generated: usize,
}

impl Account {
    /// A request that has just arrived.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>, route: Route) -> Self {
        Self {
            metrics,
            route,
            stage: Stage::Arrived,
            outcome: Outcome::Cancelled,
            arrived: Instant::now(),
            last_token: None,
            prompt: 0,
            generated: 0,
        }
    }

    /// It enters the queue.
    pub fn queued(&mut self) {
        self.move_to(Stage::Waiting);
    }

    /// It leaves the queue and is computed.
    pub fn started(&mut self, waited: Duration, prompt_tokens: usize) {
        self.move_to(Stage::Running);
        self.prompt = prompt_tokens;
        self.metrics.queue_duration.observe(waited.as_secs_f64());
        self.metrics.prompt_tokens.inc_by(prompt_tokens as u64);
        self.metrics.request_prompt_tokens.observe(count(prompt_tokens));
    }

    /// It got a token.
    pub fn token(&mut self) {
        let now = Instant::now();
        match self.last_token.replace(now) {
            None => self.metrics.time_to_first_token.observe((now - self.arrived).as_secs_f64()),
            Some(before) => self.metrics.time_per_output_token.observe((now - before).as_secs_f64()),
        }
        self.generated += 1;
        self.metrics.generation_tokens.inc();
    }

    /// It ended.
    pub fn finish(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }

    fn move_to(&mut self, stage: Stage) {
        self.gauge().inspect(|gauge| gauge.dec());
        self.stage = stage;
        self.gauge().inspect(|gauge| gauge.inc());
    }

    fn gauge(&self) -> Option<&IntGauge> {
        match self.stage {
            Stage::Arrived => None,
            Stage::Waiting => Some(&self.metrics.waiting),
            Stage::Running => Some(&self.metrics.running),
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let began = self.stage == Stage::Running;
        self.move_to(Stage::Arrived);
        let (route, outcome) = (self.route.as_str(), self.outcome.as_str());
        self.metrics.requests.with_label_values(&[route, outcome]).inc();
        let seconds = self.arrived.elapsed().as_secs_f64();
        if began {
            self.metrics.request_generation_tokens.observe(count(self.generated));
        }
        if matches!(self.outcome, Outcome::Stop | Outcome::Length) {
            self.metrics.request_duration.observe(seconds);
        }
        tracing::info!(
            route,
            outcome,
            prompt_tokens = self.prompt,
            generated_tokens = self.generated,
            seconds,
            "request ended"
        );
    }
}

/// Tokens of one request as a histogram's value; a context never reaches the bits where `f64` loses whole numbers.
fn count(tokens: usize) -> f64 {
    u32::try_from(tokens).map_or(f64::MAX, f64::from)
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::{Account, Metrics, Outcome, Route};

    fn text(metrics: &Metrics) -> String {
        String::from_utf8(metrics.render().unwrap()).unwrap()
    }

    #[test]
    fn every_series_of_the_request_counter_exists_before_the_first_request() {
        let text = text(&Metrics::new("m").unwrap());
        for route in ["completions", "chat_completions"] {
            for outcome in Outcome::ALL {
                let line = format!(
                    "modelgate_engine_requests_total{{outcome=\"{}\",route=\"{route}\"}} 0",
                    outcome.as_str()
                );
                assert!(text.contains(&line), "{line}");
            }
        }
        assert!(text.contains("modelgate_engine_time_to_first_token_seconds_count 0"));
    }

    #[test]
    fn an_account_dropped_on_the_way_leaves_no_gauge_behind_and_counts_as_cancelled() {
        let metrics = Arc::new(Metrics::new("m").unwrap());
        let mut account = Account::new(metrics.clone(), Route::Completions);
        account.queued();
        assert!(text(&metrics).contains("modelgate_engine_requests_waiting 1"));
        account.started(Duration::ZERO, 7);
        account.token();
        assert!(text(&metrics).contains("modelgate_engine_requests_running 1"));
        drop(account);
        let text = text(&metrics);
        assert!(text.contains("modelgate_engine_requests_waiting 0"));
        assert!(text.contains("modelgate_engine_requests_running 0"));
        assert!(text.contains("requests_total{outcome=\"cancelled\",route=\"completions\"} 1"));
        assert!(text.contains("modelgate_engine_prompt_tokens_total 7"));
        assert!(text.contains("modelgate_engine_request_generation_tokens_count 1"));
    }
}

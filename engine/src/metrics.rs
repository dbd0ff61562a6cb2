//! All metric families of the engine: names, labels and buckets stand here and nowhere else.

use std::time::Duration;

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
    pub(crate) waiting: IntGauge,
    pub(crate) running: IntGauge,
    pub(crate) times: Times,
    pub(crate) tokens: Tokens,
    serving: Serving,
}

/// How long requests take, in seconds.
#[derive(Debug)]
pub(crate) struct Times {
    pub first_token: Histogram,
    pub per_token: Histogram,
    pub request: Histogram,
    pub queue: Histogram,
}

/// How many tokens requests have.
#[derive(Debug)]
pub(crate) struct Tokens {
    pub prompt: IntCounter,
    pub generation: IntCounter,
    pub prompt_per_request: Histogram,
    pub generation_per_request: Histogram,
}

/// What is served, known once the model is loaded.
#[derive(Debug)]
struct Serving {
    load_seconds: Gauge,
    context_length: IntGauge,
    parallel: IntGauge,
}

impl Metrics {
    /// Registers all families.
    ///
    /// # Errors
    /// When two families have one name, which a test would have shown.
    pub fn new(model_name: &str) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let families = Families(&registry);
        let info = families.add(IntGaugeVec::new(
            Opts::new(
                "modelgate_engine_info",
                "Version of the engine and name of the model it serves; always 1.",
            ),
            &["version", "model_name"],
        )?)?;
        info.with_label_values(&[env!("CARGO_PKG_VERSION"), model_name]).set(1);
        registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(Self {
            requests: families.requests()?,
            waiting: families.gauge("modelgate_engine_requests_waiting", "Requests in the queue.")?,
            running: families.gauge("modelgate_engine_requests_running", "Requests being computed.")?,
            times: families.times()?,
            tokens: families.tokens()?,
            serving: families.serving()?,
            registry,
        })
    }

    /// Counts a request that ended.
    pub fn ended(&self, route: Route, outcome: Outcome) {
        self.requests.with_label_values(&[route.as_str(), outcome.as_str()]).inc();
    }

    /// Records that the model is ready.
    pub fn loaded(&self, took: Duration, context_length: u32, parallel: u16) {
        self.serving.load_seconds.set(took.as_secs_f64());
        self.serving.context_length.set(context_length.into());
        self.serving.parallel.set(parallel.into());
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

/// Registers families as they are made.
struct Families<'registry>(&'registry Registry);

impl Families<'_> {
    /// Keeps one handle of a family and gives the other to the registry.
    fn add<C: Collector + Clone + 'static>(&self, family: C) -> Result<C, prometheus::Error> {
        self.0.register(Box::new(family.clone()))?;
        Ok(family)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.add(IntGauge::new(name, help)?)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.add(IntCounter::new(name, help)?)
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, prometheus::Error> {
        self.add(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?)
    }

    fn requests(&self) -> Result<IntCounterVec, prometheus::Error> {
        let requests = self.add(IntCounterVec::new(
            Opts::new("modelgate_engine_requests_total", "Requests to generate, by how they ended."),
            &["route", "outcome"],
        )?)?;
        for route in [Route::Completions, Route::ChatCompletions] {
            for outcome in Outcome::ALL {
                requests.with_label_values(&[route.as_str(), outcome.as_str()]).inc_by(0);
            }
        }
        Ok(requests)
    }

    fn times(&self) -> Result<Times, prometheus::Error> {
        Ok(Times {
            first_token: self.histogram(
                "modelgate_engine_time_to_first_token_seconds",
                "From the request's arrival to its first token.",
                FIRST_TOKEN,
            )?,
            per_token: self.histogram(
                "modelgate_engine_time_per_output_token_seconds",
                "Between two tokens of a request.",
                PER_TOKEN,
            )?,
            request: self.histogram(
                "modelgate_engine_request_duration_seconds",
                "From arrival to the last token, of complete requests.",
                REQUEST,
            )?,
            queue: self.histogram(
                "modelgate_engine_queue_duration_seconds",
                "Time in the queue.",
                REQUEST,
            )?,
        })
    }

    fn tokens(&self) -> Result<Tokens, prometheus::Error> {
        Ok(Tokens {
            prompt: self
                .counter("modelgate_engine_prompt_tokens_total", "Prompt tokens of requests begun.")?,
            generation: self.counter("modelgate_engine_generation_tokens_total", "Tokens generated.")?,
            prompt_per_request: self.histogram(
                "modelgate_engine_request_prompt_tokens",
                "Prompt tokens of a request begun.",
                TOKENS,
            )?,
            generation_per_request: self.histogram(
                "modelgate_engine_request_generation_tokens",
                "Tokens generated for a request, also if it was cut short.",
                TOKENS,
            )?,
        })
    }

    fn serving(&self) -> Result<Serving, prometheus::Error> {
        Ok(Serving {
            load_seconds: self.add(Gauge::new(
                "modelgate_engine_model_load_seconds",
                "Time to load the model; 0 while loading.",
            )?)?,
            context_length: self
                .gauge("modelgate_engine_context_length_tokens", "Context of a request; 0 while loading.")?,
            parallel: self.gauge(
                "modelgate_engine_parallel_requests",
                "Requests that can run at once; 0 while loading.",
            )?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Metrics, Outcome};

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
}

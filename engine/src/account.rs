//! Counts each request exactly once, whichever way it ends, and keeps the gauges true on the way.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use prometheus::IntGauge;

use crate::metrics::{Metrics, Outcome, Route};

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
        self.metrics.times.queue.observe(waited.as_secs_f64());
        self.metrics.tokens.prompt.inc_by(prompt_tokens as u64);
        self.metrics.tokens.prompt_per_request.observe(count(prompt_tokens));
    }

    /// It got a token.
    pub fn token(&mut self) {
        let now = Instant::now();
        match self.last_token.replace(now) {
            None => self.metrics.times.first_token.observe((now - self.arrived).as_secs_f64()),
            Some(before) => self.metrics.times.per_token.observe((now - before).as_secs_f64()),
        }
        self.generated += 1;
        self.metrics.tokens.generation.inc();
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
        self.metrics.ended(self.route, self.outcome);
        let seconds = self.arrived.elapsed().as_secs_f64();
        if began {
            self.metrics.tokens.generation_per_request.observe(count(self.generated));
        }
        if matches!(self.outcome, Outcome::Stop | Outcome::Length) {
            self.metrics.times.request.observe(seconds);
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

    use super::Account;
    use crate::metrics::{Metrics, Route};

    fn text(metrics: &Metrics) -> String {
        String::from_utf8(metrics.render().unwrap()).unwrap()
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

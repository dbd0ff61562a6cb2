//! What stages tell of a request: facts for logs, usage records, traces and `/debug/requests`. Of texts only lengths are
//! kept, except where somebody asked for the texts themselves.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::Record;
use crate::server::facts::{Attempt, Limited, Phase, short};
use crate::telemetry::content;

/// What a step made of a text.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// The text before it.
    pub before: String,
    /// The text after it.
    pub after: String,
}

impl Record {
    /// What passed since the last call of this was `phase`.
    pub fn note_phase(&mut self, phase: Phase) {
        self.phases.end(phase);
    }

    /// This route takes it, for this model.
    pub fn note_route(&mut self, route: &str, model: Option<&str>) {
        self.facts.route = Some(short(route));
        self.facts.model_asked = model.map(short);
    }

    /// A backend that could answer: `verdict` is `chosen` or why not, `score` what it was weighed by.
    pub fn note_candidate(&mut self, backend: &str, verdict: &'static str, score: Option<f64>) {
        self.facts.add_candidate(backend, verdict, score);
    }

    /// Why the backend that was chosen was chosen.
    pub fn note_because(&mut self, reason: &'static str) {
        self.facts.because = Some(reason);
    }

    /// A sending to a backend that began at `began` has its head, or has failed: `result` is `ok` or the reason.
    pub fn note_attempt(
        &mut self,
        backend: &str,
        endpoint: Option<&str>,
        began: Instant,
        result: &'static str,
    ) {
        let milliseconds = |from: Instant, to: Instant| (to - from).as_secs_f64() * 1e3;
        self.facts.add_attempt(Attempt {
            backend: short(backend),
            endpoint: endpoint.map(short),
            result,
            began_ms: milliseconds(self.began, began),
            took_ms: milliseconds(began, Instant::now()),
        });
    }

    /// A limit refused or delayed it.
    pub fn note_limit(&mut self, limit: &str, by: &'static str, resets_in_s: Option<f64>) {
        self.facts.limited = Some(Limited { limit: short(limit), by, resets_in_s });
    }

    /// Text before and after the cursor, of which only lengths are kept.
    pub fn note_prompt(&mut self, prefix: &str, suffix: Option<&str>) {
        self.facts.prompt_length = Some((prefix.chars().count(), prefix.trim().chars().count()));
        self.facts.suffix_length = suffix.map(|suffix| suffix.chars().count());
    }

    /// The completion as the model gave it and as the client gets it, of which only lengths are kept.
    pub fn note_output(&mut self, given: &str, kept: &str, score: Option<f64>) {
        self.facts.output_length = Some((given.chars().count(), kept.chars().count()));
        self.facts.output_score = score;
    }

    /// Keeps the texts of steps, for whoever tries a completion; nothing else ever does.
    pub fn keep_steps(&mut self) {
        self.steps = Some(Arc::default());
    }

    /// The texts of steps, where they were kept.
    pub fn take_steps(&mut self) -> Vec<Step> {
        let steps = self.steps.take();
        steps
            .map(|steps| std::mem::take(&mut *steps.lock().unwrap_or_else(PoisonError::into_inner)))
            .unwrap_or_default()
    }

    /// Whether anybody asks for texts; asked before one is made for it.
    #[must_use]
    pub fn wants_steps(&self) -> bool {
        self.steps.is_some() || content::is_on()
    }

    /// What a step made of a text: for the log where texts were asked for by name, and for whoever tries a completion.
    pub fn note_step(&self, name: &str, before: &str, after: &str) {
        content::step(&self.request_id, name, before, after);
        if let Some(steps) = &self.steps {
            steps.lock().unwrap_or_else(PoisonError::into_inner).push(Step {
                name: name.into(),
                before: before.into(),
                after: after.into(),
            });
        }
    }

    /// Symbols of the file that went into the prompt.
    pub fn note_symbols(&mut self, count: usize) {
        self.facts.symbols = Some(count);
    }

    /// Language of the file.
    pub fn note_language(&mut self, language: Option<&'static str>) {
        self.facts.language = language;
    }

    /// Project that it is for.
    pub fn note_project(&mut self, id: Option<i64>) {
        self.facts.project_id = id;
    }

    /// Experiments that took part.
    pub fn note_experiments(&mut self, experiments: &[(String, i64)]) {
        self.facts.experiments =
            experiments.iter().take(8).map(|(name, variant)| (short(name), *variant)).collect();
    }

    /// A stream is asked for.
    pub fn note_stream(&mut self, stream: bool) {
        self.facts.stream = stream;
    }

    /// A backend failed with this status.
    pub fn note_model_status(&mut self, status: u16) {
        self.facts.model_status = Some(status);
    }

    /// It was answered from there, without a backend of its own.
    pub fn note_cache(&mut self, whence: &'static str) {
        self.facts.cache = Some(whence);
    }

    /// Bytes of the body that a backend is sent.
    pub fn note_request_bytes(&mut self, bytes: usize) {
        self.facts.request_bytes = bytes as u64;
    }

    /// A piece of the backend's answer of this many bytes is there.
    pub fn note_piece(&mut self, bytes: usize) {
        self.facts.answer.0 += bytes as u64;
        self.facts.answer.1 += 1;
        if self.first_piece.is_none() {
            let now = Instant::now();
            self.first_piece = Some(now);
            if let Some(backend) = &self.backend {
                backend.series.first_token.observe((now - self.began).as_secs_f64());
            }
        }
    }
}

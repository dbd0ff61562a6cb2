//! A request that has ended, as logs, usage records, traces and `/debug/requests` tell it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use super::facts::{Facts, Phase, Phases};
use crate::caller::Caller;
use crate::dialect::openai::Usage;
use crate::metrics::{Operation, Outcome};
use crate::series::Handler;
use crate::telemetry::time::rfc3339;
use crate::trace::Context;

/// Engine of the model in GitLab's vocabulary.
const ENGINE: &str = "modelgate";
/// Bytes that one token stands for at least, for estimates.
const BYTES_PER_TOKEN: u64 = 4;

/// Values of headers that are logged, each bounded.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// `User-Agent`.
    pub user_agent: Option<String>,
    /// `X-Gitlab-Instance-Id`.
    pub instance_id: Option<String>,
    /// `X-Gitlab-Global-User-Id`.
    pub global_user_id: Option<String>,
    /// `X-Gitlab-Realm`.
    pub realm: Option<String>,
    /// `X-Gitlab-Host-Name`.
    pub host_name: Option<String>,
    /// `X-Gitlab-Version`.
    pub gitlab_version: Option<String>,
    /// `X-Gitlab-Language-Server-Version`.
    pub language_server_version: Option<String>,
    /// `Host`, or the authority of the target.
    pub host: Option<String>,
}

/// Tokens of a request, and how they are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Of the prompt.
    pub input: u64,
    /// Of the answer.
    pub output: u64,
    /// `reported` by the backend, `estimated` from bytes and pieces, `none` when no backend was asked.
    pub source: &'static str,
}

/// The request.
#[derive(Debug)]
pub struct Summary {
    /// When its head had arrived.
    pub time: SystemTime,
    /// Value of `X-Request-ID`.
    pub request_id: String,
    /// What the caller sent there, where that is another.
    pub client_request_id: Option<String>,
    /// Method.
    pub method: String,
    /// Path, without the query, which may hold a secret.
    pub path: String,
    /// `1.1`, `2`.
    pub http_version: &'static str,
    /// Path template.
    pub handler: Handler,
    /// The other end.
    pub client: SocketAddr,
    /// What its headers tell.
    pub told: Told,
    /// Status of the answer.
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// Small word when something went wrong.
    pub reason: Option<&'static str>,
    /// From the head to the end of the answer.
    pub duration: Duration,
    /// From the head to the first piece of the backend's answer.
    pub first_piece: Option<Duration>,
    /// Where the time went.
    pub phases: Phases,
    /// What is asked of a model.
    pub operation: Option<Operation>,
    /// Name of the gateway.
    pub gateway: String,
    /// Name of the backend that answered.
    pub backend: Option<String>,
    /// Its model.
    pub model: Option<String>,
    /// What the backend says it used.
    pub usage: Option<Usage>,
    /// Whom it speaks for.
    pub caller: Option<Arc<Caller>>,
    /// Its place in a trace, when traces are exported.
    pub trace: Option<Context>,
    /// All else.
    pub facts: Facts,
}

impl Summary {
    /// Tokens, reported or estimated.
    #[must_use]
    pub fn tokens(&self) -> Tokens {
        if let Some(usage) = self.usage {
            return Tokens {
                input: usage.prompt_tokens,
                output: usage.completion_tokens,
                source: "reported",
            };
        }
        if self.facts.attempts.iter().all(|attempt| attempt.result != "ok") {
            return Tokens { input: 0, output: 0, source: "none" };
        }
        // An event of a stream is one token with every server that we know; a whole answer is text in JSON.
        let (bytes, pieces) = self.facts.answer;
        let output = if self.facts.stream { pieces } else { bytes.div_ceil(BYTES_PER_TOKEN) };
        Tokens { input: self.facts.request_bytes.div_ceil(BYTES_PER_TOKEN), output, source: "estimated" }
    }

    /// Time between asking the backend and the end of its answer.
    #[must_use]
    pub fn inference(&self) -> Option<Duration> {
        self.backend.is_some().then(|| self.phases.of(Phase::FirstByte) + self.phases.of(Phase::Answer))
    }

    /// The fields of the access log that have a value, in their order, under the names that GitLab's gateway gives them.
    #[must_use]
    pub fn access(&self) -> Vec<(&'static str, Value)> {
        let facts = &self.facts;
        let host = self.told.host.as_deref().unwrap_or_default();
        let mut fields = Vec::with_capacity(64);
        let mut put = |name, value: Value| fields.push((name, value));
        put("url", json!(format!("http://{host}{}", self.path)));
        put("path", json!(self.path));
        put("handler", json!(self.handler.as_str()));
        put("status_code", json!(self.status));
        put("method", json!(self.method));
        put("correlation_id", json!(self.request_id));
        put("client_request_id", json!(self.client_request_id));
        put("trace_id", json!(self.trace.map(|context| format!("{:032x}", context.trace))));
        put("http_version", json!(self.http_version));
        put("client_ip", json!(self.client.ip().to_canonical()));
        put("client_port", json!(self.client.port()));
        put("outcome", json!(self.outcome.as_str()));
        put("reason", json!(self.reason));
        put("duration_s", seconds(Some(self.duration)));
        put("auth_duration_s", seconds(Some(self.phases.of(Phase::Auth))));
        put("inference_duration_s", seconds(self.inference()));
        put("first_piece_s", seconds(self.first_piece));
        for (phase, spent) in self.phases.iter().filter(|(phase, _)| *phase != Phase::Auth) {
            put(phase.field(), seconds(Some(spent)));
        }
        put("user_agent", json!(self.told.user_agent));
        put("gitlab_instance_id", json!(self.told.instance_id));
        put("gitlab_global_user_id", json!(self.told.global_user_id));
        put("gitlab_realm", json!(self.told.realm));
        put("gitlab_host_name", json!(self.told.host_name));
        put("gitlab_version", json!(self.told.gitlab_version));
        put("gitlab_language_server_version", json!(self.told.language_server_version));
        put("tenant", json!(self.caller.as_ref().map(|caller| &caller.tenant)));
        put("route", json!(facts.route));
        put("backend", json!(self.backend));
        put("model_engine", json!(self.backend.as_ref().map(|_| ENGINE)));
        put("model_name", json!(self.model));
        put("lang", json!(facts.language));
        put("prompt_length", json!(facts.prompt_length.map(|(whole, _)| whole)));
        put("prompt_length_stripped", json!(facts.prompt_length.map(|(_, stripped)| stripped)));
        put("suffix_length", json!(facts.suffix_length));
        put("model_output_length", json!(facts.output_length.map(|(given, _)| given)));
        put("model_output_length_stripped", json!(facts.output_length.map(|(_, kept)| kept)));
        put("model_output_score", json!(facts.output_score));
        put("prompt_symbols", json!(facts.symbols));
        if !facts.experiments.is_empty() {
            let list =
                facts.experiments.iter().map(|(name, variant)| json!({"name": name, "variant": variant}));
            put("experiments", list.collect());
        }
        put("model_exception_status_code", json!(facts.model_status));
        put("stream", json!(facts.stream.then_some(true)));
        put("cache", json!(facts.cache));
        put("limit", json!(facts.limited.as_ref().map(|limited| &limited.limit)));
        put("attempts", json!((facts.attempts.len() > 1).then_some(facts.attempts.len())));
        put("input_tokens", json!(self.usage.map(|usage| usage.prompt_tokens)));
        put("output_tokens", json!(self.usage.map(|usage| usage.completion_tokens)));
        fields.retain(|(_, value)| !value.is_null());
        fields
    }

    /// All that `/debug/requests/{id}` shows; the caller by its tenant's hash alone.
    #[must_use]
    pub fn debug(&self) -> Value {
        let facts = &self.facts;
        let tokens = self.tokens();
        let phases: Map<String, Value> = self
            .phases
            .iter()
            .map(|(phase, spent)| (phase.as_str().to_owned(), milliseconds(spent)))
            .collect();
        json!({
            "requestId": self.request_id,
            "clientRequestId": self.client_request_id,
            "traceId": self.trace.map(|context| format!("{:032x}", context.trace)),
            "time": rfc3339(self.time),
            "method": self.method,
            "handler": self.handler.as_str(),
            "status": self.status,
            "outcome": self.outcome.as_str(),
            "reason": self.reason,
            "durationMs": milliseconds(self.duration),
            "firstPieceMs": self.first_piece.map(milliseconds),
            "phasesMs": phases,
            "tenant": self.caller.as_ref().map(|caller| &caller.tenant),
            "route": facts.route,
            "model": facts.model_asked,
            "candidates": facts.candidates,
            "backend": self.backend,
            "because": facts.because,
            "attempts": facts.attempts,
            "limit": facts.limited,
            "cache": facts.cache,
            "stream": facts.stream,
            "inputTokens": tokens.input,
            "outputTokens": tokens.output,
            "usageSource": tokens.source,
        })
    }

    /// One line of the list that `/debug/requests` shows.
    #[must_use]
    pub fn debug_row(&self) -> Value {
        json!({
            "requestId": self.request_id,
            "time": rfc3339(self.time),
            "handler": self.handler.as_str(),
            "status": self.status,
            "outcome": self.outcome.as_str(),
            "backend": self.backend,
            "durationMs": milliseconds(self.duration),
        })
    }
}

/// Seconds with microseconds, as a number.
pub(crate) fn seconds(spent: Option<Duration>) -> Value {
    spent.map_or(Value::Null, |spent| json!((spent.as_secs_f64() * 1e6).round() / 1e6))
}

fn milliseconds(spent: Duration) -> Value {
    json!((spent.as_secs_f64() * 1e6).round() / 1e3)
}

//! The usage record: one JSON line for each request for a model that was let in, written when its answer has ended,
//! however it did. The account that the response body owns makes it exactly one. It holds ids and counts, no text.

use serde::Serialize;
use serde_json::Value;

use crate::server::summary::{Summary, seconds};
use crate::telemetry::time::rfc3339;

/// Version of the record; fields may be added within one.
const VERSION: u32 = 1;

/// Whether a request has a record: it is for a model, and its caller was let in.
#[must_use]
pub fn is_due(summary: &Summary) -> bool {
    summary.operation.is_some() && summary.caller.is_some()
}

/// The record. Fields without a value are null, so every line has the same ones.
#[derive(Serialize)]
pub struct Record<'a> {
    record: &'static str,
    version: u32,
    time: String,
    request_id: &'a str,
    client_request_id: Option<&'a str>,
    gateway: &'a str,
    operation: Option<&'static str>,
    path: &'static str,
    route: Option<&'a str>,
    backend: Option<&'a str>,
    model: Option<&'a str>,
    model_requested: Option<&'a str>,
    stream: bool,
    status_code: u16,
    outcome: &'static str,
    reason: Option<&'static str>,
    duration_s: Value,
    first_piece_s: Value,
    input_tokens: u64,
    output_tokens: u64,
    usage_source: &'static str,
    attempts: usize,
    cache: Option<&'static str>,
    tenant: Option<&'a str>,
    auth: Option<&'static str>,
    issuer: Option<&'a str>,
    subject: Option<&'a str>,
    key: Option<&'a str>,
    gitlab_instance_id: Option<&'a str>,
    gitlab_global_user_id: Option<&'a str>,
    project_id: Option<i64>,
    lang: Option<&'static str>,
}

/// The record of a request.
#[must_use]
pub fn record(summary: &Summary) -> Record<'_> {
    let (tokens, facts) = (summary.tokens(), &summary.facts);
    let caller = summary.caller.as_deref();
    Record {
        record: "modelgate.usage",
        version: VERSION,
        time: rfc3339(summary.time),
        request_id: &summary.request_id,
        client_request_id: summary.client_request_id.as_deref(),
        gateway: &summary.gateway,
        operation: summary.operation.map(crate::metrics::Operation::as_str),
        path: summary.handler.as_str(),
        route: facts.route.as_deref(),
        backend: summary.backend.as_deref(),
        model: summary.model.as_deref(),
        model_requested: facts.model_asked.as_deref(),
        stream: facts.stream,
        status_code: summary.status,
        outcome: summary.outcome.as_str(),
        reason: summary.reason,
        duration_s: seconds(Some(summary.duration)),
        first_piece_s: seconds(summary.first_piece),
        input_tokens: tokens.input,
        output_tokens: tokens.output,
        usage_source: tokens.source,
        attempts: facts.attempts.len(),
        cache: facts.cache,
        tenant: caller.map(|caller| caller.tenant.as_str()),
        auth: caller.map(|caller| caller.proof.as_str()),
        issuer: caller.map(|caller| caller.issuer.as_str()).filter(|issuer| !issuer.is_empty()),
        subject: caller.map(|caller| caller.subject.as_str()).filter(|subject| !subject.is_empty()),
        key: caller.and_then(|caller| caller.key.as_deref()),
        gitlab_instance_id: summary.told.instance_id.as_deref(),
        gitlab_global_user_id: summary.told.global_user_id.as_deref(),
        project_id: facts.project_id,
        lang: facts.language,
    }
}

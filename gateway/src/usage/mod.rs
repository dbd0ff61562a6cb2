//! The usage record: one JSON line for each request for a model that was let in, written when its answer has ended,
//! however it did. The account that the response body owns makes it exactly one. It holds ids and counts, no text.

use serde_json::{Value, json};

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
#[must_use]
pub fn record(summary: &Summary) -> Value {
    let (tokens, facts) = (summary.tokens(), &summary.facts);
    let caller = summary.caller.as_deref();
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    json!({
        "record": "modelgate.usage",
        "version": VERSION,
        "time": rfc3339(summary.time),
        "request_id": summary.request_id,
        "client_request_id": summary.client_request_id,
        "gateway": summary.gateway,
        "operation": summary.operation.map(crate::metrics::Operation::as_str),
        "path": summary.handler.as_str(),
        "route": facts.route,
        "backend": summary.backend,
        "model": summary.model,
        "model_requested": facts.model_asked,
        "stream": facts.stream,
        "status_code": summary.status,
        "outcome": summary.outcome.as_str(),
        "reason": summary.reason,
        "duration_s": seconds(Some(summary.duration)),
        "first_piece_s": seconds(summary.first_piece),
        "input_tokens": tokens.input,
        "output_tokens": tokens.output,
        "usage_source": tokens.source,
        "attempts": facts.attempts.len(),
        "cache": facts.cache,
        "tenant": caller.map(|caller| &caller.tenant),
        "auth": caller.map(|caller| caller.proof.as_str()),
        "issuer": caller.and_then(|caller| some(&caller.issuer)),
        "subject": caller.and_then(|caller| some(&caller.subject)),
        "key": caller.and_then(|caller| caller.key.clone()),
        "gitlab_instance_id": summary.told.instance_id,
        "gitlab_global_user_id": summary.told.global_user_id,
        "project_id": facts.project_id,
        "lang": facts.language,
    })
}

//! Sends a request to a backend of its route: the only network I/O of the pipeline. One more attempt is made, elsewhere if
//! there is an elsewhere, and only when not a byte of the first one was sent.

use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use tokio::time::Instant;

use super::body::UpstreamBody;
use super::prompt::Rendered;
use super::{boundary, route};
use crate::backend::endpoint::Endpoint;
use crate::backend::{Backend, Permit};
use crate::caller::Caller;
use crate::config::snapshot::Route;
use crate::error::GatewayError;
use crate::server::facts::Phase;
use crate::server::record::Record;

/// Bytes of a backend's error that are read.
const ERROR_BYTES: usize = 64 * 1024;
const ERROR_TIMEOUT: Duration = Duration::from_secs(5);

/// The head of a backend's answer, which is a success.
pub struct Upstream {
    /// Head and body.
    pub response: Response<UpstreamBody>,
    /// Counts the request until its body has ended.
    pub permit: Permit,
    /// Whether a stream of events was asked for and is given.
    pub is_stream: bool,
}

/// Sends to a backend chosen by weight.
///
/// # Errors
/// When no backend takes the request or the one that took it fails.
pub async fn send(
    route: &Arc<Route>,
    rendered: &Rendered,
    record: &mut Record,
) -> Result<Upstream, GatewayError> {
    let caller = record.caller().cloned();
    let caller = caller.as_deref();
    let backend = route::backend(route, caller, None, rand::random()).ok_or_else(|| none(route, caller))?;
    record.set_backend(backend);
    for (candidate, weight) in &route.backends {
        record.note_candidate(
            &candidate.name,
            verdict(candidate, *weight, backend),
            Some(f64::from(*weight)),
        );
    }
    record.note_because("by weight, healthy ones first");
    record.note_phase(Phase::Route);
    let mut tried = None;
    let began = std::time::Instant::now();
    let first = attempt(route, backend, rendered, &mut tried).await;
    note(record, backend, began, &first);
    let error = match first {
        Err(error) if error.is_retryable() => error,
        done => return done,
    };
    // Another address of the same backend first: it is the one that the weights chose.
    let elsewhere = match backend.pick(tried.as_ref()) {
        Some(endpoint) if tried.as_ref().is_some_and(|tried| !Arc::ptr_eq(tried, &endpoint)) => Some(backend),
        _ => route::backend(route, caller, Some(backend), rand::random())
            .filter(|other| !Arc::ptr_eq(other, backend)),
    };
    let Some(elsewhere) = elsewhere else { return Err(error) };
    backend.series.retries.inc();
    record.set_backend(elsewhere);
    record.note_because("the first choice could not be reached");
    let began = std::time::Instant::now();
    let second = attempt(route, elsewhere, rendered, &mut tried).await;
    note(record, elsewhere, began, &second);
    second
}

fn verdict(candidate: &Arc<Backend>, weight: u32, chosen: &Arc<Backend>) -> &'static str {
    match candidate {
        candidate if Arc::ptr_eq(candidate, chosen) => "chosen",
        _ if weight == 0 => "weight is 0",
        candidate if candidate.missing_credential().is_some() => "credential is missing",
        candidate if !candidate.is_healthy() => "unhealthy",
        _ => "lost by weight",
    }
}

/// Notes what became of an attempt.
fn note(
    record: &mut Record,
    backend: &Backend,
    began: std::time::Instant,
    done: &Result<Upstream, GatewayError>,
) {
    record.note_phase(Phase::FirstByte);
    let endpoint = done.as_ref().ok().map(|upstream| upstream.permit.endpoint().base());
    record.note_attempt(
        &backend.name,
        endpoint,
        began,
        done.as_ref().map_or_else(GatewayError::reason, |_| "ok"),
    );
    if let Err(GatewayError::UpstreamStatus { status, .. }) = done {
        record.note_model_status(status.as_u16());
    }
}

/// Why no backend is left: the data boundary, where that is the reason.
fn none(route: &Route, caller: Option<&Caller>) -> GatewayError {
    let refused =
        route.backends.iter().find_map(|(backend, _)| boundary::check(route, backend, caller).err());
    refused.unwrap_or(GatewayError::NoBackend("none has a weight and a credential"))
}

/// Sends to this backend, once. For the gateway's own questions, which hold no source code of anybody.
///
/// # Errors
/// When it does not take the request or fails.
pub async fn to_backend(
    route: &Route,
    backend: &Arc<Backend>,
    rendered: &Rendered,
) -> Result<Upstream, GatewayError> {
    attempt(route, backend, rendered, &mut None).await
}

async fn attempt(
    route: &Route,
    backend: &Arc<Backend>,
    rendered: &Rendered,
    tried: &mut Option<Arc<Endpoint>>,
) -> Result<Upstream, GatewayError> {
    let endpoint = backend.pick(tried.as_ref()).ok_or(GatewayError::NoBackend("no address is known"))?;
    *tried = Some(Arc::clone(&endpoint));
    let permit = Permit::new(Arc::clone(backend), endpoint);
    let request = rendered.request_to(backend, permit.endpoint())?;
    let sending = backend.send(permit.endpoint(), request, rendered.api, rendered.stream);
    let limit = Duration::from_millis(route.timeout.connect_ms.saturating_add(route.timeout.first_byte_ms));
    let limit = limit.min(Duration::from_millis(route.timeout.total_ms));
    let response = tokio::time::timeout(limit, sending)
        .await
        .map_err(|_| GatewayError::UpstreamTimeout("first byte"))??;
    if !response.status().is_success() {
        return Err(failure(response).await);
    }
    let is_stream = rendered.stream && is_event_stream(&response);
    Ok(Upstream { response, permit, is_stream })
}

fn is_event_stream(response: &Response<UpstreamBody>) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/event-stream"))
}

/// A backend's error with as much of its body as an error can need.
async fn failure(response: Response<UpstreamBody>) -> GatewayError {
    let (parts, body) = response.into_parts();
    let status = if parts.status.is_redirection() || parts.status.is_informational() {
        StatusCode::BAD_GATEWAY
    } else {
        parts.status
    };
    let read = tokio::time::timeout(ERROR_TIMEOUT, Limited::new(body, ERROR_BYTES).collect()).await;
    let body = match read {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(_)) | Err(_) => bytes::Bytes::new(),
    };
    GatewayError::UpstreamStatus {
        status,
        body,
        retry_after: parts.headers.get(header::RETRY_AFTER).cloned(),
    }
}

/// When everything of the request must be over.
#[must_use]
pub fn deadline(route: &Route, began: std::time::Instant) -> Instant {
    Instant::from_std(began) + Duration::from_millis(route.timeout.total_ms)
}

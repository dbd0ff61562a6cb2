//! One request to one address, until its answer has really begun: a stream's first event is there, any other answer is
//! whole and makes sense. Until then nothing was shown to the client, so a failure can be told by a status or made good
//! elsewhere.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use tokio::time::{Instant, timeout_at};

use super::body::UpstreamBody;
use super::prompt::Rendered;
use super::translate;
use crate::backend::endpoint::{Endpoint, Load};
use crate::backend::{Backend, Permit};
use crate::complete;
use crate::config::snapshot::Route;
use crate::dialect::sse::{Scanner, Stop};
use crate::error::GatewayError;
use crate::limits;
use crate::routing::retry_after;

/// Bytes of a backend's error that are read.
const ERROR_BYTES: usize = 64 * 1024;
const ERROR_TIMEOUT: Duration = Duration::from_secs(5);

/// A backend's answer, which is a success and has begun.
pub struct Upstream {
    /// Head and body.
    pub response: Response<UpstreamBody>,
    /// Counts the request until its body has ended.
    pub permit: Permit,
    /// Whether a stream of events was asked for and is given.
    pub is_stream: bool,
}

/// Sends to this address and waits until the answer has begun.
///
/// # Errors
/// When the address does not take the request, fails, or answers nonsense.
pub async fn attempt(
    route: &Route,
    backend: &Arc<Backend>,
    endpoint: Arc<Endpoint>,
    rendered: &Rendered,
    load: Load<'_>,
    deadline: Instant,
) -> Result<Upstream, GatewayError> {
    rendered.note(backend, complete::Phase::Queue);
    let place = backend.place(rendered.until(route).min(deadline)).await?;
    rendered.note(backend, complete::Phase::FirstToken);
    let mut permit = Permit::new(Arc::clone(backend), endpoint, load.tokens, place);
    let mut answer = begun(route, &permit, rendered, deadline).await;
    if let Err(error) = &answer
        && rendered.asks_for_usage(backend)
        && refuses_usage(error)
    {
        // Its own dialect knows no such field: not asked for again.
        backend.note_no_usage_in_streams();
        answer = begun(route, &permit, rendered, deadline).await;
    }
    permit.settle(answer.as_ref().err().and_then(GatewayError::fault));
    let (response, is_stream) = answer?;
    Ok(Upstream { response, permit, is_stream })
}

fn refuses_usage(error: &GatewayError) -> bool {
    matches!(error, GatewayError::UpstreamStatus { status, body, .. }
        if matches!(status.as_u16(), 400 | 422) && memchr::memmem::find(body, b"stream_options").is_some())
}

async fn begun(
    route: &Route,
    permit: &Permit,
    rendered: &Rendered,
    deadline: Instant,
) -> Result<(Response<UpstreamBody>, bool), GatewayError> {
    let (backend, times) = (permit.backend(), route.timeout);
    let (request, translation) = rendered.request_to(backend, permit.endpoint())?;
    let began = Instant::now();
    let sending = backend.send(request, rendered.api, rendered.stream);
    let until = began + Duration::from_millis(times.connect_ms.saturating_add(times.first_byte_ms));
    let response =
        timeout_at(until.min(deadline), sending).await.map_err(|_| late("first byte", deadline))??;
    if !response.status().is_success() {
        let error = failure(response).await;
        return Err(if translation.is_some() { translate::error(error) } else { error });
    }
    let response = match translation {
        Some(translation) => translation.answer(response, deadline).await?,
        None => response,
    };
    let (parts, body) = response.into_parts();
    // A completion of the gateway's own asks for a stream, and reads what servers send that have none.
    let streams = rendered.stream && (!rendered.reads_both() || is_stream(&parts.headers));
    let body = if streams {
        is_kind(&parts.headers, "event-stream")?;
        let until = (began + Duration::from_millis(times.first_token_ms)).min(deadline);
        first_event(body, until, deadline).await?
    } else {
        is_kind(&parts.headers, "json")?;
        let encoded = parts.headers.contains_key(header::CONTENT_ENCODING);
        whole_answer(body, Duration::from_millis(times.idle_ms), deadline, encoded).await?
    };
    Ok((Response::from_parts(parts, body), streams))
}

fn late(phase: &'static str, deadline: Instant) -> GatewayError {
    GatewayError::UpstreamTimeout(if Instant::now() >= deadline { "whole answer" } else { phase })
}

/// An answer of another kind than was asked for cannot be read by the client either. No kind is taken for the right one.
fn is_kind(headers: &HeaderMap, wanted: &str) -> Result<(), GatewayError> {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let kind = kind.to_str().unwrap_or_default().to_ascii_lowercase();
    if kind.contains(wanted) { Ok(()) } else { Err(GatewayError::UpstreamMalformed("another content type")) }
}

fn is_stream(headers: &HeaderMap) -> bool {
    headers.contains_key(header::CONTENT_TYPE) && is_kind(headers, "event-stream").is_ok()
}

/// Reads until the first event that is not a mere comment. The body that is given has lost nothing.
async fn first_event(
    mut body: UpstreamBody,
    until: Instant,
    deadline: Instant,
) -> Result<UpstreamBody, GatewayError> {
    let mut scanner = Scanner::default();
    let (mut first, mut more) = (Bytes::new(), BytesMut::new());
    loop {
        let frame = timeout_at(until, body.frame()).await.map_err(|_| late("first token", deadline))?;
        let ended = frame.is_none();
        if let Some(frame) = frame {
            let piece = frame.map_err(|_| GatewayError::UpstreamBroken)?.into_data().unwrap_or_default();
            scanner.push(piece.clone());
            if first.is_empty() {
                first = piece;
            } else {
                more.extend_from_slice(&piece);
            }
        } else {
            scanner.finish();
        }
        match &scanner.stop {
            Some(Stop::Failed(event)) => return Err(said_in_stream(event)),
            Some(Stop::Malformed) => return Err(GatewayError::UpstreamMalformed("no event")),
            None => {}
        }
        if scanner.events > 0 || scanner.done {
            break;
        }
        if ended {
            return Err(GatewayError::UpstreamMalformed("empty"));
        }
        if first.len() + more.len() > limits::EVENT_BYTES {
            return Err(GatewayError::UpstreamMalformed("no event"));
        }
    }
    if !more.is_empty() {
        first = Bytes::from([&first[..], &more[..]].concat());
    }
    Ok(UpstreamBody::begun(first, body))
}

/// An error that a backend tells as the first event of a stream, as if it had told it by its status.
fn said_in_stream(event: &Bytes) -> GatewayError {
    let status = crate::dialect::sse::status_of(event).and_then(|code| StatusCode::from_u16(code).ok());
    match status.filter(|status| status.is_client_error() || status.is_server_error()) {
        Some(status) => GatewayError::UpstreamStatus { status, body: event.clone(), retry_after: None },
        None => GatewayError::UpstreamMalformed("an error in a stream"),
    }
}

/// Reads an answer that is not streamed whole and checks that it is JSON, up to a size; what is larger passes as it comes.
async fn whole_answer(
    mut body: UpstreamBody,
    idle: Duration,
    deadline: Instant,
    encoded: bool,
) -> Result<UpstreamBody, GatewayError> {
    let (mut first, mut more) = (Bytes::new(), BytesMut::new());
    loop {
        let until = (Instant::now() + idle).min(deadline);
        let frame = timeout_at(until, body.frame()).await.map_err(|_| late("next piece", deadline))?;
        let Some(frame) = frame else { break };
        let piece = frame.map_err(|_| GatewayError::UpstreamBroken)?.into_data().unwrap_or_default();
        if first.is_empty() {
            first = piece;
        } else {
            more.extend_from_slice(&piece);
        }
        if first.len() + more.len() > limits::CHECKED_ANSWER_BYTES {
            let begun = Bytes::from([&first[..], &more[..]].concat());
            return Ok(UpstreamBody::begun(begun, body));
        }
    }
    if !more.is_empty() {
        first = Bytes::from([&first[..], &more[..]].concat());
    }
    if first.trim_ascii().is_empty() {
        return Err(GatewayError::UpstreamMalformed("empty"));
    }
    let is_json = || serde_json::from_slice::<serde::de::IgnoredAny>(&first).is_ok();
    let is_object = first.trim_ascii_start().first() == Some(&b'{') && is_json();
    if !encoded && !is_object {
        return Err(GatewayError::UpstreamMalformed("no JSON object"));
    }
    Ok(UpstreamBody::whole(first))
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
        Ok(Err(_)) | Err(_) => Bytes::new(),
    };
    let pause = retry_after::parse(&parts.headers, SystemTime::now());
    GatewayError::UpstreamStatus { status, body, retry_after: pause.map(retry_after::header_value) }
}

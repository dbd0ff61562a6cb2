//! Results → answers in the caller's protocol.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use modelgate_api::v1alpha1::{Compat, Protocol};
use serde_json::json;

use super::dispatch::{self, Upstream};
use super::prompt::Rendered;
use super::{cors, fill, parse, paths};
use crate::app::Gateway;
use crate::complete;
use crate::config::snapshot::{Route, Snapshot};
use crate::dialect::openai;
use crate::error::{GatewayError, is_callers_fault};
use crate::gitlab::{self, error_bodies};
use crate::metrics::{Metrics, Outcome};
use crate::routing::retry_after;
use crate::series::Handler;
use crate::server::body::{Passing, ResponseBody};
use crate::server::record::Record;

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// Code points of an unknown path that are said back.
const SHOWN_PATH: usize = 128;
/// Headers of a backend's answer that clients get to see.
const PASSED_ON: [HeaderName; 3] = [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::RETRY_AFTER];

/// An answer before it becomes HTTP.
pub struct Reply {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: ReplyBody,
}

/// Body of an answer.
pub enum ReplyBody {
    /// All of it.
    Whole(Bytes),
    /// From a backend as it comes.
    Passing(Box<Passing>),
    /// A completion as it comes.
    Telling(Box<complete::Stream>),
}

impl ReplyBody {
    /// The response, which owns the account from here on.
    #[must_use]
    pub fn into_response(self, record: Record) -> ResponseBody {
        match self {
            Self::Whole(bytes) => ResponseBody::whole(bytes, record),
            Self::Passing(passing) => ResponseBody::passing(*passing, record),
            Self::Telling(stream) => ResponseBody::telling(stream, record),
        }
    }
}

pub(super) fn whole(status: StatusCode, kind: HeaderValue, body: impl Into<Bytes>) -> Reply {
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]);
    Reply { status, headers, body: ReplyBody::Whole(body.into()) }
}

/// In whose words errors are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// FastAPI's, which GitLab's gateway uses.
    GitLab,
    /// OpenAI's.
    OpenAi,
    /// Mistral's.
    Mistral,
    /// llama.cpp's.
    LlamaCpp,
    /// Tabby's.
    Tabby,
}

impl Shape {
    /// Of a path. One whose protocol is not served is answered as if it were; unknown ones are GitLab's where its protocol
    /// is served, unless they are under OpenAI's prefix.
    #[must_use]
    pub fn of(handler: Handler, path: &str, snapshot: &Snapshot) -> Self {
        let gitlab = snapshot.serves(Protocol::GitLab);
        // The gateway of 2023 knew none of the others' paths.
        let is_2023 = gitlab && snapshot.config.compat == Compat::Strict;
        let meant = match (handler, paths::known(path)) {
            (Handler::Other, [(_, meant), ..]) if !is_2023 && !meant.is_gitlab() => *meant,
            _ => handler,
        };
        match meant {
            Handler::Completions | Handler::Chat | Handler::Embeddings | Handler::Models | Handler::Model => {
                Self::OpenAi
            }
            Handler::MistralFim => Self::Mistral,
            Handler::Infill | Handler::LlamaHealth | Handler::LlamaProps => Self::LlamaCpp,
            Handler::TabbyCompletions
            | Handler::TabbyHealth
            | Handler::TabbySetting
            | Handler::TabbyEvents => Self::Tabby,
            Handler::Other if !gitlab || path.starts_with("/v1/") => Self::OpenAi,
            _ => Self::GitLab,
        }
    }
}

/// What the answer must know of the request.
pub struct Asked {
    shape: Shape,
    handler: Handler,
    compat: Compat,
    /// Where nothing is served.
    unknown: Option<String>,
    /// Why, where a protocol that is not served has the path.
    switched_off: Option<String>,
    preflight: bool,
    cors: Vec<(HeaderName, HeaderValue)>,
}

impl Asked {
    /// Notes it before the body is read.
    #[must_use]
    pub fn new(parts: &Parts, handler: Handler, snapshot: &Snapshot) -> Self {
        let shape = Shape::of(handler, parts.uri.path(), snapshot);
        let origins = snapshot.config.listeners.cors_origins.as_deref();
        let preflight = cors::preflight(parts, shape, origins).is_some();
        let cors = cors::headers(parts, shape, origins);
        let unknown =
            (handler == Handler::Other).then(|| parts.uri.path().chars().take(SHOWN_PATH).collect());
        let switched_off = paths::switched_off(parts.uri.path(), snapshot);
        let compat = snapshot.config.compat;
        Self { shape, handler, compat, unknown, switched_off, preflight, cors }
    }

    /// Headers that every answer carries.
    pub fn add_headers(&self, headers: &mut HeaderMap, record: &Record) {
        if self.preflight {
            return;
        }
        headers.extend(self.cors.iter().cloned());
        if !matches!(self.handler, Handler::Healthz | Handler::Ready)
            && let Ok(took) = HeaderValue::from_str(&gitlab::process_time(record.began.elapsed()))
        {
            headers.insert("x-process-time", took);
        }
        if self.compat == Compat::Current
            && self.handler.is_told()
            && let Some(timing) = record.phases().server_timing()
        {
            headers.insert("server-timing", timing);
        }
    }
}

/// Answers what needs no authentication: preflights, and the questions whether the gateway is alive and ready.
pub fn without_auth(
    gateway: &Gateway,
    snapshot: &Snapshot,
    parts: &Parts,
    record: &mut Record,
) -> Option<Reply> {
    let shape = Shape::of(record.handler, parts.uri.path(), snapshot);
    let origins = snapshot.config.listeners.cors_origins.as_deref();
    if let Some(preflight) = cors::preflight(parts, shape, origins) {
        record.clear_operation();
        record.set_outcome(Outcome::Success);
        let mut reply = whole(preflight.status, TEXT, preflight.body);
        reply.headers.extend(preflight.headers);
        return Some(reply);
    }
    if record.handler == Handler::Docs {
        parse::check_method(record.handler, parts).ok()?;
        let page = gateway.docs.answer(parts.uri.path(), snapshot)?;
        record.set_outcome(Outcome::Success);
        let mut reply = whole(StatusCode::OK, page.content_type, page.body);
        if let Some(policy) = page.policy {
            reply.headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        return Some(reply);
    }
    let is_serving =
        || !gateway.drain.is_draining() && snapshot.routes.iter().any(|route| route.is_serving());
    let ok = match record.handler {
        Handler::Healthz => true,
        Handler::Ready => is_serving(),
        Handler::LlamaHealth => {
            let reply = fill::health(parts, is_serving())?;
            record.set_outcome(Outcome::Success);
            return Some(reply);
        }
        _ => return None,
    };
    parse::check_method(record.handler, parts).ok()?;
    record.set_outcome(Outcome::Success);
    Some(whole(if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, JSON, "{}"))
}

/// Every model name that a request of this caller may use.
fn model_names<'a>(snapshot: &'a Snapshot, record: &Record) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    let concrete =
        snapshot.routes.iter().flat_map(|route| route.matcher.models()).filter(|model| !model.ends_with('*'));
    for model in concrete {
        if !names.contains(&model.as_str()) && record.caller().is_none_or(|caller| caller.may_use(model)) {
            names.push(model);
        }
    }
    names
}

fn model_object(name: &str) -> serde_json::Value {
    json!({"id": name, "object": "model", "created": 0, "owned_by": modelgate_api::PRODUCT_ID})
}

/// The list of models.
pub fn models(snapshot: &Snapshot, record: &mut Record) -> Reply {
    record.set_outcome(Outcome::Success);
    let data: Vec<_> = model_names(snapshot, record).into_iter().map(model_object).collect();
    whole(StatusCode::OK, JSON, json!({"object": "list", "data": data}).to_string())
}

/// One of the models.
///
/// # Errors
/// [`GatewayError::UnknownModel`] when this caller may not use it, or nobody.
pub fn model(snapshot: &Snapshot, name: &str, record: &mut Record) -> Result<Reply, GatewayError> {
    if !model_names(snapshot, record).contains(&name) {
        return Err(GatewayError::UnknownModel { model: name.chars().take(SHOWN_PATH).collect() });
    }
    record.set_outcome(Outcome::Success);
    Ok(whole(StatusCode::OK, JSON, model_object(name).to_string()))
}

/// A backend's answer, passed on as it comes.
#[must_use]
pub fn pass_through(upstream: Upstream, route: &Arc<Route>, rendered: Rendered, record: &Record) -> Reply {
    let mut headers = HeaderMap::new();
    for name in PASSED_ON {
        if let Some(value) = upstream.response.headers().get(&name) {
            headers.insert(name, value.clone());
        }
    }
    if upstream.is_stream {
        // Proxies in between must not gather events.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    }
    let status = upstream.response.status();
    let passing = Passing::new(
        upstream,
        route,
        rendered,
        record.caller().cloned(),
        dispatch::deadline(route, record.began),
    );
    Reply { status, headers, body: ReplyBody::Passing(Box::new(passing)) }
}

/// An error in the caller's protocol.
pub fn refuse(error: &GatewayError, asked: &Asked, metrics: &Metrics, record: &mut Record) -> Reply {
    record.set_outcome(error.outcome());
    record.reason = Some(error.reason());
    if let GatewayError::Unauthorized(failure) = error {
        metrics.count_auth_failure(*failure);
    }
    // A body of Tabby's is told from OpenAI's only when it was read.
    let shape = if record.handler == Handler::TabbyCompletions { Shape::Tabby } else { asked.shape };
    let mut reply = match shape {
        Shape::GitLab => in_gitlabs_words(error, asked),
        Shape::OpenAi => in_openais_words(error, asked),
        other => fill::refuse(other, error.status(), &told(error, asked), error.reason()),
    };
    if let Some(pause) = error.retry_after() {
        reply.headers.insert(header::RETRY_AFTER, retry_after::header_value(pause));
    }
    match error {
        GatewayError::MethodNotAllowed { allow } => {
            reply.headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        GatewayError::RedirectSlash { location } => {
            reply.headers.insert(header::LOCATION, location.clone());
        }
        GatewayError::Limited(limited) => {
            reply.headers.extend(limited.headers.clone());
            reply.headers.insert(header::RETRY_AFTER, limited.seconds().into());
        }
        GatewayError::Waking { retry_after } => {
            reply.headers.insert(header::RETRY_AFTER, HeaderValue::from(*retry_after));
        }
        _ if reply.status == StatusCode::SERVICE_UNAVAILABLE => {
            reply.headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        GatewayError::BodyTooLarge { .. }
        | GatewayError::BodyTimeout
        | GatewayError::BodyBroken
        | GatewayError::UriTooLong => {
            // What is left of the body is not read, so nothing that follows on the connection could be understood.
            reply.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    reply
}

/// An error as a sentence.
fn told(error: &GatewayError, asked: &Asked) -> String {
    match (error, &asked.switched_off) {
        (GatewayError::NotFound, Some(why)) => why.clone(),
        _ => error.to_string(),
    }
}

fn in_openais_words(error: &GatewayError, asked: &Asked) -> Reply {
    let status = error.status();
    match error {
        // About the caller's own request, in words that its client knows already.
        GatewayError::UpstreamStatus { status: upstream, body, .. }
            if is_callers_fault(*upstream) && is_json_object(body) =>
        {
            whole(status, JSON, body.clone())
        }
        _ => whole(status, JSON, openai::error_body(status, &told(error, asked), error.reason())),
    }
}

fn is_json_object(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'{')
        && serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
}

/// Why a path of another GitLab service is not answered here.
fn not_served(path: &str) -> String {
    format!(
        "Not Found: this gateway does not serve {path}; to hand it on to another GitLab AI gateway, name that one in a ModelBackend with spec.external.protocol: GitLab, and this path in the match.paths of a route to it"
    )
}

fn in_gitlabs_words(error: &GatewayError, asked: &Asked) -> Reply {
    let status = error.status();
    let (current, outcome) = (asked.compat == Compat::Current, error.outcome());
    match error {
        GatewayError::Unauthorized(failure) => whole(status, JSON, failure.in_gitlabs_words().body()),
        GatewayError::Limited(_) => whole(status, JSON, error_bodies::TOO_MANY_REQUESTS),
        GatewayError::NotFound => match &asked.unknown {
            Some(path) if asked.compat == Compat::Current => {
                whole(status, JSON, error_bodies::detail(&not_served(path)))
            }
            _ => whole(status, JSON, error_bodies::NOT_FOUND),
        },
        GatewayError::NotEntitled(_) => whole(status, JSON, error_bodies::detail(&error.to_string())),
        GatewayError::MethodNotAllowed { .. } => whole(status, JSON, error_bodies::METHOD_NOT_ALLOWED),
        GatewayError::RedirectSlash { .. } => {
            Reply { status, headers: HeaderMap::new(), body: ReplyBody::Whole(Bytes::new()) }
        }
        GatewayError::Rejected { status, body } => whole(*status, JSON, body.clone()),
        GatewayError::BodyTooLarge { .. } => whole(status, JSON, error_bodies::TOO_LARGE),
        GatewayError::UpstreamStatus { status: StatusCode::TOO_MANY_REQUESTS, .. } if current => {
            whole(status, JSON, error_bodies::TOO_MANY_REQUESTS)
        }
        _ if current
            && (outcome == Outcome::UpstreamError
                || outcome == Outcome::Timeout
                || outcome == Outcome::Shed) =>
        {
            whole(StatusCode::SERVICE_UNAVAILABLE, JSON, error_bodies::INFERENCE_FAILED)
        }
        // As FastAPI shows an exception that nobody caught.
        _ if error.outcome() == Outcome::UpstreamError
            || error.outcome() == Outcome::Timeout
            || (!current && matches!(error, GatewayError::UpstreamStatus { .. }))
            || status == StatusCode::INTERNAL_SERVER_ERROR =>
        {
            whole(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "Internal Server Error")
        }
        _ => whole(status, JSON, error_bodies::detail(&error.to_string())),
    }
}

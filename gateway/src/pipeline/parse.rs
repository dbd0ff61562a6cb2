//! Path, method and size-capped body → a [`Call`].

use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use http::header::{CONTENT_LENGTH, HOST};
use http::request::Parts;
use http_body::Body;
use http_body_util::BodyExt;
use modelgate_api::v1alpha1::{Compat, Protocol};
use tokio::time::{Instant, timeout_at};

use crate::config::snapshot::Snapshot;
use crate::dialect::openai::{self, Api, Head};
use crate::error::GatewayError;
use crate::limits;
use crate::series::Handler;

/// What a client asks for.
pub enum Call {
    /// The list of models.
    Models,
    /// OpenAI's completion or chat.
    OpenAi(OpenAiCall),
}

/// A request that passes through.
pub struct OpenAiCall {
    /// Where it goes.
    pub api: Api,
    /// What the gateway must know of it.
    pub head: Head,
    /// The body as it came.
    pub body: Bytes,
}

/// The template that the path matches, of the protocols that are served.
#[must_use]
pub fn handler(path: &str, snapshot: &Snapshot) -> Handler {
    match path {
        "/v2/completions" if snapshot.serves(Protocol::GitLab) => Handler::GitlabCompletions,
        "/v2/code/completions" if snapshot.serves(Protocol::GitLab) => Handler::GitlabCodeCompletions,
        "/v2/code/generations" if snapshot.serves(Protocol::GitLab) => Handler::GitlabGenerations,
        "/v2/experimental/code/completions" if snapshot.serves(Protocol::GitLab) => {
            Handler::GitlabExperimental
        }
        "/v1/code/user_access_token" if snapshot.serves(Protocol::GitLab) => Handler::GitlabToken,
        // The gateway of 2023 had none of these.
        "/v3/code/completions" if is_current(snapshot) => Handler::GitlabComponents,
        "/v4/code/suggestions" if is_current(snapshot) => Handler::GitlabSuggestions,
        "/v1/models/definitions" if is_current(snapshot) => Handler::GitlabModels,
        "/v1/completions" if snapshot.serves(Protocol::OpenAI) => Handler::Completions,
        "/v1/chat/completions" if snapshot.serves(Protocol::OpenAI) => Handler::Chat,
        "/v1/models" if snapshot.serves(Protocol::OpenAI) => Handler::Models,
        "/monitoring/healthz" => Handler::Healthz,
        "/monitoring/ready" => Handler::Ready,
        _ => Handler::Other,
    }
}

fn is_current(snapshot: &Snapshot) -> bool {
    snapshot.serves(Protocol::GitLab) && snapshot.config.compat == Compat::Current
}

/// Reads what the request asks for. The caller has been let in.
///
/// # Errors
/// When path, method or body are not served.
pub async fn call(handler: Handler, parts: &Parts, body: Incoming) -> Result<Call, GatewayError> {
    if handler == Handler::Other {
        return Err(redirect(parts).unwrap_or(GatewayError::NotFound));
    }
    check_method(handler, parts)?;
    let api = match handler {
        Handler::Completions => Api::Completions,
        Handler::Chat => Api::Chat,
        _ => return Ok(Call::Models),
    };
    let body = read(parts, body, limits::OPENAI_BODY_BYTES).await?;
    let head = openai::scan(&body)?;
    Ok(Call::OpenAi(OpenAiCall { api, head, body }))
}

type Incoming = hyper::body::Incoming;

/// Refuses methods that the path has not.
///
/// # Errors
/// [`GatewayError::MethodNotAllowed`].
pub fn check_method(handler: Handler, parts: &Parts) -> Result<(), GatewayError> {
    let method = handler.method();
    if parts.method == method {
        return Ok(());
    }
    Err(GatewayError::MethodNotAllowed { allow: if method == http::Method::GET { "GET" } else { "POST" } })
}

/// A path that exists without its trailing slash is redirected to, as FastAPI does.
fn redirect(parts: &Parts) -> Option<GatewayError> {
    let path = parts.uri.path().strip_suffix('/')?;
    if !matches!(
        path,
        "/v2/completions"
            | "/v2/code/completions"
            | "/v2/code/generations"
            | "/v2/experimental/code/completions"
            | "/monitoring/healthz"
            | "/monitoring/ready"
    ) {
        return None;
    }
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).or(parts.uri.host());
    let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let location =
        host.map_or_else(|| format!("{path}{query}"), |host| format!("http://{host}{path}{query}"));
    HeaderValue::from_str(&location).ok().map(|location| GatewayError::RedirectSlash { location })
}

/// Reads a body of at most `limit` bytes, within the limits of time.
pub(super) async fn read(parts: &Parts, mut body: Incoming, limit: usize) -> Result<Bytes, GatewayError> {
    let too_large = GatewayError::BodyTooLarge { limit };
    let announced =
        parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large);
    }
    let end = Instant::now() + limits::BODY_TIMEOUT;
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while !body.is_end_stream() {
        let until = (Instant::now() + limits::BODY_IDLE_TIMEOUT).min(end);
        let frame = timeout_at(until, body.frame()).await.map_err(|_| GatewayError::BodyTimeout)?;
        let Some(frame) = frame else { break };
        let Ok(data) = frame.map_err(|_| GatewayError::BodyBroken)?.into_data() else { continue };
        if first.len() + rest.len() + data.len() > limit {
            return Err(too_large);
        }
        // Most bodies come in one piece, which is then not copied.
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.reserve(announced.unwrap_or(0).max(first.len() + data.len()));
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&data);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

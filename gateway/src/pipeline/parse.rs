//! Path, method and size-capped body → a [`Call`].

use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use http::header::{CONTENT_LENGTH, HOST};
use http::request::Parts;
use http_body::Body;
use http_body_util::BodyExt;
use modelgate_api::v1alpha1::Protocol;
use tokio::time::{Instant, timeout_at};

use crate::config::snapshot::Snapshot;
use crate::dialect::openai::{self, Api, Head};
use crate::error::GatewayError;
use crate::limits;
use crate::protocol::tabby;
use crate::series::Handler;

/// What a client asks for.
pub enum Call {
    /// The list of models.
    Models,
    /// One of them.
    Model(String),
    /// OpenAI's completion, chat or embeddings.
    OpenAi(OpenAiCall),
    /// A completion of Tabby's, which came on OpenAI's path.
    Tabby(Bytes),
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

/// Reads what the request asks for. The caller has been let in.
///
/// # Errors
/// When path, method or body are not served.
pub async fn call(
    snapshot: &Snapshot,
    handler: Handler,
    parts: &Parts,
    body: Incoming,
) -> Result<Call, GatewayError> {
    if handler == Handler::Other {
        return Err(
            redirect(parts, snapshot.config.listeners.tls.is_some()).unwrap_or(GatewayError::NotFound)
        );
    }
    check_method(handler, parts)?;
    let api = match handler {
        Handler::Completions => Api::Completions,
        Handler::Chat => Api::Chat,
        Handler::Embeddings => Api::Embeddings,
        Handler::Model => {
            let escaped = parts.uri.path().strip_prefix("/v1/models/").unwrap_or_default();
            return Ok(Call::Model(unescaped(escaped)));
        }
        _ => return Ok(Call::Models),
    };
    let body = read(parts, body, limits::OPENAI_BODY_BYTES).await?;
    if handler == Handler::Completions && snapshot.serves(Protocol::Tabby) && tabby::is_own(&body) {
        return Ok(Call::Tabby(body));
    }
    let mut head = openai::scan(&body)?;
    // Embeddings come whole, whatever is asked for.
    head.stream &= api != Api::Embeddings;
    Ok(Call::OpenAi(OpenAiCall { api, head, body }))
}

/// A part of a path as its client meant it; what is no escape stands for itself.
fn unescaped(part: &str) -> String {
    let bytes = part.as_bytes();
    let (mut text, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| byte == b'%') {
            Some(meant) => {
                text.push(meant);
                at += 3;
            }
            None => {
                text.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

type Incoming = hyper::body::Incoming;

/// Refuses methods that the path has not.
///
/// # Errors
/// [`GatewayError::MethodNotAllowed`].
pub fn check_method(handler: Handler, parts: &Parts) -> Result<(), GatewayError> {
    let method = handler.method();
    // Tabby's older clients ask for its health by POST.
    let is_either = handler == Handler::TabbyHealth && parts.method == http::Method::POST;
    if parts.method == method || is_either {
        return Ok(());
    }
    Err(GatewayError::MethodNotAllowed { allow: if method == http::Method::GET { "GET" } else { "POST" } })
}

/// A path that exists without its trailing slash is redirected to, as FastAPI does.
fn redirect(parts: &Parts, secure: bool) -> Option<GatewayError> {
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
    let scheme = if secure { "https" } else { "http" };
    let location =
        host.map_or_else(|| format!("{path}{query}"), |host| format!("{scheme}://{host}{path}{query}"));
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

#[cfg(test)]
mod tests {
    use super::unescaped;

    #[test]
    fn a_models_name_may_be_escaped() {
        let cases = ["qwen", "a%2Fb", "a%2fb%20c", "100%", "%zz", "%E4"];
        assert_eq!(cases.map(unescaped), ["qwen", "a/b", "a/b c", "100%", "%zz", "\u{fffd}"]);
    }
}

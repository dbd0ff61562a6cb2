//! A client's request of OpenAI's for a server that speaks something else: asked in the server's own dialect, answered in
//! OpenAI's. What comes out is an answer like any other, so all that follows (the first event, failover, the account) needs to
//! know of no dialect.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Limited};
use tokio::time::{Instant, timeout_at};

use super::body::UpstreamBody;
use crate::backend::Backend;
use crate::dialect::openai::words::Words;
use crate::dialect::openai::{Api, error_body, wish};
use crate::dialect::{Dialect, Events, Wire, error_message};
use crate::error::{GatewayError, is_callers_fault};
use crate::limits;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream; charset=utf-8");

/// How the answer to a translated request becomes OpenAI's.
pub struct Translation {
    dialect: Arc<Dialect>,
    words: Words,
    /// The client wants a stream.
    stream: bool,
}

/// The request in the server's dialect.
///
/// # Errors
/// [`GatewayError::BadRequest`] naming the field that the server does not take.
pub fn request(
    backend: &Backend,
    api: Api,
    body: &[u8],
    model: &str,
) -> Result<(Wire, Translation), GatewayError> {
    let (dialect, abilities) = (backend.dialect(), backend.abilities());
    let read = wish::read(api, body, dialect.as_str(), &abilities);
    let mut generation = read.map_err(GatewayError::BadRequest)?;
    generation.model.clone_from(&backend.config.model);
    generation.max_tokens = generation.max_tokens.min(abilities.max_tokens);
    let wire = dialect.render(&generation, &abilities)?;
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let id = format!("{:032x}", rand::random::<u128>());
    let counts = dialect.tells_no_end();
    let words = Words::new(api, &id, created, model, generation.max_tokens, counts);
    Ok((wire, Translation { dialect, words, stream: generation.stream }))
}

impl Translation {
    /// The answer in OpenAI's words; one that is not streamed is read whole for it.
    ///
    /// # Errors
    /// When the answer is none.
    pub async fn answer(
        mut self,
        response: Response<UpstreamBody>,
        until: Instant,
    ) -> Result<Response<UpstreamBody>, GatewayError> {
        let (mut parts, body) = response.into_parts();
        let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let has_events = kind.is_some_and(|kind| kind.to_ascii_lowercase().contains("event-stream"));
        parts.headers.remove(header::CONTENT_ENCODING);
        parts.headers.insert(header::CONTENT_TYPE, if self.stream { EVENTS } else { JSON });
        let body = if self.stream && has_events {
            let events = self.dialect.events();
            UpstreamBody::Translated(Box::new(Translated {
                inner: body,
                events,
                words: self.words,
                ended: false,
            }))
        } else {
            let collecting = timeout_at(until, Limited::new(body, limits::ANSWER_BYTES).collect());
            let collected = collecting.await.map_err(|_| GatewayError::UpstreamTimeout("whole answer"))?;
            let collected = collected.map_err(|_| GatewayError::UpstreamBroken)?.to_bytes();
            if collected.trim_ascii().is_empty() {
                return Err(GatewayError::UpstreamMalformed("empty"));
            }
            let generated = self.dialect.read(StatusCode::OK, &collected).map_err(|fault| {
                tracing::warn!(error = %fault, "no completion in the answer");
                GatewayError::UpstreamMalformed("no completion")
            })?;
            let whole = if self.stream {
                self.words.whole_as_events(&generated)
            } else {
                self.words.whole(&generated)
            };
            UpstreamBody::whole(whole)
        };
        Ok(Response::from_parts(parts, body))
    }
}

/// A server's error in OpenAI's words, where it is about the caller's own request.
#[must_use]
pub fn error(error: GatewayError) -> GatewayError {
    match error {
        GatewayError::UpstreamStatus { status, body, retry_after } if is_callers_fault(status) => {
            let body = error_body(status, &error_message(&body), "backend_error");
            GatewayError::UpstreamStatus { status, body, retry_after }
        }
        other => other,
    }
}

/// A stream in another dialect, read as OpenAI's.
pub struct Translated {
    inner: UpstreamBody,
    events: Events,
    words: Words,
    ended: bool,
}

impl Translated {
    /// The next events.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        while !self.ended {
            let bytes = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let told = self.events.push(&frame.into_data().unwrap_or_default());
                    self.words.events(told)
                }
                Some(Err(error)) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    self.ended = true;
                    let told = self.events.finish();
                    let rest = self.words.events(told);
                    let end = self.words.end(self.events.is_complete());
                    Bytes::from([&rest[..], &end[..]].concat())
                }
            };
            if !bytes.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
        }
        Poll::Ready(None)
    }
}

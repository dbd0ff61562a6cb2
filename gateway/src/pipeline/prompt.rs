//! A call → the request to a backend, ready but for the model's name, which depends on the backend that is chosen.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};

use super::body::RequestBody;
use super::parse::OpenAiCall;
use crate::backend::Backend;
use crate::backend::endpoint::{Endpoint, Load};
use crate::complete::CompletionTask;
use crate::dialect::Generation;
use crate::dialect::openai::{self, Api, Head};
use crate::error::GatewayError;

/// Tokens of a completion, as GitLab's gateway of 2023 asked for.
const MAX_TOKENS: u32 = 64;
/// Its temperature and nucleus.
const TEMPERATURE: f64 = 0.2;
const TOP_P: f64 = 0.95;
/// Window of a model whose `contextLength` is not given: that of the model of 2023.
const DEFAULT_CONTEXT: u32 = 2048;
/// Bytes of source code that one token stands for at least, on average. Too many bytes make the backend refuse the prompt,
/// too few make it know less, so this is on the low side of what code models do (3 to 4).
const BYTES_PER_TOKEN: usize = 3;
/// Headers of the caller that backends get to see: what a trace needs. Everything else stays here.
const FORWARDED: [HeaderName; 3] =
    [HeaderName::from_static("traceparent"), HeaderName::from_static("tracestate"), header::ACCEPT];

/// Bytes that stand for one token when the work of a request is estimated.
const BYTES_OF_LOAD: usize = 4;
/// Tokens of an answer whose length nobody bounds.
const UNBOUNDED_TOKENS: u64 = 512;
/// The beginning of a prompt that an address may have worked on before: its length in bytes, and how long it must be.
const BEGINNING_BYTES: usize = 2048;
const SHORTEST_BEGINNING: usize = 256;

/// A request to a backend.
#[derive(Clone)]
pub struct Rendered {
    /// Where it goes.
    pub api: Api,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// Headers besides the backend's own.
    pub headers: HeaderMap,
    content: Content,
}

#[derive(Clone)]
enum Content {
    /// A body whose model is replaced.
    Spliced { body: Bytes, head: Head },
    /// A prompt to complete.
    Prompt { prefix: String, max_tokens: u32 },
}

impl Rendered {
    /// The request to this backend, in what its server speaks.
    ///
    /// # Errors
    /// [`GatewayError::BadRequest`] when its server takes no such request.
    pub fn request_to(
        &self,
        backend: &Backend,
        endpoint: &Endpoint,
    ) -> Result<Request<RequestBody>, GatewayError> {
        let dialect = backend.dialect();
        match &self.content {
            Content::Spliced { body, head } => {
                let model = dialect.openai_model(&backend.config.model);
                let body = if self.asks_for_usage(backend) {
                    openai::with_model_and_usage(body, &head.span, &model)
                } else {
                    openai::with_model(body, &head.span, &model)
                };
                let body = RequestBody::new(body);
                backend.request(endpoint, self.api, body, &self.headers)
            }
            Content::Prompt { prefix, max_tokens } => {
                let context = backend.config.context_length.unwrap_or(DEFAULT_CONTEXT);
                let prefix = tail(prefix, prompt_bytes(context)).to_owned();
                let abilities = backend.abilities();
                let ask = Generation {
                    prompt: abilities.prompt_of(prefix, String::new()),
                    model: backend.config.model.clone(),
                    max_tokens: *max_tokens,
                    temperature: Some(TEMPERATURE),
                    top_p: Some(TOP_P),
                    ..Generation::default()
                };
                backend.ask(endpoint, dialect.render(&ask, &abilities)?, &self.headers)
            }
        }
    }
}

impl Rendered {
    /// Whether the backend is asked for the usage of a stream though the client is not interested. What the client says
    /// about it goes first.
    #[must_use]
    pub fn asks_for_usage(&self, backend: &Backend) -> bool {
        matches!(&self.content, Content::Spliced { head, .. } if self.stream && !head.has_stream_options)
            && backend.tells_usage_in_streams()
    }

    /// What it asks of an address.
    #[must_use]
    pub fn load(&self) -> Load<'_> {
        let (length, beginning, answer) = match &self.content {
            Content::Spliced { body, head } => {
                (body.len(), head.prompt.and_then(|at| body.get(at..)), head.max_tokens)
            }
            Content::Prompt { prefix, max_tokens, .. } => {
                (prefix.len(), Some(prefix.as_bytes()), Some(u64::from(*max_tokens)))
            }
        };
        let prompt = u64::try_from(length / BYTES_OF_LOAD).unwrap_or(u64::MAX);
        let beginning = beginning.filter(|prompt| prompt.len() >= SHORTEST_BEGINNING);
        Load {
            tokens: prompt.saturating_add(answer.unwrap_or(UNBOUNDED_TOKENS)),
            beginning: beginning.map(|prompt| prompt.get(..BEGINNING_BYTES).unwrap_or(prompt)),
        }
    }

    /// The body of OpenAI's dialect, where it passes through.
    #[must_use]
    pub fn openai_body(&self) -> Option<&Bytes> {
        match &self.content {
            Content::Spliced { body, .. } => Some(body),
            Content::Prompt { .. } => None,
        }
    }

    /// The same request with another body of OpenAI's dialect.
    #[must_use]
    pub fn with_body(&self, body: Bytes) -> Option<Self> {
        let head = openai::scan(&body).ok()?;
        let content = Content::Spliced { body, head };
        Some(Self { api: self.api, stream: self.stream, headers: self.headers.clone(), content })
    }
}

/// Passes a request through.
#[must_use]
pub fn pass_through(call: OpenAiCall, parts: &Parts, request_id: &str) -> Rendered {
    let stream = call.head.stream;
    let content = Content::Spliced { body: call.body, head: call.head };
    Rendered { api: call.api, stream, headers: forwarded(Some(parts), request_id), content }
}

/// Asks for the continuation of the text before the cursor. What follows the cursor is not shown: a model that was not
/// trained to fill in would take it for more of the same text.
#[must_use]
pub fn completion(task: &CompletionTask) -> Rendered {
    let content = Content::Prompt { prefix: task.document.prefix.clone(), max_tokens: MAX_TOKENS };
    Rendered { api: Api::Completions, stream: false, headers: task.headers.clone(), content }
}

/// Headers of the caller that backends get to see when the gateway makes the request itself.
#[must_use]
pub fn traced(parts: &Parts, request_id: &str) -> HeaderMap {
    let mut headers = forwarded(Some(parts), request_id);
    headers.remove(header::ACCEPT);
    headers
}

/// The gateway's own question: one token.
#[must_use]
pub fn proof() -> Rendered {
    let content = Content::Prompt { prefix: "def add(a, b):\n    return a +".into(), max_tokens: 1 };
    Rendered { api: Api::Completions, stream: false, headers: HeaderMap::new(), content }
}

fn forwarded(parts: Option<&Parts>, request_id: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in &FORWARDED {
        if let Some(value) = parts.and_then(|parts| parts.headers.get(name)) {
            headers.insert(name, value.clone());
        }
    }
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert("x-request-id", id);
    }
    headers
}

fn prompt_bytes(context: u32) -> usize {
    usize::try_from(context.saturating_sub(MAX_TOKENS))
        .unwrap_or(usize::MAX)
        .saturating_mul(BYTES_PER_TOKEN)
        .max(1)
}

/// The last `limit` bytes, less what would be half a character.
fn tail(text: &str, limit: usize) -> &str {
    let mut start = text.len().saturating_sub(limit);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text.get(start..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_prefix_keeps_its_end_and_whole_characters() {
        assert_eq!(tail("abcdef", 3), "def");
        assert_eq!(tail("aäöü", 5), "öü");
        assert_eq!(tail("ab", 100), "ab");
        assert_eq!(prompt_bytes(2048), (2048 - 64) * 3);
        assert_eq!(prompt_bytes(10), 1);
    }
}

//! A call → the request to a backend, ready but for the model's name, which depends on the backend that is chosen.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use tokio::time::Instant;

use super::body::RequestBody;
use super::parse::OpenAiCall;
use super::translate::{self, Translation};
use crate::backend::Backend;
use crate::backend::endpoint::{Endpoint, Load};
use crate::complete::{self, DEFAULT_WINDOW, Made, Order, Phase, Progress, PromptOverride, Said};
use crate::config::snapshot::Route;
use crate::dialect::openai::{self, Api, Head};
use crate::dialect::{Generation, Message, Prompt};
use crate::error::GatewayError;

/// Temperature and nucleus of GitLab's gateway of 2023.
const TEMPERATURE: f64 = 0.2;
const TOP_P: f64 = 0.95;
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
    /// When the caller has no more use for an answer; absent leaves it to the route's limits.
    until: Option<Instant>,
    progress: Option<Arc<Progress>>,
    content: Content,
}

#[derive(Clone)]
enum Content {
    /// A body whose model is replaced.
    Spliced { body: Bytes, head: Head },
    /// A completion that the gateway asks for itself.
    Generation(Box<Asking>),
}

#[derive(Clone)]
struct Asking {
    prompt: Asked,
    /// What backends are asked whose models fill in.
    made: Arc<Made>,
    /// Tokens of the prompt at most, besides what the model's context holds.
    budget: Option<u32>,
    /// All but the prompt and the model, which depend on the backend.
    generation: Generation,
    /// The beginning of the answer that is there already, and who gave it: the rest is asked for.
    said: Option<(Said, Arc<Backend>)>,
}

#[derive(Clone)]
enum Asked {
    Text(String),
    Messages(Vec<Message>),
}

impl Asking {
    /// # Errors
    /// [`GatewayError::Unresumable`] where the rest of an answer is asked for and this backend cannot go on from there.
    fn of(&self, backend: &Backend) -> Result<Generation, GatewayError> {
        let whole = self.whole(backend);
        let Some((said, by)) = &self.said else { return Ok(whole) };
        // Another kind of model has other special tokens, and was shown something else.
        let same = match (self.made.of(by), self.made.of(backend)) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        let prompt = whole.prompt.followed_by(&said.text).filter(|_| same);
        let left = whole.max_tokens.checked_sub(said.tokens).filter(|left| *left > 0);
        let (Some(prompt), Some(max_tokens)) = (prompt, left) else { return Err(GatewayError::Unresumable) };
        Ok(Generation { prompt, max_tokens, ..whole })
    }

    fn whole(&self, backend: &Backend) -> Generation {
        let model = backend.config.model.clone();
        if let Some(asked) = self.made.of(backend) {
            return Generation {
                prompt: asked.prompt.clone(),
                stops: asked.stops.clone(),
                max_tokens: asked.max_tokens,
                model,
                ..self.generation.clone()
            };
        }
        let context = backend.config.context_length.unwrap_or(DEFAULT_WINDOW);
        let budget = context.saturating_sub(self.generation.max_tokens).min(self.budget.unwrap_or(u32::MAX));
        let prompt = match &self.prompt {
            Asked::Text(text) => {
                let text = tail(text, prompt_bytes(budget)).to_owned();
                backend.abilities().prompt_of(text, String::new())
            }
            Asked::Messages(messages) => Prompt::Chat(messages.clone()),
        };
        Generation { prompt, model, ..self.generation.clone() }
    }
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
    ) -> Result<(Request<RequestBody>, Option<Translation>), GatewayError> {
        let dialect = backend.dialect();
        match &self.content {
            Content::Spliced { body, head } if !self.passes(backend) => {
                let (wire, translation) = translate::request(backend, self.api, body, &head.model)?;
                Ok((backend.ask(endpoint, wire, &self.headers)?, Some(translation)))
            }
            Content::Spliced { body, head } => {
                let model = dialect.openai_model(&backend.config.model);
                let usage = self.asks_for_usage(backend);
                let in_template =
                    head.infill.as_ref().filter(|_| self.api == Api::Completions).and_then(|spans| {
                        let family = complete::template_of(backend)?;
                        let wish = (model.as_str(), backend.abilities().stops, usage);
                        openai::infill::in_template(body, head, spans, family, wish)
                    });
                let body = match in_template {
                    Some(body) => RequestBody::whole(body),
                    None if usage => RequestBody::new(openai::with_model_and_usage(body, &head.span, &model)),
                    None => RequestBody::new(openai::with_model(body, &head.span, &model)),
                };
                Ok((backend.request(endpoint, self.api, body, &self.headers)?, None))
            }
            Content::Generation(asking) => {
                let wire = dialect.render(&asking.of(backend)?, &backend.abilities())?;
                Ok((backend.ask(endpoint, wire, &self.headers)?, None))
            }
        }
    }

    /// The same request for the rest of an answer that this backend began.
    #[must_use]
    pub(crate) fn after(&self, said: &Said, by: &Arc<Backend>) -> Option<Self> {
        let Content::Generation(asking) = &self.content else { return None };
        let said = Some((said.clone(), Arc::clone(by)));
        let content = Content::Generation(Box::new(Asking { said, ..(**asking).clone() }));
        Some(Self { content, ..self.clone() })
    }

    /// Whether the request reaches the backend's server as the client wrote it.
    fn passes(&self, backend: &Backend) -> bool {
        let Content::Spliced { head, .. } = &self.content else { return false };
        backend.abilities().passes(self.api, &backend.dialect(), head.has_suffix)
    }

    /// Notes that this backend is asked from now on.
    pub fn note(&self, backend: &Arc<Backend>, phase: Phase) {
        if let Some(progress) = &self.progress {
            progress.set_backend(backend);
            progress.enter(phase);
        }
    }

    /// Until when it may wait for a place or a waking model: as long as its caller has use for an answer, or else as long as
    /// a first byte may take.
    #[must_use]
    pub fn until(&self, route: &Route) -> Instant {
        let limit = route.timeout.connect_ms.saturating_add(route.timeout.first_byte_ms);
        self.until.unwrap_or_else(|| Instant::now() + Duration::from_millis(limit))
    }

    /// Whether its answer is read by the gateway, streamed or whole.
    #[must_use]
    pub fn reads_both(&self) -> bool {
        matches!(self.content, Content::Generation(_))
    }
}

impl Rendered {
    /// Whether a stream tells its usage though the client is not interested: the backend is asked for it, unless the client
    /// says something about it; in a translated stream it stands anyway.
    #[must_use]
    pub fn asks_for_usage(&self, backend: &Backend) -> bool {
        match &self.content {
            Content::Spliced { head, .. } if self.stream && self.passes(backend) => {
                !head.has_stream_options && backend.tells_usage_in_streams()
            }
            Content::Spliced { head, .. } => self.stream && !head.wants_usage,
            Content::Generation(_) => false,
        }
    }

    /// What it asks of an address.
    #[must_use]
    pub fn load(&self) -> Load<'_> {
        let (length, beginning, answer) = match &self.content {
            Content::Spliced { body, head } => {
                (body.len(), head.prompt.and_then(|at| body.get(at..)), head.max_tokens)
            }
            Content::Generation(asking) => {
                let answer = Some(u64::from(asking.generation.max_tokens));
                match &asking.prompt {
                    Asked::Text(text) => (text.len(), Some(text.as_bytes()), answer),
                    Asked::Messages(said) => {
                        let length = said.iter().map(|message| message.content.len()).sum();
                        (length, said.first().map(|message| message.content.as_bytes()), answer)
                    }
                }
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
            Content::Generation(_) => None,
        }
    }

    /// The same request with another body of OpenAI's dialect.
    #[must_use]
    pub fn with_body(&self, body: Bytes) -> Option<Self> {
        let head = openai::scan(&body).ok()?;
        let content = Content::Spliced { body, head };
        Some(Self { content, ..self.clone() })
    }
}

/// Passes a request through.
#[must_use]
pub fn pass_through(call: OpenAiCall, parts: &Parts, request_id: &str) -> Rendered {
    let stream = call.head.stream;
    let content = Content::Spliced { body: call.body, head: call.head };
    Rendered {
        api: call.api,
        stream,
        headers: forwarded(Some(parts), request_id),
        until: None,
        progress: None,
        content,
    }
}

/// Asks for what stands at the cursor. What was not made for a backend's model is the continuation of the text before the
/// cursor, or of the client's own prompt: a model that was not trained to fill in would take what follows the cursor for
/// more of the same text.
#[must_use]
pub(crate) fn completion(
    order: &Order,
    made: &Arc<Made>,
    progress: &Arc<Progress>,
    until: Instant,
) -> Rendered {
    let task = &order.task;
    let message = |message: &complete::Message| Message {
        role: message.role.clone(),
        content: message.content.clone(),
    };
    let (api, prompt) = match &task.prompt {
        None => (Api::Completions, Asked::Text(task.document.prefix.clone())),
        Some(PromptOverride::Text(text)) => (Api::Completions, Asked::Text(text.clone())),
        Some(PromptOverride::Messages(messages)) => {
            (Api::Chat, Asked::Messages(messages.iter().map(message).collect()))
        }
    };
    let generation = Generation {
        max_tokens: order.max_tokens,
        temperature: Some(task.temperature.unwrap_or(TEMPERATURE)),
        top_p: Some(task.top_p.unwrap_or(TOP_P)),
        choices: u32::try_from(order.choices).unwrap_or(1),
        stops: task.stops.clone(),
        stream: true,
        ..Generation::default()
    };
    Rendered {
        api,
        stream: true,
        headers: task.headers.clone(),
        until: Some(until),
        progress: Some(Arc::clone(progress)),
        content: Content::Generation(Box::new(Asking {
            prompt,
            made: Arc::clone(made),
            budget: order.prompt_budget,
            generation,
            said: None,
        })),
    }
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
    let generation = Generation {
        max_tokens: 1,
        temperature: Some(TEMPERATURE),
        top_p: Some(TOP_P),
        ..Generation::default()
    };
    let prompt = Asked::Text("def add(a, b):\n    return a +".into());
    Rendered {
        api: Api::Completions,
        stream: false,
        headers: HeaderMap::new(),
        until: None,
        progress: None,
        content: Content::Generation(Box::new(Asking {
            prompt,
            made: Arc::default(),
            budget: None,
            generation,
            said: None,
        })),
    }
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

fn prompt_bytes(tokens: u32) -> usize {
    usize::try_from(tokens).unwrap_or(usize::MAX).saturating_mul(BYTES_PER_TOKEN).max(1)
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
        assert_eq!(prompt_bytes(2048), 2048 * 3);
        assert_eq!(prompt_bytes(0), 1);
    }
}

//! Mistral's API: `/fim/completions` with prompt and suffix, and chat. Answers have OpenAI's shape.

use serde_json::{Map, Value};

use super::openai::generate;
use super::{Generation, Prompt, Unsupported, Wire};

/// The request.
pub(super) fn render(ask: &Generation) -> Result<Wire, Unsupported> {
    let path = match &ask.prompt {
        Prompt::Infill { .. } => "/fim/completions",
        Prompt::Chat(_) => "/chat/completions",
        Prompt::Raw(_) => return Err(Unsupported("a prompt of raw text")),
    };
    Ok(Wire::post(path, &Value::Object(body(ask)), ask.stream))
}

/// The body, which Vertex AI takes too.
pub(super) fn body(ask: &Generation) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("model".into(), ask.model.as_str().into());
    match &ask.prompt {
        Prompt::Infill { prefix, suffix, .. } => {
            body.insert("prompt".into(), prefix.as_str().into());
            body.insert("suffix".into(), suffix.as_str().into());
        }
        Prompt::Raw(text) => {
            body.insert("prompt".into(), text.as_str().into());
        }
        Prompt::Chat(messages) => {
            body.insert("messages".into(), generate::messages(messages));
        }
    }
    generate::sampling(ask, &mut body);
    if let Some(seed) = ask.seed {
        body.insert("random_seed".into(), seed.into());
    }
    body.insert("stream".into(), ask.stream.into());
    body
}

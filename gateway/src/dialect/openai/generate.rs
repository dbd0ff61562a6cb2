//! OpenAI's dialect for what the gateway asks itself: completions with or without a suffix, and chat. Answers of Mistral's
//! API and of TGI's chat have the same shape.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Usage;
use crate::dialect::events::{self, Event};
use crate::dialect::{Abilities, Choice, Fault, Finish, Generated, Generation, Prompt, Wire, error_message};

/// The request; `root` is what the dialect puts before OpenAI's paths.
pub(in crate::dialect) fn render(ask: &Generation, abilities: &Abilities, root: &str) -> Wire {
    let mut body = Map::new();
    body.insert("model".into(), ask.model.as_str().into());
    let path = match &ask.prompt {
        Prompt::Raw(text) => {
            body.insert("prompt".into(), text.as_str().into());
            "/completions"
        }
        Prompt::Infill { prefix, suffix, .. } => {
            body.insert("prompt".into(), prefix.as_str().into());
            body.insert("suffix".into(), suffix.as_str().into());
            "/completions"
        }
        Prompt::Chat(messages) => {
            body.insert("messages".into(), self::messages(messages));
            "/chat/completions"
        }
    };
    sampling(ask, &mut body);
    if ask.choices > 1 {
        body.insert("n".into(), ask.choices.into());
    }
    if let Some(seed) = ask.seed {
        body.insert("seed".into(), seed.into());
    }
    if ask.logprobs {
        // A number of alternatives for completions, a switch for chat.
        let is_chat = matches!(ask.prompt, Prompt::Chat(_));
        body.insert("logprobs".into(), if is_chat { true.into() } else { 1.into() });
    }
    body.insert("stream".into(), ask.stream.into());
    if ask.stream && abilities.stream_usage {
        body.insert("stream_options".into(), json!({"include_usage": true}));
    }
    Wire::post(format!("{root}{path}"), &Value::Object(body), ask.stream)
}

/// What every server of this family calls the same.
pub(in crate::dialect) fn sampling(ask: &Generation, body: &mut Map<String, Value>) {
    body.insert("max_tokens".into(), ask.max_tokens.into());
    if let Some(temperature) = ask.temperature {
        body.insert("temperature".into(), temperature.into());
    }
    if let Some(top_p) = ask.top_p {
        body.insert("top_p".into(), top_p.into());
    }
    if !ask.stops.is_empty() {
        body.insert("stop".into(), ask.stops.clone().into());
    }
}

/// Messages as JSON.
pub(in crate::dialect) fn messages(messages: &[crate::dialect::Message]) -> Value {
    let messages = messages.iter().map(|message| json!({"role": message.role, "content": message.content}));
    Value::Array(messages.collect())
}

#[derive(Deserialize)]
struct Answer<'a> {
    choices: Option<Vec<Piece<'a>>>,
    usage: Option<Usage>,
    #[serde(borrow)]
    error: Option<&'a serde_json::value::RawValue>,
}

/// A choice of a whole answer (`text`, `message`) or of an event (`text`, `delta`).
#[derive(Deserialize)]
struct Piece<'a> {
    #[serde(default)]
    index: u32,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow, alias = "delta")]
    message: Option<Said<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Cow<'a, str>>,
    logprobs: Option<Logprobs>,
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    content: Option<Content<'a>>,
}

/// Text, or parts of which some are text (Mistral).
#[derive(Deserialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    text: String,
}

#[derive(Deserialize)]
struct Logprobs {
    token_logprobs: Option<Vec<Option<f64>>>,
    content: Option<Vec<Token>>,
}

#[derive(Deserialize)]
struct Token {
    logprob: f64,
}

impl Piece<'_> {
    fn text(&mut self) -> String {
        match (self.text.take(), self.message.take().and_then(|said| said.content)) {
            (Some(text), _) | (None, Some(Content::Text(text))) => text.into_owned(),
            (None, Some(Content::Parts(parts))) => parts.into_iter().map(|part| part.text).collect(),
            (None, None) => String::new(),
        }
    }

    fn finish(&self) -> Option<Finish> {
        Finish::read(self.finish_reason.as_deref()?)
    }

    fn logprob(&self) -> Option<f64> {
        let logprobs = self.logprobs.as_ref()?;
        match (&logprobs.token_logprobs, &logprobs.content) {
            (Some(tokens), _) => mean(tokens.iter().flatten().copied()),
            (None, Some(tokens)) => mean(tokens.iter().map(|token| token.logprob)),
            (None, None) => None,
        }
    }
}

/// The mean, or nothing of nothing.
pub(in crate::dialect) fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values.fold((0_u32, 0.0), |(count, sum), value| (count + 1, sum + value));
    (count > 0).then(|| sum / f64::from(count))
}

/// Reads a whole answer.
pub(in crate::dialect) fn read(body: &[u8]) -> Result<Generated, Fault> {
    let answer: Answer<'_> =
        serde_json::from_slice(body).map_err(|_| Fault::Shape("is not the JSON of a completion"))?;
    if answer.error.is_some_and(|error| error.get() != "null") {
        return Err(Fault::Inside(error_message(body)));
    }
    let mut pieces =
        answer.choices.filter(|pieces| !pieces.is_empty()).ok_or(Fault::Shape("has no choice"))?;
    pieces.sort_by_key(|piece| piece.index);
    let choices = pieces.into_iter().map(|mut piece| {
        let (finish, logprob) = (piece.finish(), piece.logprob());
        Choice { text: piece.text(), finish, logprob }
    });
    Ok(Generated { choices: choices.collect(), usage: answer.usage })
}

/// Reads the data of one event.
pub(in crate::dialect) fn note(data: &[u8], told: &mut Vec<Event>) -> bool {
    let Ok(answer) = serde_json::from_slice::<Answer<'_>>(data) else { return false };
    if answer.error.is_some_and(|error| error.get() != "null") {
        told.push(Event::Failed(error_message(data)));
        return true;
    }
    let is_known = answer.choices.is_some() || answer.usage.is_some();
    for mut piece in answer.choices.unwrap_or_default() {
        let (index, finish, logprob) = (piece.index, piece.finish(), piece.logprob());
        events::text(told, index, piece.text(), logprob);
        told.extend(finish.map(|finish| Event::End { index, finish }));
    }
    told.extend(answer.usage.map(Event::Usage));
    is_known
}

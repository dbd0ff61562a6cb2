//! Text Generation Inference's own paths, `/generate` and `/generate_stream`; its chat has OpenAI's.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::events::{self, Event};
use super::openai::{Usage, generate};
use super::{Abilities, Choice, Fault, Finish, Generated, Generation, Prompt, Wire, error_message};

/// The request. A temperature of 0 is refused by the server, which wants no sampling said instead.
pub(super) fn render(ask: &Generation, abilities: &Abilities) -> Wire {
    let text = match &ask.prompt {
        Prompt::Raw(text) => text,
        Prompt::Infill { .. } | Prompt::Chat(_) => return generate::render(ask, abilities, "/v1"),
    };
    let mut parameters = Map::new();
    parameters.insert("max_new_tokens".into(), ask.max_tokens.into());
    parameters.insert("details".into(), true.into());
    parameters.insert("return_full_text".into(), false.into());
    let temperature = ask.temperature.filter(|temperature| *temperature > 0.0);
    parameters.insert("do_sample".into(), temperature.is_some().into());
    if let Some(temperature) = temperature {
        parameters.insert("temperature".into(), temperature.into());
    }
    // Strictly between 0 and 1: the server refuses both ends.
    if let Some(top_p) = ask.top_p.filter(|top_p| *top_p > 0.0 && *top_p < 1.0) {
        parameters.insert("top_p".into(), top_p.into());
    }
    if !ask.stops.is_empty() {
        parameters.insert("stop".into(), ask.stops.clone().into());
    }
    if let Some(seed) = ask.seed {
        parameters.insert("seed".into(), seed.into());
    }
    let body = json!({"inputs": text, "parameters": Value::Object(parameters)});
    Wire::post(if ask.stream { "/generate_stream" } else { "/generate" }, &body, ask.stream)
}

#[derive(Deserialize)]
struct Answer {
    generated_text: Option<String>,
    details: Option<Details>,
    token: Option<Token>,
    #[serde(default)]
    index: Option<u32>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Details {
    finish_reason: Option<String>,
    generated_tokens: Option<u64>,
    #[serde(default)]
    input_length: Option<u64>,
    prefill: Option<Vec<serde::de::IgnoredAny>>,
    tokens: Option<Vec<Token>>,
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    text: String,
    logprob: Option<f64>,
    #[serde(default)]
    special: bool,
}

impl Details {
    fn finish(&self) -> Option<Finish> {
        Finish::read(self.finish_reason.as_deref()?)
    }

    fn usage(&self) -> Option<Usage> {
        let prefill = self.prefill.as_ref().map(|tokens| tokens.len() as u64);
        let prompt_tokens = self.input_length.or(prefill).unwrap_or_default();
        Some(Usage { prompt_tokens, completion_tokens: self.generated_tokens? })
    }
}

/// Reads a whole answer.
pub(super) fn read(body: &[u8]) -> Result<Generated, Fault> {
    // An answer to chat, or one of several answers in a list.
    if memchr::memmem::find(body, b"\"choices\"").is_some() {
        return generate::read(body);
    }
    let body = body.trim_ascii();
    let body = body.strip_prefix(b"[").and_then(|body| body.strip_suffix(b"]")).unwrap_or(body);
    let answer: Answer =
        serde_json::from_slice(body).map_err(|_| Fault::Shape("is not the JSON of a generation"))?;
    if let Some(error) = answer.error {
        return Err(Fault::Inside(error));
    }
    let text = answer.generated_text.ok_or(Fault::Shape("has no generated_text"))?;
    let details = answer.details;
    let tokens = details.as_ref().and_then(|details| details.tokens.as_ref());
    let logprob = tokens.and_then(|tokens| generate::mean(tokens.iter().filter_map(|token| token.logprob)));
    let choice = Choice { text, finish: details.as_ref().and_then(Details::finish), logprob };
    Ok(Generated { choices: vec![choice], usage: details.as_ref().and_then(Details::usage) })
}

/// Reads the data of one event: a token, the last one with the whole text and the reason of the end.
pub(super) fn note(data: &[u8], told: &mut Vec<Event>) -> bool {
    if memchr::memmem::find(data, b"\"choices\"").is_some() {
        return generate::note(data, told);
    }
    let Ok(answer) = serde_json::from_slice::<Answer>(data) else { return false };
    if answer.error.is_some() {
        told.push(Event::Failed(error_message(data)));
        return true;
    }
    let is_known = answer.token.is_some() || answer.generated_text.is_some() || answer.index.is_some();
    if let Some(token) = answer.token.filter(|token| !token.special) {
        events::text(told, 0, token.text, token.logprob);
    }
    if answer.generated_text.is_some() {
        let finish = answer.details.as_ref().and_then(Details::finish).unwrap_or(Finish::Stop);
        told.push(Event::End { index: 0, finish });
        told.extend(answer.details.as_ref().and_then(Details::usage).map(Event::Usage));
    }
    is_known
}

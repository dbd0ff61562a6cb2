//! llama.cpp's own paths: `/infill` builds the prompt from the model's own tokens, `/completion` takes raw text; chat has
//! OpenAI's path.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::events::{self, Event};
use super::openai::{Usage, generate};
use super::{Abilities, Choice, Fault, File, Finish, Generated, Generation, Prompt, Wire, error_message};

/// The request. `cache_prompt` keeps what successive keystrokes have in common.
pub(super) fn render(ask: &Generation, abilities: &Abilities) -> Wire {
    let mut body = Map::new();
    let path = match &ask.prompt {
        Prompt::Chat(_) => return generate::render(ask, abilities, "/v1"),
        Prompt::Raw(text) => {
            body.insert("prompt".into(), text.as_str().into());
            "/completion"
        }
        Prompt::Infill { prefix, suffix, files } => {
            body.insert("input_prefix".into(), prefix.as_str().into());
            body.insert("input_suffix".into(), suffix.as_str().into());
            body.insert("prompt".into(), "".into());
            if !files.is_empty() {
                let file = |file: &File| json!({"filename": file.name, "text": file.text});
                body.insert("input_extra".into(), files.iter().map(file).collect());
            }
            "/infill"
        }
    };
    body.insert("n_predict".into(), ask.max_tokens.into());
    if let Some(temperature) = ask.temperature {
        body.insert("temperature".into(), temperature.into());
    }
    if let Some(top_p) = ask.top_p {
        body.insert("top_p".into(), top_p.into());
    }
    if !ask.stops.is_empty() {
        body.insert("stop".into(), ask.stops.clone().into());
    }
    if let Some(seed) = ask.seed {
        body.insert("seed".into(), seed.into());
    }
    if ask.logprobs {
        body.insert("n_probs".into(), 1.into());
    }
    body.insert("cache_prompt".into(), true.into());
    body.insert("stream".into(), ask.stream.into());
    Wire::post(path, &Value::Object(body), ask.stream)
}

#[derive(Deserialize)]
struct Answer {
    content: Option<String>,
    #[serde(default)]
    stop: bool,
    stop_type: Option<String>,
    #[serde(default)]
    stopped_limit: bool,
    tokens_evaluated: Option<u64>,
    tokens_predicted: Option<u64>,
    completion_probabilities: Option<Vec<Probability>>,
    error: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Probability {
    logprob: Option<f64>,
}

impl Answer {
    /// Servers of before 2025 say `stopped_limit`, later ones `stop_type`.
    fn finish(&self) -> Option<Finish> {
        match self.stop_type.as_deref() {
            Some(word) => Finish::read(word),
            None if self.stopped_limit => Some(Finish::Length),
            None => self.stop.then_some(Finish::Stop),
        }
    }

    fn usage(&self) -> Option<Usage> {
        Some(Usage {
            prompt_tokens: self.tokens_evaluated.unwrap_or_default(),
            completion_tokens: self.tokens_predicted?,
        })
    }

    fn logprob(&self) -> Option<f64> {
        let tokens = self.completion_probabilities.as_ref()?;
        generate::mean(tokens.iter().filter_map(|token| token.logprob))
    }
}

/// Reads a whole answer.
pub(super) fn read(body: &[u8]) -> Result<Generated, Fault> {
    if memchr::memmem::find(body, b"\"choices\"").is_some() {
        return generate::read(body);
    }
    let answer: Answer =
        serde_json::from_slice(body).map_err(|_| Fault::Shape("is not the JSON of a completion"))?;
    if answer.error.is_some() {
        return Err(Fault::Inside(error_message(body)));
    }
    let (finish, usage, logprob) = (answer.finish(), answer.usage(), answer.logprob());
    let text = answer.content.ok_or(Fault::Shape("has no content"))?;
    Ok(Generated { choices: vec![Choice { text, finish, logprob }], usage })
}

/// Reads the data of one event.
pub(super) fn note(data: &[u8], told: &mut Vec<Event>) -> bool {
    if memchr::memmem::find(data, b"\"choices\"").is_some() {
        return generate::note(data, told);
    }
    let Ok(answer) = serde_json::from_slice::<Answer>(data) else { return false };
    if answer.error.is_some() {
        told.push(Event::Failed(error_message(data)));
        return true;
    }
    let (finish, usage, logprob) = (answer.finish(), answer.usage(), answer.logprob());
    let Some(text) = answer.content else { return false };
    events::text(told, 0, text, logprob);
    if answer.stop {
        told.push(Event::End { index: 0, finish: finish.unwrap_or(Finish::Stop) });
        told.extend(usage.map(Event::Usage));
    }
    true
}

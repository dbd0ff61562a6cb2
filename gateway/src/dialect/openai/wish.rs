//! A client's request in OpenAI's words → what is asked of a model, for servers that have no such path. What the server
//! does not take is refused by the field's name; only fields that change no answer, and values that mean nothing, are left out.

use serde_json::{Map, Value};

use super::Api;
use crate::dialect::{Abilities, Generation, Message, Prompt};

/// Tokens of a text completion that names no number, as OpenAI has it.
const COMPLETION_TOKENS: u32 = 16;
/// Tokens of a chat's answer that names no number: long enough for a file, short enough for every window.
const CHAT_TOKENS: u32 = 4096;
/// Fields that change no answer.
const WITHOUT_EFFECT: [&str; 8] = [
    "model",
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "stream_options",
];

/// Reads the request, all but the model, which depends on the backend; `server` is the server's protocol, for the sentence
/// that refuses.
///
/// # Errors
/// A sentence for the caller that names the field.
pub fn read(api: Api, body: &[u8], server: &str, abilities: &Abilities) -> Result<Generation, String> {
    let mut body: Map<String, Value> =
        serde_json::from_slice(body).map_err(|error| format!("the body could not be parsed: {error}"))?;
    body.retain(|_, value| !value.is_null());
    let mut fields = Fields { body, server };
    let prompt = match api {
        Api::Chat => fields.chat(abilities)?,
        _ => fields.completion(abilities)?,
    };
    let default = if api == Api::Chat { CHAT_TOKENS } else { COMPLETION_TOKENS };
    let longest = fields.number("max_tokens")?;
    let longest = fields.number("max_completion_tokens")?.or(longest);
    let generation = Generation {
        prompt,
        max_tokens: longest.unwrap_or(default.into()).try_into().unwrap_or(u32::MAX),
        temperature: fields.decimal("temperature")?,
        top_p: fields.decimal("top_p")?,
        choices: fields.number("n")?.unwrap_or(1).try_into().unwrap_or(u32::MAX),
        stops: fields.stops()?,
        stream: fields.take("stream").and_then(|stream| stream.as_bool()).unwrap_or(false),
        seed: fields.number("seed")?,
        ..Generation::default()
    };
    if generation.choices > abilities.choices {
        return Err(fields.refuse("n", &format!("above {}", abilities.choices)));
    }
    if generation.stops.len() > abilities.stops {
        return Err(fields.refuse("stop", &format!("with more than {} texts", abilities.stops)));
    }
    if generation.seed.is_some() && !abilities.seed {
        return Err(fields.refuse("seed", ""));
    }
    fields.nothing_is_left(&generation)?;
    Ok(generation)
}

struct Fields<'a> {
    body: Map<String, Value>,
    server: &'a str,
}

impl Fields<'_> {
    fn take(&mut self, name: &str) -> Option<Value> {
        self.body.remove(name)
    }

    fn refuse(&self, name: &str, how: &str) -> String {
        let space = if how.is_empty() { "" } else { " " };
        format!("the model's server ({}) does not take \"{name}\"{space}{how}", self.server)
    }

    fn number(&mut self, name: &str) -> Result<Option<u64>, String> {
        let given = self.take(name);
        given.map(|value| value.as_u64().ok_or(format!("\"{name}\" must be a whole number"))).transpose()
    }

    fn decimal(&mut self, name: &str) -> Result<Option<f64>, String> {
        let given = self.take(name);
        given.map(|value| value.as_f64().ok_or(format!("\"{name}\" must be a number"))).transpose()
    }

    fn stops(&mut self) -> Result<Vec<String>, String> {
        let bad = || "\"stop\" must be a text or a list of texts".to_owned();
        match self.take("stop") {
            None => Ok(Vec::new()),
            Some(Value::String(stop)) => Ok(vec![stop]),
            Some(Value::Array(stops)) => {
                stops.into_iter().map(|stop| Ok(stop.as_str().ok_or_else(bad)?.to_owned())).collect()
            }
            Some(_) => Err(bad()),
        }
    }

    fn completion(&mut self, abilities: &Abilities) -> Result<Prompt, String> {
        let prompt = match self.take("prompt") {
            Some(Value::String(prompt)) => prompt,
            Some(Value::Array(mut prompts)) if prompts.len() == 1 => match prompts.pop() {
                Some(Value::String(prompt)) => prompt,
                _ => return Err(self.refuse("prompt", "in tokens")),
            },
            Some(Value::Array(prompts)) if prompts.iter().all(Value::is_number) => {
                return Err(self.refuse("prompt", "in tokens"));
            }
            Some(Value::Array(_)) => return Err(self.refuse("prompt", "with several texts")),
            Some(_) => return Err("\"prompt\" must be a text".into()),
            None => return Err("you must provide a \"prompt\"".into()),
        };
        let suffix = match self.take("suffix") {
            None => String::new(),
            Some(Value::String(suffix)) => suffix,
            Some(_) => return Err("\"suffix\" must be a text".into()),
        };
        if !suffix.is_empty() && !abilities.infill {
            return Err(self.refuse("suffix", ""));
        }
        Ok(abilities.prompt_of(prompt, suffix))
    }

    fn chat(&mut self, abilities: &Abilities) -> Result<Prompt, String> {
        let Some(messages) = self.take("messages") else {
            return Err("you must provide \"messages\"".into());
        };
        if !abilities.chat {
            return Err(self.refuse("messages", "as it has no chat; ask /v1/completions"));
        }
        let Value::Array(messages) = messages else { return Err("\"messages\" must be a list".into()) };
        if messages.is_empty() {
            return Err("\"messages\" must not be empty".into());
        }
        let messages = messages.into_iter().enumerate().map(|(at, message)| self.message(at, message));
        Ok(Prompt::Chat(messages.collect::<Result<_, _>>()?))
    }

    fn message(&self, at: usize, message: Value) -> Result<Message, String> {
        let Value::Object(mut message) = message else {
            return Err(format!("\"messages[{at}]\" must be an object"));
        };
        message.retain(|_, value| !value.is_null());
        let role = message.remove("role").and_then(|role| role.as_str().map(str::to_owned));
        let role = role.ok_or(format!("\"messages[{at}].role\" must be a text"))?;
        if !matches!(role.as_str(), "system" | "developer" | "user" | "assistant") {
            return Err(self.refuse(&format!("messages[{at}].role"), &format!("\"{role}\"")));
        }
        let content = match message.remove("content") {
            Some(Value::String(content)) => content,
            Some(Value::Array(parts)) => {
                let text = |(part_at, part): (usize, &Value)| {
                    let is_text = part.get("type").and_then(Value::as_str) == Some("text");
                    let text = part.get("text").and_then(Value::as_str).filter(|_| is_text);
                    text.map(str::to_owned).ok_or_else(|| {
                        self.refuse(
                            &format!("messages[{at}].content[{part_at}]"),
                            "that is anything but text",
                        )
                    })
                };
                parts.iter().enumerate().map(text).collect::<Result<String, _>>()?
            }
            _ => return Err(format!("\"messages[{at}].content\" must be a text")),
        };
        match message.keys().next() {
            Some(name) => Err(self.refuse(&format!("messages[{at}].{name}"), "")),
            None => Ok(Message { role, content }),
        }
    }

    /// What was not read is refused, unless it says what is so anyway.
    fn nothing_is_left(&self, generation: &Generation) -> Result<(), String> {
        let is_empty = |value: &Value| {
            value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(Map::is_empty)
        };
        let has_tools = self.body.get("tools").is_some_and(|tools| !is_empty(tools));
        for (name, value) in &self.body {
            let means_nothing = match name.as_str() {
                name if WITHOUT_EFFECT.contains(&name) => true,
                "best_of" => value.as_u64() == Some(generation.choices.into()),
                "echo" | "logprobs" => value == &Value::Bool(false),
                "top_logprobs" => value.as_u64() == Some(0),
                "presence_penalty" | "frequency_penalty" => value.as_f64() == Some(0.0),
                "response_format" => value.get("type").and_then(Value::as_str) == Some("text"),
                "modalities" => value == &Value::from(vec!["text"]),
                "tool_choice" | "function_call" | "parallel_tool_calls" => !has_tools,
                _ => is_empty(value),
            };
            if !means_nothing {
                return Err(self.refuse(name, ""));
            }
        }
        Ok(())
    }
}

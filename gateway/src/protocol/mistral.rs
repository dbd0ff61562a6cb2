//! Mistral's `/v1/fim/completions`: the text before the cursor is `prompt`, the one behind it `suffix`; the answer has the
//! form of a chat.

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{self, BadBody, Stops};
use super::{Asked, DONE, Told, event};
use crate::complete::{Completed, CompletionTask, Ending, Finish, SourceDocument};
use crate::dialect::openai::{self, Usage};

#[derive(Deserialize)]
struct Body {
    model: String,
    prompt: String,
    suffix: Option<String>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    max_tokens: Option<u32>,
    stop: Option<Stops>,
    stream: Option<bool>,
}

/// Reads a request.
///
/// # Errors
/// [`BadBody`].
pub fn parse(bytes: &[u8]) -> Result<Asked, BadBody> {
    let body: Body = body::read(bytes)?;
    let task = CompletionTask {
        document: SourceDocument {
            prefix: body.prompt,
            suffix: body.suffix.unwrap_or_default(),
            ..SourceDocument::default()
        },
        model: Some(body.model),
        max_tokens: body.max_tokens,
        temperature: body::temperature(body.temperature)?,
        top_p: body::top_p(body.top_p)?,
        stops: body::stops(body.stop)?,
        ..CompletionTask::default()
    };
    Ok(Asked { task, stream: body.stream.unwrap_or_default(), user: None, fields: None })
}

/// The answer; nothing to offer is an empty text.
#[must_use]
pub fn render(completed: &Completed, told: &Told) -> String {
    let first = completed.choices.first();
    let (text, finish) = first.map_or(("", Finish::Stop), |choice| (choice.text.as_str(), choice.finish));
    let choice = json!({
        "index": 0,
        "message": {"role": "assistant", "content": text, "tool_calls": null},
        "finish_reason": finish.as_str(),
    });
    let mut answer = head("chat.completion", told);
    put(&mut answer, "choices", json!([choice]));
    put(&mut answer, "usage", usage(completed.usage));
    answer.to_string()
}

/// The event of one piece of text.
#[must_use]
pub fn piece(text: &str, told: &Told) -> String {
    let delta = json!({"role": "assistant", "content": text});
    let mut piece = head("chat.completion.chunk", told);
    put(&mut piece, "choices", json!([{"index": 0, "delta": delta, "finish_reason": null}]));
    event(&piece)
}

/// The events behind the last piece. An answer that broke off has no end, and says so.
#[must_use]
pub fn end(ending: &Ending, told: &Told) -> String {
    if let Some(error) = &ending.error {
        return event(&error_value(error.status(), &error.to_string(), error.reason()));
    }
    let finish = ending.finishes.first().copied().unwrap_or(Finish::Stop);
    let mut end = head("chat.completion.chunk", told);
    let choice = json!({"index": 0, "delta": {"content": ""}, "finish_reason": finish.as_str()});
    put(&mut end, "choices", json!([choice]));
    put(&mut end, "usage", usage(ending.usage));
    event(&end) + DONE
}

fn head(object: &str, told: &Told) -> Value {
    json!({"id": told.id, "object": object, "created": told.created, "model": told.model})
}

fn usage(used: Option<Usage>) -> Value {
    let used = used.unwrap_or_default();
    json!({
        "prompt_tokens": used.prompt_tokens,
        "completion_tokens": used.completion_tokens,
        "total_tokens": used.prompt_tokens.saturating_add(used.completion_tokens),
    })
}

fn put(object: &mut Value, name: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(name.into(), value);
    }
}

/// An error as Mistral's clients read it.
#[must_use]
pub fn error_body(status: StatusCode, message: &str, code: &str) -> String {
    error_value(status, message, code).to_string()
}

fn error_value(status: StatusCode, message: &str, code: &str) -> Value {
    let kind = openai::error_kind(status);
    json!({"object": "error", "message": message, "type": kind, "param": null, "code": code})
}

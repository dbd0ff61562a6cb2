//! llama.cpp's `/infill`, as llama.vim and llama.vscode ask it: the lines above the cursor are `input_prefix`, what stands
//! before it in its own line is `prompt`, and the rest is `input_suffix`.

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::body::{self, BadBody, Stops};
use super::{Asked, Told, event};
use crate::complete::{Completed, CompletionTask, ContextItem, Ending, Finish, SourceDocument};
use crate::dialect::openai::Usage;

/// Pieces of other files that are looked at.
const MOST_EXTRA: usize = 100;

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    input_prefix: String,
    #[serde(default)]
    input_suffix: String,
    #[serde(default)]
    input_extra: Vec<Extra>,
    #[serde(default)]
    prompt: String,
    model: Option<String>,
    n_predict: Option<i64>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    stop: Option<Stops>,
    stream: Option<bool>,
    response_fields: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Extra {
    #[serde(default)]
    filename: String,
    text: String,
}

/// Reads a request. `n_predict: 0` asks for nothing but a warm cache and gives a task of no tokens.
///
/// # Errors
/// [`BadBody`].
pub fn parse(bytes: &[u8]) -> Result<Asked, BadBody> {
    let body: Body = body::read(bytes)?;
    let extra = body.input_extra.into_iter().take(MOST_EXTRA);
    let task = CompletionTask {
        document: SourceDocument {
            prefix: body.input_prefix + &body.prompt,
            suffix: body.input_suffix,
            ..SourceDocument::default()
        },
        context: extra
            .map(|extra| ContextItem { name: extra.filename, content: extra.text, snippet: true })
            .collect(),
        model: body.model,
        // Below zero is no limit of the client's own.
        max_tokens: body
            .n_predict
            .filter(|wanted| *wanted >= 0)
            .map(|wanted| u32::try_from(wanted).unwrap_or(u32::MAX)),
        temperature: body::temperature(body.temperature)?,
        top_p: body::top_p(body.top_p)?,
        stops: body::stops(body.stop)?,
        ..CompletionTask::default()
    };
    Ok(Asked { task, stream: body.stream.unwrap_or_default(), user: None, fields: body.response_fields })
}

/// The answer; nothing to offer is an empty text.
#[must_use]
pub fn render(completed: &Completed, told: &Told) -> String {
    let first = completed.choices.first();
    let text = first.map_or("", |choice| choice.text.as_str());
    let finish = first.map_or(Finish::Stop, |choice| choice.finish);
    let last = last(text, text.contains('\n'), finish, completed.usage, told);
    Value::Object(last).to_string()
}

/// The event of one piece of text.
#[must_use]
pub fn piece(text: &str) -> String {
    event(&json!({"index": 0, "content": text, "tokens": [], "stop": false}))
}

/// The event behind the last piece. An answer that broke off has no end, and says so.
#[must_use]
pub fn end(ending: &Ending, has_line: bool, told: &Told) -> String {
    if let Some(error) = &ending.error {
        return event(&error_value(error.status(), &error.to_string()));
    }
    let finish = ending.finishes.first().copied().unwrap_or(Finish::Stop);
    event(&Value::Object(last("", has_line, finish, ending.usage, told)))
}

/// The members of a whole answer that this gateway knows, as far as they are wanted.
fn last(text: &str, has_line: bool, finish: Finish, used: Option<Usage>, told: &Told) -> Map<String, Value> {
    let used = used.unwrap_or_default();
    let members = [
        ("index", json!(0)),
        ("content", json!(text)),
        ("tokens", json!([])),
        ("stop", json!(true)),
        ("model", json!(told.model)),
        ("tokens_predicted", json!(used.completion_tokens)),
        ("tokens_evaluated", json!(used.prompt_tokens)),
        ("has_new_line", json!(has_line)),
        ("truncated", json!(false)),
        ("stop_type", json!(if finish == Finish::Length { "limit" } else { "eos" })),
        ("stopping_word", json!("")),
    ];
    let fields = told.fields.as_ref();
    let is_wanted = |name: &str| fields.is_none_or(|fields| fields.iter().any(|field| field == name));
    members
        .into_iter()
        .filter(|(name, _)| is_wanted(name))
        .map(|(name, value)| (name.into(), value))
        .collect()
}

/// `GET /props`: what clients ask of the server before they send anything.
#[must_use]
pub fn props(model: &str, context: u32) -> String {
    json!({
        "default_generation_settings": {"n_ctx": context},
        "total_slots": crate::limits::IN_FLIGHT,
        "model_alias": model,
        "model_path": "",
        "chat_template": "",
        "build_info": concat!("modelgate-", env!("CARGO_PKG_VERSION")),
    })
    .to_string()
}

/// `GET /health`.
#[must_use]
pub fn health(is_serving: bool) -> (StatusCode, String) {
    if is_serving {
        (StatusCode::OK, json!({"status": "ok"}).to_string())
    } else {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        (status, error_body(status, "no route serves yet"))
    }
}

/// An error as llama.cpp's clients read it.
#[must_use]
pub fn error_body(status: StatusCode, message: &str) -> String {
    error_value(status, message).to_string()
}

fn error_value(status: StatusCode, message: &str) -> Value {
    let kind = match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        501 => "not_supported_error",
        503 => "unavailable_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    };
    json!({"error": {"code": status.as_u16(), "message": message, "type": kind}})
}

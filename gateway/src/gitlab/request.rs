//! The body of POST /v2/completions → what the pipeline needs of it, or the refusal that the original would send.

use super::decode::decode;
use super::error_bodies;
use super::json::{self, JsonError, Value};
use super::python::{Integer, strip, write_text};
use super::validate::{Members, Step, TextRule, Validator};
use crate::complete::{CompletionTask, SourceDocument};

const NAME: TextRule = TextRule { strip: true, max: Some(255) };
const EDITOR_LANGUAGE: TextRule = TextRule { strip: false, max: Some(255) };
const CONTENT: TextRule = TextRule { strip: false, max: Some(100_000) };
const MODEL: TextRule = TextRule { strip: false, max: Some(50) };
const FREE: TextRule = TextRule { strip: false, max: None };
const MAX_TELEMETRY: usize = 10;

/// A completion that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompletionRequest {
    /// Always 1.
    pub prompt_version: u8,
    /// Path of the project; the editor sends an empty one when it knows none.
    pub project_path: Option<String>,
    /// Id of the project; the editor sends −1 when it knows none.
    pub project_id: Option<Integer>,
    /// Name of the file, without white space around it; may be empty or a path.
    pub file_name: String,
    /// The editor's name of the language.
    pub language_identifier: Option<String>,
    /// The text before the cursor.
    pub prefix: String,
    /// The text after the cursor.
    pub suffix: String,
    /// What became of earlier suggestions.
    pub telemetry: Vec<Telemetry>,
}

impl CompletionRequest {
    /// The task for the completion core; the pipeline adds what the headers and the configuration say.
    #[must_use]
    pub fn into_task(self) -> CompletionTask {
        let document = SourceDocument {
            file_name: self.file_name,
            language_identifier: self.language_identifier,
            prefix: self.prefix,
            suffix: self.suffix,
        };
        CompletionTask { document, ..CompletionTask::default() }
    }
}

/// What became of earlier suggestions of one model. Counts that no counter takes are moved to the nearest that it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telemetry {
    /// Engine of the model.
    pub model_engine: Option<String>,
    /// Name of the model.
    pub model_name: Option<String>,
    /// Language of the file.
    pub lang: Option<String>,
    /// Experiments that the suggestions took part in.
    pub experiments: Vec<Experiment>,
    /// Suggestions asked for.
    pub requests: u64,
    /// Suggestions accepted.
    pub accepts: u64,
    /// Requests that failed.
    pub errors: u64,
}

/// An experiment and its variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Experiment {
    /// Name of the experiment.
    pub name: String,
    /// Number of the variant.
    pub variant: Integer,
}

/// A refusal, ready to be sent as `application/json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// HTTP status: 400 or 422.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// Reads a body.
///
/// # Errors
/// The answer of the original: 400 when the body is no text (or JSON beyond its limits), 422 with every error otherwise.
pub fn parse_completion(content_type: Option<&str>, body: &[u8]) -> Result<CompletionRequest, Rejection> {
    let unreadable = || Rejection { status: 400, body: error_bodies::UNREADABLE.as_bytes().to_vec() };
    if body.is_empty() {
        return Err(refused(Validator::missing));
    }
    if !is_json(content_type) {
        return Err(refused(Validator::not_a_dict));
    }
    let text = decode(body).ok_or_else(unreadable)?;
    let value = json::parse(&text).map_err(|error| match error {
        JsonError::Limit => unreadable(),
        JsonError::Syntax { message, at } => syntax(&text, message, at),
    })?;
    if value == Value::Null {
        return Err(refused(Validator::missing));
    }
    let mut validator = Validator::new();
    let request = validator.model(&value).and_then(|members| completion(&mut validator, &members));
    match (request, validator.into_detail()) {
        (Some(request), None) => Ok(request),
        (_, detail) => Err(unprocessable(detail.unwrap_or_default())),
    }
}

/// Whether FastAPI parses the body: no type at all counts as JSON.
fn is_json(content_type: Option<&str>) -> bool {
    let Some(content_type) = content_type.map(strip).filter(|value| !value.is_empty()) else { return true };
    let kind = content_type.split(';').next().map(strip).unwrap_or_default().to_lowercase();
    let mut parts = kind.split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("application"), Some(subtype), None) => subtype == "json" || subtype.ends_with("+json"),
        _ => false,
    }
}

fn unprocessable(detail: String) -> Rejection {
    Rejection { status: 422, body: detail.into_bytes() }
}

fn refused(refuse: impl FnOnce(&mut Validator)) -> Rejection {
    let mut validator = Validator::new();
    refuse(&mut validator);
    unprocessable(validator.into_detail().unwrap_or_default())
}

fn syntax(text: &str, message: &str, at: usize) -> Rejection {
    let before = text.get(..at).unwrap_or(text);
    let position = before.chars().count();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let mut context = String::from("{\"msg\":");
    write_text(&mut context, message);
    context.push_str(",\"doc\":");
    write_text(&mut context, text);
    context.push_str(&format!(",\"pos\":{position},\"lineno\":{line},\"colno\":{column}}}"));
    let full = format!("{message}: line {line} column {column} (char {position})");
    refused(|validator| {
        validator.at(Step::Index(position), |at| at.refuse(&full, "value_error.jsondecode", Some(&context)));
    })
}

/// Reads every member before it gives up, so that all errors are listed.
fn completion(at: &mut Validator, members: &Members<'_>) -> Option<CompletionRequest> {
    let prompt_version = at.defaulted(members, "prompt_version", 1, Validator::one);
    let project_path = at.optional(members, "project_path", |at, value| at.text(value, NAME));
    let project_id = at.optional(members, "project_id", Validator::integer);
    let file = at.required(members, "current_file", current_file);
    let telemetry = at.defaulted(members, "telemetry", Vec::new(), |at, value| {
        at.list(value, Some(MAX_TELEMETRY), telemetry)
    });
    let file = file?;
    Some(CompletionRequest {
        prompt_version: prompt_version?,
        project_path: project_path?,
        project_id: project_id?,
        file_name: file.name,
        language_identifier: file.language,
        prefix: file.above,
        suffix: file.below,
        telemetry: telemetry?,
    })
}

struct CurrentFile {
    name: String,
    language: Option<String>,
    above: String,
    below: String,
}

fn current_file(at: &mut Validator, value: &Value) -> Option<CurrentFile> {
    let members = at.model(value)?;
    let name = at.required(&members, "file_name", |at, value| at.text(value, NAME));
    let language = at.optional(&members, "language_identifier", |at, value| at.text(value, EDITOR_LANGUAGE));
    let above = at.required(&members, "content_above_cursor", |at, value| at.text(value, CONTENT));
    let below = at.required(&members, "content_below_cursor", |at, value| at.text(value, CONTENT));
    Some(CurrentFile { name: name?, language: language?, above: above?, below: below? })
}

fn telemetry(at: &mut Validator, value: &Value) -> Option<Telemetry> {
    let members = at.model(value)?;
    let model_engine = at.optional(&members, "model_engine", |at, value| at.text(value, MODEL));
    let model_name = at.optional(&members, "model_name", |at, value| at.text(value, MODEL));
    let lang = at.optional(&members, "lang", |at, value| at.text(value, MODEL));
    let experiments = at.optional(&members, "experiments", |at, value| at.list(value, None, experiment));
    let requests = at.required(&members, "requests", Validator::integer);
    let accepts = at.required(&members, "accepts", Validator::integer);
    let errors = at.required(&members, "errors", Validator::integer);
    Some(Telemetry {
        model_engine: model_engine?,
        model_name: model_name?,
        lang: lang?,
        experiments: experiments?.unwrap_or_default(),
        requests: requests?.clamp_to_count(),
        accepts: accepts?.clamp_to_count(),
        errors: errors?.clamp_to_count(),
    })
}

fn experiment(at: &mut Validator, value: &Value) -> Option<Experiment> {
    let members = at.model(value)?;
    let name = at.required(&members, "name", |at, value| at.text(value, FREE));
    let variant = at.required(&members, "variant", Validator::integer);
    Some(Experiment { name: name?, variant: variant? })
}

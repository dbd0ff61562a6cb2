//! Bodies of GitLab's `/v2` routes → what the pipeline needs of them. `Strict` reads them as the gateway of 2023 did,
//! `Current` also takes what a GitLab of today sends. Members are read in the order of the original's declarations,
//! which is the order of its errors, and every one before giving up, so that all errors are listed.

use modelgate_api::v1alpha1::Compat;

use super::body::{self, Rejection};
use super::json::Value;
use super::python::Integer;
use super::telemetry::{Telemetry, telemetry};
use super::validate::{Members, TextRule, Validator};
use crate::complete::{CompletionTask, ContextItem, Message, Project, PromptOverride, SourceDocument};

pub(super) const NAME: TextRule = TextRule { strip: true, max: Some(255) };
const EDITOR_LANGUAGE: TextRule = TextRule { strip: false, max: Some(255) };
pub(super) const CONTENT: TextRule = TextRule { strip: false, max: Some(100_000) };
pub(super) const FREE: TextRule = TextRule { strip: false, max: None };
const CONTEXT_NAME: TextRule = TextRule { strip: false, max: Some(1024) };
const CONTEXT_CONTENT: TextRule = TextRule { strip: false, max: Some(500_000) };
const MAX_CONTEXT: usize = 100;
const MAX_MESSAGES: usize = 100;
/// Completions of one request, at most.
const MAX_CHOICES: u32 = 4;

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// What stands at the cursor.
    #[default]
    Completion,
    /// A whole piece of code, from a comment or a prompt.
    Generation,
}

/// Code that was asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CodeRequest {
    /// What is asked for.
    pub kind: Kind,
    /// Version of the prompt: 1 where the gateway makes it.
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
    /// A prompt that the client made.
    pub prompt: Option<PromptOverride>,
    /// Whether the answer is wanted in pieces.
    pub stream: bool,
    /// Completions wanted; 0 where the request does not say.
    pub choices: u32,
    /// Further files and snippets.
    pub context: Vec<ContextItem>,
    /// Names of models that the request gives, the first one served is taken.
    pub models: Vec<String>,
    /// Id that the client wants to see in the answer.
    pub id: Option<String>,
    /// Tokens of the answer, at most.
    pub max_tokens: Option<u32>,
    /// Temperature.
    pub temperature: Option<f64>,
    /// Nucleus.
    pub top_p: Option<f64>,
}

impl CodeRequest {
    /// The task for the completion core; the pipeline adds what the headers and the configuration say.
    #[must_use]
    pub fn into_task(self) -> CompletionTask {
        let id = self.project_id.as_ref().map(ToString::to_string).filter(|id| !id.starts_with('-'));
        let path = self.project_path.filter(|path| !path.is_empty());
        let generation = self.kind == Kind::Generation;
        CompletionTask {
            document: SourceDocument {
                file_name: self.file_name,
                language_identifier: self.language_identifier,
                prefix: self.prefix,
                suffix: self.suffix,
            },
            context: self.context,
            choices: self.choices,
            prompt: self.prompt,
            generation,
            max_tokens: self.max_tokens,
            temperature: self.temperature,
            top_p: self.top_p,
            project: (id.is_some() || path.is_some()).then_some(Project { id, path }),
            ..CompletionTask::default()
        }
    }
}

/// Reads a body of `/v2/completions` and `/v2/code/completions`.
///
/// # Errors
/// [`Rejection`].
pub fn parse_completion(
    compat: Compat,
    content_type: Option<&str>,
    body: &[u8],
) -> Result<CodeRequest, Rejection> {
    body::read(compat, content_type, body, |at, value| match compat {
        Compat::Strict => {
            let members = at.model(value)?;
            with_version(at, &members, |at, members| {
                at.defaulted(members, "prompt_version", 1, |at, value| at.literal(value, 1))
            })
        }
        Compat::Current => current(at, value, Kind::Completion),
    })
}

/// Reads a body of `/v2/code/generations`.
///
/// # Errors
/// [`Rejection`].
pub fn parse_generation(
    compat: Compat,
    content_type: Option<&str>,
    body: &[u8],
) -> Result<CodeRequest, Rejection> {
    let read = body::read(compat, content_type, body, |at, value| match compat {
        Compat::Strict => either_version(at, value),
        Compat::Current => current(at, value, Kind::Generation),
    });
    read.map(|request| CodeRequest { kind: Kind::Generation, ..request })
}

/// A union: the first version that the body fits, else the errors of both.
fn either_version(at: &mut Validator, value: &Value) -> Option<CodeRequest> {
    let mut first = Validator::new();
    let read = first.model(value).and_then(|members| {
        with_version(&mut first, &members, |at, members| {
            at.defaulted(members, "prompt_version", 1, |at, value| at.literal(value, 1))
        })
    });
    if first.is_clean() {
        return read;
    }
    let mut second = Validator::new();
    let read = second.model(value).and_then(|members| {
        let request = with_version(&mut second, &members, |at, members| {
            at.required(members, "prompt_version", |at, value| at.literal(value, 2))
        });
        let prompt = second.required(&members, "prompt", |at, value| at.text(value, FREE));
        Some(CodeRequest { prompt: Some(PromptOverride::Text(prompt?)), ..request? })
    });
    if second.is_clean() {
        return read;
    }
    at.take_errors(first);
    at.take_errors(second);
    None
}

fn with_version(
    at: &mut Validator,
    members: &Members<'_>,
    version: impl FnOnce(&mut Validator, &Members<'_>) -> Option<u8>,
) -> Option<CodeRequest> {
    let request = suggestions(at, members, Compat::Strict);
    let prompt_version = version(at, members);
    Some(CodeRequest { prompt_version: prompt_version?, ..request? })
}

/// What all versions have.
fn suggestions(at: &mut Validator, members: &Members<'_>, compat: Compat) -> Option<CodeRequest> {
    let project_path = at.optional(members, "project_path", |at, value| at.text(value, NAME));
    let project_id = at.optional(members, "project_id", Validator::integer);
    let file = at.required(members, "current_file", current_file);
    let told = telemetry(at, members, compat);
    Some(CodeRequest { project_path: project_path?, project_id: project_id?, telemetry: told?, ..file? })
}

pub(super) fn current_file(at: &mut Validator, value: &Value) -> Option<CodeRequest> {
    let members = at.model(value)?;
    let name = at.required(&members, "file_name", |at, value| at.text(value, NAME));
    let language = at.optional(&members, "language_identifier", |at, value| at.text(value, EDITOR_LANGUAGE));
    let above = at.required(&members, "content_above_cursor", |at, value| at.text(value, CONTENT));
    let below = at.required(&members, "content_below_cursor", |at, value| at.text(value, CONTENT));
    Some(CodeRequest {
        file_name: name?,
        language_identifier: language?,
        prefix: above?,
        suffix: below?,
        ..CodeRequest::default()
    })
}

/// A body of today: prompt versions 1 to 3, streams, several choices, context, and names of models. Of the members
/// `model_endpoint` and `model_api_key` nothing is read: where requests go is the configuration's to say.
fn current(at: &mut Validator, value: &Value, kind: Kind) -> Option<CodeRequest> {
    let members = at.model(value)?;
    let request = suggestions(at, &members, Compat::Current);
    let prompt_version = at.defaulted(&members, "prompt_version", 1, |at, value| at.bounded(value, 1, 3));
    let prompt = at.optional(&members, "prompt", prompt);
    if kind == Kind::Generation && prompt_version.is_some_and(|version| version > 1) && prompt == Some(None) {
        at.missing();
    }
    let options = options(at, &members);
    let items = at.optional(&members, "context", |at, value| at.list(value, Some(MAX_CONTEXT), context));
    let request = request?;
    let options = options?;
    Some(CodeRequest {
        kind,
        prompt_version: u8::try_from(prompt_version?).unwrap_or(1),
        prompt: prompt?.filter(|_| prompt_version.is_some_and(|version| version > 1)),
        stream: options.stream,
        choices: options.choices,
        models: options.models,
        context: items?.unwrap_or_default(),
        ..request
    })
}

/// What the versions of the protocol say alike, beside the file.
pub(super) fn options(at: &mut Validator, members: &Members<'_>) -> Option<CodeRequest> {
    let stream = at.optional(members, "stream", Validator::boolean);
    let choices = at.optional(members, "choices_count", |at, value| at.bounded(value, 0, u32::MAX));
    let text = |at: &mut Validator, name| at.optional(members, name, |at, value| at.text(value, NAME));
    let (identifier, name) = (text(at, "model_identifier"), text(at, "model_name"));
    let named = [identifier?, name?].into_iter().flatten().filter(|name| !name.is_empty());
    Some(CodeRequest {
        stream: stream?.unwrap_or_default(),
        choices: choices?.unwrap_or_default().min(MAX_CHOICES),
        models: named.collect(),
        ..CodeRequest::default()
    })
}

/// Text, or a conversation.
pub(super) fn prompt(at: &mut Validator, value: &Value) -> Option<PromptOverride> {
    match value {
        Value::Array(_) => at.list(value, Some(MAX_MESSAGES), message).map(PromptOverride::Messages),
        _ => at.text(value, FREE).map(PromptOverride::Text),
    }
}

fn message(at: &mut Validator, value: &Value) -> Option<Message> {
    let members = at.model(value)?;
    let role = at.required(&members, "role", |at, value| at.text(value, NAME));
    let content = at.required(&members, "content", |at, value| at.text(value, FREE));
    Some(Message { role: role?, content: content? })
}

pub(super) fn context(at: &mut Validator, value: &Value) -> Option<ContextItem> {
    let members = at.model(value)?;
    let kind = at.required(&members, "type", |at, value| at.text(value, CONTEXT_NAME));
    let name = at.required(&members, "name", |at, value| at.text(value, CONTEXT_NAME));
    let content = at.required(&members, "content", |at, value| at.text(value, CONTEXT_CONTENT));
    Some(ContextItem { name: name?, content: content?, snippet: kind? != "file" })
}

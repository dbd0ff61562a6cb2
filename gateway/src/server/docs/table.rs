//! What each route is for and what it takes: the one table that the OpenAPI document is made of. A route that is added to
//! [`Handler`] does not compile without its entry.

use serde_json::{Map, Value, json};

use super::others;
use crate::series::Handler;

/// Which callers a route lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody.
    Open,
    /// A bearer token or key.
    Bearer,
    /// A bearer token and GitLab's header.
    GitLab,
}

/// A route.
pub(super) struct Described {
    /// The protocol it belongs to.
    pub tag: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Who may use it.
    pub access: Access,
    /// Its body: the name of a schema, and an example that the gateway accepts.
    pub body: Option<(&'static str, Value)>,
}

impl Described {
    pub(super) const fn new(
        tag: &'static str,
        summary: &'static str,
        access: Access,
        body: Option<(&'static str, Value)>,
    ) -> Self {
        Self { tag, summary, access, body }
    }
}

/// The entry of a route; `None` for what is no part of the API. `model` is one that is served.
pub(super) fn describe(handler: Handler, model: &str) -> Option<Described> {
    use Access::{GitLab, Open};
    let gitlab = |summary, body| Some(Described::new("GitLab", summary, GitLab, body));
    let file = json!({"file_name": "add.py", "content_above_cursor": "def add(a, b):\n    return ", "content_below_cursor": "\n"});
    let completion = || {
        Some(("CodeCompletion", json!({"prompt_version": 1, "project_id": 1, "current_file": file.clone()})))
    };
    let components = |kind: &str| {
        Some(("Components", json!({"prompt_components": [{"type": kind, "payload": file.clone()}]})))
    };
    let experimental = || {
        let model = json!({"name": "code-gecko", "prefix": "def add(a, b):\n    return ", "suffix": "\n", "parameters": {"temperature": 0.2, "max_output_tokens": 16}});
        Some((
            "ExperimentalCompletion",
            json!({"prompt_version": 1, "project_id": 1, "file_name": "add.py", "model": model}),
        ))
    };
    match handler {
        Handler::GitlabRoot | Handler::GitlabCompletions | Handler::GitlabCodeCompletions => {
            gitlab("Complete code at the cursor", completion())
        }
        Handler::GitlabGenerations => gitlab("Generate code from an instruction", completion()),
        Handler::GitlabExperimental => {
            gitlab("Complete code by a model that the request names", experimental())
        }
        Handler::GitlabComponents => {
            gitlab("Complete or generate code", components("code_editor_completion"))
        }
        Handler::GitlabSuggestions => {
            gitlab("Complete or generate code, as events", components("code_editor_completion"))
        }
        Handler::GitlabToken => gitlab("A short-lived token for direct access from an editor", None),
        Handler::GitlabModels => gitlab("Models and what they are for", None),
        Handler::Completions | Handler::Chat | Handler::Embeddings | Handler::Models | Handler::Model => {
            describe_openai(handler, model)
        }
        Handler::MistralFim
        | Handler::Infill
        | Handler::LlamaHealth
        | Handler::LlamaProps
        | Handler::TabbyCompletions
        | Handler::TabbyHealth
        | Handler::TabbySetting
        | Handler::TabbyEvents => others::describe(handler, model),
        Handler::Healthz => Some(Described::new("Monitoring", "Whether the gateway is alive", Open, None)),
        Handler::Ready => Some(Described::new("Monitoring", "Whether a route serves", Open, None)),
        Handler::Docs | Handler::Other => None,
    }
}

/// The entry of one of OpenAI's routes.
fn describe_openai(handler: Handler, model: &str) -> Option<Described> {
    use Access::Bearer;
    match handler {
        Handler::Completions => Some(Described::new(
            "OpenAI",
            "Complete a text",
            Bearer,
            Some((
                "TextCompletion",
                json!({"model": model, "prompt": "def add(a, b):\n    return ", "max_tokens": 32}),
            )),
        )),
        Handler::Chat => Some(Described::new(
            "OpenAI",
            "Answer a conversation",
            Bearer,
            Some((
                "ChatCompletion",
                json!({"model": model, "messages": [{"role": "user", "content": "Say hello"}], "max_tokens": 32}),
            )),
        )),
        Handler::Models => Some(Described::new("OpenAI", "Models that may be asked for", Bearer, None)),
        Handler::Embeddings => Some(Described::new(
            "OpenAI",
            "Turn a text into a vector",
            Bearer,
            Some(("Embedding", json!({"model": model, "input": "def add(a, b):"}))),
        )),
        Handler::Model => Some(Described::new("OpenAI", "One of the models", Bearer, None)),
        _ => None,
    }
}

/// Schemas of bodies. Fields that are not listed are ignored on GitLab's routes and reach the backend on OpenAI's.
pub(super) fn schemas() -> Value {
    let mut all = Map::new();
    for part in [parts_of_gitlab(), gitlab(), openai(), others::schemas()] {
        if let Value::Object(part) = part {
            all.extend(part);
        }
    }
    Value::Object(all)
}

fn text(longest: u32) -> Value {
    json!({"type": "string", "maxLength": longest})
}

fn parts_of_gitlab() -> Value {
    let whole = json!({"type": "integer"});
    json!({
        "CurrentFile": {
            "type": "object",
            "required": ["file_name", "content_above_cursor", "content_below_cursor"],
            "properties": {
                "file_name": text(255),
                "language_identifier": text(255),
                "content_above_cursor": text(100_000),
                "content_below_cursor": text(100_000),
            },
        },
        "Telemetry": {
            "type": "object",
            "required": ["requests", "accepts", "errors"],
            "properties": {
                "model_engine": text(50),
                "model_name": text(50),
                "lang": text(50),
                "requests": whole,
                "accepts": whole,
                "errors": whole,
                "experiments": {"type": "array", "items": {
                    "type": "object", "required": ["name", "variant"],
                    "properties": {"name": {"type": "string"}, "variant": whole},
                }},
            },
        },
    })
}

fn gitlab() -> Value {
    let whole = json!({"type": "integer"});
    json!({
        "CodeCompletion": {
            "type": "object",
            "required": ["current_file"],
            "properties": {
                "prompt_version": {"type": "integer", "default": 1},
                "project_path": text(255),
                "project_id": whole,
                "current_file": {"$ref": "#/components/schemas/CurrentFile"},
                "telemetry": {"type": "array", "maxItems": 10, "items": {"$ref": "#/components/schemas/Telemetry"}},
            },
        },
        "ExperimentalCompletion": {
            "type": "object",
            "required": ["model"],
            "properties": {
                "prompt_version": {"type": "integer", "default": 1},
                "project_path": text(255),
                "project_id": whole,
                "file_name": text(255),
                "model": {
                    "type": "object",
                    "required": ["name", "parameters"],
                    "properties": {
                        "name": {"enum": ["text-bison", "code-bison", "code-gecko"]},
                        "content": text(100_000),
                        "prefix": text(100_000),
                        "suffix": text(100_000),
                        "parameters": {"type": "object"},
                    },
                },
            },
        },
        "Components": {
            "type": "object",
            "required": ["prompt_components"],
            "properties": {"prompt_components": {"type": "array", "minItems": 1, "maxItems": 100, "items": {
                "type": "object", "required": ["type", "payload"],
                "properties": {
                    "type": {"enum": ["code_editor_completion", "code_editor_generation", "code_context"]},
                    "payload": {"type": "object"},
                },
            }}},
        },
    })
}

fn openai() -> Value {
    let number = json!({"type": "number"});
    let whole = json!({"type": "integer"});
    json!({
        "TextCompletion": {
            "type": "object",
            "required": ["model", "prompt"],
            "properties": {
                "model": {"type": "string"}, "prompt": {}, "suffix": {"type": "string"},
                "max_tokens": whole, "temperature": number, "top_p": number, "n": whole, "stop": {},
                "stream": {"type": "boolean"},
            },
        },
        "Embedding": {
            "type": "object",
            "required": ["model", "input"],
            "properties": {"model": {"type": "string"}, "input": {}, "encoding_format": {"type": "string"}},
        },
        "ChatCompletion": {
            "type": "object",
            "required": ["model", "messages"],
            "properties": {
                "model": {"type": "string"},
                "messages": {"type": "array", "items": {
                    "type": "object", "required": ["role"],
                    "properties": {"role": {"type": "string"}, "content": {}},
                }},
                "max_tokens": whole, "temperature": number, "top_p": number, "n": whole, "stop": {},
                "stream": {"type": "boolean"},
            },
        },
    })
}

//! Entries of the table for the protocols of Mistral, llama.cpp and Tabby.

use serde_json::{Value, json};

use super::table::{Access, Described};
use crate::series::Handler;

const BEFORE: &str = "def add(a, b):\n    return ";

/// The entry of a route.
pub(super) fn describe(handler: Handler, model: &str) -> Option<Described> {
    let (tag, summary, access, body) = match handler {
        Handler::MistralFim => (
            "Mistral",
            "Fill in between two texts",
            Access::Bearer,
            Some(("Fim", json!({"model": model, "prompt": BEFORE, "suffix": "\n", "max_tokens": 32}))),
        ),
        Handler::Infill => (
            "llama.cpp",
            "Fill in at the cursor",
            Access::Bearer,
            Some(("Infill", json!({"input_prefix": BEFORE, "input_suffix": "\n", "n_predict": 32}))),
        ),
        Handler::LlamaHealth => ("llama.cpp", "Whether a route serves", Access::Open, None),
        Handler::LlamaProps => ("llama.cpp", "The model and its context", Access::Bearer, None),
        Handler::TabbyCompletions => (
            "Tabby",
            "Complete code at the cursor",
            Access::Bearer,
            Some((
                "TabbyCompletion",
                json!({"language": "python", "segments": {"prefix": BEFORE, "suffix": "\n"}}),
            )),
        ),
        Handler::TabbyHealth => ("Tabby", "The model and the version spoken", Access::Bearer, None),
        Handler::TabbySetting => ("Tabby", "What clients should do", Access::Bearer, None),
        Handler::TabbyEvents => (
            "Tabby",
            "Tell what became of a completion",
            Access::Bearer,
            Some(("TabbyEvent", json!({"type": "view", "completion_id": "cmpl-1", "choice_index": 0}))),
        ),
        _ => return None,
    };
    Some(Described::new(tag, summary, access, body))
}

/// Schemas of bodies.
pub(super) fn schemas() -> Value {
    let (text, number) = (json!({"type": "string"}), json!({"type": "number"}));
    let (whole, yes) = (json!({"type": "integer"}), json!({"type": "boolean"}));
    let snippet = |name: &str| json!({"type": "array", "items": {"type": "object", "properties": {name: {"type": "string"}}}});
    let segments = json!({
        "type": "object",
        "required": ["prefix"],
        "properties": {
            "prefix": text, "suffix": text, "filepath": text, "git_url": text,
            "declarations": snippet("body"),
            "relevant_snippets_from_changed_files": snippet("body"),
            "relevant_snippets_from_recently_opened_files": snippet("body"),
        },
    });
    json!({
        "Fim": {
            "type": "object",
            "required": ["model", "prompt"],
            "properties": {
                "model": text, "prompt": text, "suffix": text, "max_tokens": whole, "temperature": number,
                "top_p": number, "stop": {}, "stream": yes,
            },
        },
        "Infill": {
            "type": "object",
            "properties": {
                "input_prefix": text, "input_suffix": text, "prompt": text, "input_extra": snippet("text"),
                "n_predict": whole, "temperature": number, "top_p": number, "stop": {}, "stream": yes,
                "response_fields": {"type": "array", "items": text},
            },
        },
        "TabbyCompletion": {
            "type": "object",
            "required": ["segments"],
            "properties": {"language": text, "segments": segments, "user": text, "temperature": number},
        },
        "TabbyEvent": {
            "type": "object",
            "required": ["type"],
            "properties": {"type": {"enum": ["view", "select", "dismiss"]}, "completion_id": text, "choice_index": whole},
        },
    })
}

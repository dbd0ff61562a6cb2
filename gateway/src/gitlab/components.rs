//! The body of `/v3/code/completions` and `/v4/code/suggestions`: a list of components, of which the first that an editor
//! made says what is asked for and the others are context.

use modelgate_api::v1alpha1::Compat;

use super::body::{self, Rejection};
use super::json::Value;
use super::request::{CodeRequest, FREE, Kind, context, current_file, options, prompt};
use super::validate::{Members, Validator};
use crate::complete::{ContextItem, PromptOverride};

const MAX_COMPONENTS: usize = 100;
/// Code points of a prompt.
const MAX_PROMPT: usize = 400_000;

enum Component {
    Editor(Box<CodeRequest>),
    Context(ContextItem),
}

/// Reads a body.
///
/// # Errors
/// [`Rejection`], always flat: the gateway of 2023 had no such route.
pub fn parse_components(content_type: Option<&str>, body: &[u8]) -> Result<CodeRequest, Rejection> {
    body::read(Compat::Current, content_type, body, |at, value| {
        let members = at.model(value)?;
        let components = at.required(&members, "prompt_components", |at, value| {
            at.list(value, Some(MAX_COMPONENTS), component)
        })?;
        let (mut asked, mut items) = (None, Vec::new());
        for component in components {
            match component {
                Component::Editor(request) => {
                    asked.get_or_insert(*request);
                }
                Component::Context(item) => items.push(item),
            }
        }
        if asked.is_none() {
            at.missing();
        }
        asked.map(|request| CodeRequest { context: items, ..request })
    })
}

fn component(at: &mut Validator, value: &Value) -> Option<Component> {
    let members = at.model(value)?;
    let kind = at.required(&members, "type", |at, value| at.text(value, FREE))?;
    at.required(&members, "payload", |at, value| match kind.as_str() {
        "code_editor_completion" => editor(at, value, Kind::Completion),
        "code_editor_generation" => editor(at, value, Kind::Generation),
        "code_context" => context(at, value).map(Component::Context),
        _ => {
            at.refuse("unexpected value", "value_error.const", None);
            None
        }
    })
}

fn editor(at: &mut Validator, value: &Value, kind: Kind) -> Option<Component> {
    let file = current_file(at, value);
    let members = at.model(value)?;
    let given = written(at, &members);
    let asked = options(at, &members);
    let (prompt, asked) = (given?, asked?);
    let request = CodeRequest {
        kind,
        prompt_version: if prompt.is_some() { 2 } else { 1 },
        prompt,
        stream: asked.stream,
        choices: asked.choices,
        models: asked.models,
        ..file?
    };
    Some(Component::Editor(Box::new(request)))
}

/// The prompt; an empty one is none.
fn written(at: &mut Validator, members: &Members<'_>) -> Option<Option<PromptOverride>> {
    let given = at.optional(members, "prompt", prompt)?;
    if let Some(PromptOverride::Text(text)) = &given
        && text.chars().nth(MAX_PROMPT).is_some()
    {
        at.refuse("ensure this value has at most 400000 characters", "value_error.any_str.max_length", None);
    }
    Some(given.filter(|prompt| *prompt != PromptOverride::Text(String::new())))
}

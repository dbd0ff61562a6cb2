//! The body of `/v2/experimental/code/completions`: a request to one fixed model of 2023, chosen by its name.

use modelgate_api::v1alpha1::Compat;

use super::body::{self, Rejection};
use super::json::Value;
use super::python::write_scalar;
use super::request::{CONTENT, CodeRequest, FREE, NAME};
use super::telemetry::telemetry;
use super::validate::{Step, Validator};
use crate::complete::PromptOverride;

/// How the original's enumeration prints its members.
const ALLOWED: &str = "<ModelRollout.GOOGLE_TEXT_BISON: 'text-bison'>, <ModelRollout.GOOGLE_CODE_BISON: 'code-bison'>, <ModelRollout.GOOGLE_CODE_GECKO: 'code-gecko'>";
const TEMPERATURE: f64 = 0.2;
const MAX_TOKENS: u32 = 16;

/// Reads a body.
///
/// # Errors
/// [`Rejection`].
pub fn parse_experimental(
    compat: Compat,
    content_type: Option<&str>,
    body: &[u8],
) -> Result<CodeRequest, Rejection> {
    body::read(compat, content_type, body, |at, value| {
        let members = at.model(value)?;
        let id = at.defaulted(&members, "id", None, |at, value| at.text(value, FREE).map(Some));
        let version = at.defaulted(&members, "prompt_version", 1, |at, value| at.literal(value, 1));
        let project_id = at.optional(&members, "project_id", Validator::integer);
        let project_path = at.optional(&members, "project_path", |at, value| at.text(value, NAME));
        let file_name = at.optional(&members, "file_name", |at, value| at.text(value, NAME));
        let model = at.required(&members, "model", model);
        let told = telemetry(at, &members, compat);
        Some(CodeRequest {
            id: id?,
            prompt_version: version?,
            project_id: project_id?,
            project_path: project_path?,
            file_name: file_name?.unwrap_or_default(),
            telemetry: told?,
            ..model?
        })
    })
}

fn model(at: &mut Validator, value: &Value) -> Option<CodeRequest> {
    let Some(name) = member(value, "name") else {
        let context = "{\"discriminator_key\":\"name\"}";
        let kind = "value_error.discriminated_union.missing_discriminator";
        at.refuse("Discriminator 'name' is missing in value", kind, Some(context));
        return None;
    };
    let (name, class) = match name {
        Value::Text(name) if name == "text-bison" => (name, "ModelVertexTextBison"),
        Value::Text(name) if name == "code-bison" => (name, "ModelVertexCodeBison"),
        Value::Text(name) if name == "code-gecko" => (name, "ModelVertexCodeGecko"),
        other => {
            refuse_name(at, other);
            return None;
        }
    };
    at.at(Step::Name(class), |at| {
        let members = at.model(value)?;
        let text =
            |at: &mut Validator, name| at.required(&members, name, |at, value| at.text(value, CONTENT));
        let is_text = class == "ModelVertexTextBison";
        let prefix = text(at, if is_text { "content" } else { "prefix" });
        let suffix = if class == "ModelVertexCodeGecko" { text(at, "suffix") } else { Some(String::new()) };
        let sampling = at.required(&members, "parameters", |at, value| parameters(at, value, class));
        let prefix = prefix?;
        Some(CodeRequest {
            models: vec![name.clone()],
            prompt: is_text.then(|| PromptOverride::Text(prefix.clone())),
            prefix,
            suffix: suffix?,
            ..sampling?
        })
    })
}

/// A member of an object; nothing else has members here.
fn member<'a>(value: &'a Value, wanted: &str) -> Option<&'a Value> {
    let Value::Object(members) = value else { return None };
    members.iter().rev().find(|(name, _)| name == wanted).map(|(_, value)| value)
}

fn refuse_name(at: &mut Validator, given: &Value) {
    let shown = match given {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Text(text) => format!("'{}'", text.escape_debug()),
        other => {
            let mut text = String::new();
            write_scalar(&mut text, other);
            text
        }
    };
    let message = format!("No match for discriminator 'name' and value {shown} (allowed values: {ALLOWED})");
    let mut context = String::from("{\"discriminator_key\":\"name\",\"discriminator_value\":");
    write_scalar(&mut context, given);
    context.push_str(&format!(",\"allowed_values\":\"{ALLOWED}\"}}"));
    at.refuse(&message, "value_error.discriminated_union.invalid_discriminator", Some(&context));
}

fn parameters(at: &mut Validator, value: &Value, class: &str) -> Option<CodeRequest> {
    let members = at.model(value)?;
    let most = match class {
        "ModelVertexTextBison" => 1024,
        "ModelVertexCodeBison" => 2048,
        _ => 64,
    };
    let temperature = at.defaulted(&members, "temperature", TEMPERATURE, Validator::share);
    let tokens =
        at.defaulted(&members, "max_output_tokens", MAX_TOKENS, |at, value| at.bounded(value, 1, most));
    let mut top_p = Some(None);
    if class == "ModelVertexTextBison" {
        top_p = at.defaulted(&members, "top_p", 0.95, Validator::share).map(Some);
        at.defaulted(&members, "top_k", 40, |at, value| at.bounded(value, 1, 40))?;
    }
    Some(CodeRequest {
        temperature: Some(temperature?),
        max_tokens: Some(tokens?),
        top_p: top_p?,
        ..CodeRequest::default()
    })
}

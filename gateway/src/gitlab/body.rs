//! The bytes of a body → the value that FastAPI would validate, or the refusal that it would send.

use modelgate_api::v1alpha1::Compat;

use super::decode::decode;
use super::error_bodies;
use super::json::{self, JsonError, Value};
use super::python::{strip, write_text};
use super::validate::{Step, Validator};

/// A refusal, ready to be sent as `application/json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// HTTP status: 400 or 422.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Rejection {
    /// As today's service says it, which lists nothing.
    fn flat(self) -> Self {
        match self.status {
            422 => Self { body: error_bodies::VALIDATION_FLAT.as_bytes().to_vec(), ..self },
            _ => self,
        }
    }
}

/// Reads a body and validates it.
///
/// # Errors
/// The answer of the original: 400 when the body is no text (or JSON beyond its limits), 422 otherwise: with every error in
/// `Strict`, flat in `Current`.
pub(super) fn read<T>(
    compat: Compat,
    content_type: Option<&str>,
    body: &[u8],
    validate: impl FnOnce(&mut Validator, &Value) -> Option<T>,
) -> Result<T, Rejection> {
    let read = value(content_type, body).and_then(|value| {
        let mut validator = Validator::new();
        let read = validate(&mut validator, &value);
        match (read, validator.into_detail()) {
            (Some(read), None) => Ok(read),
            (_, detail) => Err(unprocessable(detail.unwrap_or_default())),
        }
    });
    match compat {
        Compat::Strict => read,
        Compat::Current => read.map_err(Rejection::flat),
    }
}

fn value(content_type: Option<&str>, body: &[u8]) -> Result<Value, Rejection> {
    let unreadable = || Rejection { status: 400, body: error_bodies::UNREADABLE.as_bytes().to_vec() };
    if body.is_empty() {
        return Err(refused(Validator::missing));
    }
    if !is_json(content_type) {
        return Err(refused(Validator::not_a_dict));
    }
    let text = decode(body).ok_or_else(unreadable)?;
    match json::parse(&text) {
        Ok(Value::Null) => Err(refused(Validator::missing)),
        Ok(value) => Ok(value),
        Err(JsonError::Limit) => Err(unreadable()),
        Err(JsonError::Syntax { message, at }) => Err(syntax(&text, message, at)),
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

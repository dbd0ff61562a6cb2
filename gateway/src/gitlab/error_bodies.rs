//! Bodies of refusals in GitLab's protocol, as the original spells them; all are `application/json`.

use super::python::write_text;

/// 400: the body is no text, or JSON beyond the parser's limits.
pub const UNREADABLE: &str = r#"{"detail":"There was an error parsing the body"}"#;
/// 404.
pub const NOT_FOUND: &str = r#"{"detail":"Not Found"}"#;
/// 405, which also carries `Allow: POST`.
pub const METHOD_NOT_ALLOWED: &str = r#"{"detail":"Method Not Allowed"}"#;
/// 413: the original has no limit of its own.
pub const TOO_LARGE: &str = r#"{"detail":"Request body too large"}"#;
/// 422 of today's service, which lists nothing.
pub const VALIDATION_FLAT: &str = r#"{"detail":"Validation error"}"#;
/// 429, which also carries `Retry-After`.
pub const TOO_MANY_REQUESTS: &str = r#"{"detail":"Too many requests. Please try again later."}"#;
/// 503.
pub const INFERENCE_FAILED: &str = r#"{"detail":"Inference failed"}"#;

/// `{"error":"…"}`, the shape of a 401.
#[must_use]
pub fn error(message: &str) -> String {
    shaped("error", message)
}

/// `{"detail":"…"}`, the shape of everything else.
#[must_use]
pub fn detail(message: &str) -> String {
    shaped("detail", message)
}

fn shaped(member: &str, message: &str) -> String {
    let mut out = format!("{{\"{member}\":");
    write_text(&mut out, message);
    out.push('}');
    out
}

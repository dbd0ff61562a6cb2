//! Cross-origin requests as Starlette's middleware answers them with origins `*`, methods POST, headers `*` and no
//! credentials. A preflight is answered before authentication.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, COOKIE, ORIGIN,
    VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

const ANY: HeaderValue = HeaderValue::from_static("*");
const POST: HeaderValue = HeaderValue::from_static("POST");
/// Seconds for which a browser may remember the answer.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// The answer to a preflight; its body is `text/plain; charset=utf-8`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preflight {
    /// 200, or 400 for another method than POST.
    pub status: StatusCode,
    /// Headers, besides type and length.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// For people.
    pub body: &'static str,
}

/// The answer, when the request is a preflight.
#[must_use]
pub fn preflight(method: &Method, headers: &HeaderMap) -> Option<Preflight> {
    if *method != Method::OPTIONS || !headers.contains_key(ORIGIN) {
        return None;
    }
    let wanted = headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
    let mut out = vec![
        (ACCESS_CONTROL_ALLOW_ORIGIN, ANY),
        (ACCESS_CONTROL_ALLOW_METHODS, POST),
        (ACCESS_CONTROL_MAX_AGE, MAX_AGE),
    ];
    if let Some(names) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        out.push((ACCESS_CONTROL_ALLOW_HEADERS, names.clone()));
    }
    let (status, body) = if wanted == "POST" {
        (StatusCode::OK, "OK")
    } else {
        (StatusCode::BAD_REQUEST, "Disallowed CORS method")
    };
    Some(Preflight { status, headers: out, body })
}

/// Headers to add to any other answer: none unless the request names an origin.
#[must_use]
pub fn simple_headers(request: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    match request.get(ORIGIN) {
        None => Vec::new(),
        Some(origin) if request.contains_key(COOKIE) => {
            vec![(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()), (VARY, HeaderValue::from_static("Origin"))]
        }
        Some(_) => vec![(ACCESS_CONTROL_ALLOW_ORIGIN, ANY)],
    }
}

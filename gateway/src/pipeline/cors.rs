//! Which web pages may use the gateway. Without `listeners.http.cors` GitLab's paths answer as GitLab's own gateway did,
//! every origin, and the others none; with it every path answers the origins listed.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::respond::Shape;
use crate::gitlab::{self, Preflight};

type Headers = Vec<(HeaderName, HeaderValue)>;

/// The answer, when the request is a preflight that this path answers.
#[must_use]
pub fn preflight(parts: &Parts, shape: Shape, origins: Option<&[String]>) -> Option<Preflight> {
    let Some(origins) = origins else {
        return (shape == Shape::GitLab).then(|| gitlab::preflight(&parts.method, &parts.headers)).flatten();
    };
    let wanted = parts.headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
    let origin = parts.headers.get(ORIGIN)?;
    if parts.method != Method::OPTIONS {
        return None;
    }
    let refused = |body| Some(Preflight { status: StatusCode::BAD_REQUEST, headers: vary(), body });
    let Some(mut headers) = allowed(origin, origins) else { return refused("Disallowed CORS origin") };
    if wanted != "POST" && wanted != "GET" {
        return refused("Disallowed CORS method");
    }
    headers.push((ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST")));
    headers.push((ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600")));
    if let Some(names) = parts.headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.push((ACCESS_CONTROL_ALLOW_HEADERS, names.clone()));
    }
    Some(Preflight { status: StatusCode::OK, headers, body: "OK" })
}

/// Headers to add to any other answer.
#[must_use]
pub fn headers(parts: &Parts, shape: Shape, origins: Option<&[String]>) -> Headers {
    match (origins, parts.headers.get(ORIGIN)) {
        (Some(origins), Some(origin)) => allowed(origin, origins).unwrap_or_else(vary),
        (None, Some(_)) if shape == Shape::GitLab => gitlab::simple_headers(&parts.headers),
        (None, _) | (_, None) => Vec::new(),
    }
}

fn vary() -> Headers {
    vec![(VARY, HeaderValue::from_static("Origin"))]
}

/// Credentials are never allowed: a token is a header that the page's own script must set.
fn allowed(origin: &HeaderValue, origins: &[String]) -> Option<Headers> {
    let matches = |known: &String| known == "*" || origin.as_bytes().eq_ignore_ascii_case(known.as_bytes());
    origins.iter().any(matches).then(|| {
        let mut headers = vary();
        headers.push((ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()));
        headers
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: Method, origin: &str, wanted: Option<&str>) -> Parts {
        let mut request =
            http::Request::builder().method(method).uri("/v1/completions").header(ORIGIN, origin);
        if let Some(wanted) = wanted {
            request = request.header(ACCESS_CONTROL_REQUEST_METHOD, wanted);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn only_the_origins_listed_are_let_in() {
        let listed = vec!["https://ide.example.com".to_owned()];
        let any = vec!["*".to_owned()];
        for (origins, origin, shape, let_in) in [
            (Some(&listed), "https://ide.example.com", Shape::OpenAi, true),
            (Some(&listed), "https://IDE.example.com", Shape::GitLab, true),
            (Some(&listed), "https://ide.example.com.evil", Shape::GitLab, false),
            (Some(&listed), "http://ide.example.com", Shape::OpenAi, false),
            (Some(&listed), "null", Shape::OpenAi, false),
            (Some(&any), "https://anybody", Shape::OpenAi, true),
            (Some(&Vec::new()), "https://ide.example.com", Shape::GitLab, false),
            (None, "https://anybody", Shape::GitLab, true),
            (None, "https://anybody", Shape::OpenAi, false),
        ] {
            let origins = origins.map(Vec::as_slice);
            let simple = headers(&asked(Method::POST, origin, None), shape, origins);
            let found = simple.iter().any(|(name, _)| *name == ACCESS_CONTROL_ALLOW_ORIGIN);
            assert_eq!(found, let_in, "{origins:?} {origin} {shape:?}");
            let preflight = preflight(&asked(Method::OPTIONS, origin, Some("POST")), shape, origins);
            let answered = preflight.is_some_and(|preflight| preflight.status == StatusCode::OK);
            assert_eq!(answered, let_in, "preflight {origins:?} {origin} {shape:?}");
        }
        let delete = preflight(
            &asked(Method::OPTIONS, "https://ide.example.com", Some("DELETE")),
            Shape::OpenAi,
            Some(&listed),
        );
        assert_eq!(delete.unwrap().status, StatusCode::BAD_REQUEST);
    }
}

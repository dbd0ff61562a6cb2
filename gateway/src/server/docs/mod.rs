//! The API's own documentation on the client listener: `/openapi.json`, made of the table of routes that are served, and
//! two pages that show it, one with a form to try requests. The pages bring all they need, so they work without the
//! internet, and a policy keeps them from loading anything else. They tell nothing of the configuration but the routes.

mod openapi;
mod others;
mod table;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use sha2::{Digest, Sha256};

use crate::config::snapshot::Snapshot;
use crate::series::{HANDLERS, Handler};

const SCRIPT: &str = include_str!("page.js");
const STYLE: &str = include_str!("page.css");

/// Where the pages are; an absent one is switched off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// The page with forms.
    pub docs: Option<String>,
    /// The page to read.
    pub redoc: Option<String>,
    /// The document.
    pub openapi: Option<String>,
}

impl Paths {
    /// The paths, checked: `None` and an empty value switch a page off, and without the document there are no pages, as in
    /// FastAPI.
    pub fn new(given: [(&str, String); 3], faults: &mut Vec<String>) -> Self {
        let [docs, redoc, openapi] = given.map(|(flag, path)| {
            let off = path.is_empty() || path.eq_ignore_ascii_case("none");
            if !off && !path.starts_with('/') {
                faults.push(format!("{flag} {path}: begin with /, or write None to switch it off"));
            }
            if HANDLERS.iter().any(|handler| *handler != Handler::Docs && handler.as_str() == path) {
                faults.push(format!("{flag} {path}: requests are served there; choose another path"));
            }
            (!off).then_some(path)
        });
        match openapi {
            Some(openapi) => Self { docs, redoc, openapi: Some(openapi) },
            None => Self::default(),
        }
    }
}

/// One of the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    Docs,
    Redoc,
    OpenApi,
}

/// The pages.
pub struct Docs {
    paths: Paths,
    policy: Option<HeaderValue>,
}

/// What a page answers.
pub struct Answer {
    /// Its type.
    pub content_type: HeaderValue,
    /// What it may load, for a page.
    pub policy: Option<HeaderValue>,
    /// Its text.
    pub body: Bytes,
}

impl Docs {
    /// Prepares the pages.
    #[must_use]
    pub fn new(paths: Paths) -> Self {
        let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
        let policy = format!(
            "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            hash(SCRIPT),
            hash(STYLE)
        );
        Self { paths, policy: HeaderValue::from_str(&policy).ok() }
    }

    /// Whether a page is at this path.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.page(path).is_some()
    }

    fn page(&self, path: &str) -> Option<Page> {
        let at = |known: &Option<String>| known.as_deref() == Some(path);
        [
            (&self.paths.openapi, Page::OpenApi),
            (&self.paths.docs, Page::Docs),
            (&self.paths.redoc, Page::Redoc),
        ]
        .into_iter()
        .find_map(|(known, page)| at(known).then_some(page))
    }

    /// The page at this path.
    #[must_use]
    pub fn answer(&self, path: &str, snapshot: &Snapshot) -> Option<Answer> {
        let html = |with_form| Answer {
            content_type: HeaderValue::from_static("text/html; charset=utf-8"),
            policy: self.policy.clone(),
            body: html(self.paths.openapi.as_deref().unwrap_or_default(), with_form).into(),
        };
        Some(match self.page(path)? {
            Page::Docs => html(true),
            Page::Redoc => html(false),
            Page::OpenApi => Answer {
                content_type: HeaderValue::from_static("application/json"),
                policy: None,
                body: openapi::document(snapshot).to_string().into(),
            },
        })
    }
}

fn html(openapi: &str, with_form: bool) -> String {
    // The path is the user's own; it stands in an attribute.
    let openapi = openapi.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\n<title>Modelgate API</title>\n<style>{STYLE}</style></head>\n<body data-openapi=\"{openapi}\" data-form=\"{with_form}\">\n<main id=\"main\"><p>Loading…</p></main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(docs: &str, redoc: &str, openapi: &str) -> (Paths, Vec<String>) {
        let mut faults = Vec::new();
        let given =
            [("--docs-url", docs.into()), ("--redoc-url", redoc.into()), ("--openapi-url", openapi.into())];
        (Paths::new(given, &mut faults), faults)
    }

    #[test]
    fn each_page_can_be_switched_off_and_without_the_document_there_is_none() {
        let (given, faults) = paths("None", "/r", "/o");
        assert_eq!(given, Paths { docs: None, redoc: Some("/r".into()), openapi: Some("/o".into()) });
        assert_eq!(faults, Vec::<String>::new());
        assert_eq!(paths("/docs", "/redoc", "none").0, Paths::default());
    }

    #[test]
    fn a_path_that_is_none_or_is_taken_is_refused_by_its_flag() {
        let faults = paths("docs", "/v1/completions", "/o").1;
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(
            faults[0].starts_with("--docs-url docs") && faults[1].starts_with("--redoc-url /v1"),
            "{faults:?}"
        );
    }
}

//! The id that client, log, backend and trace share, and the headers that tell it: all rules in one place.

use http::{HeaderMap, HeaderValue};
use modelgate_api::v1alpha1::Compat;

use crate::gitlab;
use crate::metrics::Outcome;

/// Longest id of a caller that is kept.
const MAX_LENGTH: usize = 128;
const REQUEST_ID: &str = "x-request-id";
/// Tells the truth about a completion that a protocol makes look like a success.
const OUTCOME: &str = "x-modelgate-outcome";

/// A request's ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids {
    /// The one that is used: `X-Request-ID` of answer and backend.
    pub request_id: String,
    /// What the caller sent, where that is another.
    pub client_request_id: Option<String>,
}

/// The ids of a request. A caller's id is kept in whatever form it comes, if it is at most 128 visible ASCII characters
/// without quotes, backslashes and commas; GitLab's correlation ids are. `Strict` keeps version 4 UUIDs alone, as GitLab's
/// gateway of 2023 did, and logs another one beside the id that it made.
#[must_use]
pub fn of(headers: &HeaderMap, compat: Compat) -> Ids {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|id| is_fit(id));
    let request_id = match (given, compat) {
        (Some(id), Compat::Current) => id.to_owned(),
        (given, _) => gitlab::request_id(given),
    };
    let client_request_id = given.filter(|id| *id != request_id).map(str::to_owned);
    Ids { request_id, client_request_id }
}

fn is_fit(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= MAX_LENGTH
        && id.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b',' | b'\''))
}

/// Adds what tells of the request to the headers of its answer. The outcome of an answer that passes is not known yet;
/// log, metrics and usage record tell it.
pub fn add_to(headers: &mut HeaderMap, request_id: &str, outcome: Option<Outcome>) {
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, id);
    }
    if let Some(outcome) = outcome {
        headers.insert(OUTCOME, HeaderValue::from_static(outcome.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(given: &str, compat: Compat) -> Ids {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_bytes(given.as_bytes()).unwrap());
        of(&headers, compat)
    }

    #[test]
    fn a_correlation_id_is_kept_in_whatever_form_it_comes() {
        for id in ["01HCK2YYGQ5B3X4RZP2FMNVQ7A", "3f2504e0-4f89-41d3-9a0c-0305e82c3301", "a", "x/y:z=1"] {
            assert_eq!(ids(id, Compat::Current), Ids { request_id: id.into(), client_request_id: None });
        }
    }

    #[test]
    fn strict_keeps_version_4_uuids_alone_and_still_knows_the_callers() {
        let uuid = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
        assert_eq!(ids(uuid, Compat::Strict).request_id, uuid);
        let ids = ids("01HCK2YYGQ5B3X4RZP2FMNVQ7A", Compat::Strict);
        assert_eq!(ids.request_id.len(), 32);
        assert_eq!(ids.client_request_id.as_deref(), Some("01HCK2YYGQ5B3X4RZP2FMNVQ7A"));
    }

    #[test]
    fn what_could_disturb_a_log_is_no_id() {
        for bad in ["", "a b", "a\"b", "a,b", "a\\n", &"x".repeat(129)] {
            let ids = ids(bad, Compat::Current);
            assert_eq!(ids.request_id.len(), 32, "{bad:?}");
            assert_eq!(ids.client_request_id, None, "{bad:?}");
        }
    }
}

//! A request's head, in the memory it came in, and what of it is told.

use std::time::SystemTime;

use http::header::{HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};

use crate::server::summary::Told;

/// Bytes of a header's value or a path that are kept.
const TEXT_BYTES: usize = 256;

/// The request's head, in the memory it came in.
#[derive(Clone)]
pub(super) struct Head {
    pub(super) time: SystemTime,
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
    pub(super) client_request_id: Option<String>,
    pub(super) gateway: String,
    pub(super) client: std::net::SocketAddr,
}

const INSTANCE_ID: HeaderName = HeaderName::from_static("x-gitlab-instance-id");
const GLOBAL_USER_ID: HeaderName = HeaderName::from_static("x-gitlab-global-user-id");
const REALM: HeaderName = HeaderName::from_static("x-gitlab-realm");
const HOST_NAME: HeaderName = HeaderName::from_static("x-gitlab-host-name");
const GITLAB_VERSION: HeaderName = HeaderName::from_static("x-gitlab-version");
const LANGUAGE_SERVER: HeaderName = HeaderName::from_static("x-gitlab-language-server-version");
/// Headers whose values are logged.
pub(super) const TOLD: [HeaderName; 8] =
    [HOST, USER_AGENT, INSTANCE_ID, GLOBAL_USER_ID, REALM, HOST_NAME, GITLAB_VERSION, LANGUAGE_SERVER];

pub(super) fn told(head: &Head) -> Told {
    // A value that is no visible ASCII is left out: it could disturb a log.
    let text = |name: &HeaderName| {
        head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(bounded)
    };
    Told {
        user_agent: text(&USER_AGENT),
        instance_id: text(&INSTANCE_ID),
        global_user_id: text(&GLOBAL_USER_ID),
        realm: text(&REALM),
        host_name: text(&HOST_NAME),
        gitlab_version: text(&GITLAB_VERSION),
        language_server_version: text(&LANGUAGE_SERVER),
        host: head.uri.authority().map(|authority| bounded(authority.as_str())).or_else(|| text(&HOST)),
    }
}

/// A text of ASCII cut to what is kept.
pub(super) fn bounded(text: &str) -> String {
    text.get(..text.len().min(TEXT_BYTES)).unwrap_or_default().to_owned()
}

pub(super) fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

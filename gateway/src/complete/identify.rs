//! What a request's headers say for the completion core: which editor sent it, and how much time it has.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

use super::CompletionTask;

/// Milliseconds that the caller gives; Envoy's name for the same is understood too.
static DEADLINES: [HeaderName; 2] = [
    HeaderName::from_static("x-modelgate-deadline-ms"),
    HeaderName::from_static("x-envoy-expected-rq-timeout-ms"),
];
/// The user, as GitLab names it.
static USER: HeaderName = HeaderName::from_static("x-gitlab-global-user-id");
/// What tells editors of one user apart. Without the user's or the editor's name no completion replaces another.
static EDITOR: HeaderName = HeaderName::from_static("x-modelgate-editor");
static EDITORS: [HeaderName; 4] = [
    HeaderName::from_static("x-gitlab-global-user-id"),
    HeaderName::from_static("x-modelgate-editor"),
    HeaderName::from_static("x-gitlab-client-type"),
    HeaderName::from_static("x-gitlab-client-name"),
];
/// Longest value that counts.
const BYTES: usize = 256;

/// Fills in which editor asks and until when.
pub fn identify(task: &mut CompletionTask, headers: &HeaderMap) {
    let text = |name: &HeaderName| {
        let value = headers.get(name)?.to_str().ok()?.trim();
        (!value.is_empty() && value.len() <= BYTES).then_some(value)
    };
    if text(&USER).is_some() || text(&EDITOR).is_some() {
        let said: Vec<&str> = EDITORS.iter().map(|name| text(name).unwrap_or_default()).collect();
        task.editor = said.join("\n");
    }
    let given = DEADLINES.iter().filter_map(|name| text(name)?.parse::<u64>().ok());
    task.deadline = given.min().map(Duration::from_millis);
}

//! Tabby's protocol, as tabby-agent and the editors' extensions speak it. Its `/v1/completions` has OpenAI's path and a body
//! of its own, by which it is told.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use super::Asked;
use super::body::{self, BadBody};
use crate::complete::{Completed, CompletionTask, ContextItem, Project, SourceDocument};
use crate::gitlab::Telemetry;

/// Pieces of other files that are looked at.
const MOST_CONTEXT: usize = 100;
/// Version of Tabby whose interface this is; its clients leave out what an older one has not.
const SPOKEN: &str = concat!("v0.21.0-modelgate-", env!("CARGO_PKG_VERSION"));
/// Stands between the parts of a completion's id.
const BETWEEN: char = ';';
/// Engine of the model, as GitLab's answers name it.
const ENGINE: &str = "modelgate";

#[derive(Deserialize)]
struct Body {
    language: Option<String>,
    segments: Option<Segments>,
    user: Option<String>,
    temperature: Option<f64>,
}

#[derive(Deserialize)]
struct Segments {
    prefix: String,
    suffix: Option<String>,
    filepath: Option<String>,
    git_url: Option<String>,
    declarations: Option<Vec<Snippet>>,
    relevant_snippets_from_changed_files: Option<Vec<Snippet>>,
    relevant_snippets_from_recently_opened_files: Option<Vec<Snippet>>,
}

#[derive(Deserialize)]
struct Snippet {
    filepath: String,
    body: String,
}

/// Whether a body of `/v1/completions` is Tabby's: it has `segments`, or a `language` and no `prompt`.
#[must_use]
pub fn is_own(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Members {
        segments: Option<IgnoredAny>,
        language: Option<IgnoredAny>,
        prompt: Option<IgnoredAny>,
    }
    // Most bodies are OpenAI's, and are read once.
    if memchr::memmem::find(bytes, b"\"segments\"").or(memchr::memmem::find(bytes, b"\"language\"")).is_none()
    {
        return false;
    }
    let members = serde_json::from_slice::<Members>(bytes);
    members.is_ok_and(|members| {
        members.segments.is_some() || members.language.is_some() && members.prompt.is_none()
    })
}

/// Reads a request.
///
/// # Errors
/// [`BadBody`].
pub fn parse(bytes: &[u8]) -> Result<Asked, BadBody> {
    let body: Body = body::read(bytes)?;
    let segments = body.segments.ok_or_else(|| BadBody::new("\"segments\" is missing"))?;
    let snippets = [
        segments.declarations,
        segments.relevant_snippets_from_changed_files,
        segments.relevant_snippets_from_recently_opened_files,
    ];
    let context = snippets.into_iter().flatten().flatten().take(MOST_CONTEXT);
    let project = segments.git_url.as_deref().and_then(project);
    let task = CompletionTask {
        document: SourceDocument {
            file_name: segments.filepath.unwrap_or_default(),
            language_identifier: body.language,
            prefix: segments.prefix,
            suffix: segments.suffix.unwrap_or_default(),
        },
        context: context
            .map(|snippet| ContextItem { name: snippet.filepath, content: snippet.body, snippet: true })
            .collect(),
        temperature: body::temperature(body.temperature)?,
        project: project.map(|path| Project { id: None, path: Some(path) }),
        ..CompletionTask::default()
    };
    Ok(Asked { task, stream: false, user: body.user, fields: None })
}

/// The project's path of a repository's address: `git@host:group/name.git`, `https://host/group/name.git`.
fn project(url: &str) -> Option<String> {
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.split_once('/')?.1,
        None => url.split_once(':')?.1,
    };
    let path = path.trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    (!path.is_empty()).then(|| path.to_owned())
}

/// The answer; nothing to offer is one empty text, as in the original. The id carries what events about it are counted by.
#[must_use]
pub fn render(completed: &Completed, request_id: &str, language: Option<&str>) -> String {
    let text = completed.choices.first().map_or("", |choice| choice.text.as_str());
    let language = language.unwrap_or_default();
    let id = format!("cmpl-{request_id}{BETWEEN}{language}{BETWEEN}{}", completed.model);
    json!({"id": id, "choices": [{"index": 0, "text": text}]}).to_string()
}

/// Reads an event about a completion: it was shown, taken or put aside.
///
/// # Errors
/// [`BadBody`].
pub fn parse_event(bytes: &[u8]) -> Result<Telemetry, BadBody> {
    #[derive(Deserialize)]
    struct Event {
        #[serde(rename = "type")]
        kind: String,
        #[serde(default)]
        completion_id: String,
    }
    let event: Event = body::read(bytes)?;
    let mut parts = event.completion_id.splitn(3, BETWEEN).skip(1);
    let mut part = || parts.next().filter(|part| !part.is_empty()).map(str::to_owned);
    let (lang, model_name) = (part(), part());
    let (requests, accepts) = match event.kind.as_str() {
        "view" => (1, 0),
        "select" => (0, 1),
        "dismiss" => (0, 0),
        _ => return Err(BadBody::new("\"type\" must be view, select or dismiss")),
    };
    let model_engine = Some(ENGINE.to_owned());
    Ok(Telemetry { model_engine, model_name, lang, requests, accepts, ..Telemetry::default() })
}

/// `/v1/health`: clients look for the model and the version. The machine is no business of theirs.
#[must_use]
pub fn health(model: &str) -> String {
    json!({
        "model": model,
        "chat_model": null,
        "device": "remote",
        "arch": "",
        "cpu_info": "",
        "cpu_count": 0,
        "cuda_devices": [],
        "version": {"build_date": "", "build_timestamp": "", "git_sha": "", "git_describe": SPOKEN},
    })
    .to_string()
}

/// `/v1beta/server_setting`: clients are asked not to send their own telemetry to Tabby's makers.
pub const SERVER_SETTING: &str = r#"{"disable_client_side_telemetry":true}"#;

/// An error as the original tells it: its clients look at the status, people at the sentence.
#[must_use]
pub fn error_body(message: &str) -> String {
    format!("{message}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_told_from_openais() {
        for (body, is_tabbys) in [
            (r#"{"language":"python","segments":{"prefix":"a"}}"#, true),
            (r#"{"segments":{"prefix":"a"}}"#, true),
            (r#"{"language":"python"}"#, true),
            (r#"{"language":"python","prompt":"x","model":"m"}"#, false),
            (r#"{"model":"m","prompt":"\"segments\" of a language"}"#, false),
            (r#"{"model":"m","prompt":"x"}"#, false),
            (r#"{"model":"m","segments":null,"prompt":"x"}"#, false),
            ("[\"segments\"]", false),
            ("\"segments\"", false),
        ] {
            assert_eq!(is_own(body.as_bytes()), is_tabbys, "{body}");
        }
    }

    #[test]
    fn a_repositorys_address_names_its_project() {
        for (url, path) in [
            ("git@gitlab.example.com:group/sub/name.git", Some("group/sub/name")),
            ("https://gitlab.example.com/group/name.git", Some("group/name")),
            ("ssh://git@gitlab.example.com:22/group/name/", Some("group/name")),
            ("https://gitlab.example.com/", None),
            ("nonsense", None),
        ] {
            assert_eq!(project(url).as_deref(), path, "{url}");
        }
    }

    #[test]
    fn an_event_is_counted_by_what_the_completions_id_says() {
        let event = |kind: &str, id: &str| {
            parse_event(json!({"type": kind, "completion_id": id, "choice_index": 0}).to_string().as_bytes())
        };
        let told = event("select", "cmpl-1;python;qwen;2.5").unwrap();
        assert_eq!((told.requests, told.accepts), (0, 1));
        assert_eq!((told.lang.as_deref(), told.model_name.as_deref()), (Some("python"), Some("qwen;2.5")));
        let told = event("view", "from-elsewhere").unwrap();
        assert_eq!((told.requests, told.lang, told.model_name), (1, None, None));
        assert!(event("stare", "x").is_err());
    }
}

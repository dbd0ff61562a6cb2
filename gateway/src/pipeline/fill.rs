//! The routes of protocols that fill in at the cursor, beside GitLab's: what their bodies ask for, carried to the completion
//! core and back. The forms themselves are `crate::protocol`'s and pure.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use hyper::body::Incoming;
use modelgate_completion::language::detect;

use super::respond::{self, JSON, Reply, ReplyBody, Shape};
use super::{parse, prompt, route};
use crate::app::Gateway;
use crate::caller::tenant;
use crate::complete::{
    self, Completed, CompletionTask, DEFAULT_WINDOW, Ending, SourceDocument, Telling, Words,
};
use crate::config::snapshot::{Route, Snapshot};
use crate::error::GatewayError;
use crate::gitlab;
use crate::limits;
use crate::metrics::Outcome;
use crate::protocol::{Asked, BadBody, Told, llama_cpp, mistral, tabby};
use crate::routing::matcher::Facts;
use crate::series::Handler;
use crate::server::facts::Phase;
use crate::server::record::Record;

const STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Whether a path is answered here.
#[must_use]
pub fn is_here(handler: Handler) -> bool {
    matches!(
        handler,
        Handler::MistralFim
            | Handler::Infill
            | Handler::LlamaHealth
            | Handler::LlamaProps
            | Handler::TabbyCompletions
            | Handler::TabbyHealth
            | Handler::TabbySetting
            | Handler::TabbyEvents
    )
}

/// Answers a request of one of these protocols.
///
/// # Errors
/// Every way in which it can fail.
pub async fn answer(
    gateway: &Arc<Gateway>,
    snapshot: &Arc<Snapshot>,
    parts: &Parts,
    body: Incoming,
    record: &mut Record,
) -> Result<Reply, GatewayError> {
    parse::check_method(record.handler, parts)?;
    match record.handler {
        Handler::LlamaProps => {
            let (model, context) = default_model(snapshot, parts, "/infill")?;
            record.set_outcome(Outcome::Success);
            Ok(respond::whole(StatusCode::OK, JSON, llama_cpp::props(&model, context)))
        }
        Handler::TabbyHealth => {
            let (model, _) = default_model(snapshot, parts, "/v1/completions")?;
            record.set_outcome(Outcome::Success);
            Ok(respond::whole(StatusCode::OK, JSON, tabby::health(&model)))
        }
        Handler::TabbySetting => {
            record.set_outcome(Outcome::Success);
            Ok(respond::whole(StatusCode::OK, JSON, tabby::SERVER_SETTING))
        }
        Handler::TabbyEvents => {
            let body = parse::read(parts, body, limits::EVENT_BODY_BYTES).await?;
            let told = tabby::parse_event(&body).map_err(bad)?;
            gateway.metrics.suggestions.count(&told, |name| serves_model(snapshot, name));
            record.set_outcome(Outcome::Success);
            Ok(Reply {
                status: StatusCode::NO_CONTENT,
                headers: HeaderMap::new(),
                body: ReplyBody::Whole(Bytes::new()),
            })
        }
        _ => {
            let body = parse::read(parts, body, limits::FILL_BODY_BYTES).await?;
            complete(gateway, snapshot, parts, &body, record).await
        }
    }
}

/// Completes what a body asks for.
///
/// # Errors
/// Every way in which it can fail.
pub async fn complete(
    gateway: &Arc<Gateway>,
    snapshot: &Arc<Snapshot>,
    parts: &Parts,
    body: &[u8],
    record: &mut Record,
) -> Result<Reply, GatewayError> {
    let asked = match record.handler {
        Handler::MistralFim => mistral::parse(body),
        Handler::Infill => llama_cpp::parse(body),
        _ => tabby::parse(body),
    };
    let Asked { mut task, stream, user, fields } = asked.map_err(bad)?;
    record.note_phase(Phase::Read);
    record.note_stream(stream);
    let mut told = Told {
        id: record.request_id.clone(),
        created: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs()),
        model: task.model.clone().unwrap_or_default(),
        fields,
    };
    let language = language(&task.document);
    let completed = if task.max_tokens == Some(0) {
        // A client that only wants its context to be known to the model: there is nothing to answer.
        record.clear_operation();
        record.set_outcome(Outcome::Success);
        Completed::nothing(Outcome::Success)
    } else {
        let project = task.project.as_ref().and_then(|project| project.path.as_deref());
        let caller = record.caller().filter(|caller| !caller.subject.is_empty());
        let facts = Facts {
            path: parts.uri.path(),
            model: task.model.as_deref(),
            language,
            project_id: None,
            project_path: project,
            caller: caller.map(|caller| caller.tenant.as_str()),
            headers: &parts.headers,
        };
        let route = route::find(snapshot, &facts)?;
        task.unavailable = complete::unavailable_elsewhere(snapshot);
        task.headers = prompt::traced(parts, &record.request_id);
        speak_for(&mut task, user.unwrap_or_default(), record);
        complete::identify(&mut task, &parts.headers);
        if stream {
            let words = words(record.handler, told);
            let told = complete::stream(gateway, snapshot, &route, task, words, record).await?;
            return Ok(events(ReplyBody::Telling(Box::new(told))));
        }
        complete::run(gateway, snapshot, &route, task, record).await?
    };
    if !completed.model.is_empty() {
        told.model.clone_from(&completed.model);
    }
    let body = match record.handler {
        Handler::MistralFim => mistral::render(&completed, &told),
        Handler::Infill if stream => {
            let end = Ending { usage: completed.usage, ..Ending::default() };
            return Ok(events(ReplyBody::Whole(llama_cpp::end(&end, false, &told).into())));
        }
        Handler::Infill => llama_cpp::render(&completed, &told),
        _ => tabby::render(&completed, &told.id, language),
    };
    Ok(respond::whole(StatusCode::OK, JSON, body))
}
/// Says whose request it is. A key may stand for many users, and nothing of one is shown to another.
fn speak_for(task: &mut CompletionTask, user: String, record: &Record) {
    let Some(caller) = record.caller() else { return };
    task.tenant = if user.is_empty() { caller.tenant.clone() } else { tenant(&caller.tenant, &user) };
    task.subject = if user.is_empty() { caller.subject.clone() } else { user };
}

/// The language by GitLab's names: by the file's name, else by what the editor calls it.
fn language(document: &SourceDocument) -> Option<&'static str> {
    let named = || {
        let language = detect("", document.language_identifier.as_deref(), "")?;
        language.extensions().find_map(|extension| gitlab::language(&format!("a.{extension}")))
    };
    gitlab::language(&document.file_name).or_else(named)
}

/// How a stream of this protocol is told. One that breaks off ends with an event that says so.
fn words(handler: Handler, mut told: Told) -> Words {
    let is_mistral = handler == Handler::MistralFim;
    let mut has_line = false;
    Box::new(move |telling| {
        Some(match telling {
            Telling::Begin(head) => {
                if !head.model.is_empty() {
                    told.model.clone_from(&head.model);
                }
                String::new()
            }
            // A stream holds one answer.
            Telling::Piece { index, .. } if index > 0 => String::new(),
            Telling::Piece { text, .. } => {
                has_line |= text.contains('\n');
                if is_mistral { mistral::piece(text, &told) } else { llama_cpp::piece(text) }
            }
            Telling::End(ending) if is_mistral => mistral::end(ending, &told),
            Telling::End(ending) => llama_cpp::end(ending, has_line, &told),
        })
    })
}

fn events(body: ReplyBody) -> Reply {
    let mut headers = HeaderMap::from_iter([
        (header::CONTENT_TYPE, STREAM),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ]);
    // Proxies in between must not gather events.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Reply { status: StatusCode::OK, headers, body }
}

fn bad(why: BadBody) -> GatewayError {
    GatewayError::BadRequest(why.0)
}

/// The model that a request on `path` gets when it names none, and tokens of its context.
fn default_model(snapshot: &Snapshot, parts: &Parts, path: &str) -> Result<(String, u32), GatewayError> {
    let facts = Facts {
        path,
        model: None,
        language: None,
        project_id: None,
        project_path: None,
        caller: None,
        headers: &parts.headers,
    };
    let route: Arc<Route> = route::find(snapshot, &facts)?;
    let backend = route.backends.first().map(|(backend, _)| &backend.config);
    let context = backend.and_then(|config| config.context_length).unwrap_or(DEFAULT_WINDOW);
    Ok((backend.map(|config| config.model.clone()).unwrap_or_default(), context))
}

/// Whether a backend has a model of this name.
#[must_use]
pub fn serves_model(snapshot: &Snapshot, name: &str) -> bool {
    let mut configs = snapshot.backends.values().map(|backend| &backend.config);
    configs.any(|config| config.model == name || config.aliases.iter().any(|alias| alias == name))
}

/// Whether a route serves, as llama.cpp's clients ask it.
#[must_use]
pub fn health(parts: &Parts, is_serving: bool) -> Option<Reply> {
    if parts.method != Method::GET {
        return None;
    }
    let (status, body) = llama_cpp::health(is_serving);
    Some(respond::whole(status, JSON, body))
}

/// An error in the words of one of these protocols.
#[must_use]
pub fn refuse(shape: Shape, status: StatusCode, message: &str, code: &str) -> Reply {
    match shape {
        Shape::LlamaCpp => respond::whole(status, JSON, llama_cpp::error_body(status, message)),
        Shape::Tabby => respond::whole(status, TEXT, tabby::error_body(message)),
        _ => respond::whole(status, JSON, mistral::error_body(status, message, code)),
    }
}

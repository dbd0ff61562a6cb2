//! GitLab's routes: what their bodies ask for, carried to a model and back. The contract itself, bodies and words, is
//! `crate::gitlab`'s and pure.

mod stream;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use hyper::body::Incoming;
use modelgate_api::contract::Target;
use modelgate_api::v1alpha1::{Compat, EmptyChoice, ExternalProtocol};
use serde_json::json;

use super::respond::{self, JSON, Reply};
use super::{fill, parse, prompt, route};
use crate::app::Gateway;
use crate::caller::tenant;
use crate::complete::{self, Completed};
use crate::config::snapshot::{Route, Snapshot};
use crate::error::GatewayError;
use crate::gitlab::{self, Answer, Choice, CodeRequest, Form, Kind, Rejection, Unit};
use crate::limits;
use crate::metrics::Outcome;
use crate::routing::matcher::Facts;
use crate::series::Handler;
use crate::server::facts::Phase;
use crate::server::record::Record;

/// Engine of the model in GitLab's answers.
const ENGINE: &str = "modelgate";
/// Where the engine's name is that of 2023.
const VERTEX_ENGINE: &str = "vertex-ai";
const FAKE_ENGINE: &str = "fake-palm-engine";
const USER: &str = "x-gitlab-global-user-id";
const FLAGS: &str = "x-gitlab-enabled-feature-flags";
/// Feature flags that are said back, and code points of each.
const MAX_FLAGS: usize = 32;
const MAX_FLAG: usize = 128;

/// Holds the caller to its scopes. The gateway of 2023 knew none.
fn entitle(snapshot: &Snapshot, record: &Record, unit: Unit) -> Result<(), GatewayError> {
    match record.caller() {
        Some(caller) if snapshot.config.compat == Compat::Current => gitlab::entitle(caller, unit),
        _ => Ok(()),
    }
}

/// `POST /v1/code/user_access_token`: a token for one user's direct access.
///
/// # Errors
/// 404 without a key to sign with, 403 for a caller that may not have one.
pub fn token(snapshot: &Snapshot, parts: &Parts, record: &mut Record) -> Result<Reply, GatewayError> {
    let direct = snapshot.direct_access.as_ref().ok_or(GatewayError::NotFound)?;
    parse::check_method(record.handler, parts)?;
    let caller = record.caller().ok_or(GatewayError::Internal)?;
    gitlab::entitle(caller, Unit::IssueToken)?;
    let issued = direct.issue(caller, &parts.headers).ok_or(GatewayError::Internal)?;
    let body = serde_json::to_vec(&issued).map_err(|_| GatewayError::Internal)?;
    record.set_outcome(Outcome::Success);
    Ok(respond::whole(StatusCode::OK, JSON, body))
}

/// `GET /v1/models/definitions`: the models that a GitLab may choose from.
///
/// # Errors
/// [`GatewayError::MethodNotAllowed`].
pub fn definitions(snapshot: &Snapshot, parts: &Parts, record: &mut Record) -> Result<Reply, GatewayError> {
    parse::check_method(record.handler, parts)?;
    record.set_outcome(Outcome::Success);
    let mut names: Vec<&str> = Vec::new();
    for model in
        snapshot.routes.iter().flat_map(|route| route.matcher.models()).filter(|model| !model.ends_with('*'))
    {
        if !names.contains(&model.as_str()) {
            names.push(model);
        }
    }
    let feature = |setting: &str, unit: &str| {
        json!({
            "feature_setting": setting,
            "default_model": names.first(),
            "selectable_models": names,
            "beta_models": [],
            "unit_primitives": [unit],
        })
    };
    let body = json!({
        "models": names.iter().map(|name| json!({"name": name, "identifier": name})).collect::<Vec<_>>(),
        "unit_primitives": [
            feature("code_completions", "complete_code"),
            feature("code_generations", "generate_code"),
        ],
    });
    Ok(respond::whole(StatusCode::OK, JSON, body.to_string()))
}

/// A request for code on any of GitLab's routes.
///
/// # Errors
/// Every way in which it can fail that the contract shows.
pub async fn code(
    gateway: &Arc<Gateway>,
    snapshot: &Arc<Snapshot>,
    parts: &Parts,
    body: Incoming,
    record: &mut Record,
) -> Result<Reply, GatewayError> {
    parse::check_method(record.handler, parts)?;
    let body = parse::read(parts, body, limits::GITLAB_BODY_BYTES).await?;
    let request = read(record.handler, snapshot.config.compat, &parts.headers, &body)?;
    drop(body);
    record.note_phase(Phase::Read);
    record.note_stream(request.stream);
    entitle(snapshot, record, unit(record.handler, request.kind))?;
    count(gateway, snapshot, &parts.headers, &request);
    let models = request.models.clone();
    let (form, kind, stream) = (form(record.handler), request.kind, request.stream);
    let id = request.id.clone();
    let mut task = request.into_task();
    // Its fixed models have limits of their own, and every request says how much of them it wants.
    task.generation |= record.handler == Handler::GitlabExperimental;
    let project = task.project.as_ref();
    let facts = Facts {
        path: parts.uri.path(),
        model: None,
        language: gitlab::language(&task.document.file_name),
        project_id: project.and_then(|project| project.id.as_deref()),
        project_path: project.and_then(|project| project.path.as_deref()),
        caller: None,
        headers: &parts.headers,
    };
    let route = route_of(snapshot, record.handler, &models, &facts)?;
    task.model = route.1;
    task.unavailable = complete::unavailable_for_gitlab(snapshot);
    task.headers = prompt::traced(parts, &record.request_id);
    speak_for(&mut task, record, &parts.headers);
    let flags = flags(&parts.headers);
    if stream {
        // Only `Current` knows streams.
        let words = stream::words(snapshot, form, kind, &flags);
        let told = complete::stream(gateway, snapshot, &route.0, task, words, record).await?;
        return Ok(stream::reply(told, form));
    }
    let completed = complete::run(gateway, snapshot, &route.0, task, record).await;
    let mut completed = completed.map_err(|error| shown(error, kind, snapshot.config.compat))?;
    if kind == Kind::Generation {
        if completed.is_swallowed() && snapshot.config.compat == Compat::Strict {
            // Where its completions were empty, its generations failed.
            return Err(GatewayError::UpstreamBroken);
        }
        for choice in &mut completed.choices {
            choice.text = gitlab::unfenced(&choice.text);
        }
    }
    Ok(reply(snapshot, &completed, record, &Asked { form, id: id.as_deref(), flags: &flags }))
}

fn read(
    handler: Handler,
    compat: Compat,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<CodeRequest, GatewayError> {
    // A type that is no text matches none.
    let kind = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"));
    let read = match handler {
        Handler::GitlabGenerations => gitlab::parse_generation(compat, kind, body),
        Handler::GitlabExperimental => gitlab::parse_experimental(compat, kind, body),
        Handler::GitlabComponents | Handler::GitlabSuggestions => gitlab::parse_components(kind, body),
        _ => gitlab::parse_completion(compat, kind, body),
    };
    read.map_err(|Rejection { status, body }| GatewayError::Rejected {
        status: StatusCode::from_u16(status).unwrap_or(StatusCode::UNPROCESSABLE_ENTITY),
        body: body.into(),
    })
}

fn form(handler: Handler) -> Form {
    match handler {
        Handler::GitlabExperimental => Form::Experimental,
        Handler::GitlabComponents => Form::Components,
        Handler::GitlabSuggestions => Form::Suggestions,
        _ => Form::Text,
    }
}

fn unit(handler: Handler, kind: Kind) -> Unit {
    match (handler, kind) {
        (Handler::GitlabSuggestions, _) => Unit::Suggest,
        (_, Kind::Generation) => Unit::Generate,
        (_, Kind::Completion) => Unit::Complete,
    }
}

/// Counts what the client tells about earlier suggestions.
fn count(gateway: &Gateway, snapshot: &Snapshot, headers: &HeaderMap, request: &CodeRequest) {
    let served = |name: &str| fill::serves_model(snapshot, name);
    let of_headers = gitlab::telemetry_of_headers(headers);
    for told in request.telemetry.iter().chain(&of_headers) {
        gateway.metrics.suggestions.count(told, served);
    }
}

/// The route of the first model named that is served, with that name; else the first route that takes the request. GitLab names models of its own
/// (`codestral`, `custom_openai/…`) also where the gateway is meant to choose.
fn route_of(
    snapshot: &Snapshot,
    handler: Handler,
    names: &[String],
    facts: &Facts<'_>,
) -> Result<(Arc<Route>, Option<String>), GatewayError> {
    let of_model = |name: &str| route::find(snapshot, &Facts { model: Some(name), ..*facts });
    for name in names {
        // LiteLLM's spelling puts a provider before the name.
        let plain = name.split_once('/').map(|(_, plain)| plain);
        for name in std::iter::once(name.as_str()).chain(plain) {
            if let Ok(route) = of_model(name) {
                return Ok((route, Some(name.to_owned())));
            }
        }
    }
    match names.first() {
        Some(name) if handler == Handler::GitlabExperimental => of_model(name).map(|route| (route, None)),
        _ => Ok((route::find(snapshot, facts)?, None)),
    }
}

/// Says whose request it is. The token of an instance speaks for all its users, so nothing of one is shown to another.
fn speak_for(task: &mut complete::CompletionTask, record: &Record, headers: &HeaderMap) {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let user = text(USER);
    if let Some(caller) = record.caller() {
        task.tenant = if user.is_empty() { caller.tenant.clone() } else { tenant(&caller.tenant, user) };
        task.subject = if user.is_empty() { caller.subject.clone() } else { user.to_owned() };
    }
    complete::identify(task, headers);
}

/// An error as the contract shows it: the gateway of 2023 failed in a generation whatever its model answered.
fn shown(error: GatewayError, kind: Kind, compat: Compat) -> GatewayError {
    match error {
        GatewayError::UpstreamStatus { .. } if kind == Kind::Generation && compat == Compat::Strict => {
            GatewayError::UpstreamBroken
        }
        other => other,
    }
}

struct Asked<'a> {
    form: Form,
    id: Option<&'a str>,
    flags: &'a [&'a str],
}

fn reply(snapshot: &Snapshot, completed: &Completed, record: &Record, asked: &Asked<'_>) -> Reply {
    let compat = snapshot.config.compat;
    let choices = completed.choices.iter();
    let choices: Vec<_> =
        choices.map(|choice| Choice { text: &choice.text, finish_reason: choice.finish.as_str() }).collect();
    let experiments = completed.experiments.iter();
    let experiments: Vec<_> = experiments.map(|(name, variant)| (name.as_str(), *variant)).collect();
    let one_empty = match snapshot.config.completion.empty_choice {
        Some(wanted) => wanted == EmptyChoice::OneEmpty,
        None => compat == Compat::Strict,
    };
    let answer = Answer {
        id: asked.id.unwrap_or(&record.request_id),
        engine: engine(snapshot, &completed.backend),
        name: &completed.model,
        lang: completed.language.filter(|_| !(completed.is_swallowed() && compat == Compat::Strict)),
        experiments: &experiments,
        created: now(),
        choices: &choices,
        one_empty,
        region: region(snapshot, &completed.backend),
        tokens: completed.usage.map(|usage| (usage.prompt_tokens, usage.completion_tokens)),
        flags: asked.flags,
    };
    respond::whole(StatusCode::OK, JSON, gitlab::render_answer(&answer, asked.form, compat))
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

/// The empty answer for a request that was turned away before the core was asked, where editors are not shown errors.
pub fn swallowed(snapshot: &Snapshot, error: &GatewayError, record: &mut Record) -> Option<Reply> {
    let is_code = record.handler.is_gitlab_code() && record.handler != Handler::GitlabExperimental;
    let empty = complete::unavailable_for_gitlab(snapshot) == complete::Unavailable::Empty;
    if !(is_code && empty && error.is_unavailability()) {
        return None;
    }
    record.set_outcome(error.outcome());
    record.reason = Some(error.reason());
    let asked = Asked { form: form(record.handler), id: None, flags: &[] };
    Some(reply(snapshot, &Completed::nothing(error.outcome()), record, &asked))
}

/// The engine's name, by which clients of 2023 tell what became of a suggestion.
fn engine(snapshot: &Snapshot, backend: &str) -> &'static str {
    let target = snapshot.config.backends.get(backend).map(|config| &config.target);
    match (snapshot.config.compat, target) {
        (Compat::Strict, Some(Target::Fake { .. })) => FAKE_ENGINE,
        (Compat::Strict, Some(Target::External { protocol: ExternalProtocol::VertexAI, .. })) => {
            VERTEX_ENGINE
        }
        _ => ENGINE,
    }
}

/// Where the model's server is, as far as it is known: Vertex AI's location.
fn region<'a>(snapshot: &'a Snapshot, backend: &str) -> Option<&'a str> {
    match &snapshot.config.backends.get(backend)?.target {
        Target::External { vertex: Some(place), .. } => Some(&place.location),
        _ => None,
    }
}

/// Feature flags that GitLab says are enabled, separated by commas.
fn flags(headers: &HeaderMap) -> Vec<&str> {
    let given = headers.get(FLAGS).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let flags = given.split(',').map(str::trim);
    flags.filter(|flag| !flag.is_empty() && flag.len() <= MAX_FLAG).take(MAX_FLAGS).collect()
}

//! One request from its head to its answer. The file order is the data flow:
//! auth → parse → route → admit → prompt → dispatch (the only network I/O) → postprocess → respond.

pub mod admit;
pub mod attempt;
pub mod auth;
pub mod body;
pub mod boundary;
pub mod cors;
pub mod dispatch;
pub mod fill;
pub mod gitlab;
pub mod parse;
pub mod paths;
pub mod postprocess;
pub mod prompt;
pub mod relay;
pub mod respond;
pub mod resume;
pub mod route;
pub mod shadow;
pub mod translate;

use std::sync::Arc;

use http::request::Parts;
use hyper::body::Incoming;

use crate::app::Gateway;
use crate::config::snapshot::Snapshot;
use crate::error::GatewayError;
use crate::routing::matcher::Facts;
use crate::series::Handler;
use crate::server::facts::Phase;
use crate::server::record::Record;
use parse::Call;
use respond::Reply;

/// Names the project of a request of OpenAI's protocol.
const PROJECT: &str = "openai-project";

/// Answers a request or says why not.
///
/// # Errors
/// Every way in which a request can fail; `respond::refuse` turns it into an answer.
pub async fn handle(
    gateway: &Arc<Gateway>,
    snapshot: &Arc<Snapshot>,
    parts: &Parts,
    body: Incoming,
    record: &mut Record,
) -> Result<Reply, GatewayError> {
    if let Some(reply) = respond::without_auth(gateway, snapshot, parts, record) {
        return Ok(reply);
    }
    let caller = auth::check(snapshot, parts, record.handler).await;
    record.note_phase(Phase::Auth);
    record.set_caller(caller?);
    if let Some(route) = relay::route_of(snapshot, parts, record) {
        return relay::hand_on(snapshot, &route, parts, body, record).await;
    }
    match record.handler {
        Handler::GitlabToken => return gitlab::token(snapshot, parts, record),
        Handler::GitlabModels => return gitlab::definitions(snapshot, parts, record),
        handler if handler.is_gitlab_code() => {
            return gitlab::code(gateway, snapshot, parts, body, record).await;
        }
        handler if fill::is_here(handler) => {
            return fill::answer(gateway, snapshot, parts, body, record).await;
        }
        _ => {}
    }
    let call = parse::call(snapshot, record.handler, parts, body).await;
    record.note_phase(Phase::Read);
    match call? {
        Call::Models => Ok(respond::models(snapshot, record)),
        Call::Model(name) => respond::model(snapshot, &name, record),
        Call::Tabby(body) => {
            record.handler = Handler::TabbyCompletions;
            record.set_operation_of_handler();
            fill::complete(gateway, snapshot, parts, &body, record).await
        }
        Call::OpenAi(request) => {
            let caller = record.caller().filter(|caller| !caller.subject.is_empty());
            let facts = Facts {
                path: parts.uri.path(),
                model: Some(&request.head.model),
                language: None,
                project_id: None,
                project_path: None,
                caller: caller.map(|caller| caller.tenant.as_str()),
                headers: &parts.headers,
            };
            let route = route::find(snapshot, &facts)?;
            record.note_route(&route.name, Some(&request.head.model));
            record.note_stream(request.head.stream);
            record.note_request_bytes(request.body.len());
            record.note_phase(Phase::Route);
            let project =
                parts.headers.get(PROJECT).and_then(|value| value.to_str().ok()).unwrap_or_default();
            let admitted = admit::pass_through(snapshot, &route, &request, project, record).await;
            record.note_phase(Phase::Queue);
            admitted?;
            let rendered = prompt::pass_through(request, parts, &record.request_id);
            let upstream = dispatch::send(&route, &rendered, record).await?;
            Ok(respond::pass_through(upstream, &route, rendered, record))
        }
    }
}

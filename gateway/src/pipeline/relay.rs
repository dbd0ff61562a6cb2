//! What this gateway does not serve itself, handed byte for byte to another GitLab AI gateway: chat, prompts, agents. A
//! route says by its paths which requests those are.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::attempt::Upstream;
use super::body::UpstreamBody;
use super::respond::{Reply, ReplyBody};
use super::route::{self, Roles, Target};
use super::{admit, dispatch, parse};
use crate::backend::endpoint::Load;
use crate::backend::{Permit, relay};
use crate::caller::Proof;
use crate::config::snapshot::{Route, Snapshot};
use crate::error::{Again, GatewayError};
use crate::limits;
use crate::metrics::Outcome;
use crate::routing::matcher::Facts;
use crate::server::body::Passing;
use crate::server::facts::Phase;
use crate::server::record::Record;

impl Route {
    /// Whether it hands requests on to another GitLab AI gateway.
    #[must_use]
    pub fn hands_on(&self) -> bool {
        self.matcher.models().is_empty()
    }
}

/// The route that hands this request on, if there is one.
#[must_use]
pub fn route_of(snapshot: &Snapshot, parts: &Parts, record: &Record) -> Option<Arc<Route>> {
    let caller = record.caller().filter(|caller| !caller.subject.is_empty());
    let facts = Facts {
        path: parts.uri.path(),
        model: None,
        language: None,
        project_id: None,
        project_path: None,
        caller: caller.map(|caller| caller.tenant.as_str()),
        headers: &parts.headers,
    };
    let mut handing_on = snapshot.routes.iter().filter(|route| route.hands_on());
    handing_on.find(|route| route.matcher.takes_but_for_model(&facts)).cloned()
}

/// Hands the request on. Nothing of body or answer is read or changed; an answer that says that something is wrong is the
/// other gateway's to tell.
///
/// # Errors
/// When the caller may not, or none can be reached.
pub async fn hand_on(
    snapshot: &Snapshot,
    route: &Arc<Route>,
    parts: &Parts,
    body: Incoming,
    record: &mut Record,
) -> Result<Reply, GatewayError> {
    let body = parse::read(parts, body, limits::OPENAI_BODY_BYTES).await;
    record.note_phase(Phase::Read);
    let body = body?;
    record.note_route(&route.name, None);
    record.note_request_bytes(body.len());
    record.note_phase(Phase::Route);
    let admitted = admit::relay(snapshot, route, body.len(), record).await;
    record.note_phase(Phase::Queue);
    admitted?;
    let deadline = dispatch::deadline(route, record.began);
    let (answer, permit) = send(route, parts, &body, deadline, record).await?;
    if answer.status().is_server_error() {
        record.set_outcome(Outcome::UpstreamError);
    } else if answer.status().is_client_error() {
        record.set_outcome(Outcome::ClientError);
    }
    let (status, headers) = (answer.status(), relay::handed_on(answer.headers()));
    let upstream = Upstream { response: answer, permit, is_stream: false };
    let passing = Passing::as_it_is(upstream, route, deadline);
    Ok(Reply { status, headers, body: ReplyBody::Passing(Box::new(passing)) })
}

/// Sends it to one gateway after another until one takes the connection; what was sent is never sent again.
async fn send(
    route: &Arc<Route>,
    parts: &Parts,
    body: &Bytes,
    deadline: Instant,
    record: &mut Record,
) -> Result<(Response<UpstreamBody>, Permit), GatewayError> {
    let caller = record.caller().cloned();
    let own_key = caller.as_ref().is_some_and(|caller| caller.proof == Proof::Key);
    let limit = Duration::from_millis(route.timeout.connect_ms.saturating_add(route.timeout.first_byte_ms));
    let mut tried = Vec::new();
    let mut last = GatewayError::NoBackend("none has a weight, an address and a credential");
    for _ in 0..=route.retries {
        let (backend, endpoint, why) =
            match route::target(route, caller.as_deref(), Load::default(), &tried, Roles::All) {
                Target::Send(backend, endpoint, why) => (backend, endpoint, why),
                Target::Wait(retry_after, true) => return Err(GatewayError::Busy { retry_after }),
                Target::Wait(retry_after, false) => return Err(GatewayError::Open { retry_after }),
                Target::None => break,
            };
        tried.push(Arc::clone(&endpoint));
        record.set_backend(&backend);
        record.note_because(why);
        let until = (Instant::now() + limit).min(deadline);
        let place = backend.place(until).await?;
        let (at, began) = (Arc::clone(&endpoint), std::time::Instant::now());
        let mut permit = Permit::new(Arc::clone(&backend), endpoint, 0, place);
        let answer = timeout_at(until, backend.relay(&at, parts, body.clone(), own_key)).await;
        let answer = answer.unwrap_or(Err(GatewayError::UpstreamTimeout("first byte")));
        permit.settle(answer.as_ref().err().and_then(GatewayError::fault));
        record.note_phase(Phase::FirstByte);
        let word = answer.as_ref().map_or_else(GatewayError::reason, |_| "ok");
        record.note_attempt(&backend.name, Some(at.base()), began, word);
        match answer {
            Ok(answer) => return Ok((answer, permit)),
            Err(error) if error.again() == Again::Unsent => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

//! A backend's answer → the text of a completion, for protocols that do not stream.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use tokio::time::Instant;

use super::dispatch::{Upstream, deadline};
use crate::complete::{Choice, Finish};
use crate::config::snapshot::Route;
use crate::dialect;
use crate::error::GatewayError;
use crate::limits;
use crate::server::facts::Phase;
use crate::server::record::Record;

/// The completion, and the account of what it cost.
///
/// # Errors
/// When the answer breaks off, takes too long or is no completion.
pub async fn whole(upstream: Upstream, route: &Route, record: &mut Record) -> Result<Choice, GatewayError> {
    let dialect = upstream.permit.backend().dialect().clone();
    let body = read(upstream, deadline(route, record.began)).await?;
    record.note_phase(Phase::Answer);
    record.note_piece(body.len());
    let generated = dialect.read(StatusCode::OK, &body)?;
    record.set_usage(generated.usage);
    let first = generated.choices.into_iter().next().ok_or(GatewayError::UpstreamBroken)?;
    let mut text = first.text;
    // White space alone is nothing that an editor could show.
    if text.trim().is_empty() {
        text.clear();
    }
    let finish = if first.finish == Some(dialect::Finish::Length) { Finish::Length } else { Finish::Stop };
    Ok(Choice { text, finish, logprob: first.logprob })
}

/// The text alone, for the gateway's own questions.
///
/// # Errors
/// As [`whole`].
pub async fn text(upstream: Upstream, route: &Route) -> Result<String, GatewayError> {
    let dialect = upstream.permit.backend().dialect().clone();
    let body = read(upstream, Instant::now() + Duration::from_millis(route.timeout.total_ms)).await?;
    let first = dialect.read(StatusCode::OK, &body)?.choices.into_iter().next();
    first.map(|first| first.text).ok_or(GatewayError::UpstreamBroken)
}

async fn read(upstream: Upstream, until: Instant) -> Result<Bytes, GatewayError> {
    let body = Limited::new(upstream.response.into_body(), limits::ANSWER_BYTES);
    let collected = tokio::time::timeout_at(until, body.collect()).await;
    let collected = collected.map_err(|_| GatewayError::UpstreamTimeout("whole answer"))?;
    collected.map(http_body_util::Collected::to_bytes).map_err(|_| GatewayError::UpstreamBroken)
}

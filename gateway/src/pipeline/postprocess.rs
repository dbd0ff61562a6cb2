//! A backend's answer → its text, for the gateway's own questions. Completions of clients are read by `complete`.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use tokio::time::Instant;

use super::dispatch::Upstream;
use crate::config::snapshot::Route;
use crate::error::GatewayError;
use crate::limits;

/// The text alone, for the gateway's own questions.
///
/// # Errors
/// When the answer breaks off, takes too long or is no completion.
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

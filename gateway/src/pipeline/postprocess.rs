//! A backend's answer → the text of a completion, for protocols that do not stream.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use tokio::time::Instant;

use super::dispatch::{Upstream, deadline};
use crate::complete::{Choice, Finish};
use crate::config::snapshot::Route;
use crate::dialect::openai::{FirstChoice, first_choice, usage_in};
use crate::error::GatewayError;
use crate::limits;
use crate::server::facts::Phase;
use crate::server::record::Record;

/// The completion, and the account of what it cost.
///
/// # Errors
/// When the answer breaks off, takes too long or is no completion.
pub async fn whole(upstream: Upstream, route: &Route, record: &mut Record) -> Result<Choice, GatewayError> {
    let body = read(upstream, deadline(route, record.began)).await?;
    record.note_phase(Phase::Answer);
    record.note_piece(body.len());
    record.set_usage(usage_in(&body));
    let FirstChoice { mut text, finish_reason } = first_choice(&body)?;
    // White space alone is nothing that an editor could show.
    if text.trim().is_empty() {
        text.clear();
    }
    let finish = if finish_reason == "length" { Finish::Length } else { Finish::Stop };
    Ok(Choice { text, finish, logprob: None })
}

/// The text alone, for the gateway's own questions.
///
/// # Errors
/// As [`whole`].
pub async fn text(upstream: Upstream, route: &Route) -> Result<String, GatewayError> {
    let body = read(upstream, Instant::now() + Duration::from_millis(route.timeout.total_ms)).await?;
    Ok(first_choice(&body)?.text)
}

async fn read(upstream: Upstream, until: Instant) -> Result<Bytes, GatewayError> {
    let body = Limited::new(upstream.response.into_body(), limits::ANSWER_BYTES);
    let collected = tokio::time::timeout_at(until, body.collect()).await;
    let collected = collected.map_err(|_| GatewayError::UpstreamTimeout("whole answer"))?;
    collected.map(http_body_util::Collected::to_bytes).map_err(|_| GatewayError::UpstreamBroken)
}

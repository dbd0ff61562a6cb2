//! Copies of requests for backends that are only tried out. They cost the client nothing: they are sent beside its own, a
//! bounded number at a time, their answers are dropped, and they are counted apart.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use tokio::time::Instant;

use super::boundary;
use super::prompt::Rendered;
use crate::backend::admission::Place;
use crate::backend::endpoint::Pick;
use crate::backend::{Backend, Permit};
use crate::caller::Caller;
use crate::config::snapshot::Route;
use crate::error::GatewayError;
use crate::limits;

/// Sends the request to every shadow whose turn it is.
pub fn copy(route: &Route, rendered: &Rendered, caller: Option<&Caller>) {
    for (backend, percent) in &route.shadows {
        if rand::random_range(0..100) >= *percent
            || backend.missing_credential().is_some()
            || boundary::check(route, backend, caller).is_err()
        {
            continue;
        }
        let load = rendered.load();
        let Ok(place) = Arc::clone(&route.copies).try_acquire_owned() else {
            backend.series.routing.copies_left_out.inc();
            continue;
        };
        let Pick::Take(endpoint, _) = backend.pick(load, &[]) else {
            backend.series.routing.copies_left_out.inc();
            continue;
        };
        let permit = Permit::new(Arc::clone(backend), endpoint, load.tokens, Place::default());
        let (api, stream) = (rendered.api, rendered.stream);
        let Ok((request, _)) = rendered.request_to(backend, permit.endpoint()) else { continue };
        let until = Instant::now() + Duration::from_millis(route.timeout.total_ms);
        let backend = Arc::clone(backend);
        tokio::spawn(async move {
            let answered = async {
                let response = backend.send(request, api, stream).await?;
                let status = response.status();
                drain(response.into_body()).await?;
                if status.is_success() { Ok(()) } else { Err(GatewayError::UpstreamBroken) }
            };
            let result = tokio::time::timeout_at(until, answered).await;
            note(&backend, matches!(result, Ok(Ok(()))));
            drop((permit, place));
        });
    }
}

async fn drain(mut body: super::body::UpstreamBody) -> Result<(), GatewayError> {
    let mut left = limits::ANSWER_BYTES;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| GatewayError::UpstreamBroken)?;
        let length = frame.data_ref().map_or(0, bytes::Bytes::len);
        left = left.checked_sub(length).ok_or(GatewayError::UpstreamBroken)?;
    }
    Ok(())
}

fn note(backend: &Backend, answered: bool) {
    let series = &backend.series.routing;
    if answered { series.copies_answered.inc() } else { series.copies_failed.inc() }
}

//! The metrics listener: `/metrics` and nothing else.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;

use super::{plain, refused};
use crate::app::Gateway;
use crate::telemetry;

/// Answers a scrape.
pub async fn answer(gateway: Arc<Gateway>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    if let Some(refusal) = refused(&request, &["/metrics"]) {
        return refusal;
    }
    let reports = &gateway.reports;
    let dropped = (telemetry::take_dropped(), reports.take_dropped_usage(), reports.take_dropped_otlp());
    gateway.metrics.count_dropped(dropped.0, dropped.1, dropped.2);
    match gateway.metrics.encode() {
        Ok(text) => plain(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text),
        Err(error) => {
            tracing::error!(error = %error, "metrics could not be written");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "metrics could not be written\n")
        }
    }
}

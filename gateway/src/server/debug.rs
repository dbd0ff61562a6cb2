//! The debug listener, on loopback alone: what is under way and which configuration is in force. No prompt, no subject
//! and no credential is shown; the configuration holds none.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;

use super::{plain, refused};
use crate::app::Gateway;

/// Answers a person with a port-forward.
pub async fn answer(gateway: Arc<Gateway>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    if let Some(refusal) = refused(&request, &["/debug/requests", "/debug/config"]) {
        return refusal;
    }
    let body = if request.uri().path() == "/debug/requests" {
        serde_json::to_vec_pretty(&gateway.in_flight.rows())
    } else {
        serde_json::to_vec_pretty(&gateway.snapshot.load().config)
    };
    match body {
        Ok(body) => plain(StatusCode::OK, "application/json", body),
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{error}\n")),
    }
}

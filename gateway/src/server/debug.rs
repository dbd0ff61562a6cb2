//! The debug listener, on loopback alone: requests under way and ended, the configuration in force, and profiles. No prompt, no
//! subject and no credential is shown; the configuration holds none.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::json;

use super::{plain, profile, refused};
use crate::app::Gateway;

const REQUESTS: &str = "/debug/requests";
const CONFIG: &str = "/debug/config";

/// Answers a person with a port-forward.
pub async fn answer(gateway: Arc<Gateway>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let id = path.strip_prefix(REQUESTS).and_then(|rest| rest.strip_prefix('/')).filter(|id| !id.is_empty());
    let known = [REQUESTS, CONFIG, profile::PATH, if id.is_some() { path } else { "/debug/requests/{id}" }];
    if let Some(refusal) = refused(&request, &known) {
        return refusal;
    }
    if path == profile::PATH {
        return profile::answer(gateway.takes_profiles, request.uri().query()).await;
    }
    let body = match id {
        Some(id) => match one(&gateway, id) {
            Some(found) => serde_json::to_vec_pretty(&found),
            None => return plain(StatusCode::NOT_FOUND, "text/plain", NOT_KEPT),
        },
        None if path == REQUESTS => {
            let ended: Vec<_> =
                gateway.reports.history.all().iter().map(|request| request.debug_row()).collect();
            serde_json::to_vec_pretty(&json!({"underWay": gateway.in_flight.rows(), "ended": ended}))
        }
        None => serde_json::to_vec_pretty(&gateway.snapshot.load().config),
    };
    match body {
        Ok(body) => plain(StatusCode::OK, "application/json", body),
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{error}\n")),
    }
}

const NOT_KEPT: &str = "no request with this id is under way or among those that ended last; GET /debug/requests lists them, and each gateway pod has its own\n";

/// The requests of an id, which a client may have sent more than once: those under way, then those that ended.
fn one(gateway: &Gateway, id: &str) -> Option<serde_json::Value> {
    let under_way = gateway.in_flight.find(id);
    let ended: Vec<_> = gateway.reports.history.find(id).iter().map(|request| request.debug()).collect();
    (!under_way.is_empty() || !ended.is_empty()).then(|| json!({"underWay": under_way, "ended": ended}))
}

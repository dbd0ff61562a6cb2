//! What surrounds every request of a client: the list of layers, outermost first, each with its reason.

mod rescue;

use std::sync::Arc;

use http::{HeaderValue, Request, Response, Version, header};
use hyper::body::Incoming;

use crate::app::Gateway;
use crate::error::GatewayError;
use crate::limits;
use crate::pipeline::respond::{self, Asked, Reply};
use crate::pipeline::{self, paths};
use crate::series::Handler;
use crate::server::Connection;
use crate::server::body::ResponseBody;
use crate::server::ids;
use crate::server::record::Record;

/// Answers one request; nothing fails past this function.
pub async fn serve(
    gateway: Arc<Gateway>,
    connection: Connection,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    // A request keeps the configuration it began with.
    let snapshot = gateway.snapshot.load_full();
    let (mut parts, body) = request.into_parts();
    // Trace: one id that client, log and backend share.
    let ids = ids::of(&parts.headers, snapshot.config.compat);
    // Metrics: outermost, so that rejections are counted too.
    let mut record = Record::new(&gateway, &snapshot, &connection, &parts, ids);
    if let Some(context) = record.trace() {
        // The backend's spans stand below ours.
        context.tell(&mut parts.headers);
    }
    record.handler = match gateway.docs.has(parts.uri.path()) {
        true => Handler::Docs,
        false => paths::handler(parts.uri.path(), &snapshot),
    };
    record.set_operation_of_handler();
    record.set_client(snapshot.proxies.client(connection.peer, &parts.headers));
    let asked = Asked::new(&parts, record.handler, &snapshot);
    let result = async {
        // In-flight: a bounded number, listed for people. Shed: the rest is turned away at once.
        record.slot = Some(gateway.in_flight.admit(&record.request_id, record.handler.as_str())?);
        // Limits: before anything looks at the target.
        if parts.uri.path_and_query().is_some_and(|target| target.as_str().len() > limits::URI_BYTES) {
            return Err(GatewayError::UriTooLong);
        }
        // Rescue: a panic is one 500, not a lost connection. Timeouts: each stage of the pipeline has its own.
        rescue::catch(pipeline::handle(&gateway, &snapshot, &parts, body, &mut record)).await
    }
    .await;
    let reply = match result {
        Ok(reply) => reply,
        Err(error) => pipeline::gitlab::swallowed(&snapshot, &error, &mut record)
            .unwrap_or_else(|| respond::refuse(&error, &asked, &gateway.metrics, &mut record)),
    };
    let draining = gateway.drain.is_draining() && parts.version < Version::HTTP_2;
    finish(reply, record, &asked, draining)
}

/// Adds what every answer carries and hands the account to the body.
fn finish(reply: Reply, mut record: Record, asked: &Asked, draining: bool) -> Response<ResponseBody> {
    record.status = Some(reply.status.as_u16());
    let mut headers = reply.headers;
    let outcome = record.outcome().filter(|_| record.handler.is_told());
    ids::add_to(&mut headers, &record.request_id, outcome);
    if let Some(limits) = record.limit_headers() {
        headers.extend(limits.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    asked.add_headers(&mut headers, &record);
    if draining {
        // The client opens its next connection elsewhere, before this listener closes.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let mut response = Response::new(reply.body.into_response(record));
    *response.status_mut() = reply.status;
    *response.headers_mut() = headers;
    response
}

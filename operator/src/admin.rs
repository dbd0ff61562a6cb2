//! `/livez`, `/readyz` and `/metrics`: plain HTTP for the kubelet and Prometheus. [I/O]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::leader::Leadership;
use crate::metrics::Metrics;

/// Connections at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 64;
/// Until a connection has sent its request line and headers.
const HEADERS: Duration = Duration::from_secs(10);

/// What the admin listeners answer from.
#[derive(Clone)]
pub struct Admin {
    /// The operator's metrics.
    pub metrics: Metrics,
    /// Whether the Lease is held; a standby is ready too, or no rollout of two replicas would ever end.
    pub leadership: Leadership,
}

/// A bound listener; binding is apart from serving so that a port in use is one clear error at start.
///
/// # Errors
/// When the address cannot be bound.
pub async fn bind(flag: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("{flag}: {address} cannot be bound; give another address"))
}

/// Serves until dropped.
pub async fn serve(listener: TcpListener, admin: Admin) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let admin = admin.clone();
        // Detached on purpose: ends with its connection, which the timeouts below bound.
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let response = answer(&request, &admin);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "admin connection");
            }
            drop(slot);
        });
    }
}

fn answer(request: &Request<Incoming>, admin: &Admin) -> Response<Full<Bytes>> {
    let text = |status, text: &str| respond(status, "text/plain; charset=utf-8", text.to_owned());
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
    }
    match request.uri().path() {
        "/livez" => text(StatusCode::OK, "ok\n"),
        "/readyz" if admin.leadership.lost.is_cancelled() => {
            text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
        }
        "/readyz" if admin.leadership.is_leader() => text(StatusCode::OK, "leader\n"),
        "/readyz" => text(StatusCode::OK, "standby\n"),
        "/metrics" => {
            admin.metrics.leading(admin.leadership.is_leader());
            respond(StatusCode::OK, prometheus::TEXT_FORMAT, admin.metrics.encode())
        }
        _ => text(StatusCode::NOT_FOUND, "not found; try /livez, /readyz or /metrics\n"),
    }
}

fn respond(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    response
}

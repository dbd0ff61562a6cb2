//! Listeners and connections. The limits of a connection are set here, every one of them explicitly (`limits`).

pub mod body;
pub mod client;
pub mod control;
pub mod debug;
pub mod docs;
pub mod drain;
pub mod facts;
pub mod failover;
pub mod history;
pub mod ids;
pub mod in_flight;
mod io;
pub mod metrics;
mod profile;
pub mod record;
pub mod reports;
pub mod summary;
pub mod tls;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::app::Gateway;
use crate::limits;
use drain::Drain;
pub use io::Activity;
use io::Guarded;
use tls::{Handshake, ListenerTls};

/// Pause after an accept that failed, as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections that wait to be accepted when the listener closes are still taken for this long.
const LAST_ACCEPT: Duration = Duration::from_millis(50);

/// Where a request came from.
#[derive(Clone)]
pub struct Connection {
    /// The other end.
    pub peer: SocketAddr,
    /// Requests of the connection under way.
    pub activity: Activity,
}

/// Serves clients until the listener is to be closed, then until their connections have ended.
pub async fn clients<F, R, B>(gateway: Arc<Gateway>, listener: TcpListener, answer: F)
where
    F: Fn(Arc<Gateway>, Connection, Request<Incoming>) -> R + Copy + Send + Sync + 'static,
    R: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let slots = Arc::new(Semaphore::new(limits::CONNECTIONS));
    let connections = TaskTracker::new();
    let take = |stream: TcpStream, peer: SocketAddr| {
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            gateway.metrics.connections_shed.inc();
            return;
        };
        let handshake = gateway.http_tls.handshake();
        let (gateway, drain) = (Arc::clone(&gateway), gateway.drain.clone());
        connections.spawn(async move {
            let over = drain.clone();
            let answer = move |connection, request| answer(Arc::clone(&gateway), connection, request);
            tokio::select! {
                () = serve_connection(stream, peer, handshake, drain, answer) => {}
                () = over.over() => {}
            }
            drop(slot);
        });
    };
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => take(stream, peer),
                Err(error) => pause_after(&error).await,
            },
            () = gateway.drain.closing() => break,
        }
    }
    while let Ok(Ok((stream, peer))) = tokio::time::timeout(LAST_ACCEPT, listener.accept()).await {
        take(stream, peer);
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// Serves one of the small listeners until the process ends.
pub async fn admin<F, R>(
    gateway: Arc<Gateway>,
    listener: TcpListener,
    tls: Option<fn(&Gateway) -> &ListenerTls>,
    answer: F,
) where
    F: Fn(Arc<Gateway>, Request<Incoming>) -> R + Copy + Send + Sync + 'static,
    R: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(limits::ADMIN_CONNECTIONS));
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else { continue };
                let handshake = tls.map_or(Handshake::Plain, |tls| tls(&gateway).handshake());
                let gateway = Arc::clone(&gateway);
                tokio::spawn(async move {
                    let answer = move |_: Connection, request| answer(Arc::clone(&gateway), request);
                    serve_connection(stream, peer, handshake, Drain::default(), answer).await;
                    drop(slot);
                });
            }
            Err(error) => pause_after(&error).await,
        }
    }
}

async fn pause_after(error: &std::io::Error) {
    tracing::warn!(error = %error, "a connection could not be accepted");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

async fn serve_connection<F, R, B>(
    stream: TcpStream,
    peer: SocketAddr,
    handshake: Handshake,
    drain: Drain,
    answer: F,
) where
    F: Fn(Connection, Request<Incoming>) -> R,
    R: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if let Err(error) = crate::sockets::tune(&stream) {
        tracing::debug!(error = %error, "the connection was gone before it began");
        return;
    }
    let activity = Activity::default();
    let stream = Guarded::new(stream, activity.clone());
    let connection = Connection { peer, activity };
    match handshake {
        Handshake::Plain => serve_stream(stream, connection, drain, answer).await,
        Handshake::Refuse => {}
        Handshake::Tls(acceptor) => {
            match tokio::time::timeout(limits::HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => serve_stream(stream, connection, drain, answer).await,
                Ok(Err(error)) => tracing::debug!(%error, %peer, "no TLS connection came about"),
                Err(_) => tracing::debug!(%peer, "the TLS handshake took too long"),
            }
        }
    }
}

async fn serve_stream<S, F, R, B>(stream: S, connection: Connection, drain: Drain, answer: F)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Connection, Request<Incoming>) -> R,
    R: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let peer = connection.peer;
    let service = service_fn(move |request| {
        let answered = answer(connection.clone(), request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let builder = builder();
    let served = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = drain.closing() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        // A client that hangs up or stalls: not our fault, and told by the request's own outcome.
        tracing::debug!(error, %peer, "the connection ended early");
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::IDLE_TIMEOUT)
        .max_buf_size(limits::H1_BUFFER_BYTES)
        .max_headers(limits::HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::H2_STREAMS)
        .initial_stream_window_size(limits::H2_STREAM_WINDOW)
        .initial_connection_window_size(limits::H2_CONNECTION_WINDOW)
        .max_header_list_size(limits::H2_HEADER_LIST_BYTES)
        .max_pending_accept_reset_streams(limits::H2_PENDING_RESETS)
        .max_local_error_reset_streams(limits::H2_LOCAL_RESETS)
        .max_send_buf_size(limits::H2_SEND_BUFFER_BYTES)
        .keep_alive_interval(limits::H2_PING)
        .keep_alive_timeout(limits::H2_PING);
    builder
}

/// A small answer of the admin listeners.
#[must_use]
pub fn plain(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    response
}

/// Splits a method and path that an admin listener serves from those that it does not.
#[must_use]
pub fn refused(request: &Request<Incoming>, known: &[&str]) -> Option<Response<Full<Bytes>>> {
    if !known.contains(&request.uri().path()) {
        return Some(plain(
            StatusCode::NOT_FOUND,
            "text/plain",
            format!("not found; this listener serves {}\n", known.join(" ")),
        ));
    }
    if !matches!(*request.method(), http::Method::GET | http::Method::HEAD) {
        return Some(plain(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "use GET\n"));
    }
    None
}

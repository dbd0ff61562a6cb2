//! The HTTP client of one backend: its pool of connections, and the version of HTTP it speaks.

use std::time::Duration;

use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::connect::Connector;
use crate::pipeline::body::RequestBody;

/// Idle connections are closed before the servers do it (uvicorn, under vLLM, after 5 s), so none is used as it closes.
const POOL_IDLE: Duration = Duration::from_secs(4);
const POOL_SIZE: usize = 64;
/// A connection of HTTP/2 carries everything to its host, so one that is dead must be found out.
const HTTP2_PING: Duration = Duration::from_secs(20);

/// Connections to one backend.
pub(super) type HttpClient = Client<Connector, RequestBody>;

/// Of a connector; `h2c`: HTTP/2 from the first byte.
pub(super) fn client(connector: Connector, h2c: bool) -> Box<HttpClient> {
    let client = Client::builder(TokioExecutor::new())
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(POOL_SIZE)
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .http2_only(h2c)
        .http2_adaptive_window(true)
        .http2_keep_alive_interval(HTTP2_PING)
        .build(connector);
    Box::new(client)
}

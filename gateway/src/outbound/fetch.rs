//! Small requests off the hot path (token servers, issuers, collectors of telemetry): one connection each, nothing pooled, no redirect followed, answers of
//! bounded size.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::Reach;
use super::trust::Trust;
use crate::backend::connect::Connector;

const MAX_BODY: usize = 1024 * 1024;
const TIMEOUT: Duration = Duration::from_secs(10);

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

/// Asks what `reach` allows.
#[derive(Clone)]
pub struct Fetcher {
    reach: Reach,
    trust: Arc<Trust>,
    timeout: Duration,
}

impl Fetcher {
    /// Of connections that lead where `reach` says.
    #[must_use]
    pub fn new(reach: Reach, trust: Arc<Trust>) -> Self {
        Self { reach, trust, timeout: TIMEOUT }
    }

    /// The same with another limit for a request and its answer.
    #[must_use]
    pub fn within(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// One request and its whole answer.
    ///
    /// # Errors
    /// One sentence that names the address, never a header or a body.
    pub async fn send(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, String> {
        let failed = |why: &dyn std::fmt::Display| format!("{method} {}: {why}", shown(url));
        let uri: Uri = url.parse().map_err(|error| failed(&error))?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers;
        let agent =
            header::HeaderValue::from_static(concat!("modelgate-gateway/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(header::USER_AGENT, agent);
        let plain_proxy = uri.host().filter(|_| uri.scheme_str() == Some("http"));
        let plain_proxy =
            plain_proxy.and_then(|host| self.reach.proxy(false, host, uri.port_u16().unwrap_or(80)));
        if let Some(authorization) = plain_proxy.and_then(|proxy| proxy.authorization.clone()) {
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, authorization);
        }
        let connector = Connector::to_host(Arc::clone(&self.trust), TIMEOUT, self.reach.clone());
        let client: Client<Connector, Full<Bytes>> =
            Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        let whole = async {
            let response = client.request(request).await.map_err(|error| failed(&chain(&error)))?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, MAX_BODY).collect().await.map_err(|error| {
                if error.is::<LengthLimitError>() { failed(&"more than 1 MiB") } else { failed(&error) }
            })?;
            Ok(Answer { status: parts.status, headers: parts.headers, body: body.to_bytes() })
        };
        tokio::time::timeout(self.timeout, whole).await.unwrap_or_else(|_| Err(failed(&"no answer in time")))
    }
}

/// An address without its query, which may hold a secret.
fn shown(url: &str) -> &str {
    url.split('?').next().unwrap_or_default()
}

/// An error with its causes: "connection refused" stands in the last.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

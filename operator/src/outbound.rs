//! HTTP that the operator itself speaks: to gateway pods and engines (plain), and to external servers (TLS, with the
//! addresses refused that an external server never has). No redirect is followed and no credential is sent. [I/O]

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower::Service;

/// Longest body that is read.
const BODY_LIMIT: usize = 1 << 20;
/// Until a connection stands.
const CONNECT: Duration = Duration::from_secs(3);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An answer, with at most [`BODY_LIMIT`] bytes.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: Bytes,
}

/// The operator's HTTP clients.
#[derive(Clone)]
pub struct Outbound {
    plain: Client<HttpConnector, Full<Bytes>>,
    guarded: Client<HttpsConnector<HttpConnector<Guarded>>, Full<Bytes>>,
}

impl Outbound {
    /// Clients with the system's root certificates.
    #[must_use]
    pub fn new() -> Self {
        let mut plain = HttpConnector::new();
        plain.set_connect_timeout(Some(CONNECT));
        plain.set_nodelay(true);
        let mut guarded = HttpConnector::new_with_resolver(Guarded(GaiResolver::new()));
        guarded.set_connect_timeout(Some(CONNECT));
        guarded.enforce_http(false);
        let tls = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls_config());
        Self {
            plain: builder().build(plain),
            guarded: builder().build(tls.https_or_http().enable_http1().wrap_connector(guarded)),
        }
    }

    /// `GET` of an address within the cluster.
    ///
    /// # Errors
    /// When no whole answer came within `limit`, as one sentence.
    pub async fn get(&self, url: &str, limit: Duration) -> Result<Answer, String> {
        let request = request(Method::GET, url, Bytes::new())?;
        finish(self.plain.request(request), limit).await
    }

    /// `POST` of JSON to an address within the cluster.
    ///
    /// # Errors
    /// When no whole answer came within `limit`, as one sentence.
    pub async fn post(&self, url: &str, body: &serde_json::Value, limit: Duration) -> Result<Answer, String> {
        let request = request(Method::POST, url, Bytes::from(body.to_string()))?;
        finish(self.plain.request(request), limit).await
    }

    /// `GET` of an external address; loopback, link-local and unspecified addresses are refused.
    ///
    /// # Errors
    /// When no whole answer came within `limit`, as one sentence.
    pub async fn get_external(&self, url: &str, limit: Duration) -> Result<Answer, String> {
        let request = request(Method::GET, url, Bytes::new())?;
        // A literal address is not resolved, so the resolver does not see it.
        let host = request.uri().host().unwrap_or_default().trim_matches(['[', ']']);
        if let Ok(address) = host.parse::<IpAddr>() {
            allowed(address)?;
        }
        finish(self.guarded.request(request), limit).await
    }
}

impl Default for Outbound {
    fn default() -> Self {
        Self::new()
    }
}

fn builder() -> hyper_util::client::legacy::Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(2)
        .pool_timer(TokioTimer::new());
    builder
}

/// System roots. A certificate that cannot be read is passed over; with none at all every TLS server is refused, and the
/// probe's message says so.
fn tls_config() -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    let (taken, refused) = roots.add_parsable_certificates(native.certs);
    if refused > 0 || taken == 0 {
        tracing::warn!(taken, refused, "system root certificates");
    }
    rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()
}

fn request(method: Method, url: &str, body: Bytes) -> Result<Request<Full<Bytes>>, String> {
    let uri: Uri = url.parse().map_err(|error| format!("{url} is no address: {error}"))?;
    Request::builder()
        .method(method)
        .uri(uri)
        .header(http::header::USER_AGENT, concat!("modelgate-operator/", env!("CARGO_PKG_VERSION")))
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(|error| format!("{url}: {error}"))
}

async fn finish(
    pending: hyper_util::client::legacy::ResponseFuture,
    limit: Duration,
) -> Result<Answer, String> {
    let whole = async {
        let response = pending.await.map_err(|error| chain(&error))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), BODY_LIMIT).collect().await;
        let body = body.map_err(|error| format!("the answer broke off: {error}"))?.to_bytes();
        Ok(Answer { status, body })
    };
    tokio::time::timeout(limit, whole)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {}s", limit.as_secs())))
}

/// An error with its causes; the outermost alone ("client error (Connect)") says nothing.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Resolves names and refuses those that lead to this machine or to a cloud's metadata service.
#[derive(Clone)]
struct Guarded(GaiResolver);

impl Service<Name> for Guarded {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolving = self.0.call(name);
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = resolving.await?.collect();
            // One refused address refuses all: which of them is dialled is not ours to say.
            addresses.iter().try_for_each(|address| allowed(address.ip()))?;
            Ok(addresses.into_iter())
        })
    }
}

fn allowed(address: IpAddr) -> Result<(), String> {
    let address = address.to_canonical();
    let local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    if local || address.is_loopback() || address.is_unspecified() || address.is_multicast() {
        return Err(format!(
            "{address} is an address of this machine or its link; no external server has one"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::allowed;

    #[test]
    fn addresses_of_this_machine_and_its_link_are_refused() {
        for refused in ["127.0.0.1", "::1", "0.0.0.0", "::", "169.254.169.254", "fe80::1", "::ffff:127.0.0.1"]
        {
            assert!(allowed(refused.parse().unwrap()).is_err(), "{refused}");
        }
        for taken in ["10.0.0.1", "192.168.1.1", "1.1.1.1", "2606:4700::1111", "::ffff:10.0.0.1"] {
            assert!(allowed(taken.parse().unwrap()).is_ok(), "{taken}");
        }
    }
}

//! Connections to backends: TCP, TLS over TCP, Unix sockets. Nagle's algorithm is off on every one, and addresses that
//! only a metadata service or a misconfiguration has are refused after the name is resolved, so no name can lead there.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use modelgate_api::address::refused;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Opens connections for one backend.
#[derive(Clone)]
pub struct Connector {
    to: To,
    timeout: Duration,
}

#[derive(Clone)]
enum To {
    Host { tls: TlsConnector, guarded: bool },
    Unix(PathBuf),
}

impl Connector {
    /// To hosts, over TLS where the address says `https`. `guarded`: refuse link-local and metadata addresses.
    #[must_use]
    pub fn to_host(tls: Arc<rustls::ClientConfig>, timeout: Duration, guarded: bool) -> Self {
        Self { to: To::Host { tls: TlsConnector::from(tls), guarded }, timeout }
    }

    /// To a Unix socket, whatever the address says.
    #[must_use]
    pub fn to_socket(path: PathBuf, timeout: Duration) -> Self {
        Self { to: To::Unix(path), timeout }
    }

    async fn open(self, uri: Uri) -> io::Result<TokioIo<Stream>> {
        let stream = match self.to {
            To::Unix(path) => Stream::Unix(UnixStream::connect(path).await?),
            To::Host { tls, guarded } => {
                let host = uri.host().ok_or_else(|| io::Error::other("the address names no host"))?;
                let host = host.trim_start_matches('[').trim_end_matches(']');
                let secure = uri.scheme_str() == Some("https");
                let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
                let tcp = open_tcp(host, port, guarded).await?;
                if secure {
                    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
                    Stream::Tls(Box::new(tls.connect(name, tcp).await?))
                } else {
                    Stream::Tcp(tcp)
                }
            }
        };
        Ok(TokioIo::new(stream))
    }
}

async fn open_tcp(host: &str, port: u16, guarded: bool) -> io::Result<TcpStream> {
    let addresses = tokio::net::lookup_host((host, port)).await?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address that may be used");
    for address in addresses.filter(|address: &SocketAddr| !guarded || refused(address.ip(), false).is_none())
    {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Stream>>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let limit = connector.timeout;
            tokio::time::timeout(limit, connector.open(uri))
                .await
                .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no connection in time"))?
        })
    }
}

/// A connection to a backend.
pub enum Stream {
    /// Plain.
    Tcp(TcpStream),
    /// Encrypted.
    Tls(Box<TlsStream<TcpStream>>),
    /// To a child process.
    Unix(UnixStream),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

/// Calls the same method of whichever stream it is.
macro_rules! each {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Tcp($stream) => $call,
            Stream::Tls($stream) => $call,
            Stream::Unix($stream) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write_vectored(cx, parts))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
        }
    }
}

/// What TLS connections trust: the system's certificates, or Mozilla's where the system has none (as in a bare image).
///
/// # Errors
/// When the cryptography library offers no protocol version that is safe.
pub fn tls_config() -> Result<Arc<rustls::ClientConfig>, rustls::Error> {
    let mut roots = rustls::RootCertStore::empty();
    let (added, _unparsable) =
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

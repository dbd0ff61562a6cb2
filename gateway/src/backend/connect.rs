//! Connections to backends: TCP, TLS over TCP, Unix sockets, each through a proxy where one leads there. Nagle's algorithm is
//! off on every one. Where nothing may be sent is `outbound`'s to say.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::outbound::Reach;
use crate::outbound::trust::Trust;

/// Opens connections for one backend.
#[derive(Clone)]
pub struct Connector {
    to: To,
    timeout: Duration,
}

#[derive(Clone)]
enum To {
    Host { trust: Arc<Trust>, reach: Reach },
    Unix(PathBuf),
}

impl Connector {
    /// To hosts that `reach` allows, over TLS where the address says `https`.
    #[must_use]
    pub fn to_host(trust: Arc<Trust>, timeout: Duration, reach: Reach) -> Self {
        Self { to: To::Host { trust, reach }, timeout }
    }

    /// To a Unix socket, whatever the address says.
    #[must_use]
    pub fn to_socket(path: PathBuf, timeout: Duration) -> Self {
        Self { to: To::Unix(path), timeout }
    }

    async fn open(self, uri: Uri) -> io::Result<TokioIo<Stream>> {
        let stream = match self.to {
            To::Unix(path) => Stream::Unix(UnixStream::connect(path).await?),
            To::Host { trust, reach } => {
                let host = uri.host().ok_or_else(|| io::Error::other("the address names no host"))?;
                let host = host.trim_start_matches('[').trim_end_matches(']');
                let secure = uri.scheme_str() == Some("https");
                let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
                let tcp = reach.open(secure, host, port).await?;
                if secure {
                    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
                    Stream::Tls(Box::new(TlsConnector::from(trust.config()).connect(name, tcp).await?))
                } else {
                    Stream::Tcp { stream: tcp, proxied: reach.proxy(false, host, port).is_some() }
                }
            }
        };
        Ok(TokioIo::new(stream))
    }
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
    Tcp {
        /// The connection.
        stream: TcpStream,
        /// It ends at a proxy, which wants whole addresses.
        proxied: bool,
    },
    /// Encrypted.
    Tls(Box<TlsStream<TcpStream>>),
    /// To a child process.
    Unix(UnixStream),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        match self {
            Self::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
                Connected::new().negotiated_h2()
            }
            Self::Tcp { proxied: true, .. } => Connected::new().proxy(true),
            Self::Tcp { .. } | Self::Tls(_) | Self::Unix(_) => Connected::new(),
        }
    }
}

/// Calls the same method of whichever stream it is.
macro_rules! each {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Tcp { stream: $stream, .. } => $call,
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
            Self::Tcp { stream, .. } => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
        }
    }
}

//! What may be reached from here, and how: which addresses no field of a user leads to, which proxy stands between, and
//! what TLS trusts. Backends, issuers and token servers all go through it.

pub mod fetch;
pub mod proxy;
pub mod trust;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use modelgate_api::address::refused;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use proxy::{Proxies, Proxy};

/// Longest head of a proxy's answer.
const PROXY_HEAD_BYTES: usize = 8 * 1024;

/// What a connection may lead to.
#[derive(Clone, Debug)]
pub enum Reach {
    /// What we run ourselves: pods whose addresses the cluster's DNS gave.
    Own,
    /// What a user named, through a proxy where there is one.
    Named {
        /// Loopback is refused too.
        in_cluster: bool,
        /// Proxies of the environment.
        proxies: Arc<Proxies>,
    },
    /// A cloud's metadata service, which the credential fetcher alone may ask.
    Metadata,
}

impl Default for Reach {
    /// What a user named, on a machine of the user's own without a proxy.
    fn default() -> Self {
        Self::Named { in_cluster: false, proxies: Arc::default() }
    }
}

impl Reach {
    /// The same without proxies, for what is no HTTP.
    #[must_use]
    pub fn direct(&self) -> Self {
        match self {
            Self::Named { in_cluster, .. } => {
                Self::Named { in_cluster: *in_cluster, proxies: Arc::default() }
            }
            other => other.clone(),
        }
    }

    /// The proxy that leads to a host.
    #[must_use]
    pub fn proxy(&self, secure: bool, host: &str, port: u16) -> Option<&Proxy> {
        match self {
            Self::Named { proxies, .. } => proxies.to(secure, host, port),
            Self::Own | Self::Metadata => None,
        }
    }

    /// A connection to a host, through a proxy where one leads there. Plain HTTP through a proxy ends at the proxy, which
    /// reads whole addresses; TLS goes through a tunnel.
    ///
    /// # Errors
    /// When the host's address is refused, or nobody answers.
    pub async fn open(&self, secure: bool, host: &str, port: u16) -> io::Result<TcpStream> {
        let Some(proxy) = self.proxy(secure, host, port) else {
            let addresses = self.checked(tokio::net::lookup_host((host, port)).await?.collect())?;
            return connect(addresses).await;
        };
        // The proxy looks the name up. What we know of it ourselves is checked all the same; an answer that we do not get
        // proves nothing, since behind a proxy there is often no such DNS.
        if let Ok(found) = tokio::net::lookup_host((host, port)).await {
            self.checked(found.collect())?;
        }
        let to_proxy = tokio::net::lookup_host((proxy.host.as_str(), proxy.port)).await?;
        let mut stream = connect(to_proxy.collect()).await?;
        if secure {
            tunnel(&mut stream, host, port, proxy).await?;
        }
        Ok(stream)
    }

    /// One refused address refuses all: which of them would be dialled is whoever's who answers for the name.
    fn checked(&self, addresses: Vec<SocketAddr>) -> io::Result<Vec<SocketAddr>> {
        let Self::Named { in_cluster, .. } = self else { return Ok(addresses) };
        for address in &addresses {
            self::check(address.ip(), *in_cluster)?;
        }
        Ok(addresses)
    }
}

fn check(address: IpAddr, in_cluster: bool) -> io::Result<()> {
    match refused(address, in_cluster) {
        None => Ok(()),
        Some(what) => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{address} is {what}; nothing is sent there"),
        )),
    }
}

async fn connect(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                crate::sockets::tune(&stream)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Asks the proxy for a tunnel.
async fn tunnel(stream: &mut TcpStream, host: &str, port: u16, proxy: &Proxy) -> io::Result<()> {
    let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
    if let Some(authorization) = &proxy.authorization {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(authorization.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    stream.write_all(&request).await?;
    // Byte by byte: whatever follows the head belongs to the tunnel.
    let mut head = Vec::with_capacity(256);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= PROXY_HEAD_BYTES {
            return Err(io::Error::other("the proxy's answer has no end"));
        }
        head.push(stream.read_u8().await?);
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    match line.split(' ').nth(1) {
        Some(status) if status.starts_with('2') => Ok(()),
        Some("407") => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the proxy wants another user and password (407); correct them in HTTPS_PROXY",
        )),
        _ => Err(io::Error::other(format!("the proxy refused the tunnel: {line}"))),
    }
}

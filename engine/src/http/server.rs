//! Accepts connections on an address or a Unix socket and ends them in order.

use std::{
    convert::Infallible,
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};

use super::{routes, state::State};
use crate::args::ServeArgs;

/// Connections at once; further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 1024;
/// Time for the head of a request to arrive, and for a kept connection to be idle: longer than the 90 s that clients
/// commonly keep theirs, so that the client closes first and no request meets a connection about to end.
const HEADER_TIMEOUT: Duration = Duration::from_secs(100);
/// Longest head of a request.
const MAX_HEAD: usize = 64 * 1024;
/// Pause after an error of `accept`, most often too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where connections come from.
#[derive(Debug)]
pub enum Listener {
    /// An address.
    Tcp(TcpListener),
    /// A file, removed when the listener is dropped.
    Unix(UnixListener, SocketFile),
}

/// The file of a Unix socket.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _already_gone = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Binds what the arguments say.
    ///
    /// # Errors
    /// The flag to change, and what the system said.
    pub async fn bind(args: &ServeArgs) -> Result<Self, BindError> {
        match &args.unix_socket {
            Some(path) => Self::bind_unix(path)
                .await
                .map_err(|source| BindError { place: format!("--unix-socket {}", path.display()), source }),
            None => TcpListener::bind(args.listen)
                .await
                .map(Self::Tcp)
                .map_err(|source| BindError { place: format!("--listen {}", args.listen), source }),
        }
    }

    async fn bind_unix(path: &Path) -> io::Result<Self> {
        // A file left by a process that died may go; one that somebody answers on may not.
        let leftover = matches!(UnixStream::connect(path).await,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused);
        if leftover {
            std::fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        let file = SocketFile(path.into());
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self::Unix(listener, file))
    }

    /// Where it listens, for the log.
    #[must_use]
    pub fn address(&self) -> String {
        match self {
            Self::Tcp(listener) => {
                listener.local_addr().map_or_else(|_| String::new(), |address| address.to_string())
            }
            Self::Unix(_, file) => file.0.display().to_string(),
        }
    }
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen: {place}: {source}")]
pub struct BindError {
    place: String,
    source: io::Error,
}

/// Serves connections until dropped; `graceful` then knows those that are open.
pub async fn accept(listener: &Listener, state: &Arc<State>, graceful: &GracefulShutdown) -> Infallible {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = connections.clone().acquire_owned().await else {
            return std::future::pending().await;
        };
        let accepted = match listener {
            Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                // Tokens are small; without this each could wait for the acknowledgement of the one before.
                let _not_fatal = stream.set_nodelay(true);
                connection(stream, state, graceful, permit);
            }),
            Listener::Unix(listener, _) => {
                listener.accept().await.map(|(stream, _)| connection(stream, state, graceful, permit))
            }
        };
        if let Err(error) = accepted {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}

fn connection<S>(stream: S, state: &Arc<State>, graceful: &GracefulShutdown, permit: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let state = Arc::clone(state);
    let service = service_fn(move |request: Request<Incoming>| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(routes::handle(&state, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let watched = graceful.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = watched.await {
            tracing::debug!(%error, "a connection ended early");
        }
        drop(permit);
    });
}

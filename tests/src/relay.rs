//! Connections between the host's loopback and the cluster's network namespace.
//!
//! A Unix socket with a path is reached from every network namespace. Inside, `serve` listens on one and dials
//! whatever address the first line of a connection names; outside, a [`Forward`] listens on loopback TCP and
//! passes each connection through it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};

const DIAL_LIMIT: Duration = Duration::from_secs(10);
const ADDRESS_LIMIT: u64 = 300;
const MAX_CONNECTIONS: usize = 2048;

/// Serves the inner end on a socket path, on a thread of its own, for as long as the process lives.
///
/// # Errors
/// When the socket cannot be created.
pub fn serve(socket: &Path) -> Result<()> {
    let _ = std::fs::remove_file(socket);
    let listener =
        UnixListener::bind(socket).with_context(|| format!("cannot listen on {}", socket.display()))?;
    let open = Arc::new(AtomicUsize::new(0));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let open = Arc::clone(&open);
            if open.fetch_add(1, Ordering::SeqCst) >= MAX_CONNECTIONS {
                open.fetch_sub(1, Ordering::SeqCst);
                continue;
            }
            std::thread::spawn(move || {
                if let Err(error) = dial_for(&stream) {
                    eprintln!("relay: {error:#}");
                }
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    Ok(())
}

fn dial_for(stream: &UnixStream) -> Result<()> {
    stream.set_read_timeout(Some(DIAL_LIMIT))?;
    let mut line = String::new();
    let mut reader = BufReader::with_capacity(1, stream.take(ADDRESS_LIMIT));
    reader.read_line(&mut line)?;
    stream.set_read_timeout(None)?;
    let target = line.trim_end();
    let addresses = target.to_socket_addrs().with_context(|| format!("{target}: no such address"))?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, DIAL_LIMIT) {
            Ok(tcp) => {
                tcp.set_nodelay(true)?;
                return join(&tcp, stream);
            }
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) => Err(error).with_context(|| format!("cannot connect to {target}")),
        None => bail!("{target}: no address"),
    }
}

/// Copies both ways until both ends are closed; a half-closed connection stays half-open.
fn join(tcp: &TcpStream, unix: &UnixStream) -> Result<()> {
    let (mut tcp_in, mut unix_out) = (tcp.try_clone()?, unix.try_clone()?);
    let back = std::thread::spawn(move || {
        let _ = std::io::copy(&mut tcp_in, &mut unix_out);
        let _ = unix_out.shutdown(Shutdown::Write);
    });
    let (mut unix_in, mut tcp_out) = (unix.try_clone()?, tcp.try_clone()?);
    let _ = std::io::copy(&mut unix_in, &mut tcp_out);
    let _ = tcp_out.shutdown(Shutdown::Write);
    let _ = back.join();
    Ok(())
}

/// The outer end: a loopback port that leads to an address inside the cluster. Closed when dropped.
#[derive(Debug)]
pub struct Forward {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Forward {
    /// Listens on `127.0.0.1:port` (0: any free one) and leads to `target`, a `host:port` that the cluster's
    /// name server resolves.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn open(port: u16, socket: &Path, target: &str) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port))
            .with_context(|| format!("cannot listen on 127.0.0.1:{port}"))?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let (socket, target, stopped) = (socket.to_path_buf(), target.to_owned(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || accept(&listener, &socket, &target, &stopped));
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// The loopback address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as a plain HTTP URL without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the accept call, which then sees the flag.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, socket: &Path, target: &str, stop: &AtomicBool) {
    for stream in listener.incoming() {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let Ok(tcp) = stream else { continue };
        let (socket, target) = (socket.to_path_buf(), target.to_owned());
        std::thread::spawn(move || {
            // A cluster that has gone shows as a closed connection, as a stopped server would.
            let _ = pass(&tcp, &socket, &target);
        });
    }
}

fn pass(tcp: &TcpStream, socket: &Path, target: &str) -> Result<()> {
    tcp.set_nodelay(true)?;
    let mut unix = UnixStream::connect(socket)?;
    writeln!(unix, "{target}")?;
    join(tcp, &unix)
}

/// Refuses a loopback port that is taken, before anything is started.
///
/// # Errors
/// When it is; the message names the flag and the make variable that change it.
pub fn check_port(port: u16, what: &str, flag: &str, variable: &str) -> Result<()> {
    if port == 0 {
        return Ok(());
    }
    match TcpListener::bind(("127.0.0.1", port)) {
        Ok(_) => Ok(()),
        Err(error) => Err(error).with_context(|| {
            format!(
                "port {port} of this machine, meant for {what}, is in use: \
                 choose another with {flag} PORT (make: {variable}=PORT)"
            )
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo_server() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut request = Vec::new();
                    stream.read_to_end(&mut request).unwrap();
                    stream.write_all(b"answer to ").unwrap();
                    stream.write_all(&request).unwrap();
                });
            }
        });
        address
    }

    #[test]
    fn bytes_and_half_closes_pass_both_ways() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("relay.sock");
        serve(&socket).unwrap();
        let forward = Forward::open(0, &socket, &echo_server().to_string()).unwrap();
        let large = "x".repeat(300_000);
        for request in ["one", large.as_str()] {
            let mut client = TcpStream::connect(forward.address()).unwrap();
            client.write_all(request.as_bytes()).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, format!("answer to {request}"));
        }
    }

    #[test]
    fn an_address_that_refuses_closes_the_connection_and_a_dropped_forward_frees_its_port() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("relay.sock");
        serve(&socket).unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let forward = Forward::open(0, &socket, &closed.to_string()).unwrap();
        let mut client = TcpStream::connect(forward.address()).unwrap();
        let mut answer = Vec::new();
        // Either a clean end or a reset: the other side is gone.
        let _ = client.read_to_end(&mut answer);
        assert!(answer.is_empty());
        let port = forward.address().port();
        drop(forward);
        drop(client);
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    }

    #[test]
    fn a_port_in_use_is_named_with_the_flag_that_changes_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = check_port(port, "the gateway", "--gateway-port", "GATEWAY_PORT").unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains(&port.to_string()) && text.contains("--gateway-port"), "{text}");
        check_port(0, "the gateway", "--gateway-port", "GATEWAY_PORT").unwrap();
    }
}

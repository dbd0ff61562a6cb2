//! A connection with the two time limits that hyper has not: for a head that trickles in, and for a client that does not
//! read what is written to it. Timers exist only while there is something to wait for.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use crate::limits::{HEAD_TIMEOUT, WRITE_STALL_TIMEOUT};

/// What the connection must know of its requests.
#[derive(Clone, Default)]
pub struct Activity {
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    begun: AtomicU64,
    under_way: AtomicU64,
    multiplexed: AtomicBool,
}

impl Activity {
    /// A request began; it is under way until the guard is dropped.
    #[must_use]
    pub fn begin(&self, version: http::Version) -> Busy {
        if version == http::Version::HTTP_2 {
            // Pings keep such a connection alive between requests, so bytes are no sign of a head.
            self.counts.multiplexed.store(true, Ordering::Relaxed);
        }
        self.counts.begun.fetch_add(1, Ordering::Relaxed);
        self.counts.under_way.fetch_add(1, Ordering::Relaxed);
        Busy { counts: Arc::clone(&self.counts) }
    }

    fn begun(&self) -> u64 {
        self.counts.begun.load(Ordering::Relaxed)
    }

    fn awaits_head(&self) -> bool {
        self.counts.under_way.load(Ordering::Relaxed) == 0 && !self.counts.multiplexed.load(Ordering::Relaxed)
    }
}

/// A request under way.
pub struct Busy {
    counts: Arc<Counts>,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.counts.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The connection.
pub(super) struct Guarded {
    stream: TcpStream,
    activity: Activity,
    /// When the head now awaited began, and how many requests had begun then.
    head: Option<(u64, Instant)>,
    head_timer: Option<Pin<Box<Sleep>>>,
    write_timer: Option<Pin<Box<Sleep>>>,
}

impl Guarded {
    pub(super) fn new(stream: TcpStream, activity: Activity) -> Self {
        Self { stream, activity, head: None, head_timer: None, write_timer: None }
    }

    fn note_read(&mut self) {
        let begun = self.activity.begun();
        if self.activity.awaits_head() && self.head.is_none_or(|(before, _)| before != begun) {
            self.head = Some((begun, Instant::now() + HEAD_TIMEOUT));
        }
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let begun = self.activity.begun();
        let Some((_, deadline)) =
            self.head.filter(|(before, _)| *before == begun && self.activity.awaits_head())
        else {
            self.head_timer = None;
            return Poll::Pending;
        };
        let timer = self.head_timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        timer
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "the head did not arrive in time")))
    }

    fn poll_stall<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_timer = None;
            return written;
        }
        let timer = self.write_timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_STALL_TIMEOUT)));
        timer
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buffer) {
            Poll::Ready(Ok(())) => {
                if buffer.filled().len() > before {
                    this.note_read();
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => this.poll_head(cx),
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.poll_stall(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, parts);
        this.poll_stall(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

//! How far a fetch is, told to whoever asks on one port: `{"bytes": …, "total": …, "bytesPerSecond": …}`. The operator asks
//! while the init container runs. Nothing else is served, one caller at a time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Longest time for one caller.
const CALLER: Duration = Duration::from_secs(2);
/// Bytes of a request's head that are read before the answer.
const HEAD: usize = 2048;

/// How far a fetch is.
#[derive(Debug)]
pub(crate) struct Progress {
    bytes: AtomicU64,
    /// 0: not known.
    total: AtomicU64,
    begun: Instant,
}

impl Progress {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { bytes: AtomicU64::new(0), total: AtomicU64::new(0), begun: Instant::now() })
    }

    /// An attempt begins; the total is what the server says of it.
    pub(crate) fn begin(&self, total: Option<u64>) {
        self.bytes.store(0, Ordering::Relaxed);
        self.total.store(total.unwrap_or(0), Ordering::Relaxed);
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn document(&self) -> String {
        let bytes = self.bytes.load(Ordering::Relaxed);
        let total = Some(self.total.load(Ordering::Relaxed)).filter(|total| *total > 0);
        let seconds = self.begun.elapsed().as_secs().max(1);
        json!({"bytes": bytes, "total": total, "bytesPerSecond": bytes.checked_div(seconds)}).to_string()
    }
}

/// Answers until dropped. A port that is taken is said and costs the progress alone, never the fetch.
pub(crate) async fn serve(listen: SocketAddr, progress: Arc<Progress>) {
    let listener = match TcpListener::bind(listen).await {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(%listen, %error, "--progress-listen: nobody will hear how far the fetch is");
            return;
        }
    };
    loop {
        match listener.accept().await {
            Ok((caller, _)) => {
                let _gone_or_slow = tokio::time::timeout(CALLER, answer(caller, &progress)).await;
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn answer(mut caller: TcpStream, progress: &Progress) -> std::io::Result<()> {
    let mut head = [0; HEAD];
    let mut read = 0;
    while let Some(rest) = head.get_mut(read..).filter(|rest| !rest.is_empty()) {
        let more = caller.read(rest).await?;
        read += more;
        if more == 0 || head.get(..read).is_some_and(|head| head.windows(4).any(|end| end == b"\r\n\r\n")) {
            break;
        }
    }
    let body = progress.document();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    caller.write_all(head.as_bytes()).await?;
    caller.write_all(body.as_bytes()).await?;
    caller.shutdown().await
}

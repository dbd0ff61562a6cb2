//! HTTP/1.1 as a client, no more than the load needs: one connection, one request after another, bodies taken as they
//! come. It costs little, so that the core it shares with the model server is not what is measured.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest wait for bytes.
const LIMIT: Duration = Duration::from_secs(20);

/// One connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Bytes of the buffer that were read already.
    read: usize,
    /// `Server-Timing` of the last answer.
    pub server_timing: Option<String>,
}

/// When what came.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// The body's first byte.
    pub first_byte: Duration,
    /// Its last.
    pub whole: Duration,
}

impl Connection {
    pub async fn open(to: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(to).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(16 * 1024), read: 0, server_timing: None })
    }

    /// Sends a request, whose time counts from `began`, and gives each piece of its answer's body to `take`.
    pub async fn send(
        &mut self,
        request: &[u8],
        began: Instant,
        mut take: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<Times> {
        self.stream.write_all(request).await.context("the request could not be sent")?;
        let head = self.head().await?;
        let mut first_byte = None;
        let mut note = |piece: &[u8]| {
            first_byte.get_or_insert_with(|| began.elapsed());
            take(piece)
        };
        match head {
            Framing::Length(length) => self.take(length, &mut note).await?,
            Framing::Chunked => {
                loop {
                    let size = self.chunk_size().await?;
                    if size == 0 {
                        break;
                    }
                    self.take(size, &mut note).await?;
                    self.skip_line().await?;
                }
                self.skip_line().await?;
            }
        }
        let whole = began.elapsed();
        Ok(Times { first_byte: first_byte.unwrap_or(whole), whole })
    }

    async fn fill(&mut self) -> Result<()> {
        if self.read > 0 && self.read == self.buffer.len() {
            self.buffer.clear();
            self.read = 0;
        }
        let read = tokio::time::timeout(LIMIT, self.stream.read_buf(&mut self.buffer)).await;
        match read.context("no bytes in time")?? {
            0 => bail!("the connection was closed"),
            _ => Ok(()),
        }
    }

    fn unread(&self) -> &[u8] {
        self.buffer.get(self.read..).unwrap_or_default()
    }

    async fn line(&mut self) -> Result<String> {
        let mut from = 0;
        loop {
            let unread = self.unread();
            if let Some(length) =
                unread.get(from..).and_then(|rest| rest.iter().position(|byte| *byte == b'\n'))
            {
                let line = unread.get(..from + length).unwrap_or_default();
                let text = String::from_utf8_lossy(line).trim_end().to_owned();
                self.read += from + length + 1;
                return Ok(text);
            }
            from = unread.len();
            self.fill().await?;
        }
    }

    async fn skip_line(&mut self) -> Result<()> {
        self.line().await.map(|_| ())
    }

    async fn chunk_size(&mut self) -> Result<usize> {
        let line = self.line().await?;
        usize::from_str_radix(line.split(';').next().unwrap_or_default(), 16)
            .with_context(|| format!("chunk {line:?}"))
    }

    async fn head(&mut self) -> Result<Framing> {
        let status = self.line().await?;
        let mut framing = Framing::Length(0);
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                break;
            }
            let Some((name, value)) = line.split_once(':') else { continue };
            if name.eq_ignore_ascii_case("content-length") {
                framing = Framing::Length(value.trim().parse()?);
            } else if name.eq_ignore_ascii_case("server-timing") {
                self.server_timing = Some(value.trim().to_owned());
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                framing = Framing::Chunked;
            }
        }
        if status.split(' ').nth(1) != Some("200") {
            let length = if let Framing::Length(length) = framing { length } else { 0 };
            let mut body = Vec::new();
            let _cut = self
                .take(length, &mut |piece| {
                    body.extend_from_slice(piece);
                    Ok(())
                })
                .await;
            bail!("{status}: {}", String::from_utf8_lossy(&body).chars().take(300).collect::<String>());
        }
        Ok(framing)
    }

    async fn take(&mut self, mut length: usize, take: &mut impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        while length > 0 {
            if self.unread().is_empty() {
                self.fill().await?;
            }
            let unread = self.unread();
            let piece = unread.get(..length.min(unread.len())).unwrap_or_default();
            take(piece)?;
            let taken = piece.len();
            length -= taken;
            self.read += taken;
        }
        Ok(())
    }
}

enum Framing {
    Length(usize),
    Chunked,
}

//! HTTP/1.1 over a blocking socket, both sides, as far as the instruments need it. The client takes an answer for whole
//! only when its framing says so: a body cut short is an error, never a shorter body.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

const MAX_HEAD: u64 = 64 * 1024;
const MAX_BODY: usize = 16 * 1024 * 1024;

/// The start line and headers of a message.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// First line, without its line break.
    pub start: String,
    /// Names in lower case, values trimmed, in order.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// The first value of a header.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    fn says(&self, name: &str, word: &str) -> bool {
        self.get(name).is_some_and(|value| value.to_ascii_lowercase().contains(word))
    }
}

/// An answer that arrived whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Status line and headers.
    pub head: Head,
    /// Body, with chunked framing removed.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text; bytes that are not UTF-8 become replacement characters.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is not JSON; the message holds the body.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {}", self.text()))
    }
}

/// A request to be sent.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Method.
    pub method: String,
    /// Path with query.
    pub path: String,
    /// Headers besides `host` and `content-length`.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Request {
    /// A GET without headers.
    #[must_use]
    pub fn get(path: &str) -> Self {
        Self { method: "GET".into(), path: path.into(), ..Self::default() }
    }

    /// A POST of JSON.
    #[must_use]
    pub fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type".into(), "application/json".into())];
        Self { method: "POST".into(), path: path.into(), headers, body: body.into() }
    }

    /// The same with one more header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// A client connection that is kept open while the server allows it.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    limit: Duration,
    open: Option<BufReader<TcpStream>>,
}

impl Connection {
    /// A connection to be opened by the first request; `limit` bounds every wait for bytes.
    #[must_use]
    pub fn to(address: SocketAddr, limit: Duration) -> Self {
        Self { address, limit, open: None }
    }

    /// Sends a request and reads the whole answer. A kept connection that the server has closed meanwhile is opened anew
    /// before anything is sent, as every pooling client does.
    ///
    /// # Errors
    /// When the connection fails, the answer is malformed, cut short, or does not come in time.
    pub fn send(&mut self, request: &Request) -> Result<Answer> {
        let mut stream = match self.open.take() {
            Some(kept) if is_idle(kept.get_ref()) => kept,
            _ => BufReader::new(self.dial()?),
        };
        stream.get_mut().write_all(&encode(request, &self.address.to_string()))?;
        let mut head = read_head(&mut stream).context("no answer")?;
        while status_of(&head)? == 100 {
            head = read_head(&mut stream)?;
        }
        let status = status_of(&head)?;
        let bodiless = request.method == "HEAD" || matches!(status, 204 | 304);
        let body = if bodiless { Vec::new() } else { read_body(&mut stream, &head)? };
        if !head.says("connection", "close") && (bodiless || is_framed(&head)) {
            self.open = Some(stream);
        }
        Ok(Answer { status, head, body })
    }

    fn dial(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.address, self.limit).context("cannot connect")?;
        stream.set_read_timeout(Some(self.limit))?;
        stream.set_write_timeout(Some(self.limit))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// One request on a connection of its own.
///
/// # Errors
/// As [`Connection::send`].
pub fn send(address: SocketAddr, request: &Request, limit: Duration) -> Result<Answer> {
    Connection::to(address, limit).send(request)
}

/// Neither closed nor holding bytes that nobody asked for.
fn is_idle(stream: &TcpStream) -> bool {
    if stream.set_nonblocking(true).is_err() {
        return false;
    }
    let mut byte = [0];
    let idle = matches!(stream.peek(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
    stream.set_nonblocking(false).is_ok() && idle
}

fn encode(request: &Request, host: &str) -> Vec<u8> {
    let mut text = format!("{} {} HTTP/1.1\r\nhost: {host}\r\n", request.method, request.path);
    for (name, value) in &request.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !request.body.is_empty() || request.method == "POST" {
        text.push_str(&format!("content-length: {}\r\n", request.body.len()));
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(&request.body);
    bytes
}

/// Reads up to the empty line that ends the headers.
///
/// # Errors
/// When the stream ends before, or the head is malformed or too long.
pub fn read_head(stream: &mut impl BufRead) -> Result<Head> {
    let mut head = Head::default();
    let mut limited = stream.take(MAX_HEAD);
    loop {
        let mut line = String::new();
        if limited.read_line(&mut line)? == 0 {
            bail!("the connection ended within the headers");
        }
        let line = line.trim_end_matches(['\r', '\n']);
        if head.start.is_empty() {
            head.start = line.to_owned();
        } else if line.is_empty() {
            return Ok(head);
        } else {
            let (name, value) = line.split_once(':').with_context(|| format!("not a header: {line:?}"))?;
            head.headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
}

fn status_of(head: &Head) -> Result<u16> {
    let code = head.start.split(' ').nth(1).and_then(|code| code.parse().ok());
    code.with_context(|| format!("not a status line: {:?}", head.start))
}

fn is_framed(head: &Head) -> bool {
    head.get("content-length").is_some() || head.says("transfer-encoding", "chunked")
}

/// Reads a body as its head frames it.
///
/// # Errors
/// When the stream ends before the body does.
pub fn read_body(stream: &mut impl BufRead, head: &Head) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    if head.says("transfer-encoding", "chunked") {
        while read_chunk(stream, &mut body)? {}
    } else if let Some(length) = head.get("content-length") {
        let length: usize = length.parse().with_context(|| format!("content-length {length:?}"))?;
        if length > MAX_BODY {
            bail!("a body of {length} bytes");
        }
        body.resize(length, 0);
        stream.read_exact(&mut body).with_context(|| format!("the body of {length} bytes was cut"))?;
    } else if head.start.starts_with("HTTP/") {
        stream.take(MAX_BODY as u64).read_to_end(&mut body)?;
    }
    Ok(body)
}

/// Reads one chunk; false after the last.
fn read_chunk(stream: &mut impl BufRead, body: &mut Vec<u8>) -> Result<bool> {
    let mut line = String::new();
    stream.take(1024).read_line(&mut line)?;
    let size = line.trim().split(';').next().unwrap_or_default();
    let size = usize::from_str_radix(size, 16)
        .with_context(|| format!("the chunked body was cut (size {line:?})"))?;
    if body.len() + size > MAX_BODY {
        bail!("a body above {MAX_BODY} bytes");
    }
    let start = body.len();
    body.resize(start + size, 0);
    stream.read_exact(&mut body[start..]).context("a chunk was cut")?;
    let mut end = [0; 2];
    stream.read_exact(&mut end).context("a chunk was cut")?;
    if &end != b"\r\n" {
        bail!("a chunk does not end where its size says");
    }
    Ok(size > 0)
}

/// Writes an answer with a length.
///
/// # Errors
/// When the peer has gone.
pub fn answer(stream: &mut impl Write, status: u16, content_type: &str, body: &[u8]) -> Result<()> {
    let head = format!(
        "HTTP/1.1 {status} Status\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    Ok(stream.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(answer: &str) -> Result<Vec<u8>> {
        let mut stream = answer.as_bytes();
        let head = read_head(&mut stream)?;
        read_body(&mut stream, &head)
    }

    #[test]
    fn a_whole_body_is_read_in_either_framing() {
        assert_eq!(read("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").unwrap(), b"hi");
        assert_eq!(
            read("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n1\r\n!\r\n0\r\n\r\n")
                .unwrap(),
            b"hi!"
        );
    }

    #[test]
    fn a_cut_body_is_an_error_in_either_framing() {
        assert!(read("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi").is_err());
        for cut in ["2\r\nhi\r\n", "2\r\nh", "2\r\nhi\r\n0\r\n", ""] {
            assert!(
                read(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{cut}")).is_err(),
                "{cut:?}"
            );
        }
    }
}

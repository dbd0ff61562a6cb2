//! The little of Redis' protocol (RESP 2) that two scripts need: a command is a list of byte strings, an answer is one of
//! five kinds. Pure but for the stream that is handed in. `docs/decisions` says why it is no crate.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use url::Url;

/// Longest string and list of an answer; ours have a few numbers.
const MAX_LENGTH: usize = 64 * 1024;
const MAX_ITEMS: usize = 1024;
/// Longest line: a kind with a number, or an error's text.
const MAX_LINE: u64 = 4096;

/// Where a server is and how it lets us in.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Name or IP address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// `rediss://`.
    pub tls: bool,
    /// User; empty for the default one.
    pub user: String,
    /// Password; empty when none is asked for.
    pub password: String,
    /// Number of the database.
    pub database: u32,
}

impl Address {
    /// Reads `redis://[user][:password]@host[:port][/database]`.
    ///
    /// # Errors
    /// A sentence without the password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let form = "write redis://[user][:password@]host[:6379][/database], or rediss:// for TLS";
        let url =
            Url::parse(text.trim()).map_err(|_| format!("the address of Redis is not a URL; {form}"))?;
        let tls = match url.scheme() {
            "redis" => false,
            "rediss" => true,
            _ => return Err(format!("the address of Redis has another scheme; {form}")),
        };
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| format!("the address of Redis has no host; {form}"))?;
        let path = url.path().trim_start_matches('/');
        let database = if path.is_empty() { Some(0) } else { path.parse().ok() };
        let plain = |text: &str| {
            percent(text).ok_or_else(|| format!("a part of the address of Redis is not UTF-8; {form}"))
        };
        Ok(Self {
            host: host.trim_start_matches('[').trim_end_matches(']').into(),
            port: url.port().unwrap_or(6379),
            tls,
            user: plain(url.username())?,
            password: plain(url.password().unwrap_or_default())?,
            database: database.ok_or_else(|| format!("the database of Redis is not a number; {form}"))?,
        })
    }
}

fn percent(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
        } else {
            byte
        });
    }
    String::from_utf8(bytes).ok()
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A status such as `OK`.
    Simple(String),
    /// A refusal, such as `NOSCRIPT …`.
    Error(String),
    /// A number.
    Integer(i64),
    /// Bytes; `None` where there is nothing.
    Bulk(Option<Vec<u8>>),
    /// A list, of which no item is a list.
    List(Vec<Value>),
}

/// A stream to a server, whatever is below.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection. One command at a time: whoever gives up in the middle of one drops the connection with it.
pub struct Connection {
    stream: BufReader<Box<dyn Stream>>,
}

impl Connection {
    /// Speaks to `stream` and shows who we are.
    ///
    /// # Errors
    /// When the stream breaks or the server does not let us in.
    pub async fn open(stream: Box<dyn Stream>, address: &Address) -> io::Result<Self> {
        let mut connection = Self { stream: BufReader::new(stream) };
        let (user, password) = (address.user.as_bytes(), address.password.as_bytes());
        if !user.is_empty() {
            connection.expect_ok(&[b"AUTH", user, password]).await?;
        } else if !password.is_empty() {
            connection.expect_ok(&[b"AUTH", password]).await?;
        }
        if address.database != 0 {
            connection.expect_ok(&[b"SELECT", address.database.to_string().as_bytes()]).await?;
        }
        Ok(connection)
    }

    async fn expect_ok(&mut self, command: &[&[u8]]) -> io::Result<()> {
        match self.call(command).await? {
            Value::Simple(_) => Ok(()),
            Value::Error(why) => Err(io::Error::other(why)),
            _ => Err(malformed()),
        }
    }

    /// Sends a command and reads its answer.
    ///
    /// # Errors
    /// When the stream breaks or the answer is none.
    pub async fn call(&mut self, command: &[&[u8]]) -> io::Result<Value> {
        let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
        for part in command {
            bytes.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
            bytes.extend_from_slice(part);
            bytes.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&bytes).await?;
        self.stream.get_mut().flush().await?;
        let (kind, rest) = self.line().await?;
        if kind != b'*' {
            return self.scalar(kind, rest).await;
        }
        let length =
            rest.parse::<usize>().ok().filter(|length| *length <= MAX_ITEMS).ok_or_else(malformed)?;
        let mut items = Vec::with_capacity(length);
        for _ in 0..length {
            let (kind, rest) = self.line().await?;
            items.push(self.scalar(kind, rest).await?);
        }
        Ok(Value::List(items))
    }

    async fn scalar(&mut self, kind: u8, rest: String) -> io::Result<Value> {
        Ok(match kind {
            b'+' => Value::Simple(rest),
            b'-' => Value::Error(rest),
            b':' => Value::Integer(rest.parse().map_err(|_| malformed())?),
            b'$' if rest == "-1" => Value::Bulk(None),
            b'$' => {
                let length: usize = rest.parse().map_err(|_| malformed())?;
                if length > MAX_LENGTH {
                    return Err(malformed());
                }
                let mut bytes = vec![0; length + 2];
                self.stream.read_exact(&mut bytes).await?;
                bytes.truncate(length);
                Value::Bulk(Some(bytes))
            }
            _ => return Err(malformed()),
        })
    }

    async fn line(&mut self) -> io::Result<(u8, String)> {
        let mut line = Vec::new();
        (&mut self.stream).take(MAX_LINE).read_until(b'\n', &mut line).await?;
        let text = line.strip_suffix(b"\r\n").and_then(|line| line.split_first());
        let (kind, rest) = text.ok_or_else(|| {
            if line.is_empty() { io::Error::from(io::ErrorKind::UnexpectedEof) } else { malformed() }
        })?;
        Ok((*kind, String::from_utf8_lossy(rest).into_owned()))
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the answer is not one of Redis")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_their_mistakes_told_without_the_password() {
        let address = Address::parse("rediss://me:p%40ss@cache.example:7000/3\n").unwrap();
        assert_eq!((address.host.as_str(), address.port, address.tls), ("cache.example", 7000, true));
        assert_eq!((address.user.as_str(), address.password.as_str(), address.database), ("me", "p@ss", 3));
        let address = Address::parse("redis://:secret@[::1]").unwrap();
        assert_eq!((address.host.as_str(), address.port, address.user.as_str()), ("::1", 6379, ""));
        for bad in ["cache:6379", "http://u:secret@h", "redis://h/x", "redis://", "redis://u:secret%zz@h"] {
            let why = Address::parse(bad).err().unwrap_or_else(|| panic!("{bad} was read"));
            assert!(!why.contains("secret"), "{why}");
        }
    }

    #[tokio::test]
    async fn answers_are_read_strictly() {
        for (bytes, expected) in [
            ("+OK\r\n", Some(Value::Simple("OK".into()))),
            (":-7\r\n", Some(Value::Integer(-7))),
            ("-ERR no\r\n", Some(Value::Error("ERR no".into()))),
            ("$3\r\na\r\n\r\n", Some(Value::Bulk(Some(b"a\r\n".to_vec())))),
            ("$-1\r\n", Some(Value::Bulk(None))),
            (
                "*2\r\n:1\r\n$1\r\nx\r\n",
                Some(Value::List(vec![Value::Integer(1), Value::Bulk(Some(b"x".into()))])),
            ),
            ("*1\r\n*1\r\n:1\r\n", None),
            ("*99999999\r\n", None),
            ("$99999999\r\n", None),
            (":x\r\n", None),
            ("HTTP/1.1 400 Bad Request\r\n\r\n", None),
            ("\r\n", None),
            ("", None),
        ] {
            let (ours, mut theirs) = tokio::io::duplex(1024);
            theirs.write_all(bytes.as_bytes()).await.unwrap();
            let mut connection = Connection { stream: BufReader::new(Box::new(ours)) };
            // The command is not read, so the other end is closed for writing only after it fitted in.
            let answer = async {
                let answer = connection.call(&[b"PING"]).await;
                answer.ok()
            };
            let closed = async {
                tokio::task::yield_now().await;
                theirs.shutdown().await.unwrap();
            };
            let (answer, ()) = tokio::join!(answer, closed);
            assert_eq!(answer, expected, "{bytes:?}");
        }
    }
}

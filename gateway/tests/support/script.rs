//! A backend that does on the wire what a test says, byte by byte: each request it gets takes the next part of the script.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What to do next with the connection.
#[derive(Clone, Debug)]
pub enum Act {
    /// Write these bytes.
    Write(String),
    /// Write them one at a time.
    Trickle(String),
    /// Say nothing for this long.
    Pause(Duration),
    /// Cut the connection with a reset.
    Reset,
    /// Close it properly.
    Close,
    /// Neither say nor close anything.
    Hang,
}

/// The backend.
pub struct Script {
    pub at: SocketAddr,
    /// Bodies of the requests, in order.
    pub asked: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Script {
    /// Answers requests with the parts in turn, the last one again and again. `GET` is answered by itself.
    pub async fn start(parts: Vec<Vec<Act>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (log, parts) = (Arc::clone(&asked), Arc::new(parts));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                tokio::spawn(serve(stream, Arc::clone(&parts), Arc::clone(&log)));
            }
        });
        Self { at, asked, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}/v1", self.at)
    }

    pub fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    pub fn last(&self) -> serde_json::Value {
        serde_json::from_str(self.asked.lock().unwrap().last().expect("a request")).unwrap()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, parts: Arc<Vec<Vec<Act>>>, log: Arc<Mutex<Vec<String>>>) {
    while let Some((head, body)) = request(&mut stream).await {
        if head.starts_with("GET") {
            let models = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
            if stream.write_all(models.as_bytes()).await.is_err() {
                return;
            }
            continue;
        }
        let turn = {
            let mut log = log.lock().unwrap();
            log.push(body);
            log.len() - 1
        };
        let part = parts.get(turn).or(parts.last()).cloned().unwrap_or_default();
        for act in part {
            match act {
                Act::Write(text) => {
                    if stream.write_all(text.as_bytes()).await.is_err() {
                        return;
                    }
                }
                Act::Trickle(text) => {
                    for byte in text.as_bytes() {
                        if stream.write_all(&[*byte]).await.is_err() {
                            return;
                        }
                        tokio::task::yield_now().await;
                    }
                }
                Act::Pause(pause) => tokio::time::sleep(pause).await,
                Act::Reset => {
                    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                    return;
                }
                Act::Close => return,
                Act::Hang => std::future::pending().await,
            }
        }
    }
}

/// Head and body of the next request; `None` when the other side has closed.
async fn request(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
    });
    while bytes.len() < end + length.unwrap_or(0) {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some((head, String::from_utf8(bytes[end..].to_vec()).unwrap()))
}

/// A configuration whose route leads to `b0` first, and to `b1` as its fallback where there is one. `paid`: their servers are
/// outside, and bill.
pub fn routed(urls: &[&str], paid: bool, gateway: &str) -> String {
    let mut text = String::new();
    let boundary = if paid { "Outside" } else { "Inside" };
    for (index, url) in urls.iter().enumerate() {
        text += &format!(
            "apiVersion: modelgate.dev/v1alpha1\nkind: ModelBackend\nmetadata: {{name: b{index}}}\nspec:\n  model: {{name: m}}\n  external: {{protocol: OpenAI, url: \"{url}\", boundary: {boundary}, probe: None}}\n---\n"
        );
    }
    let fallback = if urls.len() > 1 { ", {name: b1, role: Fallback}" } else { "" };
    text + &format!(
        "apiVersion: modelgate.dev/v1alpha1\nkind: ModelGateway\nmetadata: {{name: gw}}\nspec:\n  auth: {{anonymous: true}}\n  routes:\n  - name: r\n    dataBoundary: External\n    backends: [{{name: b0}}{fallback}]\n    timeout: {{connect: 1s, firstByte: 1s, firstToken: 1500ms, idle: 1s, total: 20s}}\n{gateway}"
    )
}

/// An answer with a status, further header lines and a body.
pub fn answer(status: &str, headers: &str, body: &str) -> Vec<Act> {
    vec![Act::Write(format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    ))]
}

/// A completion that says `text`.
pub fn says(text: &str) -> Vec<Act> {
    answer(
        "200 OK",
        "",
        &format!(
            r#"{{"id":"x","choices":[{{"index":0,"text":"{text}","finish_reason":"stop"}}],"usage":{{"prompt_tokens":3,"completion_tokens":2}}}}"#
        ),
    )
}

/// Head of a stream, which ends when the connection does.
pub fn stream_head() -> Act {
    Act::Write("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n".into())
}

/// One event of a text completion.
pub fn text_event(id: &str, text: &str) -> String {
    format!(
        "data: {{\"id\":\"{id}\",\"choices\":[{{\"index\":0,\"text\":\"{text}\",\"finish_reason\":null}}]}}\n\n"
    )
}

/// One event of a chat.
pub fn chat_event(id: &str, text: &str) -> String {
    format!(
        "data: {{\"id\":\"{id}\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]}}\n\n"
    )
}

/// The proper end of either.
pub fn ending(id: &str) -> String {
    format!(
        "data: {{\"id\":\"{id}\",\"choices\":[{{\"index\":0,\"text\":\"\",\"delta\":{{}},\"finish_reason\":\"stop\"}}]}}\n\ndata: [DONE]\n\n"
    )
}

/// A whole stream of these events.
pub fn streams(events: &str) -> Vec<Act> {
    vec![stream_head(), Act::Write(events.into()), Act::Close]
}

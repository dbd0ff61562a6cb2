//! An OpenAI-compatible upstream that answers with the nonce found in the request, so that an answer given to the wrong
//! request, or damaged on the way, is noticed.

use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::http::{Head, answer, read_body, read_head};

/// How the upstream behaves.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Bearer token that requests must carry; others are answered 401.
    pub token: Option<String>,
    /// Pause before each piece of a stream, and before an answer.
    pub delay: Duration,
}

/// Serves for as long as the process lives, a thread a connection.
///
/// # Errors
/// When the listener fails.
pub fn serve(listener: &TcpListener, options: &Options) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().context("the listener failed")?;
        let options = options.clone();
        std::thread::spawn(move || {
            // A client that hangs up ends its own connection and nothing else.
            let _ = converse(stream, &options);
        });
    }
}

fn converse(stream: TcpStream, options: &Options) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let head = read_head(&mut reader)?;
        let body = read_body(&mut reader, &head)?;
        std::thread::sleep(options.delay);
        respond(reader.get_mut(), &head, &body, options)?;
    }
}

fn respond(stream: &mut TcpStream, head: &Head, body: &[u8], options: &Options) -> Result<()> {
    let bearer = head.get("authorization").and_then(|value| value.strip_prefix("Bearer "));
    if options.token.is_some() && bearer != options.token.as_deref() {
        return send(
            stream,
            401,
            &json!({"error": {"message": "wrong token", "type": "invalid_request_error"}}),
        );
    }
    let path = head.start.split(' ').nth(1).unwrap_or_default();
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = nonce(body);
    match path {
        "/v1/models" => {
            send(stream, 200, &json!({"object": "list", "data": [{"id": "echo", "object": "model"}]}))
        }
        "/v1/completions" | "/v1/chat/completions" if asked["stream"] == json!(true) => {
            stream_out(stream, path, &text, options.delay)
        }
        "/v1/completions" => {
            send(stream, 200, &document(&text, &json!({"index": 0, "text": text, "finish_reason": "stop"})))
        }
        "/v1/chat/completions" => {
            let message = json!({"role": "assistant", "content": text});
            send(
                stream,
                200,
                &document(&text, &json!({"index": 0, "message": message, "finish_reason": "stop"})),
            )
        }
        _ => send(stream, 404, &json!({"error": {"message": "no such path"}})),
    }
}

/// The first `nonce-…` in the request; without one a fixed word.
fn nonce(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let Some(start) = text.find("nonce-") else { return "echo".into() };
    text[start..].chars().take_while(|char| char.is_ascii_alphanumeric() || *char == '-').collect()
}

fn document(text: &str, choice: &Value) -> Value {
    json!({
        "id": format!("cmpl-{text}"), "object": "text_completion", "created": 1_700_000_000, "model": "echo",
        "choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    })
}

fn send(stream: &mut TcpStream, status: u16, body: &Value) -> Result<()> {
    answer(stream, status, "application/json", body.to_string().as_bytes())
}

fn stream_out(stream: &mut TcpStream, path: &str, text: &str, delay: Duration) -> Result<()> {
    stream.write_all(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
    )?;
    let pieces: Vec<String> = text.chars().map(String::from).collect();
    for piece in &pieces {
        std::thread::sleep(delay);
        let choice = if path.contains("chat") {
            json!({"index": 0, "delta": {"content": piece}, "finish_reason": null})
        } else {
            json!({"index": 0, "text": piece, "finish_reason": null})
        };
        chunk(stream, &format!("data: {}\n\n", document(text, &choice)))?;
    }
    let end = json!({"index": 0, "delta": {}, "text": "", "finish_reason": "stop"});
    chunk(stream, &format!("data: {}\n\ndata: [DONE]\n\n", document(text, &end)))?;
    stream.write_all(b"0\r\n\r\n")?;
    Ok(stream.flush()?)
}

fn chunk(stream: &mut TcpStream, text: &str) -> Result<()> {
    Ok(write!(stream, "{:x}\r\n{text}\r\n", text.len())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instruments::http::{Connection, Request};

    #[test]
    fn the_nonce_comes_back_whole_and_streamed_and_a_wrong_token_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let options = Options { token: Some("t".into()), ..Options::default() };
        std::thread::spawn(move || serve(&listener, &options));
        let mut connection = Connection::to(address, Duration::from_secs(5));
        let ask = Request::post("/v1/completions", r#"{"prompt":"say nonce-7f now"}"#);
        assert_eq!(connection.send(&ask).unwrap().status, 401);
        let answer = connection.send(&ask.clone().with("authorization", "Bearer t")).unwrap();
        assert_eq!(answer.json().unwrap()["choices"][0]["text"], "nonce-7f");
        let ask = Request::post("/v1/chat/completions", r#"{"stream":true,"messages":["nonce-8a"]}"#);
        let text = connection.send(&ask.with("authorization", "Bearer t")).unwrap().text();
        assert_eq!(text.matches("\"content\"").count(), "nonce-8a".len());
        assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    }
}

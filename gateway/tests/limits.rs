//! Limits of a connection and of a request, asked of the running server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::{Duration, Instant};

use modelgate_gateway::limits;
use support::{Gateway, fake};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends raw bytes and reads until the server closes or `wait` is over.
async fn raw(gateway: &Gateway, bytes: &[u8], wait: Duration) -> String {
    let mut stream = TcpStream::connect(gateway.at.http).await.unwrap();
    // The server may have answered and closed before all is written.
    let _cut = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _elapsed = tokio::time::timeout(wait, stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn what_is_too_large_is_refused_with_its_status() {
    let gateway = Gateway::start(&fake("x", "")).await;
    let wait = Duration::from_secs(1);
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(limits::URI_BYTES));
    assert!(raw(&gateway, long.as_bytes(), wait).await.starts_with("HTTP/1.1 414"));
    let many = format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(limits::HEADERS + 1));
    assert!(raw(&gateway, many.as_bytes(), wait).await.starts_with("HTTP/1.1 431"));
    let wide = format!("GET / HTTP/1.1\r\nhost: x\r\na: {}\r\n\r\n", "b".repeat(limits::H1_BUFFER_BYTES));
    assert!(raw(&gateway, wide.as_bytes(), wait).await.starts_with("HTTP/1.1 431"));
    for (path, limit) in
        [("/v2/completions", limits::GITLAB_BODY_BYTES), ("/v1/completions", limits::OPENAI_BODY_BYTES)]
    {
        let announced = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", limit + 1);
        assert!(raw(&gateway, announced.as_bytes(), wait).await.starts_with("HTTP/1.1 413"), "{path}");
        let mut chunked =
            format!("POST {path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{limit:x}\r\n")
                .into_bytes();
        chunked.resize(chunked.len() + limit, b' ');
        chunked.extend_from_slice(b"\r\n1\r\n \r\n0\r\n\r\n");
        assert!(
            raw(&gateway, &chunked, Duration::from_secs(5)).await.starts_with("HTTP/1.1 413"),
            "{path} chunked"
        );
    }
}

#[tokio::test]
async fn the_largest_body_of_the_contract_is_taken() {
    let gateway = Gateway::start(&fake("x", "")).await;
    // 100 000 emoji on each side of the cursor, escaped as some clients do: 2.4 MB.
    let content = "\\ud83d\\ude00".repeat(100_000);
    let body = format!(
        r#"{{"current_file":{{"file_name":"a.py","content_above_cursor":"{content}","content_below_cursor":"{content}"}}}}"#
    );
    let answer = gateway.post("/v2/completions", &body).await;
    assert_eq!(answer.status.as_u16(), 200, "{answer:?}");
}

#[tokio::test]
async fn a_head_that_trickles_in_is_cut_while_an_idle_connection_is_kept() {
    let gateway = Gateway::start(&fake("x", "")).await;
    let mut idle = TcpStream::connect(gateway.at.http).await.unwrap();
    idle.write_all(b"GET /monitoring/healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut slow = TcpStream::connect(gateway.at.http).await.unwrap();
    let began = Instant::now();
    let mut cut = false;
    for byte in b"GET / HTTP/1.1\r\nhost: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx".iter().cycle() {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut scrap = [0; 64];
        let closed = matches!(
            tokio::time::timeout(Duration::from_millis(1), slow.read(&mut scrap)).await,
            Ok(Ok(0) | Err(_))
        );
        if closed || slow.write_all(&[*byte]).await.is_err() {
            cut = true;
            break;
        }
        if began.elapsed() > limits::HEAD_TIMEOUT * 3 {
            break;
        }
    }
    assert!(cut, "a head may take {:?}", limits::HEAD_TIMEOUT);
    let mut answer = vec![0; 1024];
    let length = idle.read(&mut answer).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 200"));
    idle.write_all(b"GET /monitoring/healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let length = idle.read(&mut answer).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 200"), "idle for longer than a head may take");
}

#[tokio::test]
async fn a_body_that_stops_coming_is_answered_408() {
    let gateway = Gateway::start(&fake("x", "")).await;
    let head = b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{\"model\"";
    let answer = raw(&gateway, head, limits::BODY_IDLE_TIMEOUT * 3).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn nothing_waits_for_a_delayed_acknowledgement() {
    // Without TCP_NODELAY on both sides a fresh stream of small events stalls for about 40 ms at each event.
    let gateway = Gateway::start(&fake("abcdefghijklmnopqrst", ", chunks: 20, delay: 2ms")).await;
    let began = Instant::now();
    let answer = gateway.post("/v1/completions", r#"{"model":"canned","stream":true}"#).await;
    assert!(answer.text.ends_with("data: [DONE]\n\n"));
    assert!(began.elapsed() < Duration::from_millis(20 * 40), "{:?}", began.elapsed());
}

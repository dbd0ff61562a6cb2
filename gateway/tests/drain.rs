//! The end: unready at once, then nothing new, and what is under way finishes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use http::Method;
use support::{Answer, Gateway, fake, send};

#[tokio::test]
async fn streams_finish_and_new_requests_are_taken_until_the_listener_closes() {
    let mut gateway = Gateway::start(&fake("abcdefgh", ", chunks: 8, delay: 250ms")).await;
    let body = r#"{"model":"canned","stream":true}"#;
    let streaming = send(gateway.at.http, Method::POST, "/v1/completions", &[], body).await;
    let (http, control) = (gateway.at.http, gateway.at.control);
    gateway.begin_stop();
    let state = gateway.until(|state| state["draining"] == true).await;
    assert_eq!(state["draining"], true);
    let ready = Answer::read(send(control, Method::GET, "/readyz", &[], "").await).await;
    assert_eq!((ready.status.as_u16(), ready.text.as_str()), (503, "draining\n"));
    let late = gateway.get("/v1/models").await;
    assert_eq!((late.status.as_u16(), late.header("connection")), (200, "close"));
    let reading = tokio::spawn(Answer::read(streaming));
    for _ in 0..100 {
        if tokio::net::TcpStream::connect(http).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(tokio::net::TcpStream::connect(http).await.is_err(), "the listener closes after the grace");
    let streamed = reading.await.unwrap();
    assert!(streamed.text.ends_with("data: [DONE]\n\n") && !streamed.broken, "{streamed:?}");
    gateway.stopped().await;
}

#[tokio::test]
async fn what_takes_longer_than_the_limit_is_cut() {
    let mut gateway =
        Gateway::start_with(&fake("abcdefgh", ", chunks: 8, delay: 30s"), &["--drain-timeout", "500ms"])
            .await
            .unwrap();
    let asking = tokio::spawn(async move {
        let client =
            hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
        let request = http::Request::post(format!("http://{}/v1/completions", gateway.at.http));
        let request = request
            .body(http_body_util::Full::new(bytes::Bytes::from_static(br#"{"model":"canned"}"#)))
            .unwrap();
        let sending = tokio::spawn(client.request(request));
        gateway
            .until_metric(r#"modelgate_requests_in_flight{backend="canned",gateway="gw",model="canned"} 1"#)
            .await;
        gateway.begin_stop();
        gateway.stopped().await;
        sending.await.unwrap()
    });
    let result =
        tokio::time::timeout(Duration::from_secs(20), asking).await.expect("the drain has an end").unwrap();
    drop(result);
}

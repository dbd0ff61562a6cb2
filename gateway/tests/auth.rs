//! Who is let in, over sockets: refusals in each protocol's shape, before a byte of the body is read. What tokens must
//! satisfy is tested in `tests/oidc.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use http::Method;
use support::{Gateway, fake};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A gateway whose issuer does not answer: everybody is refused, which is what these tests are about.
async fn closed() -> Gateway {
    let auth = "oidc: [{issuer: \"http://127.0.0.1:9\", audiences: [gitlab-code-suggestions]}]";
    Gateway::start(&fake("x", "").replace("anonymous: true", auth)).await
}

#[tokio::test]
async fn refusals_have_the_shape_of_the_protocol() {
    let gateway = closed().await;
    let oidc = ("x-gitlab-authentication-type", "oidc");
    for (headers, message) in [
        (vec![], "No authorization header presented"),
        (vec![("authorization", "Basic x"), oidc], "Invalid authorization header"),
        (vec![("authorization", "Bearer x")], "Invalid authentication token type - only OIDC is supported"),
        (vec![("authorization", "Bearer x"), oidc], "Forbidden by auth provider"),
    ] {
        // An unknown path and a wrong method are refused the same way: who may not come in learns nothing.
        for (method, path) in [
            (Method::POST, "/v2/completions"),
            (Method::GET, "/v2/code/completions"),
            (Method::POST, "/nope"),
        ] {
            let answer = gateway.send(method, path, &headers, "{}").await;
            assert_eq!(
                (answer.status.as_u16(), answer.text.as_str()),
                (401, format!("{{\"error\":\"{message}\"}}").as_str())
            );
        }
    }
    for headers in [vec![], vec![("authorization", "Bearer a.b.c")], vec![("authorization", "x")]] {
        for path in ["/v1/completions", "/v1/chat/completions", "/v1/models", "/v1/nope"] {
            let answer = gateway.send(Method::POST, path, &headers, "{}").await;
            assert_eq!(
                (answer.status.as_u16(), answer.json()["error"]["code"].as_str()),
                (401, Some("unauthorized"))
            );
        }
    }
    gateway.until_metric(r#"modelgate_auth_failures_total{reason="header_missing"}"#).await;
    gateway.until_metric(r#"model="",operation="chat",outcome="auth_failed"} 3"#).await;
    assert_eq!(gateway.get("/monitoring/healthz").await.status.as_u16(), 200);
    let state = gateway.until(|state| state["issuers"][0]["message"] != "").await;
    assert_eq!(state["issuers"][0]["resolved"], false, "{state:#}");
}

#[tokio::test]
async fn the_refusal_does_not_wait_for_the_body() {
    let gateway = closed().await;
    let mut stream = tokio::net::TcpStream::connect(gateway.at.http).await.unwrap();
    let head = "POST /v2/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    tokio::time::timeout(Duration::from_secs(5), stream.read_exact(&mut answer))
        .await
        .expect("no wait for a body")
        .unwrap();
    assert_eq!(&answer, b"HTTP/1.1 401");
}

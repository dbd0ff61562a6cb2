//! OpenAI's routes: bytes pass through, streams end honestly, and failures before the first byte are tried elsewhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use support::{Answer, Gateway, Upstream, config, events, json, send, with_status};

const ANSWER: &str = r#"{"id":"x","choices":[{"text":"hi","finish_reason":"stop"}],"unknown":1.10,"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;

#[tokio::test]
async fn a_body_reaches_the_backend_byte_for_byte_but_for_the_models_name() {
    let upstream = Upstream::start(|_| json(ANSWER)).await;
    let gateway = Gateway::start(&config(&[&upstream.url()], "")).await;
    let body =
        r#"{ "prompt":"a\u00e4",  "temperature":1.10,"model":"alias","suffix":"z","own":{"model":"x"} }"#;
    let headers = [("authorization", "Bearer secret"), ("x-gitlab-token", "t"), ("traceparent", "00-1-2-03")];
    let answer = gateway.send(Method::POST, "/v1/completions", &headers, body).await;
    assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, ANSWER));
    let seen = upstream.last();
    assert_eq!(seen.path, "/v1/completions");
    assert_eq!(seen.body, body.replace("alias", "upstream-model"));
    assert_eq!(seen.headers.get("traceparent").unwrap(), "00-1-2-03");
    assert_eq!(seen.headers.get("x-request-id").unwrap().to_str().unwrap(), answer.header("x-request-id"));
    assert!(
        !seen.headers.contains_key("authorization") && !seen.headers.contains_key("x-gitlab-token"),
        "{seen:?}"
    );
    gateway
        .until_metric(
            r#"modelgate_tokens_total{backend="b0",gateway="gw",model="upstream-model",type="output"} 2"#,
        )
        .await;
}

#[tokio::test]
async fn events_pass_one_by_one_as_they_come() {
    let (sender, response) = events();
    let response = std::sync::Mutex::new(Some(response));
    let upstream = Upstream::start(move |_| response.lock().unwrap().take().unwrap()).await;
    let gateway = Gateway::start(&config(&[&upstream.url()], "")).await;
    let body = r#"{"model":"alias","stream":true,"messages":[]}"#;
    let asking = tokio::spawn(send(gateway.at.http, Method::POST, "/v1/chat/completions", &[], body));
    sender.send(Ok(Bytes::from_static(b"data: {\"choices\":[{\"del"))).await.unwrap();
    sender
        .send(Ok(Bytes::from_static(b"ta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\n")))
        .await
        .unwrap();
    // The head comes with the first event and not before: until then a fault is a status.
    let mut response = asking.await.unwrap();
    assert_eq!(response.headers().get("x-accel-buffering").unwrap(), "no");
    let first = response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\n");
    sender.send(Ok(Bytes::from_static(b"data: [DONE]\n\n"))).await.unwrap();
    drop(sender);
    let rest = Answer::read(response).await;
    assert_eq!((rest.text.as_str(), rest.broken), ("data: [DONE]\n\n", false));
    gateway.until_metric(r#"model="upstream-model",operation="chat",outcome="success"} 1"#).await;
}

#[tokio::test]
async fn a_stream_that_breaks_says_so_and_never_looks_done() {
    for cut in [true, false] {
        let (sender, response) = events();
        let response = std::sync::Mutex::new(Some(response));
        let upstream = Upstream::start(move |_| response.lock().unwrap().take().unwrap()).await;
        let gateway = Gateway::start(&config(&[&upstream.url()], "")).await;
        sender
            .send(Ok(Bytes::from_static(b"data: {\"choices\":[{\"text\":\"a\"}]}\n\ndata: {\"half")))
            .await
            .unwrap();
        let asking = tokio::spawn(send(
            gateway.at.http,
            Method::POST,
            "/v1/completions",
            &[],
            r#"{"model":"alias","stream":true}"#,
        ));
        if cut {
            // What was sent before must have left, or hyper drops it together with the connection.
            tokio::time::sleep(Duration::from_millis(200)).await;
            sender.send(Err(std::io::Error::other("cut"))).await.unwrap();
        }
        // Otherwise nothing comes any more, and the idle limit of 1 s ends it.
        let answer = Answer::read(asking.await.unwrap()).await;
        assert!(
            answer.text.starts_with("data: {\"choices\":[{\"text\":\"a\"}]}\n\ndata: {\"error\":"),
            "{}",
            answer.text
        );
        assert!(!answer.text.contains("half") && !answer.text.contains("[DONE]"), "{}", answer.text);
        let outcome = if cut { "truncated" } else { "timeout" };
        let line = format!(r#"operation="text_completion",outcome="{outcome}"}} 1"#);
        gateway.until_metric(&line).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_backends_work() {
    let (sender, response) = events();
    let response = std::sync::Mutex::new(Some(response));
    let upstream = Upstream::start(move |_| response.lock().unwrap().take().unwrap()).await;
    let gateway = Gateway::start(&config(&[&upstream.url()], "")).await;
    sender.send(Ok(Bytes::from_static(b"data: {}\n\n"))).await.unwrap();
    let response =
        send(gateway.at.http, Method::POST, "/v1/completions", &[], r#"{"model":"alias","stream":true}"#)
            .await;
    drop(response);
    tokio::time::timeout(Duration::from_secs(10), sender.closed())
        .await
        .expect("the backend sees the client leave");
    gateway.until_metric(r#"operation="text_completion",outcome="canceled"} 1"#).await;
}

#[tokio::test]
async fn a_refused_connection_is_tried_elsewhere_once() {
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone_url = format!("http://{}/v1", gone.local_addr().unwrap());
    drop(gone);
    let upstream = Upstream::start(|_| json(ANSWER)).await;
    let gateway = Gateway::start(&config(&[&gone_url, &upstream.url()], "")).await;
    for _ in 0..20 {
        let answer = gateway.post("/v1/completions", r#"{"model":"alias"}"#).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    }
    let state = gateway.until(|state| state["backends"][0]["reason"] == "Unreachable").await;
    assert_eq!(state["backends"][1]["reason"], "Healthy", "{state:#}");
    assert_eq!(state["routes"][0]["serving"], true, "{state:#}");
}

#[tokio::test]
async fn a_backends_errors_are_told_without_its_secrets() {
    let refused = r#"{"error":{"message":"too long","type":"invalid_request_error"}}"#;
    for (status, body, expected, needle) in [
        (StatusCode::BAD_REQUEST, refused, StatusCode::BAD_REQUEST, "too long"),
        (StatusCode::TOO_MANY_REQUESTS, refused, StatusCode::TOO_MANY_REQUESTS, "too long"),
        (StatusCode::UNAUTHORIZED, "key sk-123 is wrong", StatusCode::BAD_GATEWAY, "backend_error"),
        (StatusCode::INTERNAL_SERVER_ERROR, "trace", StatusCode::BAD_GATEWAY, "backend_error"),
        (StatusCode::SERVICE_UNAVAILABLE, "", StatusCode::SERVICE_UNAVAILABLE, "backend_error"),
    ] {
        let upstream = Upstream::start(move |_| with_status(status, body)).await;
        let gateway = Gateway::start(&config(&[&upstream.url()], "")).await;
        let answer = gateway.post("/v1/chat/completions", r#"{"model":"alias"}"#).await;
        assert_eq!(answer.status, expected);
        assert!(answer.text.contains(needle) && !answer.text.contains("sk-123"), "{}", answer.text);
        // One that was turned away because the backend was full is sent again, any other is not.
        let attempts = if matches!(status.as_u16(), 429 | 503) { 3 } else { 1 };
        assert_eq!(upstream.count(), attempts, "{status}");
    }
}

#[tokio::test]
async fn what_is_no_request_is_refused_in_openais_shape() {
    let gateway = Gateway::start(&support::fake("x", "")).await;
    for (body, status, code) in [
        (r#"{"model":"nope"}"#, StatusCode::NOT_FOUND, "model_not_found"),
        ("[]", StatusCode::BAD_REQUEST, "invalid_request"),
        (r#"{"prompt":"x"}"#, StatusCode::BAD_REQUEST, "invalid_request"),
    ] {
        let answer = gateway.post("/v1/completions", body).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        assert_eq!(answer.json()["error"]["code"], code);
    }
    let answer = gateway.get("/v1/completions").await;
    assert_eq!((answer.status, answer.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, "POST"));
    assert_eq!(gateway.get("/v1/models").await.json()["data"][0]["id"], "canned");
}

#[tokio::test]
async fn a_protocol_that_is_not_listed_is_not_there() {
    let gateway = Gateway::start(&(support::fake("x", "") + "  protocols: [GitLab]\n")).await;
    assert_eq!(gateway.get("/v1/models").await.status, StatusCode::NOT_FOUND);
    let gateway = Gateway::start(&(support::fake("x", "") + "  protocols: [OpenAI]\n")).await;
    let answer = gateway.post("/v2/completions", "{}").await;
    assert_eq!(
        (answer.status, answer.json()["error"]["code"].as_str()),
        (StatusCode::NOT_FOUND, Some("not_found"))
    );
}

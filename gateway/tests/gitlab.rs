//! GitLab's completion routes through the whole pipeline.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use http::{Method, StatusCode};
use support::{Gateway, Upstream, config, fake, json, with_status};

const REQUEST: &str = r#"{"project_path":"","project_id":-1,"intent":"completion","current_file":{"file_name":"a.py","content_above_cursor":"def add(a, b):\n    ","content_below_cursor":"\nprint()"}}"#;

#[tokio::test]
async fn a_completion_is_the_models_text() {
    let upstream =
        Upstream::start(|_| json(r#"{"choices":[{"text":"return a + b","finish_reason":"stop"}]}"#)).await;
    let gateway = Gateway::start(&config(&[&upstream.url()], "")).await;
    for path in ["/v2/completions", "/v2/code/completions"] {
        // The content type that GitLab's own language server sends, space included.
        let headers = [("content-type", " application/json"), ("origin", "https://ide.example")];
        let answer = gateway.send(Method::POST, path, &headers, REQUEST).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let body = answer.json();
        assert_eq!(body["choices"][0]["text"], "return a + b");
        assert_eq!(
            body["model"],
            serde_json::json!({"engine": "modelgate", "name": "upstream-model", "lang": "python"})
        );
        assert_eq!(body["object"], "text_completion");
        assert_eq!(answer.header("x-modelgate-outcome"), "success");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        assert!(answer.header("x-process-time").parse::<f64>().unwrap() > 0.0);
    }
    let sent: serde_json::Value = serde_json::from_str(&upstream.last().body).unwrap();
    assert_eq!(sent["prompt"], "def add(a, b):\n    ");
    assert_eq!((sent["max_tokens"].as_u64(), sent["model"].as_str()), (Some(64), Some("upstream-model")));
}

#[tokio::test]
async fn a_failing_backend_is_shown_as_the_compatibility_says_and_counted_as_it_is() {
    let strict = "  completion: {compat: Strict}\n";
    // compat, status of the backend, status for the editor, choices, outcome
    for (compat, status, expected, choices, outcome) in [
        ("", 500, 200, Some(0), "upstream_error"),
        ("", 503, 200, Some(0), "upstream_error"),
        ("", 400, 200, Some(0), "client_error"),
        (strict, 500, 200, Some(1), "upstream_error"),
        (strict, 400, 200, Some(1), "client_error"),
        (strict, 503, 500, None, "upstream_error"),
    ] {
        let upstream =
            Upstream::start(move |_| with_status(StatusCode::from_u16(status).unwrap(), "{}")).await;
        let gateway = Gateway::start(&config(&[&upstream.url()], compat)).await;
        let answer = gateway.post("/v2/completions", REQUEST).await;
        assert_eq!(answer.status.as_u16(), expected, "{compat} {status}: {answer:?}");
        assert_eq!(answer.header("x-modelgate-outcome"), outcome);
        match choices {
            Some(count) => assert_eq!(answer.json()["choices"].as_array().unwrap().len(), count),
            None => assert_eq!(answer.text, "Internal Server Error"),
        }
        let line = format!(r#"operation="code_completion",outcome="{outcome}"}} 1"#);
        gateway.until_metric(&line).await;
    }
}

#[tokio::test]
async fn nothing_to_offer_is_one_empty_choice_or_none() {
    for (compat, expected) in [("Strict", 1), ("Current", 0)] {
        let gateway =
            Gateway::start(&(fake("  \\n ", "") + &format!("  completion: {{compat: {compat}}}\n"))).await;
        let body = gateway.post("/v2/completions", REQUEST).await.json();
        assert_eq!(body["choices"].as_array().unwrap().len(), expected, "{body}");
    }
}

#[tokio::test]
async fn everything_around_a_completion_is_as_fastapi_does_it() {
    let gateway = Gateway::start(&fake("x", "")).await;
    let get = gateway.get("/v2/completions").await;
    assert_eq!(
        (get.status.as_u16(), get.header("allow"), get.text.as_str()),
        (405, "POST", r#"{"detail":"Method Not Allowed"}"#)
    );
    let unknown = gateway.get("/nope").await;
    assert_eq!(unknown.status.as_u16(), 404);
    let told = unknown.text;
    assert!(told.contains("/nope") && told.contains("another GitLab AI gateway"), "{told}");
    let slash = gateway.post("/v2/completions/?a=b", REQUEST).await;
    assert_eq!(
        (slash.status.as_u16(), slash.header("location")),
        (307, format!("http://{}/v2/completions?a=b", gateway.at.http).as_str())
    );
    let preflight = [
        ("origin", "https://x"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization"),
    ];
    let preflight = gateway.send(Method::OPTIONS, "/v2/completions", &preflight, "").await;
    assert_eq!((preflight.status.as_u16(), preflight.text.as_str()), (200, "OK"));
    assert_eq!(preflight.header("access-control-allow-headers"), "authorization");
    let health = gateway.get("/monitoring/healthz").await;
    assert_eq!(
        (health.status.as_u16(), health.text.as_str(), health.header("x-process-time")),
        (200, "{}", "")
    );
    assert_eq!(gateway.send(Method::HEAD, "/monitoring/healthz", &[], "").await.status.as_u16(), 405);
    let id = "3fa85f64-5717-4562-b3fc-2c963f66afa6";
    assert_eq!(
        gateway
            .send(Method::POST, "/v2/completions", &[("x-request-id", id)], "{}")
            .await
            .header("x-request-id"),
        id
    );
    gateway.until_serving().await;
    assert_eq!(gateway.get("/monitoring/ready").await.status.as_u16(), 200);
}

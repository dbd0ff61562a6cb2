//! The API's documentation on the client listener.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;

use http::Method;
use serde_json::Value;
use support::{Gateway, fake};

/// Every `$ref` in a document.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(to)) = object.get("$ref") {
                found.insert(to.clone());
            }
            object.values().for_each(|value| references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_document_lists_what_is_served_with_examples_that_are_accepted() {
    let all = "  protocols: [GitLab, OpenAI, Mistral, LlamaCppInfill, Tabby]\n";
    let gateway = Gateway::start(&(fake("canned", "") + all)).await;
    gateway.until_serving().await;
    let answer = gateway.get("/openapi.json").await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/json"));
    let document = answer.json();
    // For the validator of `make test-full SUITE=browser`.
    std::fs::write(concat!(env!("CARGO_TARGET_TMPDIR"), "/openapi.json"), &answer.text).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for to in found {
        assert!(document.pointer(to.trim_start_matches('#')).is_some(), "{to} leads nowhere");
    }
    let mut ids = BTreeSet::new();
    let paths = document["paths"].as_object().unwrap();
    for path in
        ["/v2/completions", "/v1/completions", "/v1/chat/completions", "/v1/models", "/monitoring/healthz"]
    {
        assert!(paths.contains_key(path), "{path} is served and not listed");
    }
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            assert!(
                ids.insert(operation["operationId"].as_str().unwrap().to_owned()),
                "{path}: its id is taken"
            );
            let done = if path == "/v1/events" { "204" } else { "200" };
            assert!(operation["responses"][done]["description"].is_string(), "{path}");
            let example = operation.pointer("/requestBody/content/application~1json/example");
            let body = example.map_or(String::new(), Value::to_string);
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let answer = gateway
                .send(
                    method,
                    &path.replace("{model}", "canned"),
                    &[("content-type", "application/json")],
                    &body,
                )
                .await;
            // Without a signing key there are no tokens, and this gateway has none of the models of 2023.
            let absent = ["/v1/code/user_access_token", "/v2/experimental/code/completions"];
            let refused = absent.contains(&path.as_str()) && answer.status == 404;
            assert!(answer.status.as_str() == done || refused, "{path}: {} {}", answer.status, answer.text);
        }
    }
}

#[tokio::test]
async fn pages_bring_all_they_need_and_may_load_nothing_else() {
    let gateway = Gateway::start(&fake("canned", "")).await;
    for path in ["/docs", "/redoc"] {
        let page = gateway.get(path).await;
        assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "text/html; charset=utf-8"));
        assert!(
            page.header("content-security-policy").starts_with("default-src 'none'; script-src 'sha256-")
        );
        assert!(
            !page.text.contains("http://") && !page.text.contains("https://"),
            "nothing is fetched from elsewhere"
        );
        assert_eq!(gateway.post(path, "{}").await.status, 405);
    }
}

#[tokio::test]
async fn pages_are_where_they_are_asked_for_and_can_be_switched_off() {
    let flags = ["--docs-url", "/api/docs", "--redoc-url", "None"];
    let gateway = Gateway::start_with(&fake("canned", ""), &flags).await.unwrap();
    let statuses = ["/api/docs", "/docs", "/redoc", "/openapi.json"];
    let mut found = Vec::new();
    for path in statuses {
        found.push(gateway.get(path).await.status.as_u16());
    }
    assert_eq!(found, [200, 404, 404, 200]);
    let gateway = Gateway::start_with(&fake("canned", ""), &["--openapi-url", "None"]).await.unwrap();
    for path in ["/docs", "/redoc", "/openapi.json"] {
        assert_eq!(gateway.get(path).await.status, 404, "{path}");
    }
}

//! What a backend is asked for the place under the cursor, and what becomes of its answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::json;
use support::{Gateway, Upstream, config};

/// A backend that always answers `text`, whole.
async fn answering(text: &'static str) -> Upstream {
    Upstream::start(move |_| {
        let choice = json!({"index": 0, "text": text, "finish_reason": "stop"});
        support::json(&json!({"object": "text_completion", "choices": [choice]}).to_string())
    })
    .await
}

async fn texts(gateway: &Gateway, file: &str, above: &str, below: &str) -> Vec<String> {
    let file = json!({"file_name": file, "content_above_cursor": above, "content_below_cursor": below});
    let answer = gateway.post("/v2/completions", &json!({"current_file": file}).to_string()).await;
    assert_eq!(answer.status, http::StatusCode::OK, "{answer:?}");
    let choices = answer.json()["choices"].as_array().unwrap().clone();
    choices.iter().map(|choice| choice["text"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_is_done_with_answers_is_as_configured() {
    let table: [(&str, &str, &[&str]); 5] = [
        ("b", "{}", &["b"]),
        ("b", "{minLength: 2}", &[]),
        ("# only says so", "{}", &[]),
        ("# only says so", "{commentOnly: Keep}", &["# only says so"]),
        ("# only says so", "{skip: [Filter]}", &["# only says so"]),
    ];
    for (answer, post_process, shown) in table {
        let upstream = answering(answer).await;
        let more = format!("  completion: {{postProcess: {post_process}}}\n");
        let gateway = Gateway::start(&config(&[&upstream.url()], &more)).await;
        assert_eq!(texts(&gateway, "a.py", "a = 1\n", "").await, shown, "{answer} {post_process}");
    }
}

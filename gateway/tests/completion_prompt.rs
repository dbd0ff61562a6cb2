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

/// A gateway whose only backend serves a model of this name and how it fills in.
fn model(url: &str, name: &str, more: &str) -> String {
    config(&[url], "")
        .replace("model: {name: upstream-model, aliases: [alias]}", &format!("model: {{name: {name}{more}}}"))
}

fn asked(upstream: &Upstream) -> serde_json::Value {
    serde_json::from_str(&upstream.last().body).unwrap()
}

#[tokio::test]
async fn a_model_that_fills_in_sees_both_sides_of_the_cursor() {
    let table = [
        ("Qwen2.5-Coder-7B", "", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
        ("mine", ", fim: {family: StarCoder}", "<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    ];
    for (name, more, prefix, suffix, middle) in table {
        // It does not end where it should: the line is cut, and the file's own closing bracket is not said again.
        let upstream = answering("a + b)\nprint(2)\n").await;
        let gateway = Gateway::start(&model(&upstream.url(), name, more)).await;
        let shown = texts(&gateway, "a.py", "def add(a, b):\n    return (", ")\n\nprint(add(1, 2))\n").await;
        assert_eq!(shown, ["a + b"], "{name}");
        let body = asked(&upstream);
        let prompt = body["prompt"].as_str().unwrap();
        assert!(prompt.contains(prefix) && prompt.ends_with(middle), "{prompt}");
        assert!(prompt.contains(&format!("    return ({suffix})\n\nprint(add(1, 2))\n")), "{prompt}");
        let stops = body["stop"].as_array().unwrap();
        assert_eq!(stops[0], "\n", "the line's end is needed most: {stops:?}");
        assert!(stops.len() > 1, "{stops:?}");
    }
}

#[tokio::test]
async fn special_tokens_and_stops_of_the_family_end_an_answer_whatever_the_backend_does() {
    let upstream = answering("total = 0\n    return total<file_sep>b.py").await;
    let gateway = Gateway::start(&model(&upstream.url(), "mine", ", fim: {family: StarCoder2}")).await;
    let shown = texts(&gateway, "a.py", "def add(a, b):\n    ", "\n").await;
    assert_eq!(shown, ["total = 0\n    return total"]);
}

#[tokio::test]
async fn a_file_with_crlf_is_sent_with_lf_and_answered_with_crlf() {
    let upstream = answering("c = a + b\n    return c").await;
    let gateway = Gateway::start(&model(&upstream.url(), "Qwen2.5-Coder-7B", "")).await;
    let shown = texts(&gateway, "a.py", "def add(a, b):\r\n    ", "\r\n\r\nprint(1)\r\n").await;
    assert_eq!(shown, ["c = a + b\r\n    return c"]);
    let prompt = asked(&upstream)["prompt"].as_str().unwrap().to_owned();
    assert!(!prompt.contains('\r') && prompt.contains("def add(a, b):\n    "), "{prompt:?}");
}

#[tokio::test]
async fn a_model_that_does_not_fill_in_gets_plain_text() {
    for (name, more) in [("Qwen2.5-Coder-7B", ", fim: {family: None}"), ("some-model", "")] {
        let upstream = answering("1").await;
        let gateway = Gateway::start(&model(&upstream.url(), name, more)).await;
        assert_eq!(texts(&gateway, "a.py", "a = 0\nb = ", "\nprint(b)\n").await, ["1"]);
        assert_eq!(asked(&upstream)["prompt"], "a = 0\nb = ");
    }
}

#[tokio::test]
async fn a_long_file_is_cut_to_the_models_window_with_the_text_round_the_cursor_left() {
    let upstream = answering("1").await;
    let gateway = Gateway::start(&model(&upstream.url(), "Qwen2.5-Coder-7B", ", contextLength: 512")).await;
    let above = format!("{}b = ", "a = 12345\n".repeat(2000));
    texts(&gateway, "a.py", &above, &"\nc = 12345".repeat(2000)).await;
    let prompt = asked(&upstream)["prompt"].as_str().unwrap().to_owned();
    assert!(prompt.len() < 512 * 6, "{} bytes", prompt.len());
    assert!(prompt.contains("a = 12345\nb = <|fim_suffix|>\nc = 12345\n"), "{prompt}");
}

#[tokio::test]
async fn an_experiment_shows_the_model_no_more_than_the_rest_of_the_function() {
    for (scope, sees_the_next) in [("Whole", true), ("Enclosing", false)] {
        let upstream = answering("1").await;
        let text = model(&upstream.url(), "Qwen2.5-Coder-7B", "")
            + &format!(
                "  completion: {{experiments: [{{name: exp_truncate_suffix, variants: [{{weight: 1, suffix: {scope}}}]}}]}}\n"
            );
        let gateway = Gateway::start(&text).await;
        let below = "\n    return a\n\n\ndef next_one():\n    return 2\n";
        texts(&gateway, "a.py", "def first(b):\n    a = ", below).await;
        let body = asked(&upstream);
        let prompt = body["prompt"].as_str().unwrap();
        assert!(prompt.contains("return a"), "{scope}: {prompt}");
        assert_eq!(prompt.contains("next_one"), sees_the_next, "{scope}: {prompt}");
    }
}

#[tokio::test]
async fn complaint_19_a_suffix_reaches_a_model_that_fills_in_on_a_server_that_takes_none() {
    let upstream = answering("a + b").await;
    let gateway = Gateway::start(&model(&upstream.url(), "Qwen2.5-Coder-7B", "")).await;
    let ask = |suffix: &str| {
        json!({"model": "Qwen2.5-Coder-7B", "prompt": "return (", "suffix": suffix, "max_tokens": 9, "own": 1}).to_string()
    };
    let answer = gateway.post("/v1/completions", &ask(")\n")).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["choices"][0]["text"]), (200, &json!("a + b")));
    let body = asked(&upstream);
    assert_eq!(body["prompt"], "<|fim_prefix|>return (<|fim_suffix|>)\n<|fim_middle|>");
    assert_eq!((&body["suffix"], &body["max_tokens"], &body["own"]), (&json!(null), &json!(9), &json!(1)));
    assert!(!body["stop"].as_array().unwrap().is_empty(), "{body}");
    // Without one, and for a model of which nothing is known, the request is the client's own.
    gateway.post("/v1/completions", &ask("")).await;
    assert_eq!((&asked(&upstream)["prompt"], &asked(&upstream)["stop"]), (&json!("return ("), &json!(null)));
    let gateway = Gateway::start(&model(&upstream.url(), "some-model", "")).await;
    gateway.post("/v1/completions", &ask(")").replace("Qwen2.5-Coder-7B", "some-model")).await;
    assert_eq!((&asked(&upstream)["prompt"], &asked(&upstream)["suffix"]), (&json!("return ("), &json!(")")));
}

//! What a model is told beside the text round the cursor: the client's other files, in each way that backends take them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use modelgate_completion::tokens::{Bound, Counter};
use serde_json::{Value, json};
use support::{Gateway, Upstream, config};

/// A backend that answers in llama.cpp's words or in OpenAI's, by the path.
async fn upstream() -> Upstream {
    Upstream::start(|seen| {
        let own = json!({"content": "1)\nprint(x)\n", "stop": true, "stop_type": "eos"});
        let choice = json!({"index": 0, "text": "1)\nprint(x)\n", "finish_reason": "stop"});
        let completion = json!({"object": "text_completion", "choices": [choice]});
        support::json(&if seen.path.ends_with("/completions") { completion } else { own }.to_string())
    })
    .await
}

/// A gateway whose only backend speaks `protocol` and serves `model`, as YAML.
fn serving(upstream: &Upstream, protocol: &str, model: &str) -> String {
    let url = if protocol == "LlamaCpp" { format!("http://{}", upstream.at) } else { upstream.url() };
    config(&[&url], "")
        .replace("protocol: OpenAI", &format!("protocol: {protocol}"))
        .replace("model: {name: upstream-model, aliases: [alias]}", &format!("model: {model}"))
}

/// Asks as the language server does, and returns what the backend was sent.
async fn sent(
    gateway: &Gateway,
    upstream: &Upstream,
    above: &str,
    files: &[(&str, &str)],
) -> (String, Value) {
    let context: Vec<Value> = files
        .iter()
        .map(|(name, content)| json!({"type": "file", "name": name, "content": content}))
        .collect();
    let file = json!({"file_name": "src/a.py", "content_above_cursor": above, "content_below_cursor": ")\nprint(x)\n"});
    let answer =
        gateway.post("/v2/completions", &json!({"current_file": file, "context": context}).to_string()).await;
    assert_eq!(answer.json()["choices"][0]["text"], "1", "{answer:?}");
    let seen = upstream.last();
    (seen.path, serde_json::from_str(&seen.body).unwrap())
}

const FILES: &[(&str, &str)] = &[("near.py", "NEAR = 1\n"), ("empty.py", " \n"), ("far.py", "FAR = 1\n")];

#[tokio::test]
async fn a_server_that_fills_in_by_itself_gets_both_texts_and_the_files_with_the_nearest_last() {
    let upstream = upstream().await;
    let gateway = Gateway::start(&serving(&upstream, "LlamaCpp", "{name: some-model}")).await;
    let (path, body) = sent(&gateway, &upstream, "x = f(", FILES).await;
    assert_eq!(path, "/infill");
    assert_eq!(body["input_prefix"], "x = f(");
    assert_eq!(body["input_suffix"], ")\nprint(x)\n");
    assert_eq!(
        body["input_extra"],
        json!([{"filename": "far.py", "text": "FAR = 1\n"}, {"filename": "near.py", "text": "NEAR = 1\n"}])
    );
    // Without files nothing is said of them.
    let (_, body) = sent(&gateway, &upstream, "y = g(", &[]).await;
    assert_eq!(body.get("input_extra"), None, "{body}");
}

#[tokio::test]
async fn a_family_that_is_named_gets_the_files_in_its_own_words_from_the_same_server() {
    let upstream = upstream().await;
    let model = "{name: some-model, fim: {family: Qwen}}";
    let gateway = Gateway::start(&serving(&upstream, "LlamaCpp", model)).await;
    let (path, body) = sent(&gateway, &upstream, "x = f(", FILES).await;
    assert_eq!(path, "/completion");
    assert_eq!(
        body["prompt"],
        "<|file_sep|>far.py\nFAR = 1\n\n<|file_sep|>near.py\nNEAR = 1\n\n<|file_sep|>src/a.py\n<|fim_prefix|>x = f(<|fim_suffix|>)\nprint(x)\n<|fim_middle|>"
    );
}

#[tokio::test]
async fn each_raw_family_shows_both_sides_and_only_families_with_a_way_to_say_it_show_files() {
    for family in modelgate_completion::family::FAMILIES {
        let upstream = upstream().await;
        let model = format!("{{name: some-model, fim: {{family: {}}}}}", family.name);
        let gateway = Gateway::start(&serving(&upstream, "OpenAI", &model)).await;
        let (path, body) = sent(&gateway, &upstream, "x = f(", FILES).await;
        assert_eq!(path, "/v1/completions");
        let prompt = body["prompt"].as_str().unwrap();
        assert!(prompt.contains("x = f(") && prompt.contains(")\nprint(x)\n"), "{}: {prompt}", family.name);
        assert_eq!(prompt.contains("NEAR = 1\n"), family.files.is_some(), "{}: {prompt}", family.name);
        for token in family.required.iter().filter(|token| **token != "[MIDDLE]") {
            assert!(prompt.contains(token), "{}: {prompt}", family.name);
        }
    }
}

#[tokio::test]
async fn files_never_push_a_prompt_over_the_window() {
    let long: String = (0..3000).map(|line| format!("VALUE_{line} = compute({line})\n")).collect();
    let files = [("first.py", "FIRST = 1\n"), ("long.py", long.as_str()), ("last.py", "LAST = 1\n")];
    let above = format!("{long}x = f(");
    for (protocol, family) in [("LlamaCpp", "Auto"), ("OpenAI", "Qwen")] {
        let upstream = upstream().await;
        let model = format!("{{name: some-model, contextLength: 1024, fim: {{family: {family}}}}}");
        let gateway = Gateway::start(&serving(&upstream, protocol, &model)).await;
        let (_, body) = sent(&gateway, &upstream, &above, &files).await;
        let text = body.to_string();
        assert!(text.contains("FIRST = 1"), "the first of the client's files counts most: {text}");
        assert!(text.contains("x = f("), "{text}");
        let answer = body.get("n_predict").or(body.get("max_tokens")).and_then(Value::as_u64).unwrap();
        let shown: usize = texts(&body).iter().map(|text| Bound.count(text)).sum();
        assert!(shown + usize::try_from(answer).unwrap() <= 1024, "{shown} and {answer}: {text}");
    }
}

/// All source text of a request.
fn texts(body: &Value) -> Vec<&str> {
    let extra = body["input_extra"].as_array().into_iter().flatten();
    let files = extra.flat_map(|file| [file["filename"].as_str(), file["text"].as_str()]);
    let own = ["prompt", "input_prefix", "input_suffix"].map(|name| body[name].as_str());
    files.chain(own).flatten().collect()
}

#[tokio::test]
async fn what_one_request_brings_along_is_in_no_other_prompt_and_no_other_answer() {
    let upstream = upstream().await;
    let gateway = Gateway::start(&serving(&upstream, "OpenAI", "{name: qwen2.5-coder-7b}")).await;
    let (_, first) = sent(&gateway, &upstream, "z = f(", &[("a.py", "MINE = 1\n")]).await;
    assert!(first["prompt"].as_str().unwrap().contains("MINE"));
    // The same place without the file, and with another's: neither is answered from what the first was told.
    let (_, second) = sent(&gateway, &upstream, "z = f(", &[]).await;
    let (_, third) = sent(&gateway, &upstream, "z = f(", &[("a.py", "THEIRS = 1\n")]).await;
    assert_eq!(upstream.count(), 3);
    for body in [second, third] {
        assert!(!body["prompt"].as_str().unwrap().contains("MINE"), "{body}");
    }
}

//! What a server really does is measured, told in the state document and by `probe`, and held to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::StatusCode;
use serde_json::{Value, json};
use support::{Body, Gateway, Seen, Upstream, with_status};

fn yaml(url: &str, probe: &str) -> String {
    format!(
        "apiVersion: modelgate.dev/v1alpha1\nkind: ModelBackend\nmetadata: {{name: b}}\nspec:\n  model: {{name: m}}\n  external: {{protocol: OpenAI, url: '{url}', probe: {probe}}}\n---\napiVersion: modelgate.dev/v1alpha1\nkind: ModelGateway\nmetadata: {{name: gw}}\nspec:\n  auth: {{anonymous: true}}\n  routes:\n  - {{name: r, backends: [{{name: b}}]}}\n"
    )
}

fn refused(message: &str) -> http::Response<Body> {
    with_status(StatusCode::BAD_REQUEST, &json!({"object": "error", "message": message}).to_string())
}

/// A server like vLLM: no suffix, any number of stops; and one that refuses `stream_options`.
fn particular(seen: &Seen) -> http::Response<Body> {
    let Ok(body) = serde_json::from_str::<Value>(&seen.body) else { return refused("no JSON") };
    if seen.path == "/tokenize" {
        return support::json(r#"{"count":1,"tokens":[5]}"#);
    }
    if body.get("prompt").is_none() {
        return with_status(
            StatusCode::UNPROCESSABLE_ENTITY,
            r#"{"detail":[{"loc":["body","prompt"],"msg":"field required"}]}"#,
        );
    }
    if body.get("suffix").is_some() {
        return refused("suffix is not currently supported");
    }
    if body.get("stream_options").is_some() {
        return refused("unknown field stream_options");
    }
    if body["stream"] == true {
        let events = "data: {\"choices\":[{\"index\":0,\"text\":\" b\",\"finish_reason\":null}]}\n\ndata: {\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"length\"}]}\n\ndata: [DONE]\n\n";
        let mut response = support::json(events);
        response.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
        return response;
    }
    // One answer whatever `n` says, and no likelihoods.
    support::json(
        r#"{"choices":[{"index":0,"text":" b","finish_reason":"length","logprobs":null}],"usage":{"prompt_tokens":9,"completion_tokens":2}}"#,
    )
}

fn results(report: &Value) -> BTreeMap<&str, &str> {
    let findings = report["findings"].as_array().expect("findings");
    findings
        .iter()
        .map(|found| (found["name"].as_str().unwrap(), found["result"].as_str().unwrap()))
        .collect()
}

const EXPECTED: [(&str, &str); 13] = [
    ("bodyLimit", "Supported"),
    ("choices", "Absent"),
    ("completion", "Supported"),
    ("errorShape", "Supported"),
    ("logprobs", "Absent"),
    ("reachable", "Supported"),
    ("stops", "Supported"),
    ("stream", "Supported"),
    ("streamDone", "Supported"),
    ("streamFinish", "Supported"),
    ("streamOptions", "Refused"),
    ("streamUsage", "Absent"),
    ("suffix", "Refused"),
];

#[tokio::test]
async fn with_probe_completion_the_state_tells_what_the_server_really_does() {
    let upstream = Upstream::start(|seen| particular(&seen)).await;
    let gateway = Gateway::start(&yaml(&upstream.url(), "Completion")).await;
    let state = gateway.until(|state| state["backends"][0]["dialect"]["findings"].is_array()).await;
    let report = &state["backends"][0]["dialect"];
    assert_eq!(report["protocol"], "OpenAI");
    let found = results(report);
    for (name, result) in EXPECTED {
        assert_eq!(found.get(name), Some(&result), "{name}: {report:#}");
    }
}

#[tokio::test]
async fn by_default_nothing_that_costs_is_asked() {
    let upstream = Upstream::start(|seen| particular(&seen)).await;
    let gateway = Gateway::start(&yaml(&upstream.url(), "Models")).await;
    let state = gateway.until(|state| state["backends"][0]["dialect"]["findings"].is_array()).await;
    assert_eq!(results(&state["backends"][0]["dialect"]), BTreeMap::from([("reachable", "Supported")]));
    assert_eq!(upstream.count(), 0, "no completion was asked for");
}

#[tokio::test]
async fn the_command_prints_it_and_tells_a_backend_that_there_is_not() {
    let upstream = Upstream::start(|seen| particular(&seen)).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    std::fs::write(&file, yaml(&upstream.url(), "Models")).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_modelgate-gateway"));
        command
            .arg("probe")
            .args(arguments)
            .arg("--config")
            .arg(&file)
            .env_clear()
            .current_dir(folder.path());
        command.kill_on_drop(true).output()
    };
    let output = run(&["b", "--json"]).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(results(&report).get("suffix"), Some(&"Refused"));
    let output = run(&["nobody"]).await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("no route uses a ModelBackend \"nobody\" (used: b)")
    );
}

/// Engines' metrics and streams: the count of running requests falls when the client has left, if the engine does so.
fn engine(stops: bool) -> (impl Fn(&str) -> http::Response<Body>, impl Fn(Seen) -> http::Response<Body>) {
    let running = Arc::new(AtomicUsize::new(0));
    let (shown, counted) = (Arc::clone(&running), running);
    let get = move |path: &str| match path {
        "/metrics" => support::json(&format!(
            "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{{model_name=\"m\"}} {}.0\n",
            shown.load(Ordering::SeqCst)
        )),
        _ => support::json("{}"),
    };
    let answer = move |seen: Seen| {
        if !seen.body.contains("\"max_tokens\":2048") {
            return particular(&seen);
        }
        counted.fetch_add(1, Ordering::SeqCst);
        let (sender, response) = support::events();
        let counted = Arc::clone(&counted);
        tokio::spawn(async move {
            let piece = "data: {\"choices\":[{\"index\":0,\"text\":\"x\",\"finish_reason\":null}]}\n\n";
            while sender.send(Ok(piece.into())).await.is_ok() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            if stops {
                counted.fetch_sub(1, Ordering::SeqCst);
            }
        });
        response
    };
    (get, answer)
}

#[tokio::test]
async fn whether_a_server_stops_when_its_client_has_left_is_measured_by_its_own_count() {
    for (stops, expected) in [(true, "Supported"), (false, "Absent")] {
        let (get, answer) = engine(stops);
        let upstream = Upstream::start_with(get, answer).await;
        let gateway = Gateway::start(&yaml(&upstream.url(), "Completion")).await;
        let state = gateway.until(|state| state["backends"][0]["dialect"]["findings"].is_array()).await;
        let report = &state["backends"][0]["dialect"];
        assert_eq!(results(report).get("cancel"), Some(&expected), "{report:#}");
    }
}

const ASK: &str = r#"{"current_file":{"file_name":"a.py","content_above_cursor":"def f(","content_below_cursor":"):\n    pass\n"}}"#;

#[tokio::test]
async fn a_familys_tokens_are_sent_only_where_the_servers_own_tokenizer_knows_them() {
    for (knows, expected) in [(true, "Supported"), (false, "Refused")] {
        let upstream = Upstream::start_with(
            |_| support::json("{}"),
            move |seen| {
                if seen.path == "/tokenize" {
                    let text: Value = serde_json::from_str(&seen.body).unwrap();
                    let text = text["prompt"].as_str().unwrap().to_owned();
                    let one: usize = text.bytes().enumerate().map(|(at, byte)| at * usize::from(byte)).sum();
                    let ids = if knows { vec![one] } else { vec![1, 2, 3] };
                    return support::json(&json!({"count": ids.len(), "tokens": ids}).to_string());
                }
                support::json(r#"{"choices":[{"index":0,"text":"a","finish_reason":"stop"}]}"#)
            },
        )
        .await;
        let model = if knows { "qwen2.5-coder-7b" } else { "qwen2.5-coder-mine" };
        let gateway =
            Gateway::start(&yaml(&upstream.url(), "Models").replace("name: m}", &format!("name: {model}}}")))
                .await;
        let state = gateway.until(|state| state["backends"][0]["dialect"]["findings"].is_array()).await;
        let report = &state["backends"][0]["dialect"];
        assert_eq!(results(report).get("family"), Some(&expected), "{report:#}");
        let answer = gateway.post("/v2/code/completions", ASK).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let prompt: Value = serde_json::from_str(&upstream.last().body).unwrap();
        let prompt = prompt["prompt"].as_str().unwrap();
        assert_eq!(prompt.contains("<|fim_suffix|>"), knows, "{prompt}");
    }
}

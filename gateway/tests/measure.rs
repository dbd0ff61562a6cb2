//! What a server really does is measured, told in the state document and by `probe`, and held to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;

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

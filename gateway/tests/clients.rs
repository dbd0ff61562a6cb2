//! Official clients, unmodified, against a gateway whose backend is a mock. `make test-full SUITE=clients` installs them outside
//! the tree and says where they are: `CLIENT_PYTHON`, a Python with the package `openai`, and `CLIENT_TABBY`, the folder of
//! the package `tabby-agent`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};
use support::{Body, Gateway, Seen, Upstream, config, events, json as answers};

const PIECES: [&str; 4] = ["the ", "quick ", "brown ", "fox"];

/// What a server of OpenAI's protocol answers, usage in streams only when asked for it.
fn mock(seen: &Seen) -> Response<Body> {
    let ask: Value = serde_json::from_str(&seen.body).unwrap();
    let usage = json!({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7});
    if seen.path.ends_with("/embeddings") {
        let numbers = [0.5_f32, -1.0, 0.25];
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let vector = if ask["encoding_format"] == "base64" {
            json!(base64::engine::general_purpose::STANDARD.encode(bytes))
        } else {
            json!(numbers)
        };
        let one = |index: usize| json!({"object": "embedding", "index": index, "embedding": vector});
        let data: Vec<Value> = (0..ask["input"].as_array().map_or(1, Vec::len)).map(one).collect();
        return answers(
            &json!({"object": "list", "model": ask["model"], "data": data, "usage": usage}).to_string(),
        );
    }
    let is_chat = seen.path.ends_with("/chat/completions");
    let object = if is_chat { "chat.completion" } else { "text_completion" };
    if ask["stream"] != true {
        let text = PIECES.concat();
        let mut choice = json!({"index": 0, "finish_reason": "stop", "logprobs": null});
        if is_chat {
            choice["message"] = json!({"role": "assistant", "content": text});
        } else {
            choice["text"] = text.into();
        }
        let whole = json!({"id": "c", "object": object, "created": 1, "model": ask["model"], "choices": [choice], "usage": usage});
        return answers(&whole.to_string());
    }
    let object = if is_chat { "chat.completion.chunk" } else { object };
    let mut sent = Vec::new();
    for at in 0..=PIECES.len() {
        let text = PIECES.get(at).copied().unwrap_or_default();
        let finish = if at == PIECES.len() { json!("stop") } else { Value::Null };
        let mut choice = json!({"index": 0, "finish_reason": finish});
        if is_chat {
            choice["delta"] = json!({"content": text});
        } else {
            choice["text"] = text.into();
        }
        sent.push(
            json!({"id": "c", "object": object, "created": 1, "model": ask["model"], "choices": [choice]}),
        );
    }
    if ask["stream_options"]["include_usage"] == true {
        sent.push(json!({"id": "c", "object": object, "created": 1, "model": ask["model"], "choices": [], "usage": usage}));
    }
    let (sender, response) = events();
    tokio::spawn(async move {
        for event in sent {
            if sender.send(Ok(Bytes::from(format!("data: {event}\n\n")))).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Whoever left does not mind.
        let _gone = sender.send(Ok(Bytes::from_static(b"data: [DONE]\n\n"))).await;
    });
    response
}

/// A gateway that asks for a key, and the key.
async fn keyed(yaml: &str) -> (Gateway, String) {
    let yaml = yaml.replace("anonymous: true", "apiKeys: {secretRef: {name: keys}}");
    let gateway = Gateway::start(&yaml).await;
    let folder = gateway.folder.path().join("secrets/keys");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("keys.json");
    let made = Command::new(env!("CARGO_BIN_EXE_modelgate-gateway"))
        .args(["keys", "new", "--file", file.to_str().unwrap(), "--subject", "client"])
        .output()
        .unwrap();
    let key = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let header = format!("Bearer {key}");
    for _ in 0..100 {
        let answer = gateway.send(Method::GET, "/v1/models", &[("authorization", &header)], "").await;
        if answer.status == StatusCode::OK {
            return (gateway, key);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("the key is not accepted");
}

/// Runs a client's program to its end and gives what it said.
async fn run(mut command: Command) -> String {
    let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    println!("{out}");
    assert!(done.status.success(), "{out}\n{err}");
    out.into_owned()
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

fn installed(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is set by make test-full SUITE=clients"))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the package openai: make test-full SUITE=clients"]
async fn the_official_openai_client_finds_what_it_expects() {
    let upstream = Upstream::start(|seen| mock(&seen)).await;
    let (gateway, key) = keyed(&config(&[&upstream.url()], "")).await;
    let mut command = Command::new(installed("CLIENT_PYTHON"));
    command.arg(script("openai_client.py"));
    command.env("BASE_URL", format!("http://{}/v1", gateway.at.http));
    command.env("API_KEY", key).env("MODEL", "alias");
    let said = run(command).await;
    assert_eq!(said.lines().filter(|line| line.starts_with("held: ")).count(), 9, "{said}");
    gateway.until_metric(r#"model="upstream-model",operation="embeddings",outcome="success"} 1"#).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the package tabby-agent: make test-full SUITE=clients"]
async fn tabby_agent_completes_a_file() {
    let answer = r#"{"id":"x","choices":[{"text":"a + b","finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
    let upstream = Upstream::start(move |_| answers(answer)).await;
    let yaml = config(&[&upstream.url()], "  protocols: [OpenAI, Tabby]\n");
    let (gateway, key) = keyed(&yaml.replace("upstream-model", "qwen2.5-coder-7b")).await;
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new("node");
    command.arg(script("tabby_agent.cjs"));
    command.env("ENDPOINT", format!("http://{}", gateway.at.http)).env("TOKEN", key);
    command.env("AGENT", installed("CLIENT_TABBY")).env("HOME", home.path());
    let said = run(command).await;
    assert_eq!(said.lines().filter(|line| line.starts_with("held: ")).count(), 4, "{said}");
    assert!(upstream.last().body.contains("library(1, 2)"), "the model saw both sides of the cursor");
    for family in ["requests", "accepts"] {
        let labels = r#"{lang="python",model_engine="modelgate",model_name="qwen2.5-coder-7b"}"#;
        gateway.until_metric(&format!("code_suggestions_{family}_total{labels} 1")).await;
    }
}

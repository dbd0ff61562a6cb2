//! Mistral's, llama.cpp's and Tabby's protocols in front of the completion core, and OpenAI's embeddings: what each answers,
//! and in whose words it refuses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Answer, Gateway, Upstream, config, fake, json as answers};

const ALL: &str = "  protocols: [GitLab, OpenAI, Mistral, LlamaCppInfill, Tabby]\n";
const ANSWER: &str = r#"{"id":"x","choices":[{"text":"a + b","finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;

/// A gateway in front of a model that fills in, which answers `a + b`.
async fn infilling() -> (Upstream, Gateway) {
    let upstream = Upstream::start(|_| answers(ANSWER)).await;
    let yaml = config(&[&upstream.url()], ALL).replace("upstream-model", "qwen2.5-coder-7b");
    let gateway = Gateway::start(&yaml).await;
    (upstream, gateway)
}

/// Requests that differ, as an answer may be given again.
fn before(number: u32) -> String {
    format!("def add{number}(a, b):\n    return ")
}

#[tokio::test]
async fn mistrals_route_answers_as_its_clients_read() {
    let (upstream, gateway) = infilling().await;
    let mut body = json!({"model": "alias", "prompt": before(1), "suffix": "\n\nadd1(1, 2)\n", "max_tokens": 20, "stop": "\n\n\n", "random_seed": 7});
    let answer = gateway.post("/v1/fim/completions", &body.to_string()).await;
    let told = answer.json();
    assert_eq!(told["choices"][0]["message"]["content"], "a + b", "{}", answer.text);
    assert_eq!(
        (&told["object"], &told["choices"][0]["finish_reason"], &told["usage"]["total_tokens"]),
        (&json!("chat.completion"), &json!("stop"), &json!(5))
    );
    let seen: Value = serde_json::from_str(&upstream.last().body).unwrap();
    let prompt = seen["prompt"].as_str().unwrap();
    assert!(
        prompt.contains(&before(1)) && prompt.contains("add1(1, 2)"),
        "both sides of the cursor: {prompt}"
    );
    assert_eq!(seen["max_tokens"], 20);

    body["prompt"] = before(2).into();
    body["stream"] = true.into();
    let answer = gateway.post("/v1/fim/completions", &body.to_string()).await;
    assert_eq!(answer.header("content-type"), "text/event-stream");
    let events = events(&answer);
    let text: String =
        events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, "a + b");
    let last = events.last().unwrap();
    assert_eq!(
        (&last["choices"][0]["finish_reason"], &last["usage"]["prompt_tokens"]),
        (&json!("stop"), &json!(3))
    );
    assert!(answer.text.ends_with("data: [DONE]\n\n"));
}

fn events(answer: &Answer) -> Vec<Value> {
    let data = answer.text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}

#[tokio::test]
async fn infill_answers_as_llama_vim_reads() {
    let (upstream, gateway) = infilling().await;
    let mut body = json!({
        "id_slot": 0, "input_prefix": "def add3(a, b):\n", "prompt": "    return ", "input_suffix": "\nprint(add3(1, 2))\n",
        "input_extra": [{"filename": "other.py", "text": "def sub(a, b): return a - b", "time": 1}],
        "n_predict": 16, "stop": [], "n_indent": 4, "top_k": 40, "top_p": 0.9, "stream": false, "samplers": ["top_k"],
        "cache_prompt": true, "t_max_prompt_ms": 500, "t_max_predict_ms": 1000,
    });
    let answer = gateway.post("/infill", &body.to_string()).await;
    let told = answer.json();
    assert_eq!(
        (&told["content"], &told["stop"], &told["stop_type"]),
        (&json!("a + b"), &json!(true), &json!("eos")),
        "{}",
        answer.text
    );
    assert_eq!((&told["tokens_predicted"], &told["tokens_evaluated"]), (&json!(2), &json!(3)));
    let prompt = upstream.last().body;
    assert!(prompt.contains("sub(a, b)") && prompt.contains("print(add3(1, 2))"), "{prompt}");

    body["prompt"] = "    result = ".into();
    body["stream"] = true.into();
    let streamed = events(&gateway.post("/infill", &body.to_string()).await);
    assert_eq!(streamed.iter().map(|event| event["content"].as_str().unwrap()).collect::<String>(), "a + b");
    assert!(
        streamed.iter().rev().skip(1).all(|event| event["stop"] == false)
            && streamed.last().unwrap()["stop"] == true
    );

    body["prompt"] = "    total = ".into();
    body["stream"] = false.into();
    body["response_fields"] = json!(["content", "timings/prompt_n"]);
    assert_eq!(gateway.post("/infill", &body.to_string()).await.json(), json!({"content": "a + b"}));

    // What llama.vim sends to warm the server's cache costs no model anything.
    let asked = upstream.count();
    body["n_predict"] = 0.into();
    assert_eq!(gateway.post("/infill", &body.to_string()).await.json(), json!({"content": ""}));
    assert_eq!(upstream.count(), asked);

    let props = gateway.get("/props").await.json();
    assert_eq!(
        (&props["default_generation_settings"]["n_ctx"], &props["model_alias"]),
        (&json!(2048), &json!("qwen2.5-coder-7b"))
    );
    gateway.until_serving().await;
    assert_eq!(gateway.get("/health").await.text, r#"{"status":"ok"}"#);
}

#[tokio::test]
async fn tabbys_completions_are_told_from_openais_by_their_body() {
    let (upstream, gateway) = infilling().await;
    let tabbys = json!({
        "language": "python",
        "segments": {
            "prefix": before(4), "suffix": "\n", "filepath": "src/add.py", "git_url": "git@example.com:group/name.git",
            "declarations": [{"filepath": "src/sub.py", "body": "def sub(a, b): return a - b"}],
        },
        "temperature": 0.1,
    });
    let answer = gateway.post("/v1/completions", &tabbys.to_string()).await;
    let told = answer.json();
    assert_eq!(told["choices"], json!([{"index": 0, "text": "a + b"}]), "{}", answer.text);
    let seen = upstream.last().body;
    assert!(seen.contains("sub(a, b)") && seen.contains(&json!(before(4)).to_string()[1..10]), "{seen}");
    let openais = r#"{"model":"alias",  "prompt":"\"segments\"", "language":"python"}"#;
    let answer = gateway.post("/v1/completions", openais).await;
    assert_eq!(answer.text, ANSWER, "passed on as it came");
    assert_eq!(upstream.last().body, openais.replace("alias", "qwen2.5-coder-7b"));

    for (kind, family) in [("view", "requests"), ("select", "accepts"), ("dismiss", "")] {
        let event = json!({"type": kind, "completion_id": told["id"], "choice_index": 0, "elapsed": 9});
        let answer = gateway.post("/v1/events?select_kind=line", &event.to_string()).await;
        assert_eq!((answer.status, answer.text.as_str()), (StatusCode::NO_CONTENT, ""));
        if !family.is_empty() {
            let labels = r#"{lang="python",model_engine="modelgate",model_name="qwen2.5-coder-7b"}"#;
            gateway.until_metric(&format!("code_suggestions_{family}_total{labels} 1")).await;
        }
    }
    for method in [Method::GET, Method::POST] {
        let health = gateway.send(method, "/v1/health", &[], "").await.json();
        assert_eq!((&health["model"], health["device"].is_string()), (&json!("qwen2.5-coder-7b"), true));
    }
    let setting = gateway.get("/v1beta/server_setting").await;
    assert_eq!(setting.text, r#"{"disable_client_side_telemetry":true}"#);
    let alone = Gateway::start(&(fake("alone", "") + "  protocols: [Tabby]\n")).await;
    let answer = alone.post("/v1/completions", &tabbys.to_string()).await;
    assert_eq!(answer.json()["choices"][0]["text"], "alone", "{}", answer.text);
    assert_eq!(alone.post("/v1/completions", openais).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn embeddings_pass_through_and_the_editors_address_of_2023_is_served() {
    let vectors = r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5]}],"model":"m","usage":{"prompt_tokens":4,"total_tokens":4}}"#;
    let upstream = Upstream::start(move |_| answers(vectors)).await;
    let gateway = Gateway::start(&config(&[&upstream.url()], "")).await;
    let body = r#"{"input":["a"], "model":"alias", "stream":true}"#;
    let answer = gateway.post("/v1/embeddings", body).await;
    assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, vectors));
    let seen = upstream.last();
    assert_eq!((seen.path.as_str(), seen.body), ("/v1/embeddings", body.replace("alias", "upstream-model")));
    gateway.until_metric(r#"model="upstream-model",operation="embeddings",outcome="success"} 1"#).await;
    let gateway = Gateway::start(&fake("canned", "")).await;
    let vector = gateway.post("/v1/embeddings", r#"{"model":"canned","input":"x"}"#).await.json();
    assert!(vector["data"][0]["embedding"][0].is_number(), "{vector}");
    let body = json!({"current_file": {"file_name": "a.py", "content_above_cursor": before(5), "content_below_cursor": ""}});
    let answer = gateway.post("/completions", &body.to_string()).await;
    assert_eq!(answer.json()["choices"][0]["text"], "canned", "{}", answer.text);
}

#[tokio::test]
async fn a_key_lets_in_on_every_route_but_gitlabs() {
    let yaml = fake("keyed", "").replace("anonymous: true", "apiKeys: {secretRef: {name: keys}}") + ALL;
    let gateway = Gateway::start(&yaml).await;
    let file = gateway.folder.path().join("secrets/keys");
    std::fs::create_dir_all(&file).unwrap();
    let file = file.join("keys.json");
    let made = std::process::Command::new(env!("CARGO_BIN_EXE_modelgate-gateway"))
        .args(["keys", "new", "--file", file.to_str().unwrap(), "--subject", "alice", "--models", "canned"])
        .output()
        .unwrap();
    let key = format!("Bearer {}", String::from_utf8(made.stdout).unwrap().trim());
    let headers = [("authorization", key.as_str())];
    for _ in 0..100 {
        if gateway.send(Method::GET, "/v1/health", &headers, "").await.status == StatusCode::OK {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    for (path, body) in [
        ("/v1/fim/completions", json!({"model": "canned", "prompt": before(6)})),
        ("/infill", json!({"input_prefix": before(7)})),
        ("/v1/completions", json!({"segments": {"prefix": before(8)}})),
        ("/v1/embeddings", json!({"model": "canned", "input": "x"})),
    ] {
        let answer = gateway.send(Method::POST, path, &headers, &body.to_string()).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_stream_goes_out_line_by_line_and_one_that_breaks_off_never_looks_whole() {
    for (path, whole) in [("/v1/fim/completions", "[DONE]"), ("/infill", "\"stop\":true")] {
        for breaks in [false, true] {
            let (sender, response) = support::events();
            let response = std::sync::Mutex::new(Some(response));
            let upstream = Upstream::start(move |_| response.lock().unwrap().take().unwrap()).await;
            let gateway = Gateway::start(&config(&[&upstream.url()], ALL)).await;
            let above = "def f(a):\n    if a:\n        x = 1\n";
            let body = if path == "/infill" {
                json!({"input_prefix": above, "prompt": "", "stream": true})
            } else {
                json!({"model": "alias", "prompt": above, "stream": true})
            };
            let headers = [("content-type", "application/json")];
            let (at, body) = (gateway.at.http, body.to_string());
            let asking = async { support::send(at, Method::POST, path, &headers, &body).await };
            let telling = async {
                let lines = "        y = 2\n        z = 3\n        w = 4\n        v = 5\n";
                for line in lines.split_inclusive('\n') {
                    let choice = json!({"choices": [{"index": 0, "text": line, "finish_reason": null}]});
                    sender.send(Ok(format!("data: {choice}\n\n").into())).await.unwrap();
                }
            };
            let (mut response, ()) = tokio::join!(asking, telling);
            // The model is not done, and the client has its first lines.
            let first = http_body_util::BodyExt::frame(response.body_mut()).await.unwrap().unwrap();
            let first = String::from_utf8(first.into_data().unwrap().to_vec()).unwrap();
            assert!(first.contains("y = 2"), "{path}: {first}");
            if breaks {
                sender.send(Err(std::io::Error::other("cut"))).await.unwrap();
            } else {
                let end = json!({"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]});
                sender.send(Ok(format!("data: {end}\n\ndata: [DONE]\n\n").into())).await.unwrap();
            }
            drop(sender);
            let rest = Answer::read(response).await;
            assert_eq!(rest.text.contains(whole), !breaks, "{path}: {}", rest.text);
            assert_eq!(rest.text.contains("error"), breaks, "{path}: {}", rest.text);
        }
    }
}

//! What a GitLab of today, and its editors, send: each as a client sends it, over sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Gateway, Upstream, config, fake};

async fn upstream() -> Upstream {
    Upstream::start(|_| {
        support::json(r#"{"choices":[{"text":"return 1","finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":3}}"#)
    })
    .await
}

fn file() -> Value {
    json!({"file_name": "app/a.py", "content_above_cursor": "def one():\n    ", "content_below_cursor": "\n"})
}

/// As GitLab's language server sends it: a space before the type, extras, no project.
#[tokio::test]
async fn the_language_server_gets_its_completion() {
    let upstream = upstream().await;
    let gateway = Gateway::start(&config(&[&upstream.url()], "")).await;
    let body = json!({
        "prompt_version": 1, "project_path": "", "project_id": -1, "intent": "completion", "choices_count": 1,
        "current_file": file(), "generation_type": "empty_function", "user_instruction": "x",
        "context": [{"type": "file", "name": "b.py", "content": "x = 1", "resolution_strategy": "open_tabs"}],
        "telemetry": [{"model_engine": "modelgate", "model_name": "upstream-model", "lang": "python", "requests": 3, "accepts": 2, "errors": 0}],
    });
    let headers = [
        ("content-type", " application/json"),
        ("user-agent", "gitlab-language-server:8.0.0 (vscode:1.90.0)"),
        ("x-gitlab-language-server-version", "8.0.0"),
        ("x-gitlab-enabled-feature-flags", "one,two"),
    ];
    let answer = gateway.send(Method::POST, "/v2/completions", &headers, &body.to_string()).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let body = answer.json();
    assert_eq!(body["choices"], json!([{"text": "return 1", "index": 0, "finish_reason": "stop"}]));
    assert_eq!(body["id"], answer.header("x-request-id"));
    let tokens = &body["model"]["tokens_consumption_metadata"];
    assert_eq!((tokens["input_tokens"].as_u64(), tokens["output_tokens"].as_u64()), (Some(9), Some(3)));
    assert_eq!(body["metadata"]["enabled_feature_flags"], json!(["one", "two"]));
    let line = r#"code_suggestions_accepts_total{lang="python",model_engine="modelgate",model_name="upstream-model"} 2"#;
    gateway.until_metric(line).await;
}

/// The requests of GitLab's health check and of its self-hosted set-up verification: a non-empty choice is wanted.
#[tokio::test]
async fn the_set_up_verification_of_a_self_hosted_gitlab_passes() {
    let gateway = Gateway::start(&fake("def hello():\\n    pass", "")).await;
    let model = json!({
        "model_provider": "litellm", "model_name": "codestral", "model_identifier": "custom_openai/canned",
        "model_endpoint": "http://127.0.0.1:9/v1", "model_api_key": "never-sent",
    });
    for (path, version, prompt) in [
        ("/v2/code/completions", 1, Value::Null),
        ("/v2/code/completions", 2, json!("def hello")),
        ("/v2/code/generations", 2, json!("Write a hello world function")),
        (
            "/v2/code/generations",
            3,
            json!([{"role": "system", "content": "You write code"}, {"role": "user", "content": "hello"}]),
        ),
    ] {
        let mut body = model.clone();
        body["prompt_version"] = json!(version);
        body["project_id"] = json!(1);
        body["project_path"] = json!("gitlab-org/gitlab");
        body["current_file"] = file();
        body["prompt"] = prompt;
        let answer = gateway.post(path, &body.to_string()).await;
        assert_eq!(answer.status, StatusCode::OK, "{path} {version}: {answer:?}");
        assert_ne!(answer.json()["choices"][0]["text"].as_str().unwrap_or_default(), "", "{path} {version}");
        assert_eq!(answer.json()["model"]["name"], "canned");
    }
    assert_eq!(gateway.get("/monitoring/healthz").await.status, StatusCode::OK);
    let models = gateway.get("/v1/models/definitions").await.json();
    assert_eq!(models["models"], json!([{"name": "canned", "identifier": "canned"}]));
    assert_eq!(models["unit_primitives"][1]["feature_setting"], "code_generations");
}

#[tokio::test]
async fn the_later_routes_answer_in_their_own_forms() {
    let upstream = upstream().await;
    let gateway = Gateway::start(&config(&[&upstream.url()], "")).await;
    let of = |stream: bool| {
        let mut payload = file();
        payload["stream"] = json!(stream);
        json!({"prompt_components": [
            {"type": "code_editor_completion", "payload": payload, "metadata": {"source": "vscode", "version": "1"}},
            {"type": "code_context", "payload": {"type": "file", "name": "b.py", "content": "x"}},
        ]})
        .to_string()
    };
    for path in ["/v3/code/completions", "/v4/code/suggestions"] {
        let answer = gateway.post(path, &of(false)).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let body = answer.json();
        assert_eq!(body["choices"][0]["text"], "return 1");
        assert_eq!(
            body["metadata"]["model"],
            json!({"engine": "modelgate", "name": "upstream-model", "lang": "python"})
        );
        assert!(body["metadata"]["timestamp"].as_u64().unwrap() > 1_700_000_000);
    }
    let raw = gateway.post("/v3/code/completions", &of(true)).await;
    assert_eq!((raw.text.as_str(), raw.header("x-streaming-format")), ("return 1", ""));
    assert!(raw.header("content-type").starts_with("text/event-stream"));
    let events = gateway.post("/v4/code/suggestions", &of(true)).await;
    assert_eq!(events.header("x-streaming-format"), "sse");
    let kinds: Vec<&str> = events.text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(
        (kinds.first(), kinds.last()),
        (Some(&"stream_start"), Some(&"stream_end")),
        "{}",
        events.text
    );
    let text: String = events
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter_map(|data| serde_json::from_str::<Value>(data).ok())
        .filter_map(|data| Some(data["choices"][0]["delta"]["content"].as_str()?.to_owned()))
        .collect();
    assert_eq!(text, "return 1");
}

#[tokio::test]
async fn refusals_of_today_are_flat_and_of_2023_listed() {
    for (compat, expected) in [
        ("Current", r#"{"detail":"Validation error"}"#),
        (
            "Strict",
            r#"{"detail":[{"loc":["body","current_file"],"msg":"field required","type":"value_error.missing"}]}"#,
        ),
    ] {
        let text = fake("x", "") + &format!("  completion: {{compat: {compat}}}\n");
        let gateway = Gateway::start(&text).await;
        let answer = gateway.post("/v2/completions", "{}").await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (422, expected));
        let later = gateway.post("/v4/code/suggestions", "{}").await;
        assert_eq!(later.status.as_u16(), if compat == "Current" { 422 } else { 404 });
    }
}

#[tokio::test]
async fn experiments_with_fixed_models_go_to_the_model_that_they_name() {
    let upstream = upstream().await;
    let text = config(&[&upstream.url()], "  completion: {compat: Strict}\n")
        .replace("aliases: [alias]", "aliases: [code-gecko]");
    let gateway = Gateway::start(&text).await;
    let path = "/v2/experimental/code/completions";
    let body = |model: &str| {
        format!(
            r#"{{"id":"mine","file_name":"a.py","model":{{"name":"{model}","prefix":"p","suffix":"","parameters":{{}}}}}}"#
        )
    };
    let answer = gateway.post(path, &body("code-gecko")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let created = answer.json()["created"].clone();
    assert_eq!(
        answer.text,
        format!(
            r#"{{"id":"mine","model":{{"engine":"modelgate","name":"upstream-model","lang":"python"}},"object":"code_completions","created":{created},"choices":[{{"text":"return 1","index":0,"finish_reason":"length"}}]}}"#
        )
    );
    let unknown = gateway.post(path, &body("code-bison")).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND, "{unknown:?}");
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn a_generation_of_2023_fails_where_its_completion_was_empty() {
    let failing = Upstream::start(|_| support::with_status(StatusCode::BAD_REQUEST, "{}")).await;
    let gateway = Gateway::start(&config(&[&failing.url()], "  completion: {compat: Strict}\n")).await;
    let body = json!({"current_file": file()}).to_string();
    let completion = gateway.post("/v2/code/completions", &body).await;
    assert_eq!(
        (completion.status.as_u16(), completion.json()["choices"][0]["text"].as_str()),
        (200, Some(""))
    );
    assert_eq!(completion.json()["model"]["lang"], "");
    let generation = gateway.post("/v2/code/generations", &body).await;
    assert_eq!((generation.status.as_u16(), generation.text.as_str()), (500, "Internal Server Error"));
}

/// A generation is a piece of code and not a line.
#[tokio::test]
async fn a_generation_has_a_limit_of_its_own() {
    for (setting, line, code) in
        [("", 64, 2048), ("  completion: {maxOutputTokens: 32, maxGenerationTokens: 300}\n", 32, 300)]
    {
        let upstream = upstream().await;
        let gateway = Gateway::start(&config(&[&upstream.url()], setting)).await;
        for (path, expected) in [("/v2/code/completions", line), ("/v2/code/generations", code)] {
            let answer = gateway.post(path, &json!({"current_file": file()}).to_string()).await;
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
            let sent: Value = serde_json::from_str(&upstream.last().body).unwrap();
            assert_eq!(sent["max_tokens"], expected, "{path} {setting}");
        }
    }
}

/// What GitLab's own gateway of today answers, where the user wants errors shown; else nothing that makes an editor switch
/// itself off. Every route of completions, and streams before they have begun.
#[tokio::test]
async fn a_busy_or_failing_model_is_429_or_503_where_errors_are_shown_and_no_choice_elsewhere() {
    let busy = r#"{"detail":"Too many requests. Please try again later."}"#;
    let failed = r#"{"detail":"Inference failed"}"#;
    let components = json!({"prompt_components": [{"type": "code_editor_completion", "payload": file()}]});
    let plain = json!({"current_file": file()});
    let mut streamed = plain.clone();
    streamed["stream"] = json!(true);
    let routes = [
        ("/v2/completions", &plain),
        ("/v2/code/completions", &streamed),
        ("/v2/code/generations", &plain),
        ("/v3/code/completions", &components),
        ("/v4/code/suggestions", &components),
    ];
    for (fault, pause, status, told, outcome, body) in [
        (429, "20", 429, "20", "client_error", busy),
        (503, "", 503, "1", "upstream_error", failed),
        (500, "", 503, "1", "upstream_error", failed),
    ] {
        let upstream = Upstream::start(move |_| {
            let mut response = support::with_status(StatusCode::from_u16(fault).unwrap(), "{}");
            if !pause.is_empty() {
                response.headers_mut().insert("retry-after", pause.parse().unwrap());
            }
            response
        })
        .await;
        for (path, ask) in routes {
            let yaml = config(&[&upstream.url()], "  completion: {onUnavailable: Error}\n");
            let gateway = Gateway::start(&yaml).await;
            let answer = gateway.post(path, &ask.to_string()).await;
            assert_eq!((answer.status.as_u16(), answer.text.as_str()), (status, body), "{path} {fault}");
            assert_eq!(answer.header("retry-after"), told, "{path} {fault}");
            assert_eq!(answer.header("x-modelgate-outcome"), outcome, "{path} {fault}");
            let gateway = Gateway::start(&config(&[&upstream.url()], "")).await;
            let answer = gateway.post(path, &ask.to_string()).await;
            assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (200, ""), "{path} {fault}");
            assert_eq!(answer.header("x-modelgate-outcome"), outcome, "{path} {fault}");
            if ask["stream"] == json!(true) {
                assert_eq!(answer.text, "", "{path} {fault}");
            } else {
                assert_eq!(answer.json()["choices"], json!([]), "{path} {fault}");
            }
        }
    }
}

/// A manual trigger asks for up to four: one request to the model, doubles told once, what parses first.
#[tokio::test]
async fn several_choices_are_asked_for_at_once_and_ranked() {
    let upstream = Upstream::start(|_| {
        let texts = ["return (1", "return one", "return one", "return one + two"];
        let choices: Vec<Value> = (0..)
            .zip(texts)
            .map(|(index, text): (u32, &str)| json!({"index": index, "text": text, "finish_reason": "stop"}))
            .collect();
        support::json(&json!({"choices": choices}).to_string())
    })
    .await;
    let gateway = Gateway::start(&config(&[&upstream.url()], "")).await;
    let body = json!({"current_file": file(), "choices_count": 9});
    let answer = gateway.post("/v2/code/completions", &body.to_string()).await;
    let sent: Value = serde_json::from_str(&upstream.last().body).unwrap();
    assert_eq!((sent["n"].as_u64(), upstream.count()), (Some(4), 1), "four are the most");
    let choices = answer.json()["choices"].clone();
    let told: Vec<(u64, &str)> = choices
        .as_array()
        .unwrap()
        .iter()
        .map(|choice| (choice["index"].as_u64().unwrap(), choice["text"].as_str().unwrap()))
        .collect();
    assert_eq!(told.get(..2), Some(&[(0, "return one + two"), (1, "return one")][..]), "{told:?}");
    assert!(told.len() <= 3, "doubles are told once: {told:?}");
}

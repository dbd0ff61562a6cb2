//! Requests of OpenAI's for servers that speak something else. Pure, from files: `tests/golden/translate/NAME.json` holds a
//! client's request and what a server answers, `NAME.snap` the request it becomes and the answer the client gets; `UPDATE=1`
//! writes the snaps anew. And each server over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fmt::Write;
use std::path::Path;

use http::{Response, StatusCode};
use modelgate_gateway::dialect::openai::words::Words;
use modelgate_gateway::dialect::openai::{Api, wish};
use modelgate_gateway::dialect::{Abilities, Dialect, TritonModel, vertex};
use serde_json::{Value, json};
use support::{Body, Gateway, Seen, Upstream, with_status};

fn dialect(name: &str) -> Dialect {
    match name.split('/').collect::<Vec<_>>().as_slice() {
        ["Mistral"] => Dialect::Mistral,
        ["TGI"] => Dialect::Tgi,
        ["LlamaCpp"] => Dialect::LlamaCpp,
        ["Triton"] => Dialect::Triton(TritonModel::default()),
        ["VertexAI", publisher, model] => {
            Dialect::Vertex(vertex::Place::new("my-project", "us-central1", publisher, model))
        }
        _ => panic!("no dialect {name}"),
    }
}

fn snap(case: &Value) -> String {
    let dialect = dialect(case["dialect"].as_str().unwrap());
    let api = if case["api"] == "chat" { Api::Chat } else { Api::Completions };
    let abilities = Abilities::of(&dialect);
    let mut text = String::new();
    let body = case["request"].to_string();
    let mut asked = match wish::read(api, body.as_bytes(), dialect.as_str(), &abilities) {
        Ok(asked) => asked,
        Err(why) => return format!("400: {why}\n"),
    };
    asked.model = "upstream-model".into();
    let wire = dialect.render(&asked, &abilities).unwrap();
    let written: Value = serde_json::from_slice(&wire.body).unwrap();
    writeln!(
        text,
        "{} {}{}\n{written:#}",
        wire.method,
        wire.path,
        if wire.stream { " (stream)" } else { "" }
    )
    .unwrap();
    for answer in case["answers"].as_array().unwrap() {
        let mut words =
            Words::new(api, "1", 1_700_000_000, "asked-model", asked.max_tokens, dialect.tells_no_end());
        if let Some(stream) = answer["stream"].as_str() {
            let mut reader = dialect.events();
            let mut out = words.events(reader.push(stream.as_bytes())).to_vec();
            out.extend_from_slice(&words.events(reader.finish()));
            out.extend_from_slice(&words.end(reader.is_complete()));
            writeln!(text, "\nstream ->\n{}", String::from_utf8(out).unwrap()).unwrap();
        } else {
            let read = dialect.read(StatusCode::OK, answer["body"].to_string().as_bytes());
            let whole =
                read.map(|read| if asked.stream { words.whole_as_events(&read) } else { words.whole(&read) });
            let whole = whole.map(|whole| String::from_utf8(whole.to_vec()).unwrap());
            writeln!(text, "\n200 ->\n{}", whole.unwrap_or_else(|fault| fault.to_string())).unwrap();
        }
    }
    text
}

#[test]
fn every_request_and_answer_is_translated_as_its_snap_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/translate");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    assert!(files.len() >= 10, "the cases are there");
    let mut wrong = Vec::new();
    for file in files {
        let case: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let (found, snap) = (snap(&case), file.with_extension("snap"));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&snap, &found).unwrap();
        } else if std::fs::read_to_string(&snap).unwrap_or_default() != found {
            wrong.push(format!("{}:\n{found}", snap.display()));
        }
    }
    assert!(wrong.is_empty(), "UPDATE=1 writes them anew, if these are right:\n{}", wrong.join("\n"));
}

#[test]
fn what_a_server_does_not_take_is_refused_by_the_fields_name_and_what_means_nothing_is_not() {
    let triton = dialect("Triton");
    let refused = |more: Value| {
        let mut body = json!({"model": "m", "prompt": "a"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        wish::read(Api::Completions, body.to_string().as_bytes(), "Triton", &Abilities::of(&triton)).err()
    };
    for (more, field) in [
        (json!({"tools": [{"type": "function"}]}), "\"tools\""),
        (json!({"logit_bias": {"5": 1}}), "\"logit_bias\""),
        (json!({"top_k": 5}), "\"top_k\""),
        (json!({"n": 2}), "\"n\" above 1"),
        (json!({"best_of": 3}), "\"best_of\""),
        (json!({"echo": true}), "\"echo\""),
        (json!({"logprobs": 0}), "\"logprobs\""),
        (json!({"presence_penalty": 0.5}), "\"presence_penalty\""),
        (json!({"response_format": {"type": "json_object"}}), "\"response_format\""),
        (json!({"suffix": "b"}), "\"suffix\""),
        (json!({"prompt": [1, 2]}), "\"prompt\" in tokens"),
        (json!({"prompt": ["a", "b"]}), "\"prompt\" with several texts"),
        (json!({"stop": vec!["x"; 17]}), "\"stop\" with more than 16"),
        (json!({"max_tokens": "many"}), "\"max_tokens\" must be a whole number"),
    ] {
        let why = refused(more.clone()).unwrap_or_else(|| panic!("{more} is taken"));
        assert!(why.contains(field), "{more}: {why}");
    }
    for more in [
        json!({"tools": [], "tool_choice": "auto", "n": 1, "best_of": 1, "echo": false, "suffix": "", "logprobs": null}),
        json!({"presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": {}, "user": "u", "top_logprobs": 0}),
        json!({"response_format": {"type": "text"}, "stream_options": {"include_usage": true}, "metadata": {"a": "b"}}),
        json!({"prompt": ["one"], "stop": "x", "seed": 7}),
    ] {
        assert_eq!(refused(more.clone()), None, "{more}");
    }
}

fn yaml(url: &str, external: &str) -> String {
    support::config(&[url], "").replace("protocol: OpenAI", external)
}

async fn gateway(upstream: &Upstream, external: &str) -> Gateway {
    let gateway = Gateway::start(&yaml(&format!("http://{}", upstream.at), external)).await;
    gateway.until_serving().await;
    gateway
}

fn stream(events: &str) -> Response<Body> {
    let mut response = support::json(events);
    response.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
    response
}

fn data(text: &str) -> Vec<Value> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
    lines.filter(|line| *line != "[DONE]").map(|line| serde_json::from_str(line).unwrap()).collect()
}

const ASK: &str = r#"{"model":"alias","prompt":"def f(","max_tokens":2}"#;
const ASK_STREAM: &str = r#"{"model":"alias","prompt":"def f(","max_tokens":2,"stream":true,"stream_options":{"include_usage":true}}"#;

fn triton(seen: &Seen) -> Response<Body> {
    if seen.path.ends_with("/generate_stream") {
        stream("data: {\"text_output\":\"a\"}\n\ndata: {\"text_output\":\")\"}\n\n")
    } else if seen.body.contains("too long") {
        with_status(StatusCode::BAD_REQUEST, r#"{"error":"prompt length exceeds the maximum"}"#)
    } else {
        support::json(r#"{"model_name":"m","text_output":"a):"}"#)
    }
}

#[tokio::test]
async fn openai_clients_complete_with_triton() {
    let upstream = Upstream::start(|seen| triton(&seen)).await;
    let gateway = gateway(&upstream, "protocol: Triton").await;
    let answer = gateway.post("/v1/completions", ASK).await;
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, "application/json"));
    let body = answer.json();
    assert_eq!((&body["object"], &body["model"]), (&json!("text_completion"), &json!("alias")));
    assert_eq!(
        body["choices"][0],
        json!({"index": 0, "text": "a):", "logprobs": null, "finish_reason": "stop"})
    );
    assert_eq!(body.get("usage"), None, "what nobody counted is not told");
    let seen = upstream.last();
    assert_eq!(seen.path, "/v2/models/upstream-model/generate");
    assert_eq!(serde_json::from_str::<Value>(&seen.body).unwrap()["text_input"], "def f(");

    let answer = gateway.post("/v1/completions", ASK_STREAM).await;
    assert_eq!(answer.header("content-type"), "text/event-stream; charset=utf-8");
    let events = data(&answer.text);
    let texts: String = events.iter().filter_map(|event| event["choices"][0]["text"].as_str()).collect();
    assert_eq!((texts.as_str(), answer.text.ends_with("data: [DONE]\n\n")), ("a)", true), "{}", answer.text);
    assert_eq!(
        events[2]["choices"][0]["finish_reason"], "length",
        "two pieces are the two tokens there were"
    );

    let before = upstream.count();
    let answer = gateway
        .post("/v1/chat/completions", r#"{"model":"alias","messages":[{"role":"user","content":"x"}]}"#)
        .await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.json()["error"]["message"].as_str().unwrap().contains("\"messages\""), "{}", answer.text);
    let answer = gateway
        .post("/v1/completions", r#"{"model":"alias","prompt":"x","tools":[{"type":"function"}]}"#)
        .await;
    assert!(answer.json()["error"]["message"].as_str().unwrap().contains("\"tools\""), "{}", answer.text);
    assert_eq!(upstream.count(), before, "what is refused is not sent");

    let answer = gateway.post("/v1/completions", &ASK.replace("def f(", "too long")).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.json()["error"]["message"], "prompt length exceeds the maximum");
}

#[tokio::test]
async fn a_suffix_reaches_mistrals_fill_in_the_middle() {
    const WHOLE: &str = r#"{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"a, b"},"finish_reason":"length"}],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}"#;
    const EVENTS: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":1}}\n\ndata: [DONE]\n\n";
    let upstream = Upstream::start(|seen| {
        if seen.body.contains("\"stream\":true") { stream(EVENTS) } else { support::json(WHOLE) }
    })
    .await;
    let gateway = gateway(&upstream, "protocol: Mistral").await;
    let ask = ASK.replace("\"max_tokens\"", "\"suffix\":\"):\\n\",\"max_tokens\"");
    let body = gateway.post("/v1/completions", &ask).await.json();
    assert_eq!(
        body["choices"][0],
        json!({"index": 0, "text": "a, b", "logprobs": null, "finish_reason": "length"})
    );
    assert_eq!(body["usage"], json!({"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}));
    let seen = upstream.last();
    let asked: Value = serde_json::from_str(&seen.body).unwrap();
    assert_eq!((seen.path.as_str(), &asked["suffix"]), ("/fim/completions", &json!("):\n")));
    let events = data(&gateway.post("/v1/completions", ASK_STREAM).await.text);
    assert_eq!(events[0]["choices"][0]["text"], "a");
    assert_eq!(
        events[2],
        json!({"id": events[0]["id"], "object": "text_completion", "created": events[0]["created"],
        "model": "alias", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}})
    );
    let without = ASK_STREAM.replace(",\"stream_options\":{\"include_usage\":true}", "");
    let events = data(&gateway.post("/v1/completions", &without).await.text);
    assert!(events.iter().all(|event| event.get("usage").is_none()), "nobody asked for it: {events:?}");
    gateway.until_metric("modelgate_tokens_total").await;
}

#[tokio::test]
async fn a_generation_inference_server_without_openais_paths_is_asked_in_its_own_words() {
    let upstream = Upstream::start_with(
        |path| if path.starts_with("/v1") { with_status(StatusCode::NOT_FOUND, "") } else { support::json("{}") },
        |seen| match seen.path.as_str() {
        "/generate" => support::json(
            r#"{"generated_text":"a):","details":{"finish_reason":"length","generated_tokens":2,"prefill":[{},{}]}}"#,
        ),
        "/generate_stream" => stream(
            "data:{\"token\":{\"text\":\"a\",\"special\":false},\"generated_text\":null,\"details\":null}\n\ndata:{\"token\":{\"text\":\"):\",\"special\":false},\"generated_text\":\"a):\",\"details\":{\"finish_reason\":\"eos_token\",\"generated_tokens\":2,\"input_length\":3}}\n\n",
        ),
        _ => with_status(StatusCode::NOT_FOUND, ""),
    },
)
    .await;
    let gateway = gateway(&upstream, "protocol: TGI").await;
    gateway.until(|state| state["backends"][0]["dialect"]["findings"].is_array()).await;
    let body = gateway.post("/v1/completions", ASK).await.json();
    assert_eq!(
        (&body["choices"][0]["text"], &body["choices"][0]["finish_reason"]),
        (&json!("a):"), &json!("length"))
    );
    assert_eq!(body["usage"], json!({"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4}));
    let events = data(&gateway.post("/v1/completions", ASK_STREAM).await.text);
    let last = events.last().unwrap();
    assert_eq!(
        last["usage"],
        json!({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}),
        "{events:?}"
    );
}

#[tokio::test]
async fn chat_with_a_model_of_mistrals_on_vertex_is_translated_and_a_model_without_streams_gives_one() {
    let upstream = Upstream::start(|seen| match seen.path.as_str() {
        "/token" => support::json(r#"{"access_token":"t","expires_in":3600}"#),
        path if path.ends_with(":streamRawPredict") => stream(
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":null}]}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":1}}\n\n",
        ),
        path if path.ends_with(":predict") => support::json(
            r#"{"predictions":[{"content":"a, b","score":-1.0}],"metadata":{"tokenMetadata":{"inputTokenCount":{"totalTokens":8},"outputTokenCount":{"totalTokens":2}}}}"#,
        ),
        _ => with_status(StatusCode::NOT_FOUND, ""),
    })
    .await;
    for (model, path, ask, expected) in [
        (
            "mistralai/codestral-2501",
            "/v1/chat/completions",
            r#"{"model":"alias","messages":[{"role":"system","content":"short"},{"role":"user","content":[{"type":"text","text":"hello"}]}],"stream":true}"#,
            ("Hi", "stop"),
        ),
        ("google/code-gecko@002", "/v1/completions", ASK_STREAM, ("a, b", "length")),
    ] {
        let external = format!(
            "protocol: VertexAI, vertex: {{project: p, location: us-central1, publisherModel: '{model}'}}, authSecretRef: {{name: google}}"
        );
        let yaml = yaml(&format!("http://{}", upstream.at), &external)
            .replace("name: r\n", "name: r\n    dataBoundary: External\n");
        let gateway = Gateway::start(&yaml).await;
        let folder = gateway.folder.path().join("secrets/google");
        std::fs::create_dir_all(&folder).unwrap();
        let file = json!({"type": "authorized_user", "client_id": "i", "client_secret": "s", "refresh_token": "r",
            "token_uri": format!("http://{}/token", upstream.at)});
        std::fs::write(folder.join("credentials.json"), file.to_string()).unwrap();
        gateway.until_serving().await;
        let answer = gateway.post(path, ask).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let events = data(&answer.text);
        let choices = || events.iter().map(|event| &event["choices"][0]);
        let text: String = choices()
            .filter_map(|choice| choice["text"].as_str().or(choice["delta"]["content"].as_str()))
            .collect();
        let finish = choices().find_map(|choice| choice["finish_reason"].as_str());
        assert_eq!((text.as_str(), finish), (expected.0, Some(expected.1)), "{}", answer.text);
        assert!(answer.text.ends_with("data: [DONE]\n\n"));
    }
}

#[tokio::test]
async fn a_translated_stream_that_breaks_is_told_to_be_broken() {
    let upstream = Upstream::start(|_| {
        let (sender, response) = support::events();
        tokio::spawn(async move {
            sender.send(Ok("data: {\"text_output\":\"a\"}\n\n".into())).await.unwrap();
            sender.send(Ok("data: {\"error\":\"the model failed\"}\n\n".into())).await.unwrap();
        });
        response
    })
    .await;
    let gateway = gateway(&upstream, "protocol: Triton").await;
    let answer = gateway.post("/v1/completions", ASK_STREAM).await;
    let events = data(&answer.text);
    assert_eq!(events[0]["choices"][0]["text"], "a");
    assert!(
        events.last().unwrap().get("error").is_some() && !answer.text.contains("[DONE]"),
        "{}",
        answer.text
    );
}

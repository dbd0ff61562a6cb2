//! The server over a real socket with a real model.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "support/engine.rs"]
mod engine;
#[path = "support/model_file.rs"]
mod model_file;

use std::{
    io::{Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    process::Command,
    time::{Duration, Instant},
};

use engine::{Engine, PATIENCE, events, finish};
use serde_json::{Value, json};

const COMPLETIONS: &str = "/v1/completions";
const CANCELLED: &str = "modelgate_engine_requests_total{outcome=\"cancelled\",route=\"completions\"}";
const RUNNING: &str = "modelgate_engine_requests_running";
const WAITING: &str = "modelgate_engine_requests_waiting";

/// A request that runs until somebody ends it.
fn endless() -> Value {
    json!({"prompt": "Once upon a time", "max_tokens": 4000, "ignore_eos": true, "stream": true, "seed": 1})
}

#[test]
fn a_stream_carries_the_same_text_as_a_whole_answer_and_a_seed_repeats_it_beside_other_requests() {
    let engine = Engine::start(&[]);
    let mut body = json!({"model": "smol", "prompt": "Write a story:", "max_tokens": 40, "seed": 42, "temperature": 1.1, "top_p": 0.95});
    let (whole, whole_end) = engine.complete(&body);
    assert!(whole.len() > 20, "{whole:?}");
    let neighbour = engine.open(COMPLETIONS, &endless());
    engine.wait_for(RUNNING, 1.0);
    body["stream"] = true.into();
    assert_eq!(engine.complete(&body), (whole.clone(), whole_end));
    drop(neighbour);
    body["seed"] = 43.into();
    assert_ne!(engine.complete(&body).0, whole);
}

#[test]
fn a_stop_string_ends_the_answer_and_no_part_of_it_is_sent() {
    let engine = Engine::start(&[]);
    let mut body = json!({"prompt": "The capital of France is", "max_tokens": 24, "temperature": 0});
    let (full, end) = engine.complete(&body);
    assert_eq!(end, "length");
    // A stop string that begins inside one token and ends inside another.
    let stop: String = full.chars().skip(12).take(9).collect();
    let expected = full.split(&stop).next().unwrap().to_owned();
    body["stop"] = json!([stop]);
    assert_eq!(engine.complete(&body), (expected.clone(), "stop".into()));
    body["stream"] = true.into();
    assert_eq!(engine.complete(&body), (expected, "stop".into()));
}

#[test]
fn a_conversation_is_streamed_with_role_text_reason_and_usage() {
    let engine = Engine::start(&[]);
    let mut body = json!({"model": "smol", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 12, "temperature": 0});
    let whole = engine.post("/v1/chat/completions", &body);
    assert_eq!(whole.status, 200, "{}", whole.body);
    let whole: Value = serde_json::from_str(&whole.body).unwrap();
    body["stream"] = true.into();
    body["stream_options"] = json!({"include_usage": true});
    let events = events(&engine.post("/v1/chat/completions", &body).body);
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    let text: String =
        events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(whole["choices"][0]["message"]["content"], text);
    let last = events.last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"], whole["usage"]);
    assert_eq!(whole["usage"]["completion_tokens"], 12);
}

#[test]
fn generation_stops_when_the_client_leaves_streamed_or_not_running_or_waiting() {
    let engine = Engine::start(&["--parallel", "1"]);
    let mut running = engine.open(COMPLETIONS, &endless());
    running.read_exact(&mut [0; 64]).unwrap();
    let mut whole = endless();
    whole["stream"] = false.into();
    let waiting = engine.open(COMPLETIONS, &whole);
    engine.wait_for(WAITING, 1.0);
    drop(waiting);
    engine.wait_for(CANCELLED, 1.0);
    engine.wait_for(WAITING, 0.0);
    running.shutdown(Shutdown::Both).unwrap();
    drop(running);
    engine.wait_for(CANCELLED, 2.0);
    let whole = engine.open(COMPLETIONS, &whole);
    engine.wait_for(RUNNING, 1.0);
    drop(whole);
    engine.wait_for(CANCELLED, 3.0);
    engine.wait_for(RUNNING, 0.0);
    let before = engine.metric("modelgate_engine_generation_tokens_total");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(engine.metric("modelgate_engine_generation_tokens_total"), before, "it still generates");
}

#[test]
fn beyond_the_queue_a_request_gets_429_and_the_queue_goes_on() {
    let engine = Engine::start(&["--parallel", "1", "--queue", "1"]);
    let running = engine.open(COMPLETIONS, &endless());
    engine.wait_for(RUNNING, 1.0);
    let short = json!({"prompt": "a", "max_tokens": 1});
    let waiting = engine.open(COMPLETIONS, &short);
    engine.wait_for(WAITING, 1.0);
    let refused = engine.post(COMPLETIONS, &short);
    assert_eq!(refused.status, 429, "{}", refused.body);
    let error: Value = serde_json::from_str(&refused.body).unwrap();
    assert_eq!(error["error"]["code"], "queue_full");
    drop(running);
    assert_eq!(finish(waiting).status, 200);
    engine.wait_for("modelgate_engine_requests_total{outcome=\"queue_full\",route=\"completions\"}", 1.0);
}

#[test]
fn bad_requests_are_refused_by_name_and_the_server_goes_on() {
    let engine = Engine::start(&["--context-length", "64", "--alias", "small", "--alias", "tiny"]);
    let long = "word ".repeat(80);
    for (status, param, body) in [
        (404, json!("model"), json!({"model": "gpt-4", "prompt": "a"})),
        (400, json!("prompt"), json!({"prompt": long})),
        (400, json!("prompt"), json!({"prompt": ""})),
        (400, json!("prompt"), json!({"prompt": [99_999_999]})),
        (400, json!("suffix"), json!({"prompt": "a", "suffix": "b"})),
        (400, json!("n"), json!({"prompt": "a", "n": 3})),
        (413, Value::Null, json!({"prompt": "a".repeat(3 << 20)})),
    ] {
        let reply = engine.post(COMPLETIONS, &body);
        assert_eq!(reply.status, status, "{}", reply.body);
        let error: Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!(error["error"]["param"], param, "{error}");
        assert_eq!(error["error"]["type"], "invalid_request_error");
    }
    let reply = engine.post(COMPLETIONS, &json!({"prompt": long}));
    assert!(reply.body.contains("needs 8") && reply.body.contains("has 64"), "{}", reply.body);
    assert_eq!(finish(engine.send("POST /v1/completions HTTP/1.1\r\n", "{nonsense")).status, 400);
    assert_eq!(engine.get("/v1/completions").status, 405);
    assert_eq!(engine.get("/nowhere").status, 404);
    let models: Value = serde_json::from_str(&engine.get("/v1/models").body).unwrap();
    let names: Vec<&str> =
        models["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!(names, ["smol", "small", "tiny"]);
    // The longest answer that fits, under an alias: prompt and answer fill the context.
    let reply = engine
        .post(COMPLETIONS, &json!({"model": "tiny", "prompt": "a", "max_tokens": 500, "ignore_eos": true}));
    let answer: Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(answer["usage"]["total_tokens"], 64, "{answer}");
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
}

#[test]
fn metrics_are_there_from_the_start_and_count_tokens() {
    let engine = Engine::start_unready(&[]);
    assert_eq!(engine.get("/livez").status, 200);
    let text = engine.get("/metrics").body;
    for family in ["time_to_first_token_seconds", "time_per_output_token_seconds", "request_duration_seconds"]
    {
        assert!(text.contains(&format!("modelgate_engine_{family}_count 0")), "{family}");
    }
    assert_eq!(engine.metric(CANCELLED), Some(0.0));
    let deadline = Instant::now() + PATIENCE;
    while engine.get("/health").status == 503 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    engine.complete(&json!({"prompt": [1, 2, 3], "max_tokens": 5, "ignore_eos": true}));
    for (series, wanted) in [
        ("prompt_tokens_total", 3.0),
        ("generation_tokens_total", 5.0),
        ("time_to_first_token_seconds_count", 1.0),
        ("time_per_output_token_seconds_count", 4.0),
        ("request_generation_tokens_sum", 5.0),
        ("requests_total{outcome=\"length\",route=\"completions\"}", 1.0),
        ("requests_running", 0.0),
    ] {
        assert_eq!(engine.metric(&format!("modelgate_engine_{series}")), Some(wanted), "{series}");
    }
}

#[test]
fn a_running_stream_is_finished_on_sigterm_and_new_requests_are_refused() {
    let mut engine = Engine::start(&["--drain-timeout", "100s"]);
    let mut body = endless();
    body["max_tokens"] = 60.into();
    let mut stream = engine.open(COMPLETIONS, &body);
    let mut first = [0; 256];
    let read = stream.read(&mut first).unwrap();
    engine.terminate();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    let whole = [&first[..read], &rest].concat();
    assert!(String::from_utf8(whole).unwrap().contains("data: [DONE]"), "the stream was cut");
    assert_eq!(engine.exit_code(), Some(0));
}

#[test]
fn sigterm_while_the_model_loads_ends_the_server_in_order() {
    let mut engine = Engine::start_unready(&[]);
    engine.terminate();
    assert_eq!(engine.exit_code(), Some(0));
}

#[test]
fn after_the_drain_timeout_a_stream_is_ended_with_an_error_and_the_server_exits() {
    let mut engine = Engine::start(&["--drain-timeout", "0s"]);
    let mut stream = engine.open(COMPLETIONS, &endless());
    stream.read_exact(&mut [0; 64]).unwrap();
    engine.terminate();
    assert_eq!(engine.exit_code(), Some(0));
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("server is stopping"), "{rest}");
}

#[test]
fn a_model_that_cannot_be_served_gives_one_error_and_exit_code_2() {
    let folder = std::env::temp_dir().join(format!("modelgate-engine-serve-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let whole = std::fs::read(model_file::path()).unwrap();
    std::fs::write(folder.join("text.gguf"), "not a model").unwrap();
    std::fs::write(folder.join("header.gguf"), &whole[..1000]).unwrap();
    std::fs::write(folder.join("cut.gguf"), &whole[..whole.len() / 2]).unwrap();
    for (name, words) in [
        ("missing.gguf", "No such file"),
        ("text.gguf", "not a GGUF file"),
        ("header.gguf", "cannot load this file"),
        ("cut.gguf", "cannot load this file"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_modelgate-engine"))
            .args(["serve", "--listen", "127.0.0.1:0", "--model"])
            .arg(folder.join(name))
            .env("RUST_LOG", "error,llama-cpp-2=off")
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}: {error}");
        assert!(error.contains(name) && error.contains(words), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_port_in_use_is_said_with_its_flag_and_a_unix_socket_works_instead() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let serve = |listen: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_modelgate-engine"));
        command.args(["serve", "--model"]).arg(model_file::path()).args(listen).env("RUST_LOG", "error");
        command
    };
    let output = serve(&["--listen", &taken.local_addr().unwrap().to_string()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--listen 127.0.0.1:"));

    let path = std::env::temp_dir().join(format!("modelgate-engine-{}.sock", std::process::id()));
    // The file of a process that died: nobody listens on it.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let mut child = serve(&["--unix-socket", path.to_str().unwrap()]).spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    let health = || -> std::io::Result<String> {
        let mut stream = UnixStream::connect(&path)?;
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        Ok(reply)
    };
    while !health().is_ok_and(|reply| reply.starts_with("HTTP/1.1 200")) {
        assert!(Instant::now() < deadline, "not ready in time");
        std::thread::sleep(Duration::from_millis(50));
    }
    Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!path.exists(), "the socket's file stays behind");
}

//! What an operator of the gateway is told: usage records, `/debug/requests`, ids, the access log.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// A story told in one piece is easier to follow than its parts.
#![allow(clippy::too_many_lines)]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use serde_json::Value;
use support::{Answer, Gateway, Upstream, config, events, json, send};

const CHAT: &str =
    r#"{"model":"upstream-model","messages":[{"role":"user","content":"SECRET-PROMPT"}],"stream":true}"#;
const TEXT: &str = r#"{"model":"upstream-model","prompt":"SECRET-PROMPT"}"#;
const ANSWER: &str = r#"{"choices":[{"text":"SECRET-ANSWER","finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":3}}"#;
const EVENT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"SECRET-ANSWER\"}}]}\n\n";

/// Waits until the file has a line for `id`, then a moment longer for one too many.
async fn records_of(file: &Path, id: &str) -> Vec<Value> {
    let read = || -> Vec<Value> {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        assert!(!text.contains("SECRET"), "no text of a prompt or an answer is written: {text}");
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .filter(|line: &Value| line["request_id"] == id)
            .collect()
    };
    for _ in 0..200 {
        if !read().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    read()
}

type Events = tokio::sync::mpsc::Sender<Result<Bytes, std::io::Error>>;

/// The next stream that the backend is asked for, with its first event sent: the gateway answers when it has one.
async fn begun(streams: &mut tokio::sync::mpsc::UnboundedReceiver<Events>) -> Events {
    let stream = streams.recv().await.unwrap();
    stream.send(Ok(Bytes::from(EVENT))).await.unwrap();
    stream
}

async fn with_usage(url: &str) -> (Gateway, PathBuf, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("usage.jsonl");
    let gateway =
        Gateway::start_with(&config(&[url], ""), &["--usage-log", file.to_str().unwrap()]).await.unwrap();
    gateway.until_serving().await;
    (gateway, file, folder)
}

#[tokio::test]
async fn every_way_a_request_can_end_leaves_exactly_one_usage_record() {
    let (senders, mut streams) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Upstream::start(move |seen| {
        if !seen.body.contains("\"stream\":true") {
            return json(ANSWER);
        }
        let (sender, response) = events();
        senders.send(sender).unwrap();
        response
    })
    .await;
    let (gateway, file, _folder) = with_usage(&upstream.url()).await;
    let ask = |id: &'static str, path: &'static str, body: &'static str| {
        let headers = [("content-type", "application/json"), ("x-request-id", id)];
        let at = gateway.at.http;
        async move { send(at, Method::POST, path, &headers, body).await }
    };

    // Answered whole; the backend says what it used.
    Answer::read(ask("whole", "/v1/completions", TEXT).await).await;
    let whole = records_of(&file, "whole").await;
    assert_eq!(whole.len(), 1);
    assert_eq!(whole[0]["outcome"], "success");
    assert_eq!((&whole[0]["input_tokens"], &whole[0]["output_tokens"]), (&7.into(), &3.into()));
    assert_eq!(whole[0]["usage_source"], "reported");
    assert_eq!((&whole[0]["backend"], &whole[0]["route"]), (&"b0".into(), &"r".into()));

    // Streamed to its end, without usage.
    let (response, stream) = tokio::join!(ask("streamed", "/v1/chat/completions", CHAT), begun(&mut streams));
    stream.send(Ok(Bytes::from("data: [DONE]\n\n"))).await.unwrap();
    drop(stream);
    Answer::read(response).await;
    let streamed = records_of(&file, "streamed").await;
    assert_eq!(streamed.len(), 1);
    assert_eq!(
        (&streamed[0]["outcome"], &streamed[0]["usage_source"]),
        (&"success".into(), &"estimated".into())
    );
    assert!(streamed[0]["output_tokens"].as_u64().unwrap() > 0, "{}", streamed[0]);

    // The client leaves in the middle.
    let (mut response, _stream) =
        tokio::join!(ask("left", "/v1/chat/completions", CHAT), begun(&mut streams));
    response.body_mut().frame().await.unwrap().unwrap();
    drop(response);
    let left = records_of(&file, "left").await;
    assert_eq!(left.len(), 1);
    assert_eq!((&left[0]["outcome"], &left[0]["status_code"]), (&"canceled".into(), &200.into()));

    // The backend dies in the middle.
    let (response, stream) = tokio::join!(ask("killed", "/v1/chat/completions", CHAT), begun(&mut streams));
    stream.send(Err(std::io::Error::other("killed"))).await.unwrap();
    Answer::read(response).await;
    let killed = records_of(&file, "killed").await;
    assert_eq!(killed.len(), 1);
    assert_eq!(killed[0]["outcome"], "truncated");

    // Nothing listens any more.
    drop(upstream);
    Answer::read(ask("refused", "/v1/completions", r#"{"model":"nobody","prompt":"x"}"#).await).await;
    let refused = records_of(&file, "refused").await;
    assert_eq!(refused.len(), 1);
    assert_eq!(
        (&refused[0]["outcome"], &refused[0]["usage_source"]),
        (&"client_error".into(), &"none".into())
    );
    let lines = std::fs::read_to_string(&file).unwrap().lines().count();
    assert_eq!(lines, 5, "probes and questions of the gateway itself have none");
}

#[tokio::test]
async fn debug_requests_say_why_this_backend_and_where_the_time_went() {
    let upstream = Upstream::start(|_| json(ANSWER)).await;
    let gateway = Gateway::start(&config(&["http://127.0.0.1:9/v1", &upstream.url()], "")).await;
    let id = "01HCK2YYGQ5B3X4RZP2FMNVQ7A";
    let headers =
        [("content-type", "application/json"), ("x-request-id", id), ("authorization", "Bearer SECRET-KEY")];
    let answer = gateway.send(Method::POST, "/v1/completions", &headers, TEXT).await;
    assert_eq!(answer.header("x-request-id"), id, "a correlation id is kept in whatever form it comes");
    assert!(answer.header("server-timing").contains("first_byte;dur="), "{:?}", answer.headers);
    let debug =
        async |path: &str| Answer::read(send(gateway.at.debug, Method::GET, path, &[], "").await).await;
    let mut shown = debug(&format!("/debug/requests/{id}")).await;
    for _ in 0..100 {
        if shown.status == 200 && !shown.json()["ended"].as_array().unwrap().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        shown = debug(&format!("/debug/requests/{id}")).await;
    }
    assert!(!shown.text.contains("SECRET"), "{}", shown.text);
    let request = &shown.json()["ended"][0];
    assert_eq!(request["backend"], "b1");
    assert_eq!(request["candidates"].as_array().unwrap().len(), 2, "{request:#}");
    let last = request["attempts"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["backend"], &last["result"]), (&"b1".into(), &"ok".into()), "{request:#}");
    assert!(request["because"].is_string(), "{request:#}");
    assert!(request["phasesMs"]["first_byte"].as_f64().unwrap() > 0.0, "{request:#}");
    assert!(debug("/debug/requests").await.text.contains(id));
    assert_eq!(debug("/debug/requests/unknown").await.status, 404);
}

#[tokio::test]
async fn an_error_tells_its_outcome_in_the_header() {
    let gateway = Gateway::start(&support::fake("x", "")).await;
    let answer = gateway.post("/v1/completions", "{").await;
    assert_eq!((answer.status.as_u16(), answer.header("x-modelgate-outcome")), (400, "client_error"));
}

/// The program itself, since the log belongs to the process.
struct Program {
    child: Child,
    folder: tempfile::TempDir,
}

impl Program {
    fn start(environment: &[(&str, &str)]) -> (Self, u16) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("c.yaml"), support::fake("SECRET-ANSWER", "")).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let listen = format!("127.0.0.1:{port}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_modelgate-gateway"));
        command.args(["--config", "c.yaml", "--listen", &listen, "--drain-grace", "0s"]);
        for flag in ["--metrics-listen", "--control-listen", "--debug-listen"] {
            command.args([flag, "127.0.0.1:0"]);
        }
        command.env_clear().envs(environment.iter().copied());
        let child =
            command.current_dir(folder.path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        (Self { child, folder }, port)
    }

    fn stop(&mut self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("gateway.log")).unwrap_or_default()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Already gone when the test passed.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

async fn complete(port: u16) {
    let at = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    for _ in 0..600 {
        if tokio::net::TcpStream::connect(at).await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let body = r#"{"current_file":{"file_name":"a.py","content_above_cursor":"SECRET-PROMPT ","content_below_cursor":"xyz"}}"#;
    let headers = [
        ("content-type", "application/json"),
        ("x-gitlab-instance-id", "inst-1"),
        ("x-gitlab-realm", "self-managed"),
        ("x-gitlab-global-user-id", "user-1"),
        ("user-agent", "gitlab-language-server:7"),
    ];
    let answer =
        Answer::read(send(at, Method::POST, "/v2/code/completions?token=SECRET", &headers, body).await).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_request_leaves_one_access_line_with_the_fields_of_gitlabs_and_no_text() {
    let environment = [("LOG_FORMAT_JSON", "true"), ("LOG_TO_FILE", "gateway.log")];
    let (mut program, port) = Program::start(&environment);
    complete(port).await;
    program.stop();
    let log = program.log();
    assert!(!log.contains("SECRET"), "{log}");
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    let access: Vec<&Value> = lines.iter().filter(|line| line["target"] == "access").collect();
    assert_eq!(access.len(), 1, "{log}");
    let expected = serde_json::json!({
        "logger": "api.access", "type": "mlops", "stage": "main",
        "path": "/v2/code/completions", "status_code": 200, "method": "POST", "http_version": "1.1",
        "client_ip": "127.0.0.1", "user_agent": "gitlab-language-server:7", "gitlab_instance_id": "inst-1",
        "gitlab_global_user_id": "user-1", "gitlab_realm": "self-managed", "model_engine": "modelgate",
        "model_name": "canned", "prompt_length": 14, "prompt_length_stripped": 13, "suffix_length": 3,
        "outcome": "success", "backend": "canned", "lang": "python",
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&access[0][name], value, "{name}: {:#}", access[0]);
    }
    for name in
        ["url", "correlation_id", "client_port", "duration_s", "auth_duration_s", "inference_duration_s"]
    {
        assert!(!access[0][name].is_null(), "{name}: {:#}", access[0]);
    }
}

#[tokio::test]
async fn texts_are_logged_only_when_asked_for_by_name_and_the_start_says_so() {
    let environment = [("LOG_LEVEL", "debug"), ("LOG_TO_FILE", "gateway.log")];
    let (mut program, port) = Program::start(&environment);
    complete(port).await;
    program.stop();
    let log = program.log();
    assert!(log.contains("PROMPTS AND ANSWERS ARE LOGGED"), "{log}");
    let steps: Vec<&str> = log.lines().filter(|line| line.contains("\"target\":\"content\"")).collect();
    assert!(steps.iter().any(|step| step.contains("SECRET-PROMPT")), "{steps:?}");
    assert!(steps.iter().any(|step| step.contains("SECRET-ANSWER")), "{steps:?}");
}

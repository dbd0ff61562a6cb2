//! Streams of GitLab's routes: what a client that reads along gets to see, and when.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};
use support::{Answer, Body, Gateway, Upstream, config};
use tokio::sync::mpsc::Sender;

type Stream = Sender<Result<Bytes, std::io::Error>>;

/// A backend whose streams the test writes; each request's stream is put on the list.
async fn streams() -> (Upstream, Arc<Mutex<Vec<Stream>>>) {
    let list: Arc<Mutex<Vec<Stream>>> = Arc::default();
    let kept = Arc::clone(&list);
    let upstream = Upstream::start(move |_| -> Response<Body> {
        let (sender, response) = support::events();
        kept.lock().unwrap().push(sender);
        response
    })
    .await;
    (upstream, list)
}

async fn stream(list: &Mutex<Vec<Stream>>, at: usize) -> Stream {
    for _ in 0..400 {
        if let Some(stream) = list.lock().unwrap().get(at) {
            return stream.clone();
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("request {at} did not come");
}

async fn say(stream: &Stream, text: &str, finish: Option<&str>) {
    let choice = json!({"index": 0, "text": text, "finish_reason": finish});
    stream.send(Ok(format!("data: {}\n\n", json!({"choices": [choice]})).into())).await.unwrap();
    if finish.is_some() {
        let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":7}}\n\ndata: [DONE]\n\n";
        stream.send(Ok(Bytes::from_static(usage.as_bytes()))).await.unwrap();
    }
}

async fn closed(stream: &Stream) {
    tokio::time::timeout(Duration::from_secs(20), stream.closed())
        .await
        .expect("the backend is told to stop");
}

fn body(path: &str, above: &str) -> String {
    let file = json!({"file_name": "a.py", "content_above_cursor": above, "content_below_cursor": "\n"});
    if path.starts_with("/v4") {
        let mut payload = file;
        payload["stream"] = json!(true);
        json!({"prompt_components": [{"type": "code_editor_completion", "payload": payload}]}).to_string()
    } else {
        json!({"current_file": file, "stream": true}).to_string()
    }
}

/// Sends and returns as soon as the head is there.
async fn open(gateway: &Gateway, path: &str, above: &str) -> Response<Incoming> {
    // As GitLab's language server sends it.
    let headers = [
        ("content-type", " application/json"),
        ("user-agent", "gitlab-language-server:8.0.0 (vscode:1.90.0)"),
        ("x-supports-sse-streaming", "true"),
    ];
    support::send(gateway.at.http, Method::POST, path, &headers, &body(path, above)).await
}

/// The next piece as the client sees it.
async fn next(response: &mut Response<Incoming>) -> Option<String> {
    let frame = tokio::time::timeout(Duration::from_secs(20), response.body_mut().frame()).await;
    let frame = frame.expect("a piece in time")?;
    Some(String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap())
}

fn content(events: &str) -> String {
    let data = events.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter_map(|data| serde_json::from_str::<Value>(data).ok())
        .filter_map(|data| Some(data["choices"][0]["delta"]["content"].as_str()?.to_owned()))
        .collect()
}

#[tokio::test]
async fn lines_reach_the_client_while_the_model_still_writes() {
    for path in ["/v2/completions", "/v2/code/generations", "/v4/code/suggestions"] {
        let (upstream, list) = streams().await;
        let gateway = Gateway::start(&config(&[&upstream.url()], "")).await;
        let feeding = async {
            let stream = stream(&list, 0).await;
            say(&stream, "total = a + b\n    rest = total", None).await;
            stream
        };
        let (mut response, stream) = tokio::join!(open(&gateway, path, "def f(a, b):\n    "), feeding);
        assert_eq!(response.status(), StatusCode::OK);
        let mut early = next(&mut response).await.unwrap();
        let events = path.starts_with("/v4");
        if events && !early.contains("content_chunk") {
            early += &next(&mut response).await.unwrap();
        }
        let shown = if events { content(&early) } else { early.clone() };
        assert_eq!(shown, "total = a + b", "{path}: the line that is whole, and it alone");
        say(&stream, " * 2\n    return rest\n", Some("stop")).await;
        let late = Answer::read(response).await;
        assert!(!late.broken);
        let rest = if events { content(&late.text) } else { late.text.clone() };
        assert_eq!(rest, "\n    rest = total * 2\n    return rest\n", "{path}");
        if events {
            assert!(early.starts_with("event: stream_start\ndata: {\"metadata\":{\"model\":{\"engine\":\"modelgate\",\"name\":\"upstream-model\",\"lang\":\"python\"},\"timestamp\":"));
            assert!(late.text.ends_with("event: stream_end\ndata: null\n\n"));
        }
        gateway.until_metric(r#"operation="code_completion",outcome="success"} 1"#).await;
        gateway.until_metric(r#"type="output"} 7"#).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_stops_the_backend_and_is_accounted_as_gone() {
    let (upstream, list) = streams().await;
    let gateway = Gateway::start(&config(&[&upstream.url()], "")).await;
    let feeding = async {
        let stream = stream(&list, 0).await;
        say(&stream, "total = a + b\n    rest", None).await;
        stream
    };
    let (mut response, stream) =
        tokio::join!(open(&gateway, "/v2/completions", "def g(a, b):\n    "), feeding);
    next(&mut response).await.unwrap();
    drop(response);
    closed(&stream).await;
    gateway.until_metric(r#"operation="code_completion",outcome="canceled"} 1"#).await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_never_shown_as_whole() {
    for path in ["/v2/code/generations", "/v4/code/suggestions"] {
        let (upstream, list) = streams().await;
        let gateway = Gateway::start(&config(&[&upstream.url()], "")).await;
        let feeding = async {
            let stream = stream(&list, 0).await;
            say(&stream, "total = a + b\n    rest = total\n    retu", None).await;
            stream
        };
        let (mut response, stream) = tokio::join!(open(&gateway, path, "def h(a, b):\n    "), feeding);
        let mut text = next(&mut response).await.unwrap();
        let _cut = stream.send(Err(std::io::Error::other("reset"))).await;
        let answer = Answer::read(response).await;
        text += &answer.text;
        if path.starts_with("/v4") {
            assert_eq!(content(&text), "total = a + b\n    rest = total");
            let expected = "event: error\ndata: {\"detail\":\"Inference failed\"}\n\n";
            assert!(text.ends_with(expected) && !text.contains("stream_end"), "{text}");
            assert!(!answer.broken);
        } else {
            assert_eq!(text, "total = a + b\n    rest = total");
            assert!(answer.broken, "the cut is all that tells this client");
        }
        gateway.until_metric(r#"operation="code_completion",outcome="truncated"} 1"#).await;
    }
}

#[tokio::test]
async fn a_stream_that_has_begun_by_the_deadline_goes_on_and_one_that_has_not_is_empty() {
    let (upstream, list) = streams().await;
    let gateway = Gateway::start(&config(&[&upstream.url()], "  completion: {deadline: 500ms}\n")).await;
    let feeding = async {
        let stream = stream(&list, 0).await;
        say(&stream, "total = a", None).await;
        stream
    };
    let (response, first) = tokio::join!(open(&gateway, "/v2/completions", "def i(a, b):\n    "), feeding);
    // The head came at the deadline, without a line to show.
    let rest = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        say(&first, " + b\n    return total\n", Some("stop")).await;
    };
    let (answer, ()) = tokio::join!(Answer::read(response), rest);
    assert_eq!(answer.text, "total = a + b\n    return total\n");
    let silent = Answer::read(open(&gateway, "/v2/completions", "def j(a, b):\n    ").await).await;
    assert_eq!((silent.text.as_str(), silent.header("x-modelgate-outcome")), ("", "deadline"));
    closed(&stream(&list, 1).await).await;
}

#[tokio::test]
async fn a_stream_that_no_backend_answers_is_empty_or_an_error_as_the_configuration_says() {
    let failing = Upstream::start(|_| support::with_status(StatusCode::INTERNAL_SERVER_ERROR, "{}")).await;
    for (setting, status, text) in [
        ("Empty", StatusCode::OK, ""),
        ("Error", StatusCode::SERVICE_UNAVAILABLE, r#"{"detail":"Inference failed"}"#),
    ] {
        let yaml = config(&[&failing.url()], &format!("  completion: {{onUnavailable: {setting}}}\n"));
        let gateway = Gateway::start(&yaml).await;
        let answer = Answer::read(open(&gateway, "/v2/completions", "k = ").await).await;
        assert_eq!((answer.status, answer.text.as_str()), (status, text));
        assert_eq!(answer.header("x-modelgate-outcome"), "upstream_error");
    }
}

/// What post-processing cuts was never sent, and the backend stops as soon as that is decided.
#[tokio::test]
async fn what_is_cut_is_not_sent_before_it_is_cut() {
    let (upstream, list) = streams().await;
    let gateway = Gateway::start(&config(&[&upstream.url()], "")).await;
    let feeding = async {
        let stream = stream(&list, 0).await;
        say(&stream, "total = a + b\n    return total\n", None).await;
        say(&stream, "\n\ndef another(c):\n    return c\n", None).await;
        closed(&stream).await;
    };
    let (response, ()) = tokio::join!(open(&gateway, "/v2/completions", "def l(a, b):\n    "), feeding);
    let answer = Answer::read(response).await;
    assert_eq!(answer.text, "total = a + b\n    return total");
    gateway.until_metric("modelgate_completion_stopped_early_total 1").await;
}

/// The rest of an answer that broke off comes from another backend, behind what the client has already.
#[tokio::test]
async fn a_stream_that_breaks_off_goes_on_elsewhere_as_if_nothing_had_happened() {
    let ((first, list), (second, rest)) = (streams().await, streams().await);
    let yaml = config(&[&first.url(), &second.url()], "").replace("{name: b1}", "{name: b1, role: Fallback}");
    let gateway = Gateway::start(&yaml).await;
    let feeding = async {
        let stream = stream(&list, 0).await;
        say(&stream, "total = a + b\n    re", None).await;
        stream
    };
    let (mut response, broken) =
        tokio::join!(open(&gateway, "/v4/code/suggestions", "def m(a, b):\n    "), feeding);
    let mut text = next(&mut response).await.unwrap();
    let _cut = broken.send(Err(std::io::Error::other("reset"))).await;
    let ending = async {
        let stream = stream(&rest, 0).await;
        say(&stream, "turn total\n", Some("stop")).await;
    };
    let (answer, ()) = tokio::join!(Answer::read(response), ending);
    text += &answer.text;
    assert_eq!(content(&text), "total = a + b\n    return total\n");
    assert!(text.ends_with("event: stream_end\ndata: null\n\n") && !text.contains("event: error"), "{text}");
    let asked: Value = serde_json::from_str(&second.last().body).unwrap();
    assert_eq!(asked["prompt"], "def m(a, b):\n    total = a + b\n    re");
    gateway.until_metric(r#"operation="code_completion",outcome="success"} 1"#).await;
}

//! What happens to a completion until its deadline: cut, shared, replaced, reused, and given up.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::json;
use support::issuer::Issuer;
use support::{Answer, Body, Gateway, Upstream, config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::Sender;

const ROUTE: &str = "/v2/completions";
type Stream = Sender<Result<Bytes, std::io::Error>>;

fn request(file: &str, above: &str, below: &str) -> String {
    json!({"current_file": {"file_name": file, "content_above_cursor": above, "content_below_cursor": below}})
        .to_string()
}

fn event(text: &str, finish: Option<&str>) -> Bytes {
    let choice = json!({"index": 0, "text": text, "finish_reason": finish});
    Bytes::from(format!("data: {}\n\n", json!({"choices": [choice]})))
}

/// A backend whose streams the test writes; each request's stream is put on the list.
async fn streams() -> (Upstream, Arc<Mutex<Vec<Stream>>>) {
    let list: Arc<Mutex<Vec<Stream>>> = Arc::default();
    let kept = Arc::clone(&list);
    let upstream = Upstream::start(move |_| -> http::Response<Body> {
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

/// The gateway has closed its connection to the backend.
async fn closed(stream: &Stream) {
    tokio::time::timeout(Duration::from_secs(20), stream.closed())
        .await
        .expect("the backend is told to stop");
}

async fn ask(gateway: &Gateway, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut all = vec![("content-type", "application/json")];
    all.extend(headers);
    gateway.send(Method::POST, ROUTE, &all, body).await
}

fn text(answer: &Answer) -> String {
    answer.json()["choices"][0]["text"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn at_the_deadline_what_is_clean_is_answered_and_the_backend_stops() {
    let (upstream, list) = streams().await;
    let gateway = Gateway::start(&config(&[&upstream.url()], "  completion: {deadline: 1s}\n")).await;
    let body = request("a.py", "def f(a):\n    ", "\n");
    let asking = ask(&gateway, &[], &body);
    let feeding = async {
        let stream = stream(&list, 0).await;
        stream.send(Ok(event("b = a + 1\n    c = b + 2\n    retu", None))).await.unwrap();
        stream
    };
    let (answer, stream) = tokio::join!(asking, feeding);
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(text(&answer), "b = a + 1\n    c = b + 2");
    assert_eq!(answer.json()["choices"][0]["finish_reason"], "length");
    assert_eq!(answer.header("x-modelgate-outcome"), "deadline");
    closed(&stream).await;
    gateway.until_metric(r#"operation="code_completion",outcome="deadline"} 1"#).await;
    gateway.until_metric(r#"modelgate_completion_cut_total{phase="decode"} 1"#).await;
}

#[tokio::test]
async fn a_caller_can_shorten_the_deadline_and_never_lengthen_it() {
    let (upstream, _list) = streams().await;
    for (configured, header) in [("20s", "500"), ("500ms", "20000")] {
        let yaml = config(&[&upstream.url()], &format!("  completion: {{deadline: {configured}}}\n"));
        let gateway = Gateway::start(&yaml).await;
        let began = Instant::now();
        let answer =
            ask(&gateway, &[("x-modelgate-deadline-ms", header)], &request("a.py", "x = ", "")).await;
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
        assert_eq!((answer.status, answer.json()["choices"].clone()), (StatusCode::OK, json!([])));
        assert_eq!(answer.header("x-modelgate-outcome"), "deadline");
        gateway.until_metric(r#"modelgate_completion_cut_total{phase="first_token"} 1"#).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_the_first_token_frees_the_backend() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let yaml = config(&[&url], "").replace("protocol: OpenAI", "protocol: OpenAI, probe: None");
    let gateway = Gateway::start(&yaml).await;
    let body = request("a.py", "x = ", "");
    let mut client = tokio::net::TcpStream::connect(gateway.at.http).await.unwrap();
    let head = format!(
        "POST {ROUTE} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    client.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    // The backend reads the prompt and thinks.
    let (mut seen, _) = listener.accept().await.unwrap();
    let mut bytes = [0_u8; 4096];
    assert!(seen.read(&mut bytes).await.unwrap() > 0);
    drop(client);
    let gone = async { while seen.read(&mut bytes).await.unwrap_or(0) > 0 {} };
    tokio::time::timeout(Duration::from_secs(3), gone)
        .await
        .expect("the connection to the backend is closed");
    gateway.until_metric(r#"operation="code_completion",outcome="canceled"} 1"#).await;
}

#[tokio::test]
async fn the_backend_is_stopped_as_soon_as_the_end_is_decided() {
    let (upstream, list) = streams().await;
    let gateway = Gateway::start(&config(&[&upstream.url()], "  completion: {deadline: 30s}\n")).await;
    let body = request("a.py", "def f(a):\n    ", "\n");
    let feeding = async {
        let stream = stream(&list, 0).await;
        stream.send(Ok(event("return a + 1", None))).await.unwrap();
        stream.send(Ok(event("<|endoftext|>def g():", None))).await.unwrap();
        stream
    };
    // The stream never ends by itself.
    let (answer, stream) = tokio::join!(ask(&gateway, &[], &body), feeding);
    assert_eq!((text(&answer).as_str(), answer.header("x-modelgate-outcome")), ("return a + 1", "success"));
    closed(&stream).await;
    gateway.until_metric("modelgate_completion_stopped_early_total 1").await;
    gateway.until_metric(r#"modelgate_completion_step_changes_total{step="SpecialTokens"} 1"#).await;
}

#[tokio::test]
async fn identical_requests_share_a_generation_and_survive_each_others_clients() {
    let (upstream, list) = streams().await;
    let gateway = Gateway::start(&config(&[&upstream.url()], "  completion: {deadline: 30s}\n")).await;
    let body = request("a.py", "x = ", "\n");
    let mut first = tokio::net::TcpStream::connect(gateway.at.http).await.unwrap();
    let head = format!(
        "POST {ROUTE} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    first.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let stream = stream(&list, 0).await;
    let feeding = async {
        gateway.until_metric(r#"modelgate_completion_reuse_total{kind="identical"} 1"#).await;
        drop(first);
        gateway.until_metric(r#"outcome="canceled"} 1"#).await;
        stream.send(Ok(event("1", Some("stop")))).await.unwrap();
        stream.send(Ok(Bytes::from_static(b"data: [DONE]\n\n"))).await.unwrap();
    };
    let (answer, ()) = tokio::join!(ask(&gateway, &[], &body), feeding);
    assert_eq!((text(&answer).as_str(), upstream.count()), ("1", 1));
}

#[tokio::test]
async fn what_is_typed_of_an_answer_is_answered_from_it_but_never_to_another_tenant() {
    let upstream =
        Upstream::start(|_| support::json(r#"{"choices":[{"text":"foo(bar)","finish_reason":"stop"}]}"#))
            .await;
    let issuer = Issuer::start().await;
    let auth = format!("gitlab: {{url: '{}', subjects: [ann, bob]}}", issuer.url());
    let yaml = config(&[&upstream.url()], "").replace("anonymous: true", &auth);
    let gateway = Gateway::start(&yaml).await;
    let bearer = |name: &str| {
        let claims = json!({"sub": name, "aud": "gitlab-code-suggestions", "scopes": ["complete_code"]});
        format!("Bearer {}", issuer.token(&claims))
    };
    let (ann, bob) = (bearer("ann"), bearer("bob"));
    // who, text before the cursor, text after it, answer, requests that the backend has seen by then
    for (who, above, below, expected, seen) in [
        (&ann, "x = ", "\n", "foo(bar)", 1),
        (&ann, "x = fo", "\n", "o(bar)", 1),
        (&ann, "x = foo(", "\n", "bar)", 1),
        (&bob, "x = foo(", "\n", "foo(bar)", 2),
        (&ann, "x = foo(", "\ny", "foo(bar)", 3),
        (&ann, "x = fa", "\n", "foo(bar)", 4),
    ] {
        let headers = [("authorization", who.as_str()), ("x-gitlab-authentication-type", "oidc")];
        let answer = ask(&gateway, &headers, &request("a.py", above, below)).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!((text(&answer).as_str(), upstream.count()), (expected, seen), "{above:?} {below:?}");
    }
    gateway.until_metric(r#"modelgate_completion_reuse_total{kind="typed_ahead"} 2"#).await;
}

#[tokio::test]
async fn keystrokes_that_follow_an_answer_still_coming_join_it() {
    let (upstream, list) = streams().await;
    let gateway = Gateway::start(&config(&[&upstream.url()], "  completion: {deadline: 30s}\n")).await;
    let (early, late) = (request("a.py", "x = ", "\n"), request("a.py", "x = fo", "\n"));
    let feeding = async {
        let stream = stream(&list, 0).await;
        stream.send(Ok(event("foo(", None))).await.unwrap();
        // The second request comes when this much was read.
        gateway.until_metric("gen_ai_server_time_to_first_token_seconds_count").await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let rest = async {
            gateway.until_metric(r#"modelgate_completion_reuse_total{kind="stream"} 1"#).await;
            stream.send(Ok(event("bar)", Some("stop")))).await.unwrap();
            stream.send(Ok(Bytes::from_static(b"data: [DONE]\n\n"))).await.unwrap();
        };
        tokio::join!(ask(&gateway, &[], &late), rest).0
    };
    let (first, second) = tokio::join!(ask(&gateway, &[], &early), feeding);
    assert_eq!((text(&first).as_str(), text(&second).as_str()), ("foo(bar)", "o(bar)"));
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn a_newer_completion_of_the_same_editor_replaces_the_older_at_the_backend() {
    let (upstream, list) = streams().await;
    let gateway = Gateway::start(&config(&[&upstream.url()], "  completion: {deadline: 30s}\n")).await;
    let user = [("x-gitlab-global-user-id", "u1")];
    let (old, new) = (request("a.py", "x = ", "\n"), request("a.py", "y = ", "\n"));
    let (elsewhere, body) = (request("b.py", "x = ", "\n"), [("x-gitlab-global-user-id", "u1")]);
    let newer = async {
        let first = stream(&list, 0).await;
        let feeding = async {
            closed(&first).await;
            let second = stream(&list, 1).await;
            second.send(Ok(event("1", Some("stop")))).await.unwrap();
            second.send(Ok(Bytes::from_static(b"data: [DONE]\n\n"))).await.unwrap();
        };
        tokio::join!(ask(&gateway, &user, &new), feeding).0
    };
    let (older, newer) = tokio::join!(ask(&gateway, &user, &old), newer);
    assert_eq!((older.status, older.header("x-modelgate-outcome")), (StatusCode::OK, "canceled"));
    assert_eq!(older.json()["choices"], json!([]));
    assert_eq!(text(&newer), "1");
    gateway.until_metric("modelgate_completion_superseded_total 1").await;
    // Another file of the same editor replaces nothing.
    let both = async {
        let third = stream(&list, 2).await;
        let fourth = async {
            let fourth = stream(&list, 3).await;
            for stream in [&third, &fourth] {
                stream.send(Ok(event("2", Some("stop")))).await.unwrap();
                stream.send(Ok(Bytes::from_static(b"data: [DONE]\n\n"))).await.unwrap();
            }
        };
        tokio::join!(ask(&gateway, &body, &elsewhere), fourth).0
    };
    let old_again = request("a.py", "z = ", "\n");
    let (one, other) = tokio::join!(ask(&gateway, &user, &old_again), both);
    assert_eq!((text(&one).as_str(), text(&other).as_str()), ("2", "2"));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_shown_only_up_to_a_clean_end() {
    for compat in ["Strict", "Current"] {
        for (sent, shown) in [("b = a + 1\n    retu", "b = a + 1"), ("retu", "")] {
            let (upstream, list) = streams().await;
            let yaml = config(&[&upstream.url()], &format!("  completion: {{compat: {compat}}}\n"));
            let gateway = Gateway::start(&yaml).await;
            let body = request("a.py", "def f(a):\n    ", "\n");
            let feeding = async {
                let stream = stream(&list, 0).await;
                stream.send(Ok(event(sent, None))).await.unwrap();
                tokio::time::sleep(Duration::from_millis(200)).await;
                let _cut = stream.send(Err(std::io::Error::other("reset"))).await;
                list.lock().unwrap().clear();
            };
            let (answer, ()) = tokio::join!(ask(&gateway, &[], &body), feeding);
            assert_eq!(answer.status, StatusCode::OK, "{compat} {sent:?} {answer:?}");
            assert_eq!(text(&answer), shown, "{compat} {sent:?}");
            let choices = answer.json()["choices"].as_array().unwrap().len();
            assert_eq!(choices, usize::from(compat == "Strict" || !shown.is_empty()));
            assert_eq!(answer.header("x-modelgate-outcome"), "truncated");
            gateway.until_metric(r#"operation="code_completion",outcome="truncated"} 1"#).await;
        }
    }
}

#[tokio::test]
async fn a_user_stays_with_a_variant_and_the_answer_says_which() {
    let upstream =
        Upstream::start(|_| support::json(r#"{"choices":[{"text":"1","finish_reason":"stop"}]}"#)).await;
    let experiment = "  completion: {experiments: [{name: short, variants: [{weight: 1}, {weight: 1, maxOutputTokens: 8}]}]}\n";
    let gateway = Gateway::start(&config(&[&upstream.url()], experiment)).await;
    let mut seen = [0, 0];
    for user in 0..12 {
        let user = format!("user-{user}");
        let mut variants = Vec::new();
        for above in ["x = ", "y = "] {
            let headers = [("x-gitlab-global-user-id", user.as_str())];
            let answer = ask(&gateway, &headers, &request(&user, above, "")).await;
            let variant = answer.json()["experiments"][0]["variant"].as_i64().unwrap();
            assert_eq!(answer.json()["experiments"][0]["name"], "short");
            let sent: serde_json::Value = serde_json::from_str(&upstream.last().body).unwrap();
            assert_eq!(sent["max_tokens"], if variant == 1 { 8 } else { 64 });
            variants.push(variant);
        }
        assert_eq!(variants[0], variants[1], "{user}");
        seen[usize::try_from(variants[0]).unwrap()] += 1;
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
}

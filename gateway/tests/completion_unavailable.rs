//! What editors see while no backend can answer: nothing that makes them switch themselves off.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::json;
use support::{Answer, Gateway, Upstream, config};

const REQUEST: &str =
    r#"{"current_file":{"file_name":"a.py","content_above_cursor":"x = ","content_below_cursor":"\n"}}"#;

/// The language server's two breakers (gitlab-lsp): the one of a connection through GitLab opens for 10 s at the fourth
/// error within 10 s; the one of a direct connection opens at every error, for 1, 5, 25, 125 and 600 s, and no success
/// resets its count.
#[derive(Default)]
struct Breakers {
    errors: Vec<Instant>,
    direct_errors: u32,
    opened: Vec<String>,
}

impl Breakers {
    fn see(&mut self, when: &str, answer: &Answer) {
        if answer.status.is_success() && !answer.broken {
            return;
        }
        let now = Instant::now();
        self.errors.retain(|error| now - *error < Duration::from_secs(10));
        self.errors.push(now);
        if self.errors.len() >= 4 {
            self.opened.push(format!("{when}: through GitLab, for 10 s"));
        }
        let seconds = 5_u64.pow(self.direct_errors.min(3)).min(600);
        self.direct_errors += 1;
        self.opened.push(format!("{when}: direct, for {seconds} s ({})", answer.status));
    }
}

async fn upstream() -> Upstream {
    Upstream::start(|_| support::json(r#"{"choices":[{"text":"1","finish_reason":"stop"}]}"#)).await
}

/// What the operator renders for a backend with pods, at an address that the test chooses.
fn rendered(name: &str, target: &str) -> String {
    format!(
        "formatVersion: \"1.0\"\ninputs: []\ngateway: gw\nnamespace: team\nhttpPort: 5000\nmetricsPort: 8082\nprotocols: [GitLab, OpenAI]\nauth: {{anonymous: true}}\ncompat: Current\nroutes:\n- name: r\n  models: [m]\n  dataBoundary: Cluster\n  backends: [{{name: b, weight: 1}}]\n  timeout: {{connectMs: 1000, firstByteMs: 2000, idleMs: 1000, totalMs: 20000}}\nbackends:\n  b: {{model: m, aliases: [{name}], contextLength: 2048, boundary: Inside, boundaryReason: x, target: {target}}}\n"
    )
}

fn pods(host: &str, port: u16) -> String {
    format!("{{type: pods, host: {host}, port: {port}}}")
}

/// Puts a configuration in force and waits until its backend is found to be so.
async fn reload(gateway: &Gateway, yaml: &str, reason: &str) {
    let before = gateway.state("").await["configHash"].clone();
    gateway.write_config(yaml);
    gateway.until(|state| state["configHash"] != before && state["backends"][0]["reason"] == reason).await;
}

/// An editor that types on while backends come and go.
#[derive(Default)]
struct Editor {
    breakers: Breakers,
    outcomes: Vec<(String, String)>,
}

impl Editor {
    async fn ask(&mut self, gateway: &Gateway, when: &str, distinct: usize) {
        // Each keystroke is another request, so nothing is answered from an earlier one.
        let answer =
            gateway.post("/v2/completions", &REQUEST.replace("x = ", &format!("x{distinct} = "))).await;
        self.breakers.see(when, &answer);
        let outcome = answer.header("x-modelgate-outcome").to_owned();
        if outcome != "success" {
            assert_eq!(answer.json()["choices"], json!([]), "{when}: {answer:?}");
        }
        self.outcomes.push((when.to_owned(), outcome));
    }
}

/// The only pod answers that it ends, then refuses connections; another comes at another address.
async fn through_a_rollout(editor: &mut Editor, new: &Upstream) -> Gateway {
    let ending = Arc::new(AtomicBool::new(false));
    let ends = Arc::clone(&ending);
    let old = Upstream::start(move |_| {
        if ends.load(Ordering::Acquire) {
            return support::with_status(StatusCode::SERVICE_UNAVAILABLE, "{}");
        }
        support::json(r#"{"choices":[{"text":"1","finish_reason":"stop"}]}"#)
    })
    .await;
    let gateway = Gateway::start(&rendered("one", &pods("localhost", old.at.port()))).await;
    gateway.until(|state| state["backends"][0]["healthy"] == true).await;
    editor.ask(&gateway, "before the rollout", 0).await;
    ending.store(true, Ordering::Release);
    for at in 1..4 {
        editor.ask(&gateway, "while the old pod ends", at).await;
    }
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    reload(&gateway, &rendered("gone", &pods("localhost", closed.port())), "Unreachable").await;
    for at in 4..7 {
        editor.ask(&gateway, "between the pods", at).await;
    }
    reload(&gateway, &rendered("two", &pods("localhost", new.at.port())), "Healthy").await;
    editor.ask(&gateway, "after the rollout", 7).await;
    gateway
}

/// A model at zero that wakes.
async fn through_a_wake_up(editor: &mut Editor, gateway: &Gateway, new: &Upstream) {
    reload(gateway, &rendered("three", &pods("nothing.invalid", 1)), "NoEndpoints").await;
    let began = Instant::now();
    for at in 8..12 {
        editor.ask(gateway, "at zero", at).await;
    }
    assert!(began.elapsed() < Duration::from_secs(20), "a minute is expected, so nobody waits for it");
    let state = gateway.until(|state| state["backends"][0]["demand"].as_u64() >= Some(4)).await;
    assert_eq!(state["backends"][0]["held"], 0);
    reload(gateway, &rendered("four", &pods("localhost", new.at.port())), "Healthy").await;
    editor.ask(gateway, "awake", 12).await;
}

/// A limit, of the backend and of the gateway.
async fn through_limits(editor: &mut Editor, gateway: &Gateway, new: &Upstream) {
    let limiting = Upstream::start(|_| {
        let mut response = support::with_status(StatusCode::TOO_MANY_REQUESTS, "{}");
        response.headers_mut().insert("retry-after", http::HeaderValue::from_static("30"));
        response
    })
    .await;
    reload(gateway, &rendered("five", &pods("localhost", limiting.at.port())), "Healthy").await;
    for at in 13..18 {
        editor.ask(gateway, "limited by the backend", at).await;
    }
    let limits = "  limits: [{name: few, by: Subject, requestsPerMinute: 1}]\n";
    let limited = Gateway::start(&config(&[&new.url()], limits)).await;
    for at in 18..24 {
        editor.ask(&limited, "limited by the gateway", at).await;
    }
}

#[tokio::test]
async fn a_rollout_a_wake_up_and_a_limit_open_none_of_the_language_servers_breakers() {
    let mut editor = Editor::default();
    let new = upstream().await;
    let gateway = through_a_rollout(&mut editor, &new).await;
    through_a_wake_up(&mut editor, &gateway, &new).await;
    through_limits(&mut editor, &gateway, &new).await;
    let Editor { breakers, outcomes } = editor;
    assert_eq!(breakers.opened, Vec::<String>::new());
    for (when, expected) in [
        ("before the rollout", "success"),
        ("while the old pod ends", "upstream_error"),
        ("between the pods", "upstream_error"),
        ("after the rollout", "success"),
        ("at zero", "upstream_error"),
        ("awake", "success"),
        ("limited by the backend", "client_error"),
        ("limited by the gateway", "limited"),
    ] {
        assert!(outcomes.iter().any(|told| *told == (when.into(), expected.into())), "{when}: {outcomes:?}");
    }
}

#[tokio::test]
async fn elsewhere_a_waking_backend_is_503_with_the_time_to_come_back() {
    let gateway = Gateway::start(&rendered("zero", &pods("nothing.invalid", 1))).await;
    gateway.until(|state| state["backends"][0]["reason"] == "NoEndpoints").await;
    let answer = gateway.post("/v1/completions", r#"{"model":"m","prompt":"x"}"#).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    let seconds: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert_eq!(answer.json()["error"]["code"], "backend_waking");
}

#[tokio::test]
async fn on_unavailable_and_empty_choice_are_the_users_to_decide() {
    let broken = Upstream::start(|_| support::with_status(StatusCode::BAD_GATEWAY, "{}")).await;
    // settings, status, choices
    for (settings, status, choices) in [
        ("", 200, Some(0)),
        ("emptyChoice: OneEmpty", 200, Some(1)),
        ("onUnavailable: Error", 503, None),
        ("compat: Strict", 500, None),
        ("compat: Strict, onUnavailable: Empty", 200, Some(1)),
        ("compat: Strict, onUnavailable: Empty, emptyChoice: None", 200, Some(0)),
    ] {
        let gateway =
            Gateway::start(&config(&[&broken.url()], &format!("  completion: {{{settings}}}\n"))).await;
        let answer = gateway.post("/v2/completions", REQUEST).await;
        assert_eq!(answer.status.as_u16(), status, "{settings}: {answer:?}");
        assert_eq!(answer.header("x-modelgate-outcome"), "upstream_error", "{settings}");
        match choices {
            Some(count) => assert_eq!(answer.json()["choices"].as_array().unwrap().len(), count),
            None if status == 503 => assert_eq!(answer.header("retry-after"), "1", "{answer:?}"),
            None => {}
        }
    }
}

#[tokio::test]
async fn a_backend_takes_no_more_at_once_than_it_says_and_the_rest_waits_in_turn() {
    let (sender, mut arrived) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Upstream::start(move |seen| {
        let (stream, response) = support::events();
        sender.send((seen.body, stream)).unwrap();
        response
    })
    .await;
    let backend = "admission: {maxConcurrent: 1, queueDepth: 1, queueTimeout: 30s}\n  external:";
    let yaml =
        config(&[&upstream.url()], "  completion: {deadline: 30s}\n").replacen("external:", backend, 1);
    let gateway = Gateway::start(&yaml).await;
    let ask = async |name: &str| {
        let body = REQUEST.replace("x = ", name);
        gateway.post("/v2/completions", &body).await
    };
    let rest = async {
        let (_, one) = arrived.recv().await.unwrap();
        let others = async {
            // One is at the backend and one waits: a third, and a request that passes through, find the queue full.
            tokio::time::sleep(Duration::from_millis(500)).await;
            let third = ask("c = ").await;
            assert_eq!((third.status, third.header("x-modelgate-outcome")), (StatusCode::OK, "shed"));
            assert_eq!(third.json()["choices"], json!([]));
            let passing = gateway.post("/v1/completions", r#"{"model":"alias","prompt":"x"}"#).await;
            assert_eq!(
                (passing.status, passing.header("retry-after")),
                (StatusCode::SERVICE_UNAVAILABLE, "1")
            );
            assert!(arrived.try_recv().is_err(), "the backend was asked once");
            end(one).await;
            let (_, two) = arrived.recv().await.unwrap();
            end(two).await;
        };
        tokio::join!(ask("b = "), others).0
    };
    let (first, second) = tokio::join!(ask("a = "), rest);
    assert_eq!([first, second].map(|answer| answer.json()["choices"][0]["text"].clone()), ["1", "1"]);
}

async fn end(stream: tokio::sync::mpsc::Sender<Result<bytes::Bytes, std::io::Error>>) {
    let event =
        "data: {\"choices\":[{\"index\":0,\"text\":\"1\",\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    stream.send(Ok(bytes::Bytes::from_static(event.as_bytes()))).await.unwrap();
}

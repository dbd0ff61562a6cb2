//! What users of other gateways complain about and no other test here shows to be otherwise: docs/gateway-complaints.md.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use support::issuer::Issuer;
use support::script::{Act, Script, answer, chat_event, ending, says, stream_head, streams, text_event};
use support::{Answer, Gateway, config, send};

const JSON: (&str, &str) = ("content-type", "application/json");

/// An answer that is 200 ms late and says what it cost.
fn late(usage: &str) -> Vec<Act> {
    let body = format!(r#"{{"choices":[{{"index":0,"text":"x","finish_reason":"stop"}}],"usage":{usage}}}"#);
    let mut acts = vec![Act::Pause(Duration::from_millis(200))];
    acts.extend(answer("200 OK", "", &body));
    acts
}

/// The sum or count of a phase's histogram.
async fn phase(gateway: &Gateway, what: &str, phase: &str) -> f64 {
    let start = format!("modelgate_request_phase_seconds_{what}{{phase=\"{phase}\"}} ");
    let scrape = gateway.metrics().await;
    scrape.lines().find_map(|line| line.strip_prefix(start.as_str())?.parse().ok()).unwrap()
}

#[tokio::test]
async fn complaint_09_requests_at_once_use_no_more_tokens_than_the_limit() {
    let upstream = Script::start(vec![late(r#"{"prompt_tokens":13,"completion_tokens":227}"#)]).await;
    let limits = "  limits: [{name: budget, by: Subject, tokensPerMinute: 1000}]\n";
    let gateway = Gateway::start(&config(&[&upstream.url()], limits)).await;
    // 40 bytes are reserved as 13 tokens, the answer with 227: four such requests fit in 1000 and leave 40, and the fifth
    // would have to wait for 12 s.
    let ask = r#"{"model":"alias","max_tokens":227,"p":1}"#;
    assert_eq!(ask.len() / 3, 13);
    let all = futures::future::join_all((0..20).map(|_| gateway.post("/v1/completions", ask))).await;
    let passed = all.iter().filter(|answer| answer.status == StatusCode::OK).count();
    let refused = all.iter().filter(|answer| answer.status == StatusCode::TOO_MANY_REQUESTS).count();
    assert_eq!((passed, refused, upstream.count()), (4, 16, 4));
    gateway
        .until_metric(
            r#"modelgate_tokens_total{backend="b0",gateway="gw",model="upstream-model",type="output"} 908"#,
        )
        .await;
}

/// What can go wrong with an answer, and whether it is asked for as a stream.
fn faults() -> Vec<(&'static str, bool, Vec<Act>)> {
    let begun = stream_head();
    let event = || Act::Write(text_event("a", "one "));
    let status = |line: &str| answer(line, "", "{}");
    vec![
        ("429", false, status("429 Too Many Requests")),
        ("500", false, status("500 Internal Server Error")),
        ("400", false, status("400 Bad Request")),
        ("reset before the head", false, vec![Act::Reset]),
        ("closed before the head", true, vec![Act::Close]),
        ("no head", false, vec![Act::Hang]),
        ("no first event", true, vec![begun.clone(), Act::Hang]),
        ("no second event", true, vec![begun.clone(), event(), Act::Hang]),
        (
            "reset in mid-stream",
            true,
            vec![begun.clone(), event(), Act::Pause(Duration::from_millis(50)), Act::Reset],
        ),
        ("ends without an end", true, vec![begun.clone(), event(), Act::Close]),
        (
            "an error in the stream",
            true,
            vec![begun.clone(), event(), Act::Write("data: {\"error\":{\"message\":\"x\"}}\n\n".into())],
        ),
        ("no events", true, vec![begun, event(), Act::Write("data: nonsense\n\n".into()), Act::Close]),
        ("an empty answer", false, answer("200 OK", "", "")),
        ("no JSON", false, answer("200 OK", "", "<html>")),
        ("another kind", true, answer("200 OK", "", "{}")),
        ("whole", true, streams(&(chat_event("a", "x") + &ending("a")))),
    ]
}

#[tokio::test]
async fn complaint_10_no_fault_keeps_a_slot() {
    let all = faults();
    // Each fault is followed by a good answer, which also keeps the circuit closed.
    let parts = all.iter().flat_map(|(_, _, acts)| [acts.clone(), says("good")]).collect();
    let upstream = Script::start(parts).await;
    let limits = "  limits: [{name: one, by: Subject, concurrent: 1}]\n";
    let yaml = config(&[&upstream.url()], limits)
        .replace("external: {", "admission: {maxConcurrent: 1, queueDepth: 0}\n  external: {")
        .replace("timeout: {", "retries: {max: 0}\n    timeout: {firstToken: 1s, ");
    let gateway = Gateway::start(&yaml).await;
    for (fault, stream, _) in all {
        let ask = json!({"model": "alias", "prompt": fault, "stream": stream}).to_string();
        gateway.post("/v1/completions", &ask).await;
        until_free(&gateway, fault).await;
    }
    // A client that leaves: before the head, within the answer, and while its completion is made.
    let hang = vec![stream_head(), Act::Write(text_event("a", "one ")), Act::Hang];
    let upstream =
        Script::start(vec![vec![Act::Hang], says("good"), hang, says("good"), vec![Act::Hang], says("good")])
            .await;
    let gateway = Gateway::start(&yaml.replace(&gateway_url(&yaml), &upstream.url())).await;
    let file = json!({"file_name": "a.py", "content_above_cursor": "leaves = ", "content_below_cursor": ""});
    let leaving = [
        ("/v1/completions", json!({"model": "alias", "prompt": "leaves before"})),
        ("/v1/completions", json!({"model": "alias", "prompt": "leaves within", "stream": true})),
        ("/v2/code/completions", json!({"current_file": file})),
    ];
    for (turn, (path, body)) in leaving.into_iter().enumerate() {
        let body = body.to_string();
        let asking = send(gateway.at.http, Method::POST, path, &[JSON], &body);
        let part = tokio::time::timeout(Duration::from_millis(600), async {
            let mut response = asking.await;
            response.body_mut().frame().await
        });
        let _left = part.await;
        assert_eq!(upstream.count(), 2 * turn + 1, "{path}: the backend was asked");
        until_free(&gateway, path).await;
    }
}

/// The backend's address in a configuration.
fn gateway_url(yaml: &str) -> String {
    let start = yaml.split("url: \"").nth(1).unwrap();
    start.split('"').next().unwrap().to_owned()
}

/// Asks until the only place is free again, which has to be soon: nothing else is under way.
async fn until_free(gateway: &Gateway, after: &str) {
    for _ in 0..200 {
        let ask = json!({"model": "alias", "prompt": format!("after {after}")}).to_string();
        let answer = gateway.post("/v1/completions", &ask).await;
        if answer.status == StatusCode::OK {
            assert!(answer.text.contains("good"), "{answer:?}");
            gateway
                .until_metric(
                    "modelgate_requests_in_flight{backend=\"b0\",gateway=\"gw\",model=\"upstream-model\"} 0",
                )
                .await;
            return;
        }
        assert!(matches!(answer.status.as_u16(), 429 | 503), "{after}: {answer:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{after}: the place is never given back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn complaint_20_with_authentication_on_a_scrape_counts_the_requests_of_every_thread() {
    let issuer = Issuer::start().await;
    let upstream = Script::start(vec![says("x")]).await;
    let auth = format!("auth: {{oidc: [{{issuer: \"{}\", audiences: [bench]}}]}}", issuer.url());
    let yaml = config(&[&upstream.url()], "").replace("auth: {anonymous: true}", &auth);
    let gateway = Gateway::start(&yaml).await;
    let token = format!("Bearer {}", issuer.token(&json!({"sub": "me", "aud": "bench"})));
    let headers = [JSON, ("authorization", token.as_str())];
    let ask = || gateway.send(Method::POST, "/v1/completions", &headers, r#"{"model":"alias"}"#);
    for _ in 0..10 {
        let answers = futures::future::join_all((0..10).map(|_| ask())).await;
        assert!(answers.iter().all(|answer| answer.status == StatusCode::OK), "{answers:?}");
    }
    assert_eq!(
        gateway.post("/v1/completions", r#"{"model":"alias"}"#).await.status,
        StatusCode::UNAUTHORIZED
    );
    // No token, and all of them are there.
    gateway
        .until_metric(r#"modelgate_requests_total{backend="b0",gateway="gw",model="upstream-model",operation="text_completion",outcome="success"} 100"#)
        .await;
    gateway.until_metric(r#"modelgate_auth_failures_total{reason="header_missing"} 1"#).await;
}

#[tokio::test]
async fn complaint_23_the_phases_of_a_request_are_told_and_are_all_of_its_time() {
    let upstream = Script::start(vec![late(r#"{"prompt_tokens":1,"completion_tokens":1}"#)]).await;
    let gateway = Gateway::start(&config(&[&upstream.url()], "")).await;
    let headers = [JSON, ("x-request-id", "measured")];
    let before = phase(&gateway, "count", "first_byte").await;
    let answer = gateway.send(Method::POST, "/v1/completions", &headers, r#"{"model":"alias"}"#).await;
    let told: Vec<(String, f64)> = answer
        .header("server-timing")
        .split(", ")
        .map(|entry| entry.split_once(";dur=").unwrap())
        .map(|(name, spent)| (name.to_owned(), spent.parse().unwrap()))
        .collect();
    let of = |name: &str| told.iter().find(|(phase, _)| phase == name).map(|(_, spent)| *spent).unwrap();
    assert!(of("first_byte") >= 200.0, "the backend's time is not the gateway's: {told:?}");
    let mut shown = Value::Null;
    for _ in 0..200 {
        let page =
            Answer::read(send(gateway.at.debug, Method::GET, "/debug/requests/measured", &[], "").await)
                .await;
        shown = if page.status == StatusCode::OK { page.json()["ended"][0].clone() } else { Value::Null };
        if shown.is_object() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let phases = shown["phasesMs"].as_object().unwrap_or_else(|| panic!("{shown:#}"));
    let sum: f64 = phases.values().map(|spent| spent.as_f64().unwrap()).sum();
    let whole = shown["durationMs"].as_f64().unwrap();
    // Nothing is left out but what lies between two looks at the clock.
    assert!(sum <= whole + 0.01 && sum > whole * 0.98, "{sum} of {whole}: {shown:#}");
    for (name, spent) in &told {
        assert!(phases[name].as_f64().unwrap() >= spent - 0.001, "{name}: {shown:#}");
    }
    // The same for all requests together.
    assert!(phase(&gateway, "sum", "first_byte").await >= 0.2);
    for name in ["auth", "read", "route", "first_byte", "answer"] {
        assert!(phase(&gateway, "count", name).await >= 1.0, "{name}");
    }
    assert!(phase(&gateway, "count", "first_byte").await - before < 1.5);
}

//! Routes over real sockets: conditions, roles, shares, copies, second questions, circuits, streams' usage.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use http::{Method, StatusCode};
use support::Gateway;
use support::script::{Act, Script, answer, ending, says, stream_head, streams, text_event};

const ASK: &str = r#"{"model":"m","prompt":"x","max_tokens":5}"#;

fn backend(name: &str, url: &str) -> String {
    format!(
        "apiVersion: modelgate.dev/v1alpha1\nkind: ModelBackend\nmetadata: {{name: {name}}}\nspec:\n  model: {{name: m}}\n  external: {{protocol: OpenAI, url: \"{url}\", probe: None}}\n---\n"
    )
}

fn gateway(routes: &str) -> String {
    format!(
        "apiVersion: modelgate.dev/v1alpha1\nkind: ModelGateway\nmetadata: {{name: gw}}\nspec:\n  auth: {{anonymous: true}}\n  routes:\n{routes}"
    )
}

#[tokio::test]
async fn the_first_route_whose_conditions_hold_takes_the_request() {
    let listed = Script::start(vec![says("listed")]).await;
    let python = Script::start(vec![says("python")]).await;
    let team = Script::start(vec![says("team")]).await;
    let rest = Script::start(vec![says("rest")]).await;
    let text = backend("listed", &listed.url())
        + &backend("python", &python.url())
        + &backend("team", &team.url())
        + &backend("rest", &rest.url())
        + &gateway(
            "  - {name: listed, match: {projects: {secretRef: {name: pilots}}}, backends: [{name: listed}]}
  - {name: python, match: {languages: [python], paths: [\"/v2/*\"]}, backends: [{name: python}]}
  - {name: team, match: {headers: [{name: X-Team, value: \"core*\"}]}, backends: [{name: team}]}
  - {name: rest, backends: [{name: rest}]}
",
        );
    let gateway = Gateway::start(&text).await;
    // Every request has a text of its own, or it would be answered from an earlier one's answer.
    let asked = std::cell::Cell::new(0);
    let ask = |file: &str, project: i64| {
        asked.set(asked.get() + 1);
        let text = format!("x{} = ", asked.get());
        format!(
            r#"{{"prompt_version":1,"project_path":"","project_id":{project},"current_file":{{"file_name":"{file}","content_above_cursor":"{text}","content_below_cursor":""}}}}"#
        )
    };
    let counts = || [listed.count(), python.count(), team.count(), rest.count()];
    gateway.post("/v2/completions", &ask("a.py", 7)).await;
    assert_eq!(counts(), [0, 1, 0, 0], "a list that cannot be read lists nobody");
    let folder = gateway.folder.path().join("secrets/pilots");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("list.txt"), "7,group/project\n").unwrap();
    for _ in 0..100 {
        gateway.post("/v2/completions", &ask("a.go", 7)).await;
        if listed.count() > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(listed.count(), 1, "a list that comes later needs no restart");
    let before = counts();
    gateway.post("/v2/completions", &ask("a.py", 8)).await;
    gateway.post("/v2/completions", &ask("a.go", 8)).await;
    gateway.post("/v1/completions", ASK).await;
    gateway.send(Method::POST, "/v1/completions", &[("x-team", "core-7")], ASK).await;
    let after = counts();
    let taken: Vec<usize> = before.iter().zip(after).map(|(before, after)| after - before).collect();
    assert_eq!(taken, [0, 1, 1, 2]);
}

#[tokio::test]
async fn a_shadow_gets_copies_and_the_client_never_sees_it() {
    let primary = Script::start(vec![says("primary")]).await;
    let shadow = Script::start(vec![answer("500 Internal Server Error", "", "{}")]).await;
    let routes = "  - {name: r, backends: [{name: p}, {name: s, role: Shadow}]}\n";
    let text = backend("p", &primary.url()) + &backend("s", &shadow.url()) + &gateway(routes);
    let gateway = Gateway::start(&text).await;
    for _ in 0..5 {
        let answer = gateway.post("/v1/completions", ASK).await;
        assert!(answer.text.contains("primary"), "{answer:?}");
    }
    gateway.until_metric(r#"modelgate_shadow_requests_total{backend="s",result="failed"} 5"#).await;
    assert_eq!(shadow.count(), 5);
    let metrics = gateway.metrics().await;
    assert!(!metrics.contains(
        r#"backend="s",gateway="gw",model="m",operation="text_completion",outcome="upstream_error"} 5"#
    ));
    // One that never answers holds nobody up, and its copies are bounded.
    let hanging = Script::start(vec![vec![Act::Hang]]).await;
    let text = backend("p", &primary.url()) + &backend("s", &hanging.url()) + &self::gateway(routes);
    let gateway = Gateway::start(&text).await;
    for _ in 0..40 {
        assert_eq!(gateway.post("/v1/completions", ASK).await.status, StatusCode::OK);
    }
    gateway.until_metric(r#"modelgate_shadow_requests_total{backend="s",result="left_out"} 24"#).await;
}

#[tokio::test]
async fn a_late_first_token_is_asked_for_elsewhere_within_the_budget() {
    let slow = vec![stream_head(), Act::Pause(Duration::from_secs(8)), Act::Close];
    let late = Script::start(vec![slow.clone()]).await;
    let fast = Script::start(vec![streams(&(text_event("f", "fast") + &ending("f")))]).await;
    let text = backend("late", &late.url())
        + &backend("fast", &fast.url())
        + &gateway(
            "  - {name: r, backends: [{name: late, weight: 1000}, {name: fast, weight: 1}], hedging: {after: 200ms}}\n",
        );
    let gateway = Gateway::start(&text).await;
    let ask = r#"{"model":"m","prompt":"x","stream":true}"#;
    let mut hedged = false;
    for _ in 0..3 {
        let answer = gateway.post("/v1/completions", ask).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        if late.count() > 0 {
            hedged = true;
            break;
        }
    }
    assert!(hedged && fast.count() > 0);
    gateway.until_metric(r#"modelgate_hedges_total{backend="late"} 1"#).await;
    gateway.until_metric(r#"modelgate_requests_in_flight{backend="late",gateway="gw",model="m"} 0"#).await;
}

#[tokio::test]
async fn an_address_that_fails_again_and_again_is_left_alone_and_a_wrong_request_is_nobodys_fault() {
    let failing = Script::start(vec![answer("500 Internal Server Error", "", "{}")]).await;
    let text = backend("b", &failing.url()) + &gateway("  - {name: r, backends: [{name: b}]}\n");
    let gateway = Gateway::start(&text).await;
    for _ in 0..5 {
        assert_eq!(gateway.post("/v1/completions", ASK).await.status.as_u16(), 502);
    }
    let answer = gateway.post("/v1/completions", ASK).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("retry-after").is_empty(), failing.count()),
        (503, false, 5)
    );
    assert_eq!(answer.json()["error"]["code"], "backend_open");
    gateway.until_metric(r#"modelgate_circuit_opened_total{backend="b"} 1"#).await;

    let refusing =
        Script::start(vec![support::script::answer("400 Bad Request", "", r#"{"error":{"message":"no"}}"#)])
            .await;
    let text = backend("b", &refusing.url()) + &self::gateway("  - {name: r, backends: [{name: b}]}\n");
    let gateway = Gateway::start(&text).await;
    for _ in 0..12 {
        assert_eq!(gateway.post("/v1/completions", ASK).await.status.as_u16(), 400);
    }
    assert_eq!(refusing.count(), 12);
}

#[tokio::test]
async fn a_streams_usage_is_counted_and_shown_only_to_who_asked() {
    let usage =
        "data: {\"id\":\"a\",\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2}}\n\n";
    let events = text_event("a", "x")
        + "data: {\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"stop\"}]}\n\n"
        + usage
        + "data: [DONE]\n\n";
    let upstream = Script::start(vec![streams(&events)]).await;
    let text = backend("b", &upstream.url()) + &gateway("  - {name: r, backends: [{name: b}]}\n");
    let gateway = Gateway::start(&text).await;
    let silent = gateway.post("/v1/completions", r#"{"model":"m","prompt":"x","stream":true}"#).await;
    assert_eq!(silent.text, events.replace(usage, ""));
    assert_eq!(upstream.last()["stream_options"]["include_usage"], true);
    let asked = r#"{"model":"m","prompt":"x","stream":true,"stream_options":{"include_usage":true}}"#;
    assert_eq!(gateway.post("/v1/completions", asked).await.text, events);
    assert_eq!(upstream.asked.lock().unwrap().last().unwrap(), asked, "byte for byte");
    gateway
        .until_metric(r#"modelgate_tokens_total{backend="b",gateway="gw",model="m",type="output"} 4"#)
        .await;

    // A server that knows no such wish is asked once, and the client does not notice.
    let refusal =
        answer("422 Unprocessable Entity", "", r#"{"detail":"stream_options: extra fields not permitted"}"#);
    let plain = text_event("a", "x") + &ending("a");
    let upstream = Script::start(vec![refusal, streams(&plain)]).await;
    let text = backend("b", &upstream.url()) + &self::gateway("  - {name: r, backends: [{name: b}]}\n");
    let gateway = Gateway::start(&text).await;
    for expected in [2, 3] {
        let answer = gateway.post("/v1/completions", r#"{"model":"m","prompt":"x","stream":true}"#).await;
        assert_eq!((answer.text.as_str(), upstream.count()), (plain.as_str(), expected));
    }
    assert!(upstream.last().get("stream_options").is_none());
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_by_the_backend_before_and_within_the_answer() {
    for acts in [vec![Act::Hang], vec![stream_head(), Act::Write(text_event("a", "x")), Act::Hang]] {
        let upstream = Script::start(vec![acts]).await;
        let text = backend("b", &upstream.url()) + &gateway("  - {name: r, backends: [{name: b}]}\n");
        let gateway = Gateway::start(&text).await;
        let body = r#"{"model":"m","prompt":"x","stream":true}"#;
        let asking = tokio::spawn(support::send(gateway.at.http, Method::POST, "/v1/completions", &[], body));
        for _ in 0..200 {
            if upstream.count() > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        asking.abort();
        drop(asking.await);
        gateway.until_metric(r#"modelgate_requests_in_flight{backend="b",gateway="gw",model="m"} 0"#).await;
    }
}

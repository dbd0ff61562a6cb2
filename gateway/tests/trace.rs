//! Traces and usage records as a collector receives them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// A story told in one piece is easier to follow than its parts.
#![allow(clippy::too_many_lines)]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Parser;
use http::Method;
use modelgate_gateway::app::App;
use modelgate_gateway::args::Args;
use serde_json::Value;
use support::{Answer, Upstream, config, json, send};

const ANSWER: &str = r#"{"choices":[{"text":"SECRET-ANSWER","finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":3}}"#;

fn attributes(of: &Value) -> BTreeMap<String, Value> {
    let list = of["attributes"].as_array().unwrap();
    let pair = |item: &Value| {
        let value = item["value"].as_object().unwrap().values().next().unwrap().clone();
        (item["key"].as_str().unwrap().to_owned(), value)
    };
    list.iter().map(pair).collect()
}

/// The first body that the collector got at `path`.
async fn received(collector: &Upstream, path: &str) -> Value {
    for _ in 0..400 {
        let seen = collector.seen.lock().unwrap().iter().find(|seen| seen.path == path).cloned();
        if let Some(seen) = seen {
            assert_eq!(seen.headers["x-token"], "t", "the configured headers are sent");
            assert!(!seen.body.contains("SECRET"), "no text is exported: {}", seen.body);
            return serde_json::from_str(&seen.body).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the collector got nothing at {path}");
}

#[tokio::test]
async fn a_collector_receives_the_callers_trace_continued_to_the_backend() {
    let collector = Upstream::start(|_| json("{}")).await;
    let backend = Upstream::start(|_| json(ANSWER)).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.yaml");
    std::fs::write(&file, config(&[&backend.url()], "")).unwrap();
    let any = "127.0.0.1:0";
    let flags = ["x", "--config", file.to_str().unwrap(), "--listen", any, "--metrics-listen", any];
    let flags = flags.into_iter().chain(["--control-listen", any, "--debug-listen", any]);
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", collector.at)),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-token=t".into()),
        ("OTEL_LOGS_EXPORTER", "otlp".into()),
    ];
    let environment =
        |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
    let app =
        App::start(Args::try_parse_from(flags).unwrap().into_settings(&environment).unwrap()).await.unwrap();
    let at = app.addresses();
    let running = tokio::spawn(app.run(std::future::pending()));

    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let headers =
        [("content-type", "application/json"), ("traceparent", parent.as_str()), ("x-request-id", "req-1")];
    let body = r#"{"model":"alias","prompt":"SECRET-PROMPT"}"#;
    let answer = Answer::read(send(at.http, Method::POST, "/v1/completions", &headers, body).await).await;
    assert_eq!(answer.status, 200);

    let traces = received(&collector, "/v1/traces").await;
    let resource = attributes(&traces["resourceSpans"][0]["resource"]);
    assert_eq!(resource["service.name"], "modelgate-gateway");
    let spans = traces["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone();
    let span =
        |kind: u64| spans.iter().find(|span| span["kind"] == kind).unwrap_or_else(|| panic!("{spans:#?}"));
    let (server, client) = (span(2), span(3));
    assert_eq!(spans.len(), 2);
    assert_eq!((&server["traceId"], &client["traceId"]), (&trace.into(), &trace.into()));
    assert_eq!(server["parentSpanId"], "00f067aa0ba902b7");
    assert_eq!(client["parentSpanId"], server["spanId"]);
    let seen =
        backend.seen.lock().unwrap().iter().find(|seen| seen.body.contains("SECRET")).cloned().unwrap();
    let told = seen.headers["traceparent"].to_str().unwrap().to_owned();
    assert_eq!(
        told,
        format!("00-{trace}-{}-01", client["spanId"].as_str().unwrap()),
        "the backend continues it"
    );
    assert_eq!(server["name"], "POST /v1/completions");
    let of_server = attributes(server);
    assert_eq!(
        (&of_server["http.response.status_code"], &of_server["modelgate.request_id"]),
        (&"200".into(), &"req-1".into())
    );
    assert_eq!(client["name"], "text_completion upstream-model");
    let of_client = attributes(client);
    for (name, value) in [
        ("gen_ai.operation.name", "text_completion"),
        ("gen_ai.request.model", "alias"),
        ("gen_ai.response.model", "upstream-model"),
        ("gen_ai.usage.input_tokens", "7"),
        ("gen_ai.usage.output_tokens", "3"),
        ("modelgate.backend", "b0"),
    ] {
        assert_eq!(of_client[name], value, "{name}");
    }

    let logs = received(&collector, "/v1/logs").await;
    let record = &logs["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
    assert_eq!(record["traceId"], trace);
    assert_eq!(attributes(record)["usage_source"], "reported");
    running.abort();
}

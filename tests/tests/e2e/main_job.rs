//! What `make run` shows: the quickstart's two resources become ready, a model answers both protocols through the gateway,
//! and Prometheus scrapes both because the Prometheus Operator found them.

use std::time::Duration;

use anyhow::bail;
use serde_json::{Value, json};
use testkit::command::wait_until;
use testkit::instruments::http::Request;

use crate::traffic::{ask, gateway};
use crate::world::{self, PATIENCE, await_condition, condition, installed, namespace};

const NAMESPACE: &str = "e2e-main";
const MODEL: &str = "smollm2-135m-instruct";

fn quickstart() -> &'static testkit::cluster::Cluster {
    let cluster = installed();
    if world::get(cluster, NAMESPACE, "modelgateway/code").is_err() {
        namespace(cluster, NAMESPACE);
        world::model_claim(cluster, NAMESPACE);
        world::apply_in(cluster, NAMESPACE, &world::file("examples/quickstart.yaml"));
    }
    await_condition(cluster, NAMESPACE, "modelbackend/smollm2", "Ready", "True");
    await_condition(cluster, NAMESPACE, "modelgateway/code", "Ready", "True");
    cluster
}

#[test]
fn the_quickstart_s_resources_become_ready_with_reasons() {
    let cluster = quickstart();
    let backend = world::get(cluster, NAMESPACE, "modelbackend/smollm2").unwrap();
    assert_eq!(condition(&backend, "Ready").1, "Served", "{:#}", backend["status"]);
    assert_eq!(condition(&backend, "Reconciling").0, "False");
    assert_eq!(condition(&backend, "Stalled").0, "False");
    let gateway = world::get(cluster, NAMESPACE, "modelgateway/code").unwrap();
    assert_eq!(condition(&gateway, "Programmed").0, "True", "{:#}", gateway["status"]);
    assert_eq!(condition(&gateway, "Degraded").0, "False", "{:#}", gateway["status"]);
    assert_eq!(gateway.pointer("/status/instances/programmed"), gateway.pointer("/status/instances/total"));
    let printed = cluster.kubectl(&["get", "mbe,mgw", "--namespace", NAMESPACE]).unwrap();
    for word in ["PHASE", "READY", "MODEL", "SUMMARY", MODEL] {
        assert!(printed.contains(word), "{word} is missing in:\n{printed}");
    }
}

#[test]
fn a_model_answers_gitlab_s_and_openai_s_protocol_through_the_gateway() {
    let cluster = quickstart();
    let way = gateway(cluster, NAMESPACE, "code");
    let body = json!({"current_file": {
        "file_name": "sum.py", "content_above_cursor": "def add(a, b):\n    \"\"\"Return a plus b.\"\"\"\n    return", "content_below_cursor": "",
    }});
    let answer = ask(way.address(), &Request::post("/v2/completions", body.to_string()));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let document = answer.json().unwrap();
    assert_eq!(document["object"], "text_completion");
    assert_eq!(document.pointer("/model/lang"), Some(&json!("python")));
    let text = document.pointer("/choices/0/text").and_then(Value::as_str).unwrap_or_default();
    assert!(!text.trim().is_empty(), "{document:#}");

    let models = ask(way.address(), &Request::get("/v1/models")).json().unwrap();
    assert_eq!(models.pointer("/data/0/id"), Some(&json!(MODEL)), "{models:#}");

    let chat = json!({"model": MODEL, "stream": true, "max_tokens": 8, "messages": [{"role": "user", "content": "Say hello."}]});
    let stream = ask(way.address(), &Request::post("/v1/chat/completions", chat.to_string()));
    assert_eq!(stream.status, 200, "{}", stream.text());
    assert!(stream.text().matches("data: {").count() >= 2, "{}", stream.text());
    assert!(stream.text().trim_end().ends_with("data: [DONE]"), "{}", stream.text());
}

/// A kubelet looks at a running pod's Secrets every 60 to 90 s, and Prometheus' configuration is one; then the
/// reload, the discovery and the first scrape come on top.
const SCRAPED: Duration = Duration::from_secs(240);

#[test]
fn prometheus_scrapes_both_because_the_prometheus_operator_found_them() {
    let cluster = quickstart();
    let way = cluster.forward("prometheus-operated.monitoring.svc.cluster.local:9090", 0).unwrap();
    let wanted = [
        format!("serviceMonitor/{NAMESPACE}/smollm2-engine"),
        format!("serviceMonitor/{NAMESPACE}/code-gateway"),
    ];
    wait_until(SCRAPED, "targets up", || {
        let targets = ask(way.address(), &Request::get("/api/v1/targets?state=active")).json()?;
        let targets =
            targets.pointer("/data/activeTargets").and_then(Value::as_array).cloned().unwrap_or_default();
        for pool in &wanted {
            let of_pool = targets.iter().filter(|target| {
                target["scrapePool"].as_str().is_some_and(|found| found.starts_with(pool.as_str()))
            });
            let health: Vec<_> = of_pool.map(|target| target["health"].clone()).collect();
            if health.is_empty() || health.iter().any(|health| health != "up") {
                bail!("{pool}: {health:?}");
            }
        }
        Ok(())
    })
    .unwrap();
    for metric in ["modelgate_build_info", "modelgate_requests_total", "modelgate_engine_requests_total"] {
        let query = format!("/api/v1/query?query=count({metric}%7Bnamespace=%22{NAMESPACE}%22%7D)");
        wait_until(PATIENCE, metric, || {
            let found = ask(way.address(), &Request::get(&query)).json()?;
            if found.pointer("/data/result/0").is_none() {
                bail!("no samples: {found}")
            }
            Ok(())
        })
        .unwrap();
    }
}

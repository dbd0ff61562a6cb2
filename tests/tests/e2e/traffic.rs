//! Requests to a gateway in the cluster, and what a good answer is.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, bail};
use testkit::cluster::Cluster;
use testkit::command::wait_until;
use testkit::instruments::driver::{Driver, Plan};
use testkit::instruments::http::{Answer, Request, send};
use testkit::relay::Forward;

use crate::world::PATIENCE;

const LIMIT: Duration = Duration::from_secs(60);

/// A way to a gateway's Service from this machine's loopback, once the Service leads somewhere: kube-proxy writes its
/// rules a moment after a pod became ready, and until then a connection to the Service is refused.
pub fn gateway(cluster: &Cluster, namespace: &str, name: &str) -> Forward {
    let target = format!("{name}-gateway.{namespace}.svc.cluster.local:5000");
    let way = cluster.forward(&target, 0).expect("a free port");
    wait_until(PATIENCE, &format!("an answer of {target}"), || {
        send(way.address(), &Request::get("/monitoring/healthz"), LIMIT).map(drop)
    })
    .unwrap();
    way
}

/// Sends one request and returns the whole answer.
pub fn ask(address: SocketAddr, request: &Request) -> Answer {
    send(address, request, LIMIT)
        .unwrap_or_else(|error| panic!("{} {}: {error:#}", request.method, request.path))
}

/// An OpenAI completion for a model that carries a nonce.
pub fn completion(model: &str, nonce: &str) -> Request {
    let body = serde_json::json!({"model": model, "prompt": format!("repeat {nonce}"), "max_tokens": 8});
    Request::post("/v1/completions", body.to_string())
}

/// 200, and the very nonce that was sent.
pub fn echoes(answer: &Answer, nonce: &str) -> Result<()> {
    if answer.status != 200 {
        bail!("status {}: {}", answer.status, answer.text());
    }
    match answer.json()?.pointer("/choices/0/text").and_then(serde_json::Value::as_str) {
        Some(text) if text == nonce => Ok(()),
        other => bail!("answered {other:?}"),
    }
}

/// Traffic for a model behind an echo upstream, until it is stopped.
pub fn echo_traffic(address: SocketAddr, model: &str) -> Driver {
    let model = model.to_owned();
    Driver::start(Plan {
        address,
        connections: 4,
        pause: Duration::from_millis(20),
        request: Box::new(move |nonce| completion(&model, nonce)),
        check: Box::new(echoes),
    })
}

/// Stops traffic and fails the test if any request failed, or if none was sent.
pub fn expect_flawless(driver: Driver, least: u64) {
    let report = driver.stop();
    assert!(
        report.failed == 0,
        "{} of {} requests failed: {:#?}",
        report.failed,
        report.sent,
        report.failures
    );
    assert!(report.sent >= least, "only {} requests were sent", report.sent);
}

//! The same YAML without Kubernetes: the gateway starts an engine as its child, serves, and starts another when that one dies.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testkit::cache::Cache;
use testkit::command::{output, wait_until};
use testkit::instruments::http::{Request, send};

use crate::world::{PATIENCE, root};

/// Ends the gateway with the test, and with it the engine.
struct Gateway(Child);

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn complete(address: SocketAddr) -> Result<()> {
    let body = json!({"model": "local-model", "prompt": "def add(a, b):", "max_tokens": 4}).to_string();
    let answer = send(address, &Request::post("/v1/completions", body), Duration::from_secs(30))?;
    ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
    let text = answer.json()?.pointer("/choices/0/text").and_then(Value::as_str).map(str::to_owned);
    ensure!(text.is_some_and(|text| !text.is_empty()), "{}", answer.text());
    Ok(())
}

fn engine_of(gateway: &Child) -> Result<String> {
    let mut command = Command::new("pgrep");
    command.args(["--parent", &gateway.id().to_string(), "--full", "modelgate-engine"]);
    Ok(output(&mut command, None, PATIENCE).context("no engine runs")?.trim().to_owned())
}

#[test]
fn examples_standalone_serves_a_model_and_replaces_an_engine_that_dies() {
    let model = testkit::model::fetch(&Cache::from_environment().unwrap()).unwrap();
    let binaries = root().join("target/release");
    let http: SocketAddr = format!("127.0.0.1:{}", free_port()).parse().unwrap();
    let mut command = Command::new(binaries.join("modelgate-gateway"));
    command
        .arg("--config")
        .arg(root().join("examples/standalone.yaml"))
        .arg(format!("--model=local-model={}", model.display()))
        .arg(format!("--listen={http}"))
        .args(["--metrics-listen=127.0.0.1:0", "--control-listen=127.0.0.1:0", "--debug-listen=127.0.0.1:0"])
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    let gateway = Gateway(command.spawn().unwrap());
    wait_until(PATIENCE, "a completion", || complete(http)).unwrap();

    let first = engine_of(&gateway.0).unwrap();
    output(Command::new("kill").args(["-KILL", &first]), None, PATIENCE).unwrap();
    wait_until(PATIENCE, "a completion of another engine", || {
        complete(http)?;
        ensure!(engine_of(&gateway.0)? != first, "the engine is still {first}");
        Ok(())
    })
    .unwrap();
}

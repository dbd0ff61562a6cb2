//! Every file in `examples/` is taken by a real API server as a user would apply it. `main_job` runs the quickstart, `gpu`
//! vllm.yaml; the fake one runs here.

use serde_json::{Value, json};
use testkit::instruments::http::Request;

use crate::traffic::{ask, gateway};
use crate::world::{apply_in, await_condition, get, installed, namespace, root};

const NAMESPACE: &str = "e2e-examples";

#[test]
fn every_example_is_accepted_by_the_api_server() {
    let cluster = installed();
    namespace(cluster, NAMESPACE);
    let mut tried = 0;
    for entry in std::fs::read_dir(root().join("examples")).unwrap() {
        let path = entry.unwrap().path().display().to_string();
        let arguments =
            ["apply", "--dry-run=server", "--validate=strict", "--namespace", NAMESPACE, "--filename", &path];
        cluster.kubectl(&arguments).unwrap_or_else(|error| panic!("{path}: {error:#}"));
        tried += 1;
    }
    assert_eq!(tried, 5);
}

#[test]
fn the_fake_example_serves_in_a_cluster_once_it_says_that_everybody_may() {
    let cluster = installed();
    namespace(cluster, NAMESPACE);
    // On loopback `anonymous` is enough; in a cluster others can reach the gateway.
    let manifest = std::fs::read_to_string(root().join("examples/fake.yaml")).unwrap();
    let exposed = manifest.replace("anonymous: true", "anonymous: true\n    anonymousExposed: true");
    apply_in(cluster, NAMESPACE, &exposed);
    let name = get(cluster, NAMESPACE, "modelgateways").unwrap()["items"][0]["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    await_condition(cluster, NAMESPACE, &format!("modelgateway/{name}"), "Ready", "True");
    let way = gateway(cluster, NAMESPACE, &name);
    let models = ask(way.address(), &Request::get("/v1/models")).json().unwrap();
    let model = models.pointer("/data/0/id").and_then(Value::as_str).unwrap();
    let body = json!({"model": model, "prompt": "x"}).to_string();
    assert_eq!(ask(way.address(), &Request::post("/v1/completions", body)).status, 200);
}

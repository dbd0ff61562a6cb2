//! The contract of GitLab's gateway of 2023, asked of a gateway in the cluster that accepts the cluster's own tokens: every
//! body of the golden corpus, authentication before anything else, and the answers to what is no completion.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::cluster::Cluster;
use testkit::instruments::http::{Answer, Connection, Request};

use crate::traffic::{ask, gateway};
use crate::world::{apply_in, await_condition, file, installed, namespace};

const NAMESPACE: &str = "e2e-contract";
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const AUDIENCE: &str = "gitlab-code-suggestions";

fn set_up() -> &'static Cluster {
    let cluster = installed();
    if crate::world::get(cluster, NAMESPACE, "modelgateway/strict").is_err() {
        namespace(cluster, NAMESPACE);
        let authority = cluster
            .kubectl(&[
                "get",
                "configmap/kube-root-ca.crt",
                "--namespace",
                NAMESPACE,
                "--output=jsonpath={.data.ca\\.crt}",
            ])
            .unwrap();
        let literal = format!("--from-literal=ca.crt={authority}");
        cluster
            .kubectl(&["create", "secret", "generic", "issuer-ca", "--namespace", NAMESPACE, &literal])
            .unwrap();
        let manifests = format!(
            "apiVersion: modelgate.dev/v1alpha1\nkind: ModelBackend\nmetadata: {{name: fake}}\nspec: {{model: {{name: fake-model}}, fake: {{text: hello}}}}\n---\napiVersion: modelgate.dev/v1alpha1\nkind: ModelGateway\nmetadata: {{name: strict}}\nspec:\n  auth: {{oidc: [{{issuer: \"{ISSUER}\", audiences: [{AUDIENCE}], caSecretRef: {{name: issuer-ca}}}}]}}\n  completion: {{compat: Strict}}\n  routes: [{{name: code, backends: [{{name: fake}}]}}]\n"
        );
        apply_in(cluster, NAMESPACE, &manifests);
    }
    await_condition(cluster, NAMESPACE, "modelgateway/strict", "AuthResolved", "True");
    await_condition(cluster, NAMESPACE, "modelgateway/strict", "Ready", "True");
    cluster
}

fn token(cluster: &Cluster, audience: &str) -> String {
    let audience = format!("--audience={audience}");
    cluster
        .kubectl(&["create", "token", "default", "--namespace", NAMESPACE, &audience])
        .unwrap()
        .trim()
        .to_owned()
}

fn signed(request: Request, token: &str) -> Request {
    request.with("authorization", &format!("Bearer {token}")).with("x-gitlab-authentication-type", "oidc")
}

/// A body of the corpus: texts, bytes in hexadecimal, and repetitions, one after another.
fn body_of(parts: &Value) -> Vec<u8> {
    let mut body = Vec::new();
    for part in parts.as_array().unwrap() {
        if let Some(text) = part.as_str() {
            body.extend_from_slice(text.as_bytes());
        } else if let Some(hex) = part["hex"].as_str() {
            body.extend(
                (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()),
            );
        } else {
            let times = usize::try_from(part["times"].as_u64().unwrap()).unwrap();
            body.extend_from_slice(part["repeat"].as_str().unwrap().repeat(times).as_bytes());
        }
    }
    body
}

#[test]
fn every_body_of_the_corpus_is_answered_by_the_gateway_as_by_the_original() {
    let cluster = set_up();
    let way = gateway(cluster, NAMESPACE, "strict");
    let token = token(cluster, AUDIENCE);
    let corpus: Vec<Value> =
        serde_json::from_str(&file("gateway/tests/golden/gitlab/requests.json")).unwrap();
    let mut connection = Connection::to(way.address(), Duration::from_secs(30));
    let mut compared = 0;
    for case in &corpus {
        // Where the original breaks with 500 because it echoes what JSON cannot hold, ours refuses with 422.
        let expected = case["status"].as_u64().unwrap();
        if expected == 500 {
            continue;
        }
        let mut request = signed(
            Request { method: "POST".into(), path: "/v2/completions".into(), ..Request::default() },
            &token,
        );
        request.body = body_of(&case["body"]);
        if let Some(kind) = case["contentType"].as_str() {
            request = request.with("content-type", kind);
        }
        let answer = connection.send(&request).unwrap_or_else(|error| panic!("{}: {error:#}", case["name"]));
        assert_eq!(u64::from(answer.status), expected, "{}: {}", case["name"], answer.text());
        if let Some(body) = case["answer"].as_str() {
            assert_eq!(answer.text(), body, "{}", case["name"]);
        }
        compared += 1;
    }
    assert!(compared > 400, "only {compared} cases");
}

#[test]
fn a_good_request_gets_the_document_of_the_seed() {
    let cluster = set_up();
    let way = gateway(cluster, NAMESPACE, "strict");
    let token = token(cluster, AUDIENCE);
    let body = r#"{"current_file":{"file_name":"a.rs","content_above_cursor":"fn main() {","content_below_cursor":"}"}}"#;
    for path in ["/v2/completions", "/v2/code/completions"] {
        let answer = ask(way.address(), &signed(Request::post(path, body), &token));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let document = answer.json().unwrap();
        let keys: Vec<&String> = document.as_object().unwrap().keys().collect();
        assert_eq!(
            keys,
            ["id", "model", "experiments", "object", "created", "choices"],
            "key order as in the seed"
        );
        assert_eq!(document["id"], "id");
        assert_eq!(document.pointer("/model/lang"), Some(&json!("rust")));
        assert_eq!(document["choices"], json!([{"text": "hello", "index": 0, "finish_reason": "length"}]));
        assert!(answer.head.get("x-process-time").is_some_and(|seconds| seconds.parse::<f64>().is_ok()));
        assert!(answer.head.get("x-request-id").is_some_and(|id| id.len() == 32), "{:?}", answer.head);
    }
}

#[test]
fn authentication_stands_before_everything_but_health_and_preflight() {
    let cluster = set_up();
    let way = gateway(cluster, NAMESPACE, "strict");
    let good = token(cluster, AUDIENCE);
    let other = token(cluster, "some-other-service");
    let bare = || Request::post("/v2/completions", "{}");
    let says = |answer: &Answer, message: &str| {
        assert_eq!((answer.status, answer.text()), (401, format!("{{\"error\":\"{message}\"}}")));
    };
    says(&ask(way.address(), &bare()), "No authorization header presented");
    says(&ask(way.address(), &bare().with("authorization", "Basic eDp5")), "Invalid authorization header");
    says(
        &ask(way.address(), &bare().with("authorization", &format!("Bearer {good}"))),
        "Invalid authentication token type - only OIDC is supported",
    );
    says(&ask(way.address(), &signed(bare(), &other)), "Forbidden by auth provider");
    says(&ask(way.address(), &signed(bare(), &format!("{good}x"))), "Forbidden by auth provider");
    says(&ask(way.address(), &Request::get("/no/such/path")), "No authorization header presented");

    let health = ask(way.address(), &Request::get("/monitoring/healthz"));
    assert_eq!((health.status, health.text().as_str()), (200, "{}"));
    let preflight =
        Request { method: "OPTIONS".into(), path: "/v2/completions".into(), ..Request::default() }
            .with("origin", "https://ide.example.com")
            .with("access-control-request-method", "POST");
    assert_eq!(ask(way.address(), &preflight).status, 200);
}

#[test]
fn what_is_no_completion_is_answered_as_the_seed_does() {
    let cluster = set_up();
    let way = gateway(cluster, NAMESPACE, "strict");
    let token = token(cluster, AUDIENCE);
    let get = ask(way.address(), &signed(Request::get("/v2/completions"), &token));
    assert_eq!((get.status, get.text().as_str()), (405, r#"{"detail":"Method Not Allowed"}"#));
    assert_eq!(get.head.get("allow"), Some("POST"));
    let slash = ask(way.address(), &signed(Request::post("/v2/completions/", "{}"), &token));
    assert_eq!(slash.status, 307);
    assert!(slash.head.get("location").is_some_and(|to| to.ends_with("/v2/completions")), "{:?}", slash.head);
    let unknown = ask(way.address(), &signed(Request::get("/v9"), &token));
    assert_eq!((unknown.status, unknown.text().as_str()), (404, r#"{"detail":"Not Found"}"#));
}

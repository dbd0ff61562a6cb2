//! Application Default Credentials against a token server of the test's own, and the token at a Vertex AI of the test's own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::StatusCode;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use support::{Body, Gateway, Seen, Upstream, with_status};

const KEY: &str = include_str!("data/oidc/rsa-a.pem");
const PUBLIC: &[u8] = include_bytes!("data/oidc/rsa-a.pub.pem");
const GEMINI: &str = r#"{"candidates":[{"content":{"parts":[{"text":"return a + b"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":4}}"#;
const ASK: &str = r#"{"current_file":{"file_name":"a.py","content_above_cursor":"def add(a, b):\n    ","content_below_cursor":""}}"#;

fn yaml(vertex: &str, more: &str) -> String {
    format!(
        "apiVersion: modelgate.dev/v1alpha1\nkind: ModelBackend\nmetadata: {{name: b}}\nspec:\n  model: {{name: gemini-2.5-flash}}\n  external: {{protocol: VertexAI, url: '{vertex}', vertex: {{project: p, location: us-central1}}{more}}}\n---\napiVersion: modelgate.dev/v1alpha1\nkind: ModelGateway\nmetadata: {{name: gw}}\nspec:\n  auth: {{anonymous: true}}\n  routes:\n  - {{name: r, dataBoundary: External, backends: [{{name: b}}]}}\n"
    )
}

/// Tokens `t1`, `t2`, …, each good for `seconds`.
fn tokens(seconds: u64) -> impl Fn(&Seen) -> http::Response<Body> {
    let count = AtomicUsize::new(0);
    move |_| {
        let token = format!("t{}", count.fetch_add(1, Ordering::SeqCst) + 1);
        support::json(
            &json!({"access_token": token, "expires_in": seconds, "token_type": "Bearer"}).to_string(),
        )
    }
}

async fn vertex() -> Upstream {
    Upstream::start(|_| support::json(GEMINI)).await
}

fn base(upstream: &Upstream) -> String {
    format!("http://{}", upstream.at)
}

fn form(body: &str) -> std::collections::BTreeMap<String, String> {
    url::form_urlencoded::parse(body.as_bytes()).into_owned().collect()
}

/// A gateway whose Vertex AI credential is `file`, started when the file is in place.
async fn with_file(vertex: &Upstream, file: &Value) -> Gateway {
    let gateway = Gateway::start(&yaml(&base(vertex), ", authSecretRef: {name: google}")).await;
    let folder = gateway.folder.path().join("secrets/google");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("credentials.json"), file.to_string()).unwrap();
    gateway
}

async fn until(gateway: &Gateway, reason: &str) -> Value {
    gateway.until(|state| state["backends"][0]["reason"] == reason).await
}

/// One completion through the gateway; the bearer token that Vertex AI saw.
async fn bearer(gateway: &Gateway, vertex: &Upstream) -> String {
    // Each request is another, or the second would be answered from the first one's answer.
    let distinct = format!("def add{}(", vertex.count());
    let answer = gateway.post("/v2/code/completions", &ASK.replace("def add(", &distinct)).await;
    assert_eq!(
        (answer.status, answer.json()["choices"][0]["text"].as_str()),
        (StatusCode::OK, Some("return a + b"))
    );
    let seen = vertex.last();
    assert_eq!(
        seen.path,
        "/v1/projects/p/locations/us-central1/publishers/google/models/gemini-2.5-flash:streamGenerateContent"
    );
    seen.headers["authorization"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_service_accounts_key_signs_for_a_token() {
    let answer = tokens(3600);
    let (vertex, server) = (vertex().await, Upstream::start(move |seen| answer(&seen)).await);
    let uri = format!("{}/token", base(&server));
    let file = json!({"type": "service_account", "client_email": "sa@p.iam.gserviceaccount.com", "private_key": KEY,
        "private_key_id": "k1", "token_uri": uri, "project_id": "p"});
    let gateway = with_file(&vertex, &file).await;
    until(&gateway, "Healthy").await;
    assert_eq!(bearer(&gateway, &vertex).await, "Bearer t1");
    assert_eq!(bearer(&gateway, &vertex).await, "Bearer t1");
    assert_eq!(server.count(), 1, "one token serves until shortly before its end");
    let form = form(&server.last().body);
    assert_eq!(form["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let assertion = &form["assertion"];
    assert_eq!(jsonwebtoken::decode_header(assertion).unwrap().kid.as_deref(), Some("k1"));
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_audience(&[&uri]);
    let key = DecodingKey::from_rsa_pem(PUBLIC).unwrap();
    let claims = jsonwebtoken::decode::<Value>(assertion, &key, &validation).unwrap().claims;
    assert_eq!(claims["iss"], "sa@p.iam.gserviceaccount.com");
    assert_eq!(claims["scope"], "https://www.googleapis.com/auth/cloud-platform");
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 3600);
}

#[tokio::test]
async fn a_persons_login_refreshes_and_one_that_was_revoked_is_named() {
    let answer = tokens(3600);
    let (vertex, server) = (
        vertex().await,
        Upstream::start(move |seen| {
            if form(&seen.body)["refresh_token"] == "revoked" {
                let body =
                    r#"{"error":"invalid_grant","error_description":"Token has been expired or revoked."}"#;
                return with_status(StatusCode::BAD_REQUEST, body);
            }
            answer(&seen)
        })
        .await,
    );
    let file = |token: &str| {
        json!({"type": "authorized_user", "client_id": "id", "client_secret": "hush", "refresh_token": token,
        "token_uri": format!("{}/token", base(&server))})
    };
    let gateway = with_file(&vertex, &file("revoked")).await;
    let named = |state: &Value| {
        state["backends"][0]["message"].as_str().unwrap_or_default().contains("expired or revoked")
    };
    let state = gateway.until(named).await;
    assert_eq!(state["backends"][0]["reason"], "CredentialMissing");
    let message = state["backends"][0]["message"].as_str().unwrap();
    assert!(
        message.contains("gcloud auth application-default login") && !message.contains("hush"),
        "{message}"
    );
    assert_eq!(vertex.count(), 0, "nothing is sent without a token");
    std::fs::write(gateway.folder.path().join("secrets/google/credentials.json"), file("good").to_string())
        .unwrap();
    until(&gateway, "Healthy").await;
    assert_eq!(bearer(&gateway, &vertex).await, "Bearer t1");
}

#[tokio::test]
async fn a_token_of_another_provider_is_exchanged_and_an_account_impersonated() {
    let vertex = vertex().await;
    let answer = tokens(3600);
    let server = Upstream::start(move |seen| {
        if seen.path == "/impersonate" {
            assert_eq!(seen.headers["authorization"], "Bearer t1");
            assert_eq!(serde_json::from_str::<Value>(&seen.body).unwrap()["lifetime"], "1800s");
            return support::json(r#"{"accessToken":"as-another","expireTime":"2030-01-01T00:00:00Z"}"#);
        }
        answer(&seen)
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let subject = folder.path().join("subject");
    std::fs::write(&subject, r#"{"id_token":"of-the-cluster"}"#).unwrap();
    let file = json!({"type": "external_account", "audience": "//iam.googleapis.com/pool", "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": format!("{}/sts", base(&server)), "service_account_impersonation_url": format!("{}/impersonate", base(&server)),
        "service_account_impersonation": {"token_lifetime_seconds": 1800},
        "credential_source": {"file": subject, "format": {"type": "json", "subject_token_field_name": "id_token"}}});
    let gateway = with_file(&vertex, &file).await;
    until(&gateway, "Healthy").await;
    assert_eq!(bearer(&gateway, &vertex).await, "Bearer as-another");
    let exchange = server.seen.lock().unwrap().iter().find(|seen| seen.path == "/sts").cloned().unwrap();
    let form = form(&exchange.body);
    assert_eq!(
        (form["subject_token"].as_str(), form["audience"].as_str()),
        ("of-the-cluster", "//iam.googleapis.com/pool")
    );
}

#[tokio::test]
async fn a_subjects_token_may_come_from_an_address_and_an_account_may_be_spoken_for_by_another() {
    let vertex = vertex().await;
    let answer = tokens(3600);
    let server = Upstream::start_with(
        |path| match path {
            "/subject" => support::json("of-the-workload"),
            _ => with_status(StatusCode::NOT_FOUND, ""),
        },
        move |seen| {
            if seen.path == "/impersonate" {
                assert_eq!(seen.headers["authorization"], "Bearer t1", "in the name of the source");
                return support::json(
                    r#"{"accessToken":"as-the-account","expireTime":"2030-01-01T00:00:00Z"}"#,
                );
            }
            answer(&seen)
        },
    )
    .await;
    let source = json!({"type": "external_account", "audience": "//iam.googleapis.com/pool",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "token_url": format!("{}/sts", base(&server)),
        "credential_source": {"url": format!("{}/subject", base(&server)), "headers": {"x-kind": "workload"}}});
    let file = json!({"type": "impersonated_service_account", "source_credentials": source,
        "service_account_impersonation_url": format!("{}/impersonate", base(&server))});
    let gateway = with_file(&vertex, &file).await;
    until(&gateway, "Healthy").await;
    assert_eq!(bearer(&gateway, &vertex).await, "Bearer as-the-account");
    let exchange = server.seen.lock().unwrap().iter().find(|seen| seen.path == "/sts").cloned().unwrap();
    assert_eq!(form(&exchange.body)["subject_token"], "of-the-workload");
}

#[tokio::test]
async fn without_a_file_the_machines_metadata_server_gives_the_token() {
    // The support's upstream answers GET by itself, so this one is made by hand.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut head = vec![0; 2048];
                let length = stream.read(&mut head).await.unwrap();
                let head = String::from_utf8_lossy(&head[..length]).to_ascii_lowercase();
                let good = head
                    .starts_with("get /computemetadata/v1/instance/service-accounts/default/token ")
                    && head.contains("metadata-flavor: google");
                let body = r#"{"access_token":"of-the-machine","expires_in":3600,"token_type":"Bearer"}"#;
                let status = if good { "200 OK" } else { "403 Forbidden" };
                let answer = format!(
                    "HTTP/1.1 {status}\r\nmetadata-flavor: Google\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            });
        }
    });
    let vertex = vertex().await;
    let env = move |name: &str| (name == "GCE_METADATA_HOST").then(|| at.to_string());
    let gateway = Gateway::start_env(&yaml(&base(&vertex), ""), &[], &env).await.unwrap();
    until(&gateway, "Healthy").await;
    assert_eq!(bearer(&gateway, &vertex).await, "Bearer of-the-machine");
}

#[tokio::test]
async fn a_token_is_renewed_ahead_of_its_end_and_serves_while_that_fails() {
    let vertex = vertex().await;
    let fails = Arc::new(AtomicUsize::new(0));
    let failing = Arc::clone(&fails);
    let answer = tokens(8);
    let server = Upstream::start(move |seen| {
        if failing.load(Ordering::SeqCst) == 1 {
            return with_status(StatusCode::SERVICE_UNAVAILABLE, r#"{"error":"try later"}"#);
        }
        answer(&seen)
    })
    .await;
    let file = json!({"type": "authorized_user", "client_id": "i", "client_secret": "s", "refresh_token": "r",
        "token_uri": format!("{}/token", base(&server))});
    let gateway = with_file(&vertex, &file).await;
    until(&gateway, "Healthy").await;
    assert_eq!(bearer(&gateway, &vertex).await, "Bearer t1");
    // The server fails from now on: the token serves until its end, then the backend says what is wrong.
    fails.store(1, Ordering::SeqCst);
    let before = server.count();
    for _ in 0..200 {
        if server.count() > before {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(server.count() > before, "it is renewed ahead of its end");
    let state = until(&gateway, "CredentialMissing").await;
    assert!(state["backends"][0]["message"].as_str().unwrap().contains("503"), "{state}");
    fails.store(0, Ordering::SeqCst);
    until(&gateway, "Healthy").await;
    assert_eq!(bearer(&gateway, &vertex).await, "Bearer t2");
}

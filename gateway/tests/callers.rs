//! API keys and limits over sockets: who is let in, for which models, how much, and what the refusals look like.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use http::Method;
use support::{Answer, Gateway, Upstream, config, fake, json};

const ASK: &str = r#"{"model":"canned","prompt":"x","max_tokens":5}"#;

/// `modelgate-gateway keys …`: standard output and error.
fn keys(arguments: &[&str]) -> (String, String) {
    let done =
        Command::new(env!("CARGO_BIN_EXE_modelgate-gateway")).arg("keys").args(arguments).output().unwrap();
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    (String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap())
}

fn key_file(folder: &Path) -> PathBuf {
    let secret = folder.join("secrets/keys");
    std::fs::create_dir_all(&secret).unwrap();
    secret.join("keys.json")
}

async fn ask(gateway: &Gateway, key: &str, path: &str, body: &str) -> Answer {
    gateway.send(Method::POST, path, &[("authorization", &format!("Bearer {key}"))], body).await
}

#[tokio::test]
async fn a_key_works_from_the_command_that_makes_it_until_the_one_that_revokes_it() {
    let yaml = fake("x", "").replace("anonymous: true", "apiKeys: {secretRef: {name: keys}}");
    let gateway = Gateway::start(&yaml).await;
    let file = key_file(gateway.folder.path());
    let at = file.to_str().unwrap();
    let (alice, _) = keys(&["new", "--file", at, "--subject", "alice", "--models", "canned"]);
    let (bob, _) =
        keys(&["new", "--file", at, "--subject", "bob", "--models", "other*", "--expires-in", "1h"]);
    let (alice, bob) = (alice.trim(), bob.trim());
    assert!(!std::fs::read_to_string(&file).unwrap().contains(alice), "only hashes are kept");
    until(async || ask(&gateway, alice, "/v1/completions", ASK).await.status.as_u16() == 200).await;
    for path in ["/v1/completions", "/v1/chat/completions"] {
        let answer = ask(&gateway, bob, path, ASK).await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()["error"]["code"].as_str()),
            (403, Some("model_not_allowed")),
            "{answer:?}"
        );
    }
    let models =
        gateway.send(Method::GET, "/v1/models", &[("authorization", &format!("Bearer {bob}"))], "").await;
    assert_eq!(models.json()["data"], serde_json::json!([]), "what a key may not use it does not see");
    // On GitLab's paths a key is no token.
    let oidc = [("authorization", &*format!("Bearer {alice}")), ("x-gitlab-authentication-type", "oidc")];
    let answer = gateway.send(Method::POST, "/v2/completions", &oidc, "{}").await;
    assert_eq!(
        (answer.status.as_u16(), answer.text.as_str()),
        (401, r#"{"error":"Forbidden by auth provider"}"#)
    );
    let forged = format!("{}x", &alice[..alice.len() - 1]);
    assert_eq!(ask(&gateway, &forged, "/v1/completions", ASK).await.status.as_u16(), 401);

    let (listed, _) = keys(&["list", "--file", at]);
    let id =
        listed.lines().find(|line| line.contains("alice")).unwrap().split(' ').next().unwrap().to_owned();
    // Rotated: both work for a while. The manifest goes to standard output, the key to standard error.
    let (manifest, rotated) = keys(&["rotate", "--file", at, "--grace", "1h", "--secret", "keys", &id]);
    assert!(manifest.contains("\"kind\": \"Secret\"") && !manifest.contains(rotated.trim()));
    until(async || ask(&gateway, rotated.trim(), "/v1/completions", ASK).await.status.as_u16() == 200).await;
    assert_eq!(ask(&gateway, alice, "/v1/completions", ASK).await.status.as_u16(), 200, "in its grace");
    keys(&["revoke", "--file", at, &id]);
    until(async || ask(&gateway, alice, "/v1/completions", ASK).await.status.as_u16() == 401).await;
    assert_eq!(ask(&gateway, rotated.trim(), "/v1/completions", ASK).await.status.as_u16(), 200);
    // A slip in the file locks nobody out; a file that is gone locks everybody out.
    let good = std::fs::read(&file).unwrap();
    std::fs::write(&file, "{").unwrap();
    gateway.until(|state| state["issuers"][0]["message"].as_str().unwrap().contains("keys.json")).await;
    assert_eq!(ask(&gateway, rotated.trim(), "/v1/completions", ASK).await.status.as_u16(), 200);
    std::fs::remove_file(&file).unwrap();
    until(async || ask(&gateway, rotated.trim(), "/v1/completions", ASK).await.status.as_u16() == 401).await;
    std::fs::write(&file, good).unwrap();
    until(async || ask(&gateway, rotated.trim(), "/v1/completions", ASK).await.status.as_u16() == 200).await;
    gateway.until_metric(r#"modelgate_auth_failures_total{reason="key_unknown"}"#).await;
}

/// Waits for a change of a file to be noticed, for at most 20 s.
async fn until(reached: impl AsyncFn() -> bool) {
    for _ in 0..100 {
        if reached().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("not reached");
}

#[tokio::test]
async fn a_limit_is_told_in_the_protocols_own_shape() {
    let limits = "  limits: [{name: few, by: Subject, requestsPerMinute: 2}]\n";
    let gateway = Gateway::start(&(fake("x", "") + limits)).await;
    let left = |answer: &Answer| answer.header("x-ratelimit-remaining-requests").to_owned();
    let first = gateway.post("/v1/completions", ASK).await;
    assert_eq!((first.status.as_u16(), left(&first).as_str()), (200, "1"));
    assert_eq!(first.header("x-ratelimit-limit-requests"), "2");
    assert_eq!(gateway.post("/v1/chat/completions", ASK).await.status.as_u16(), 200);
    let refused = gateway.post("/v1/completions", ASK).await;
    assert_eq!(
        (refused.status.as_u16(), refused.json()["error"]["code"].as_str()),
        (429, Some("rate_limit_exceeded"))
    );
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    assert_eq!(left(&refused), "0");
    // An editor that sees errors switches itself off: it is told that there is nothing to offer.
    let body =
        r#"{"current_file":{"file_name":"a.py","content_above_cursor":"x","content_below_cursor":""}}"#;
    let quiet = gateway.post("/v2/code/completions", body).await;
    assert_eq!((quiet.status.as_u16(), quiet.header("x-modelgate-outcome")), (200, "limited"));
    assert_eq!(quiet.json()["choices"], serde_json::json!([]));
    gateway.until_metric(r#"modelgate_limited_requests_total{kind="requests",limit="few"} 2"#).await;
    gateway.until_metric(r#"outcome="limited"} 1"#).await;
}

#[tokio::test]
async fn tokens_are_settled_with_what_the_backend_counted() {
    let upstream = Upstream::start(|_| {
        json(r#"{"choices":[{"text":"x"}],"usage":{"prompt_tokens":400,"completion_tokens":500,"total_tokens":900}}"#)
    })
    .await;
    let limits = "  limits: [{name: t, by: Model, tokensPerMinute: 1000}]\n";
    let gateway = Gateway::start(&config(&[&upstream.url()], limits)).await;
    let body = r#"{"model":"alias","prompt":"x","max_tokens":10}"#;
    let first = gateway.post("/v1/completions", body).await;
    assert_eq!(first.status.as_u16(), 200, "{first:?}");
    let reserved: u32 = first.header("x-ratelimit-remaining-tokens").parse().unwrap();
    assert!((950..1000).contains(&reserved), "{reserved}");
    // 900 were used: the next one sees what is left, by whichever of its names the model is asked for.
    until(async || {
        let body = r#"{"model":"upstream-model","prompt":"x","max_tokens":500}"#;
        gateway.post("/v1/completions", body).await.status.as_u16() == 429
    })
    .await;
    assert!(upstream.count() <= 2, "a limited request reaches no backend");
}

#[tokio::test]
async fn the_clients_address_comes_from_trusted_proxies_alone() {
    let limits = "  limits: [{name: one, by: Subject, requestsPerMinute: 1}]\n";
    let trusting = fake("x", "") + limits + "  listeners: {http: {trustedProxies: [127.0.0.0/8]}}\n";
    let gateway = Gateway::start(&trusting).await;
    let from = async |gateway: &Gateway, address: &str| {
        let answer =
            gateway.send(Method::POST, "/v1/completions", &[("x-forwarded-for", address)], ASK).await;
        answer.status.as_u16()
    };
    assert_eq!(from(&gateway, "198.51.100.1").await, 200);
    assert_eq!(from(&gateway, "198.51.100.2").await, 200, "another client has its own count");
    assert_eq!(
        from(&gateway, "198.51.100.3, 198.51.100.1").await,
        429,
        "the left part is the client's own word"
    );
    let gateway = Gateway::start(&(fake("x", "") + limits)).await;
    assert_eq!(from(&gateway, "198.51.100.1").await, 200);
    assert_eq!(from(&gateway, "198.51.100.2").await, 429, "nobody is trusted");
}

#[tokio::test]
async fn listed_origins_are_let_in_on_every_path() {
    let cors = "  listeners: {http: {cors: {origins: [\"https://ide.example.com\"]}}}\n";
    let gateway = Gateway::start(&(fake("x", "") + cors)).await;
    for (origin, allowed) in
        [("https://ide.example.com", "https://ide.example.com"), ("https://evil.example", "")]
    {
        for path in ["/v1/completions", "/v2/completions"] {
            let answer = gateway.send(Method::POST, path, &[("origin", origin)], ASK).await;
            assert_eq!(answer.header("access-control-allow-origin"), allowed, "{path}");
            let asked = [("origin", origin), ("access-control-request-method", "POST")];
            let answer = gateway.send(Method::OPTIONS, path, &asked, "").await;
            assert_eq!(answer.status.as_u16(), if allowed.is_empty() { 400 } else { 200 }, "{path}");
        }
    }
}

//! Tokens of a GitLab: whose count, what the headers beside them may say, and those that the gateway signs itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use http::{Method, StatusCode};
use serde_json::json;
use support::issuer::{Issuer, KEY, OTHER_KEY, signed};
use support::{Answer, Gateway, Upstream, config};

const REQUEST: &str =
    r#"{"current_file":{"file_name":"a.py","content_above_cursor":"x","content_below_cursor":""}}"#;
const ROUTES: [(&str, &str); 8] = [
    ("POST", "/v2/completions"),
    ("POST", "/v2/code/completions"),
    ("POST", "/v2/code/generations"),
    ("POST", "/v4/code/suggestions"),
    ("POST", "/v1/code/user_access_token"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/chat/completions"),
    ("GET", "/v1/models"),
];

async fn upstream() -> Upstream {
    Upstream::start(|_| support::json(r#"{"choices":[{"text":"y","finish_reason":"stop"}]}"#)).await
}

fn with_auth(upstream: &Upstream, gitlab: &str) -> String {
    config(&[&upstream.url()], "").replace("anonymous: true", &format!("gitlab: {{{gitlab}}}"))
}

async fn ask(gateway: &Gateway, method: &str, path: &str, token: &str, more: &[(&str, &str)]) -> Answer {
    let bearer = format!("Bearer {token}");
    let mut headers = vec![
        ("authorization", bearer.as_str()),
        ("x-gitlab-authentication-type", "oidc"),
        ("content-type", "application/json"),
    ];
    headers.extend(more);
    gateway.send(method.parse().unwrap(), path, &headers, REQUEST).await
}

#[tokio::test]
async fn tokens_of_both_generations_and_of_the_portal_are_let_in() {
    let (upstream, instance, portal) = (upstream().await, Issuer::start().await, Issuer::start().await);
    let auth = format!("url: '{}', customersUrl: '{}', instanceIds: [mine]", instance.url(), portal.url());
    let gateway = Gateway::start(&with_auth(&upstream, &auth)).await;
    for token in [
        instance.token(&json!({"sub": "mine", "aud": "gitlab-code-suggestions"})),
        instance.token(&json!({"sub": "1", "gitlab_instance_uid": "mine", "scopes": ["complete_code"]})),
        portal.token(&json!({"sub": "mine", "gitlab_realm": "self-managed", "scopes": ["complete_code"]})),
    ] {
        let answer = ask(&gateway, "POST", "/v2/code/completions", &token, &[]).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(answer.json()["choices"][0]["text"], "y");
    }
    assert_eq!(upstream.count(), 3);
}

#[tokio::test]
async fn a_token_of_another_instance_gets_401_on_every_route_and_no_model_is_asked() {
    let (upstream, instance, portal) = (upstream().await, Issuer::start().await, Issuer::start().await);
    let auth = format!("url: '{}', customersUrl: '{}', instanceIds: [mine]", instance.url(), portal.url());
    let gateway = Gateway::start(&with_auth(&upstream, &auth)).await;
    // The header claims what the token does not.
    let claimed = [("x-gitlab-instance-id", "mine")];
    for issuer in [&instance, &portal] {
        let token = issuer.token(&json!({"sub": "other", "gitlab_instance_uid": "other"}));
        for (method, path) in ROUTES {
            let answer = ask(&gateway, method, path, &token, &claimed).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}: {answer:?}");
        }
        let answer = ask(&gateway, "POST", "/v2/completions", &token, &claimed).await;
        assert_eq!(answer.text, r#"{"error":"Forbidden by auth provider"}"#);
    }
    assert_eq!(upstream.count(), 0);
    gateway.until_metric(r#"modelgate_auth_failures_total{reason="not_bound"} 18"#).await;
}

#[tokio::test]
async fn a_header_that_contradicts_the_token_is_named_and_scopes_decide() {
    let (upstream, issuer) = (upstream().await, Issuer::start().await);
    let gateway = Gateway::start(&with_auth(&upstream, &format!("url: '{}'", issuer.url()))).await;
    let token = issuer.token(&json!({"gitlab_realm": "self-managed", "scopes": ["generate_code"]}));
    for (name, value, shown) in [
        ("x-gitlab-instance-id", "other", "X-Gitlab-Instance-Id"),
        ("x-gitlab-realm", "saas", "X-Gitlab-Realm"),
    ] {
        let answer = ask(&gateway, "POST", "/v2/completions", &token, &[(name, value)]).await;
        let expected = format!(r#"{{"error":"Header mismatch '{shown}'"}}"#);
        assert_eq!((answer.status.as_u16(), answer.text), (401, expected));
    }
    let answer = ask(&gateway, "POST", "/v2/completions", &token, &[]).await;
    let expected = r#"{"detail":"Unauthorized to access code completions"}"#;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (403, expected));
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn a_portal_that_cannot_be_reached_delays_nobody() {
    let (upstream, instance) = (upstream().await, Issuer::start().await);
    // Accepts connections and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let portal = format!("http://{}", silent.local_addr().unwrap());
    let auth = format!("url: '{}', customersUrl: '{portal}', instanceIds: [mine]", instance.url());
    let gateway = Gateway::start(&with_auth(&upstream, &auth)).await;
    let began = std::time::Instant::now();
    let good = ask(&gateway, "POST", "/v2/completions", &instance.token(&json!({"sub": "mine"})), &[]).await;
    assert_eq!(good.status, StatusCode::OK, "{good:?}");
    let unknown =
        ask(&gateway, "POST", "/v2/completions", &signed(&portal, &json!({"sub": "mine"})), &[]).await;
    assert_eq!(unknown.status, StatusCode::UNAUTHORIZED);
    // The fetch alone may take 10 s for each of two documents.
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
}

fn put(gateway: &Gateway, secret: &str, key: &[u8]) {
    let folder = gateway.folder.path().join("secrets").join(secret);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("key.pem"), key).unwrap();
}

#[tokio::test]
async fn an_editor_asks_directly_with_a_token_that_the_gateway_signed() {
    let (upstream, issuer) = (upstream().await, Issuer::start().await);
    let auth =
        format!("url: '{}', instanceIds: [instance], signingKeySecretRef: {{name: signing}}", issuer.url());
    let gateway = Gateway::start(&with_auth(&upstream, &auth)).await;
    put(&gateway, "signing", OTHER_KEY);
    let of_gitlab =
        issuer.token(&json!({"gitlab_realm": "self-managed", "scopes": ["complete_code", "generate_code"]}));
    let user = [("x-gitlab-global-user-id", "user-7"), ("x-gitlab-instance-id", "instance")];
    let path = "/v1/code/user_access_token";
    let answer = ask(&gateway, "POST", path, &of_gitlab, &user).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let left = answer.json()["expires_at"].as_u64().unwrap() - now;
    assert!((3500..=3600).contains(&left), "{left}");
    let own = answer.json()["token"].as_str().unwrap().to_owned();

    // The editor sends the headers that GitLab gave it beside the token.
    let completed = ask(&gateway, "POST", "/v2/completions", &own, &user).await;
    assert_eq!(
        (completed.status.as_u16(), completed.json()["choices"][0]["text"].as_str()),
        (200, Some("y"))
    );
    let other =
        ask(&gateway, "POST", "/v2/completions", &own, &[("x-gitlab-global-user-id", "user-8")]).await;
    assert_eq!(other.text, r#"{"error":"Header mismatch 'X-Gitlab-Global-User-Id'"}"#);
    let again = ask(&gateway, "POST", path, &own, &user).await;
    let expected = r#"{"detail":"Unauthorized to create user access token"}"#;
    assert_eq!((again.status.as_u16(), again.text.as_str()), (403, expected));
    let mut forged = own.into_bytes();
    let last = forged.last_mut().unwrap();
    *last = if *last == b'A' { b'Q' } else { b'A' };
    let forged = ask(&gateway, "POST", "/v2/completions", std::str::from_utf8(&forged).unwrap(), &user).await;
    assert_eq!(forged.status, StatusCode::UNAUTHORIZED);
    assert_eq!(ask(&gateway, "GET", path, &of_gitlab, &user).await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn tokens_of_the_key_before_are_good_while_it_is_named_and_no_longer() {
    let (upstream, issuer) = (upstream().await, Issuer::start().await);
    let with = |keys: &str| with_auth(&upstream, &format!("url: '{}', {keys}", issuer.url()));
    let gateway = Gateway::start(&with("signingKeySecretRef: {name: old}")).await;
    put(&gateway, "old", KEY);
    put(&gateway, "public", include_bytes!("data/oidc/rsa-a.pub.pem"));
    put(&gateway, "new", OTHER_KEY);
    let of_gitlab = issuer.token(&json!({}));
    let answer = ask(&gateway, "POST", "/v1/code/user_access_token", &of_gitlab, &[]).await;
    let own = answer.json()["token"].as_str().unwrap().to_owned();
    for (keys, expected) in [
        ("signingKeySecretRef: {name: new}, validationKeySecretRef: {name: old}", 200),
        ("signingKeySecretRef: {name: new}", 401),
        ("signingKeySecretRef: {name: new}, validationKeySecretRef: {name: public}", 200),
    ] {
        let before = gateway.state("").await["configHash"].clone();
        gateway.write_config(&with(keys));
        gateway.until(|state| state["configHash"] != before).await;
        let answer = ask(&gateway, "POST", "/v2/completions", &own, &[]).await;
        assert_eq!(answer.status.as_u16(), expected, "{keys}");
    }
}

#[tokio::test]
async fn without_a_key_no_token_is_signed() {
    let (upstream, issuer) = (upstream().await, Issuer::start().await);
    let gateway = Gateway::start(&with_auth(&upstream, &format!("url: '{}'", issuer.url()))).await;
    let token = issuer.token(&json!({}));
    let answer = ask(&gateway, "POST", "/v1/code/user_access_token", &token, &[]).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (404, r#"{"detail":"Not Found"}"#));
    let nobody = gateway.send(Method::POST, "/v1/code/user_access_token", &[], "").await;
    assert_eq!(nobody.text, r#"{"error":"No authorization header presented"}"#);
}

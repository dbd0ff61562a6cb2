//! Reload: a good file takes effect, a bad one is told about and changes nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::{Gateway, fake};

async fn text(gateway: &Gateway) -> String {
    gateway.post("/v1/completions", r#"{"model":"canned"}"#).await.json()["choices"][0]["text"]
        .as_str()
        .unwrap()
        .into()
}

#[tokio::test]
async fn a_good_file_takes_effect_and_a_bad_one_changes_nothing() {
    let gateway = Gateway::start(&fake("one", "")).await;
    let first = gateway.state("").await;
    assert_eq!(text(&gateway).await, "one");

    gateway.write_config(&fake("two", ""));
    let second = gateway.until(|state| state["configHash"] != first["configHash"]).await;
    assert_eq!(text(&gateway).await, "two");
    assert_eq!(second["problems"].as_array().unwrap().len(), 0);
    assert!(second["seq"].as_u64() > first["seq"].as_u64());
    gateway.until_serving().await;

    for (bad, needle) in [
        ("routes: [", "config.yaml"),
        (fake("x", ", txt: y").as_str(), "spec.fake.txt"),
        (fake("x", "").replace("{name: canned}]", "{name: gone}]").as_str(), "gone"),
    ] {
        gateway.write_config(bad);
        let state = gateway.until(|state| state["problems"].to_string().contains(needle)).await;
        assert_eq!(state["configHash"], second["configHash"], "{state:#}");
        assert_eq!(text(&gateway).await, "two");
        gateway.until_metric("modelgate_config_last_reload_successful 0").await;
    }

    gateway.write_config(&fake("three", ""));
    gateway.until(|state| state["problems"].as_array().unwrap().is_empty()).await;
    assert_eq!(text(&gateway).await, "three");
    gateway.until_metric("modelgate_config_last_reload_successful 1").await;
}

#[tokio::test]
async fn a_reload_touches_no_request_under_way_and_drops_what_is_gone() {
    let gateway = Gateway::start(&fake("abcd", ", chunks: 4, delay: 400ms")).await;
    let streaming = support::send(
        gateway.at.http,
        http::Method::POST,
        "/v1/completions",
        &[],
        r#"{"model":"canned","stream":true}"#,
    )
    .await;
    let renamed = fake("new", "").replace("canned", "other");
    gateway.write_config(&renamed);
    gateway.until(|state| state["backends"][0]["name"] == "other").await;
    let streamed = support::Answer::read(streaming).await;
    assert!(streamed.text.ends_with("data: [DONE]\n\n") && !streamed.broken, "{streamed:?}");
    let metrics = gateway.metrics().await;
    assert!(!metrics.contains("backend=\"canned\"") && metrics.contains("backend=\"other\""), "{metrics}");
}

#[tokio::test]
async fn a_secret_that_comes_and_changes_needs_no_reload() {
    let upstream = support::Upstream::start(|_| support::json(r#"{"choices":[{"text":"x"}]}"#)).await;
    let yaml =
        support::config(&[&upstream.url()], "").replace("\"}\n---", "\", authSecretRef: {name: s}}\n---");
    let gateway = Gateway::start(&yaml).await;
    let state = gateway.until(|state| state["backends"][0]["reason"] == "CredentialMissing").await;
    assert!(state["backends"][0]["message"].as_str().unwrap().contains("s/token"), "{state:#}");
    assert_eq!(gateway.post("/v1/completions", r#"{"model":"alias"}"#).await.status.as_u16(), 503);
    let folder = gateway.folder.path().join("secrets/s");
    std::fs::create_dir_all(&folder).unwrap();
    for token in ["first", "second"] {
        std::fs::write(folder.join("token"), format!("{token}\n")).unwrap();
        gateway.until(|state| state["backends"][0]["reason"] == "Healthy").await;
        let expected = format!("Bearer {token}");
        let mut sent = String::new();
        for _ in 0..100 {
            gateway.post("/v1/completions", r#"{"model":"alias"}"#).await;
            sent = upstream.last().headers.get("authorization").unwrap().to_str().unwrap().to_owned();
            if sent == expected {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        assert_eq!(sent, expected);
    }
}

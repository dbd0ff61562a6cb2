//! Keys of issuers over time: which may sign, how often they are fetched, how long they are believed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// Tables are long, and their rows build values in place.
#![allow(clippy::too_many_lines)]

#[path = "support/tokens.rs"]
mod issuer;

use std::sync::Arc;
use std::time::Duration;

use issuer::{DISCOVERY, Issuer, JWKS, RSA_A, RSA_B, jwk, rsa, sign, verdict, with};
use jsonwebtoken::Algorithm;
use modelgate_gateway::oidc::{CaSource, IssuerSettings, Timing, Verifier};
use modelgate_gateway::outbound::Reach;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;

#[tokio::test]
async fn keys_that_must_not_sign_are_left_out() {
    let weak = rsa(include_bytes!("data/oidc/rsa-weak.pem"));
    let a = rsa(RSA_A);
    let good = jwk(&a, Algorithm::RS256, "a");
    for (name, key, signer, expected) in [
        ("weak", jwk(&weak, Algorithm::RS256, "k"), &weak, "unknown_key"),
        ("encryption", with(good.clone(), json!({"use": "enc", "kid": "k"})), &a, "unknown_key"),
        ("key_ops", with(good.clone(), json!({"key_ops": ["sign"], "kid": "k"})), &a, "unknown_key"),
        ("exponent of one", with(good.clone(), json!({"e": "AQ", "kid": "k"})), &a, "unknown_key"),
        ("verify allowed", with(good.clone(), json!({"key_ops": ["verify"], "kid": "k"})), &a, "ok"),
        ("another algorithm", with(good.clone(), json!({"alg": "RS384", "kid": "k"})), &a, "unknown_key"),
        ("broken", json!({"kty": "RSA", "kid": "k", "n": "!", "e": "AQAB"}), &a, "unknown_key"),
        ("no key at all", json!("x"), &a, "unknown_key"),
    ] {
        let issuer = Issuer::start(json!([good, key])).await;
        let verifier = Verifier::new(vec![issuer.settings()]);
        let token = sign(json!({"alg": "RS256", "kid": "k"}), issuer.claims(), signer, Algorithm::RS256);
        assert_eq!(verdict(&verifier, &token).await, expected, "{name}");
        assert_eq!(
            verdict(&verifier, &issuer.token(json!({}))).await,
            "ok",
            "{name}: the other key still signs"
        );
    }
    // A single key needs no kid; two of one kid are both tried.
    let issuer = Issuer::start(json!([good])).await;
    let token = sign(json!({"alg": "RS256"}), issuer.claims(), &a, Algorithm::RS256);
    assert_eq!(verdict(&Verifier::new(vec![issuer.settings()]), &token).await, "ok");
    issuer.page(JWKS, json!({"keys": [jwk(&rsa(RSA_B), Algorithm::RS256, "a"), good]}));
    assert_eq!(verdict(&Verifier::new(vec![issuer.settings()]), &issuer.token(json!({}))).await, "ok");
}

#[tokio::test]
async fn issuers_do_not_answer_for_each_other() {
    let (a, b) = (rsa(RSA_A), rsa(RSA_B));
    let first = Issuer::start(json!([jwk(&a, Algorithm::RS256, "a")])).await;
    let second = Issuer::start(json!([jwk(&b, Algorithm::RS256, "a")])).await;
    let verifier = Verifier::new(vec![first.settings(), second.settings()]);
    let header = json!({"alg": "RS256", "kid": "a"});
    let one = verifier.verify(&first.token(json!({}))).await.unwrap();
    let two = verifier.verify(&sign(header.clone(), second.claims(), &b, Algorithm::RS256)).await.unwrap();
    assert_ne!(one.tenant, two.tenant, "same subject, other issuer");
    assert_eq!(verdict(&verifier, &sign(header, second.claims(), &a, Algorithm::RS256)).await, "signature");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_cold_requests_cause_one_fetch() {
    let issuer = Issuer::start(json!([jwk(&rsa(RSA_A), Algorithm::RS256, "a")])).await;
    let verifier = Arc::new(Verifier::new(vec![issuer.settings()]));
    assert!(!verifier.states()[0].resolved);
    let verifies = (0..100).map(|index| {
        let (verifier, token) = (Arc::clone(&verifier), issuer.token(json!({"jti": index})));
        tokio::spawn(async move { verifier.verify(&token).await.map(|_| ()) })
    });
    for outcome in futures::future::join_all(verifies).await {
        assert_eq!(outcome.unwrap(), Ok(()));
    }
    assert_eq!((issuer.asked(DISCOVERY), issuer.asked(JWKS)), (1, 1));
    assert!(verifier.states()[0].resolved && verifier.states()[0].message.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_is_fetched_once_and_unknown_keys_are_not_fetched_within_the_cool_down() {
    let (a, b) = (rsa(RSA_A), rsa(RSA_B));
    let issuer = Issuer::start(json!([jwk(&a, Algorithm::RS256, "a")])).await;
    // The first keys are old enough to be asked for again; the second are not for the rest of the test.
    let timing = Timing { cool_down: Duration::from_millis(300), ..Timing::default() };
    let verifier = Arc::new(Verifier::with_timing(vec![issuer.settings()], timing));
    assert_eq!(verdict(&verifier, &issuer.token(json!({}))).await, "ok");
    tokio::time::sleep(Duration::from_millis(400)).await;
    issuer.page(JWKS, json!({"keys": [jwk(&b, Algorithm::RS256, "b")]}));
    let rotated = sign(json!({"alg": "RS256", "kid": "b"}), issuer.claims(), &b, Algorithm::RS256);
    assert_eq!(verdict(&verifier, &rotated).await, "ok");
    assert_eq!(issuer.asked(JWKS), 2);
    assert_eq!(
        verdict(&verifier, &issuer.token(json!({"jti": 2}))).await,
        "unknown_key",
        "a withdrawn key signs no more"
    );

    let long = Timing { cool_down: Duration::from_secs(3600), ..Timing::default() };
    let verifier = Arc::new(Verifier::with_timing(vec![issuer.settings()], long));
    verifier.prefetch().await;
    let before = issuer.asked(JWKS);
    let unknown = (0..50).map(|index| {
        let header = json!({"alg": "RS256", "kid": format!("random-{index}")});
        let (verifier, token) = (Arc::clone(&verifier), sign(header, issuer.claims(), &a, Algorithm::RS256));
        tokio::spawn(async move { verdict(&verifier, &token).await })
    });
    for outcome in futures::future::join_all(unknown).await {
        assert_eq!(outcome.unwrap(), "unknown_key");
    }
    assert_eq!(issuer.asked(JWKS), before);
}

#[tokio::test]
async fn known_keys_outlive_their_issuer_until_they_are_too_old() {
    let issuer = Issuer::start(json!([jwk(&rsa(RSA_A), Algorithm::RS256, "a")])).await;
    let timing = Timing { refresh_after: Duration::ZERO, cool_down: Duration::ZERO, ..Timing::default() };
    let verifier = Verifier::with_timing(vec![issuer.settings()], timing);
    assert_eq!(verdict(&verifier, &issuer.token(json!({}))).await, "ok");
    issuer.down();
    let asked = issuer.asked(DISCOVERY);
    let mut round = 0;
    while issuer.asked(DISCOVERY) < asked + 2 || verifier.states()[0].message.is_empty() {
        round += 1;
        assert_eq!(verdict(&verifier, &issuer.token(json!({"jti": round}))).await, "ok");
        assert!(round < 500, "the keys were not asked for again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let state = &verifier.states()[0];
    assert!(state.resolved && state.message.contains("answered 500"), "{state:?}");

    let timing = Timing { max_stale: Duration::from_millis(200), cold_retry: Duration::ZERO, ..timing };
    issuer.page(DISCOVERY, json!({"issuer": issuer.url, "jwks_uri": format!("{}{JWKS}", issuer.url)}));
    issuer.page(JWKS, json!({"keys": [jwk(&rsa(RSA_A), Algorithm::RS256, "a")]}));
    let verifier = Verifier::with_timing(vec![issuer.settings()], timing);
    verifier.prefetch().await;
    issuer.down();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(verdict(&verifier, &issuer.token(json!({"jti": "late"}))).await, "keys_unavailable");
}

#[tokio::test]
async fn documents_that_cannot_be_trusted_leave_everybody_out() {
    let keys = json!({"keys": [jwk(&rsa(RSA_A), Algorithm::RS256, "a")]});
    let issuer = Issuer::start(json!([])).await;
    let url = issuer.url.clone();
    let named =
        |issuer: &str, keys: &str| json!({"issuer": issuer, "jwks_uri": keys}).to_string().into_bytes();
    let here = format!("{url}{JWKS}");
    let elsewhere = Issuer::start(keys["keys"].clone()).await;
    let redirect = format!("location: {}{JWKS}\r\n", elsewhere.url);
    let good = || (DISCOVERY, "200 OK", "", named(&url, &here));
    let json_keys = keys.to_string().into_bytes();
    for (name, pages, expected) in [
        ("other issuer", vec![(DISCOVERY, "200 OK", "", named(&format!("{url}/"), &here))], "another issuer"),
        ("scheme", vec![(DISCOVERY, "200 OK", "", named(&url, "file:///etc/passwd"))], "not https"),
        ("no address", vec![(DISCOVERY, "200 OK", "", named(&url, "keys"))], "not an address"),
        ("html", vec![(DISCOVERY, "200 OK", "", b"<html>".to_vec())], "not a discovery document"),
        (
            "lacks jwks_uri",
            vec![(DISCOVERY, "200 OK", "", b"{\"issuer\":\"x\"}".to_vec())],
            "not a discovery document",
        ),
        (
            "redirected",
            vec![(DISCOVERY, "302 Found", redirect.as_str(), Vec::new())],
            "redirects are not followed",
        ),
        (
            "keys redirected",
            vec![good(), (JWKS, "302 Found", redirect.as_str(), Vec::new())],
            "redirects are not followed",
        ),
        ("keys too long", vec![good(), (JWKS, "200 OK", "", vec![b' '; (1 << 20) + 1])], "more than 1 MiB"),
        ("no keys", vec![good(), (JWKS, "200 OK", "", b"{\"keys\":[]}".to_vec())], "no key that can be used"),
        ("not a key set", vec![good(), (JWKS, "200 OK", "", b"[]".to_vec())], "not a JWKS document"),
        ("down", vec![], "answered 500"),
    ] {
        issuer.down();
        issuer.raw(JWKS, "200 OK", "", json_keys.clone());
        for (path, status, headers, body) in pages {
            issuer.raw(path, status, headers, body);
        }
        let verifier = Verifier::new(vec![issuer.settings()]);
        assert_eq!(verdict(&verifier, &issuer.token(json!({}))).await, "keys_unavailable", "{name}");
        let state = &verifier.states()[0];
        assert!(!state.resolved && state.message.contains(expected), "{name}: {state:?}");
    }
    assert_eq!(elsewhere.asked(JWKS), 0);
    // It comes back by itself.
    let timing = Timing { cold_retry: Duration::from_millis(50), ..Timing::default() };
    let verifier = Arc::new(Verifier::with_timing(vec![issuer.settings()], timing));
    let resolving = tokio::spawn({
        let verifier = Arc::clone(&verifier);
        async move { verifier.resolve().await }
    });
    let (path, status, headers, body) = good();
    issuer.raw(path, status, headers, body);
    issuer.raw(JWKS, "200 OK", "", json_keys);
    tokio::time::timeout(Duration::from_secs(20), resolving).await.unwrap().unwrap();
    assert_eq!(verdict(&verifier, &issuer.token(json!({}))).await, "ok");
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_end_the_fetch_of_others() {
    let issuer = Issuer::start(json!([jwk(&rsa(RSA_A), Algorithm::RS256, "a")])).await;
    let verifier = Verifier::new(vec![issuer.settings()]);
    let gone = tokio::time::timeout(Duration::from_millis(5), verifier.prefetch()).await;
    assert!(gone.is_err());
    assert_eq!(verdict(&verifier, &issuer.token(json!({}))).await, "ok");
    assert_eq!(issuer.asked(DISCOVERY), 1);
}

#[tokio::test]
async fn an_issuer_with_a_private_ca_is_trusted_by_that_ca_only() {
    let chain = CertificateDer::pem_slice_iter(include_bytes!("data/oidc/localhost.pem"))
        .collect::<Result<_, _>>()
        .unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("data/oidc/localhost.key.pem")).unwrap();
    let tls = rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let keys = json!([jwk(&rsa(RSA_A), Algorithm::RS256, "a")]);
    let issuer = Issuer::start_with(keys, Some(Arc::new(tls).into())).await;
    let ca = || Some(CaSource::Pem(include_bytes!("data/oidc/ca.pem").to_vec()));
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/oidc/");
    let wrong_name = issuer.url.replace("localhost", "127.0.0.1");
    for (issuer_name, ca, expected) in [
        (&issuer.url, ca(), ""),
        (&issuer.url, Some(CaSource::Path(format!("{folder}ca.pem").into())), ""),
        (&issuer.url, None, "UnknownIssuer"),
        (
            &issuer.url,
            Some(CaSource::Path(format!("{folder}absent.pem").into())),
            "absent.pem cannot be read",
        ),
        (&issuer.url, Some(CaSource::Pem(b"nothing".to_vec())), "holds no certificate"),
        (&wrong_name, ca(), "not valid for name"),
    ] {
        let settings = IssuerSettings { issuer: issuer_name.clone(), ca, ..issuer.settings() };
        let verifier = Verifier::new(vec![settings]);
        verifier.prefetch().await;
        let state = &verifier.states()[0];
        assert_eq!(state.resolved, expected.is_empty(), "{state:?}");
        assert!(state.message.contains(expected), "{state:?}");
    }
    issuer.page(DISCOVERY, json!({"issuer": issuer.url, "jwks_uri": "http://127.0.0.1:9/keys"}));
    let verifier = Verifier::new(vec![IssuerSettings { ca: ca(), ..issuer.settings() }]);
    verifier.prefetch().await;
    assert!(verifier.states()[0].message.contains("jwks_uri is not https"), "{:?}", verifier.states());
}

#[tokio::test]
async fn keys_are_fetched_ahead_of_their_age_and_accepted_tokens_die_with_the_keys() {
    let (a, b) = (rsa(RSA_A), rsa(RSA_B));
    let issuer = Issuer::start(json!([jwk(&a, Algorithm::RS256, "a")])).await;
    let settings = IssuerSettings { jwks_cache: Some(Duration::from_millis(500)), ..issuer.settings() };
    let timing = Timing { cool_down: Duration::ZERO, ..Timing::default() };
    let verifier = Arc::new(Verifier::with_timing(vec![settings], timing));
    let maintaining = tokio::spawn({
        let verifier = Arc::clone(&verifier);
        async move { verifier.maintain().await }
    });
    let token = issuer.token(json!({}));
    assert_eq!(verdict(&verifier, &token).await, "ok");
    // No request asks for this: the task does.
    let before = issuer.asked(JWKS);
    for round in 0.. {
        if issuer.asked(JWKS) >= before + 2 {
            break;
        }
        assert!(round < 200, "the keys were not fetched again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(verdict(&verifier, &token).await, "ok", "checked anew with the same key");
    issuer.page(JWKS, json!({"keys": [jwk(&b, Algorithm::RS256, "b")]}));
    for round in 0.. {
        if verdict(&verifier, &token).await == "unknown_key" {
            break;
        }
        assert!(round < 200, "a token of a withdrawn key is still let in");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    maintaining.abort();
}

#[tokio::test]
async fn in_a_cluster_no_issuer_is_looked_for_in_the_gateways_own_pod() {
    let issuer = Issuer::start(json!([jwk(&rsa(RSA_A), Algorithm::RS256, "a")])).await;
    let reach = Reach::Named { in_cluster: true, proxies: Arc::default() };
    let verifier = Verifier::new(vec![IssuerSettings { reach, ..issuer.settings() }]);
    assert_eq!(verdict(&verifier, &issuer.token(json!({}))).await, "keys_unavailable");
    let state = verifier.states().remove(0);
    assert!(state.message.contains("loopback") && issuer.asked(DISCOVERY) == 0, "{state:?}");
}

//! Tokens against an issuer that runs in the test: what is accepted, what is refused and why, and how often the issuer is
//! asked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// Tables are long, and their rows build values in place.
#![allow(clippy::too_many_lines, clippy::needless_pass_by_value)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use modelgate_gateway::oidc::{CaSource, IssuerSettings, Timing, Verifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const DISCOVERY: &str = "/.well-known/openid-configuration";
const JWKS: &str = "/keys";
const RSA_A: &[u8] = include_bytes!("data/oidc/rsa-a.pem");
const RSA_B: &[u8] = include_bytes!("data/oidc/rsa-b.pem");

fn rsa(pem: &[u8]) -> EncodingKey {
    EncodingKey::from_rsa_pem(pem).unwrap()
}

fn jwk(key: &EncodingKey, algorithm: Algorithm, kid: &str) -> Value {
    let mut jwk = serde_json::to_value(Jwk::from_encoding_key(key, algorithm).unwrap()).unwrap();
    jwk["kid"] = json!(kid);
    jwk["use"] = json!("sig");
    jwk
}

/// Replaces or (with null) removes members.
fn with(mut value: Value, changes: Value) -> Value {
    for (name, change) in changes.as_object().unwrap() {
        if change.is_null() {
            value.as_object_mut().unwrap().remove(name);
        } else {
            value[name] = change.clone();
        }
    }
    value
}

/// An answer: status line's tail, further headers, body.
type Page = (&'static str, String, Vec<u8>);

/// An issuer on loopback.
struct Issuer {
    url: String,
    pages: Arc<Mutex<HashMap<String, Page>>>,
    asked: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Issuer {
    async fn start(keys: Value) -> Self {
        Self::start_with(keys, None).await
    }

    async fn start_with(keys: Value, tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = if tls.is_some() {
            format!("https://localhost:{}", address.port())
        } else {
            format!("http://{address}")
        };
        let pages: Arc<Mutex<HashMap<String, Page>>> = Arc::default();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (served, log) = (Arc::clone(&pages), Arc::clone(&asked));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (served, log, tls) = (Arc::clone(&served), Arc::clone(&log), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => answer(stream, &served, &log).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                answer(stream, &served, &log).await;
                            }
                        }
                    }
                });
            }
        });
        let issuer = Self { url, pages, asked, task };
        issuer.page(DISCOVERY, json!({"issuer": issuer.url, "jwks_uri": format!("{}{JWKS}", issuer.url)}));
        issuer.page(JWKS, json!({"keys": keys}));
        issuer
    }

    fn page(&self, path: &str, body: Value) {
        self.raw(path, "200 OK", "", body.to_string().into_bytes());
    }

    fn raw(&self, path: &str, status: &'static str, headers: &str, body: Vec<u8>) {
        self.pages.lock().unwrap().insert(path.to_owned(), (status, headers.to_owned(), body));
    }

    fn down(&self) {
        self.pages.lock().unwrap().clear();
    }

    fn asked(&self, path: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| *asked == path).count()
    }

    fn settings(&self) -> IssuerSettings {
        IssuerSettings {
            issuer: self.url.clone(),
            audiences: vec!["ours".into(), "also-ours".into()],
            ca: None,
            jwks_cache: None,
            claims: Vec::new(),
        }
    }

    fn claims(&self) -> Value {
        json!({"iss": self.url, "sub": "instance-1", "aud": "ours", "exp": now() + 600, "iat": now(), "nbf": now() - 5})
    }

    /// Signed with the first key.
    fn token(&self, changes: Value) -> String {
        sign(
            json!({"alg": "RS256", "typ": "JWT", "kid": "a"}),
            with(self.claims(), changes),
            &rsa(RSA_A),
            Algorithm::RS256,
        )
    }
}

/// Answers one request and closes.
async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    pages: &Mutex<HashMap<String, Page>>,
    asked: &Mutex<Vec<String>>,
) {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut piece = [0; 1024];
        let read = stream.read(&mut piece).await.unwrap_or(0);
        if read == 0 {
            return;
        }
        request.extend_from_slice(&piece[..read]);
    }
    let path = String::from_utf8_lossy(&request).split(' ').nth(1).unwrap().to_owned();
    asked.lock().unwrap().push(path.clone());
    // Long enough for requests that come together to meet.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let page = pages.lock().unwrap().get(&path).cloned();
    let (status, headers, body) = page.unwrap_or(("500 Down", String::new(), Vec::new()));
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(&body).await;
    let _ = stream.shutdown().await;
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn sign(header: Value, claims: Value, key: &EncodingKey, algorithm: Algorithm) -> String {
    sign_text(&header.to_string(), &claims.to_string(), key, algorithm)
}

fn sign_text(header: &str, claims: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = format!("{}.{}", b64(header), b64(claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

async fn verdict(verifier: &Verifier, token: &str) -> &'static str {
    match verifier.verify(token).await {
        Ok(_) => "ok",
        Err(refusal) => {
            assert!(!refusal.to_string().contains(token) || token.is_empty());
            refusal.reason()
        }
    }
}

#[tokio::test]
async fn claims_are_read_strictly() {
    let issuer = Issuer::start(json!([jwk(&rsa(RSA_A), Algorithm::RS256, "a")])).await;
    let verifier = Verifier::new(vec![issuer.settings()]);
    let token = issuer.token(json!({
        "gitlab_realm": "self-managed", "third_party_ai_features_enabled": true, "gitlab_instance_uid": "uid",
        "scopes": ["code_suggestions"], "unknown": {"x": 1},
    }));
    let subject = verifier.verify(&token).await.unwrap();
    assert_eq!((subject.issuer.as_str(), subject.subject.as_str()), (issuer.url.as_str(), "instance-1"));
    assert_eq!((subject.realm.as_deref(), subject.third_party_ai), (Some("self-managed"), Some(true)));
    assert_eq!(
        (subject.instance_uid.as_deref(), subject.scopes.as_slice()),
        (Some("uid"), ["code_suggestions".to_owned()].as_slice())
    );
    assert_eq!(subject.tenant.len(), 32);
    let plain = verifier.verify(&issuer.token(json!({}))).await.unwrap();
    assert_eq!((plain.realm.as_deref(), plain.third_party_ai), (None, Some(false)));

    let longer: Vec<String> = (0..200).map(|index| format!("other-{index}")).chain(["ours".into()]).collect();
    for (changes, expected) in [
        (json!({"aud": ["x", "also-ours"]}), "ok"),
        (json!({"aud": longer}), "ok"),
        (json!({"aud": "other"}), "audience"),
        (json!({"aud": "our"}), "audience"),
        (json!({"aud": "ours-too"}), "audience"),
        (json!({"aud": []}), "audience"),
        (json!({"aud": null}), "malformed"),
        (json!({"aud": {"ours": 1}}), "malformed"),
        (json!({"aud": [1, "ours"]}), "malformed"),
        (json!({"exp": now() - 20}), "ok"),
        (json!({"exp": now() - 31}), "expired"),
        (json!({"exp": -5}), "expired"),
        (json!({"exp": 0}), "expired"),
        (json!({"exp": format!("{}", now() + 600)}), "malformed"),
        (json!({"exp": true}), "malformed"),
        (json!({"exp": null}), "malformed"),
        (json!({"nbf": now() + 20}), "ok"),
        (json!({"nbf": now() + 120}), "not_yet_valid"),
        (json!({"nbf": "0"}), "malformed"),
        (json!({"nbf": null, "iat": null}), "ok"),
        (json!({"iat": now() + 120}), "not_yet_valid"),
        (json!({"iat": "now"}), "malformed"),
        (json!({"iss": format!("{}/", issuer.url)}), "unknown_issuer"),
        (json!({"iss": issuer.url.to_uppercase()}), "unknown_issuer"),
        (json!({"iss": issuer.url.replace("http:", "https:")}), "unknown_issuer"),
        (json!({"iss": format!("{}.evil", issuer.url)}), "unknown_issuer"),
        (json!({"iss": [issuer.url]}), "malformed"),
        (json!({"iss": null}), "malformed"),
        (json!({"sub": null}), "malformed"),
        (json!({"sub": ""}), "malformed"),
        (json!({"third_party_ai_features_enabled": "true"}), "malformed"),
    ] {
        assert_eq!(verdict(&verifier, &issuer.token(changes.clone())).await, expected, "{changes}");
    }
    let header = r#"{"alg":"RS256","kid":"a"}"#;
    let claims = issuer.claims().to_string();
    for (claims, expected) in [
        (claims.replacen('{', "{\"exp\":99999999999,", 1), "malformed"),
        (
            claims
                .replacen("\"aud\":", "\"nbf\":null,\"aud\":", 1)
                .replace(&format!(",\"nbf\":{}", now() - 5), ""),
            "malformed",
        ),
        (claims.replace(&format!("\"exp\":{}", issuer.claims()["exp"]), "\"exp\":1e400"), "malformed"),
        (format!("[{claims}]"), "malformed"),
        ("null".to_owned(), "malformed"),
    ] {
        assert_eq!(
            verdict(&verifier, &sign_text(header, &claims, &rsa(RSA_A), Algorithm::RS256)).await,
            expected,
            "{claims}"
        );
    }
    assert_eq!((issuer.asked(DISCOVERY), issuer.asked(JWKS)), (1, 1), "none of these asks the issuer again");
}

#[tokio::test]
async fn headers_algorithms_and_signatures_are_read_strictly() {
    let p256 = EncodingKey::from_ec_pem(include_bytes!("data/oidc/p256.pem")).unwrap();
    let p384 = EncodingKey::from_ec_pem(include_bytes!("data/oidc/p384.pem")).unwrap();
    let ed = EncodingKey::from_ed_pem(include_bytes!("data/oidc/ed25519.pem")).unwrap();
    let (a, b) = (rsa(RSA_A), rsa(RSA_B));
    let published = jwk(&a, Algorithm::RS256, "a");
    let issuer = Issuer::start(json!([
        published,
        with(jwk(&b, Algorithm::RS256, "b"), json!({"alg": null})),
        jwk(&p256, Algorithm::ES256, "p256"),
        jwk(&p384, Algorithm::ES384, "p384"),
        jwk(&ed, Algorithm::EdDSA, "ed"),
        {"kty": "oct", "kid": "oct", "k": b64("secret"), "alg": "HS256"},
        {"kty": "AKP", "kid": "new", "alg": "ML-DSA-44", "pub": "x"},
    ]))
    .await;
    let verifier = Verifier::new(vec![issuer.settings()]);
    let claims = issuer.claims();
    let hmac = |secret: &[u8]| EncodingKey::from_secret(secret);
    let rs = Algorithm::RS256;
    for (header, key, algorithm, expected) in [
        (json!({"alg": "RS256", "kid": "a"}), &a, rs, "ok"),
        (json!({"alg": "RS256", "kid": "a", "typ": "at+jwt"}), &a, rs, "ok"),
        (json!({"alg": "RS512", "kid": "b"}), &b, Algorithm::RS512, "ok"),
        (json!({"alg": "ES256", "kid": "p256"}), &p256, Algorithm::ES256, "ok"),
        (json!({"alg": "ES384", "kid": "p384"}), &p384, Algorithm::ES384, "ok"),
        (json!({"alg": "EdDSA", "kid": "ed"}), &ed, Algorithm::EdDSA, "ok"),
        (json!({"alg": "RS512", "kid": "a"}), &a, Algorithm::RS512, "unknown_key"), // its alg is RS256
        (json!({"alg": "PS256", "kid": "b"}), &b, Algorithm::PS256, "algorithm"),
        (json!({"alg": "RS256", "kid": "a"}), &b, rs, "signature"),
        (json!({"alg": "RS256", "kid": "b"}), &a, rs, "signature"),
        (json!({"alg": "ES256", "kid": "a"}), &p256, Algorithm::ES256, "unknown_key"),
        (json!({"alg": "RS256"}), &a, rs, "ambiguous_key"),
        (json!({"alg": "rs256", "kid": "a"}), &a, rs, "algorithm"),
        (json!({"alg": "HS256", "kid": "a"}), &hmac(RSA_A), Algorithm::HS256, "algorithm"),
        (json!({"alg": "HS256", "kid": "oct"}), &hmac(b"secret"), Algorithm::HS256, "algorithm"),
        (json!({"alg": "RS256", "kid": "oct"}), &a, rs, "unknown_key"),
        (json!({"kid": "a"}), &a, rs, "malformed"),
        (json!({"alg": 1, "kid": "a"}), &a, rs, "malformed"),
        (json!({"alg": ["RS256"], "kid": "a"}), &a, rs, "malformed"),
        (json!({"alg": "RS256", "kid": 7}), &a, rs, "malformed"),
        (json!({"alg": "RS256", "kid": ""}), &a, rs, "unknown_key"),
        (json!({"alg": "RS256", "kid": "../a' OR 1=1 --\u{0}"}), &a, rs, "unknown_key"),
        (json!({"alg": "RS256", "kid": "a", "crit": ["b64"], "b64": false}), &a, rs, "header"),
        (json!({"alg": "RS256", "kid": "a", "crit": []}), &a, rs, "header"),
        (json!({"alg": "RS256", "kid": "a", "zip": "DEF"}), &a, rs, "header"),
        (json!({"alg": "RSA-OAEP", "kid": "a", "enc": "A128GCM"}), &a, rs, "header"),
        (json!({"alg": "RS256", "kid": "a", "typ": "logout+jwt"}), &a, rs, "header"),
        (json!({"alg": "RS256", "kid": "x", "jwk": published}), &a, rs, "unknown_key"),
        (json!({"alg": "RS256", "kid": "a", "jwk": jwk(&b, rs, "a")}), &b, rs, "signature"),
        (json!({"alg": "RS256", "kid": "a", "jku": format!("{}/evil", issuer.url)}), &b, rs, "signature"),
        (json!({"alg": "RS256", "kid": "a", "x5u": format!("{}/evil", issuer.url)}), &b, rs, "signature"),
        (json!({"alg": "RS256", "kid": "a", "x5c": ["AAAA"]}), &b, rs, "signature"),
    ] {
        assert_eq!(
            verdict(&verifier, &sign(header.clone(), claims.clone(), key, algorithm)).await,
            expected,
            "{header}"
        );
    }
    let unsigned = |alg: &str| {
        format!("{}.{}.", b64(json!({"alg": alg, "kid": "a"}).to_string()), b64(claims.to_string()))
    };
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        assert_eq!(verdict(&verifier, &unsigned(alg)).await, "algorithm", "{alg:?}");
    }
    assert_eq!(verdict(&verifier, &unsigned("RS256")).await, "signature");
    let zeros = format!(
        "{}{}",
        unsigned("ES256").replace(
            &b64(json!({"alg": "ES256", "kid": "a"}).to_string()),
            &b64(json!({"alg": "ES256", "kid": "p256"}).to_string())
        ),
        b64([0; 64])
    );
    assert_eq!(verdict(&verifier, &zeros).await, "signature");
    let twice = sign_text(r#"{"alg":"none","alg":"RS256","kid":"a"}"#, &claims.to_string(), &a, rs);
    assert_eq!(verdict(&verifier, &twice).await, "malformed");
    assert_eq!(issuer.asked("/evil"), 0);
}

#[tokio::test]
async fn only_the_compact_form_of_bounded_length_is_read() {
    let issuer = Issuer::start(json!([jwk(&rsa(RSA_A), Algorithm::RS256, "a")])).await;
    let verifier = Verifier::new(vec![issuer.settings()]);
    let token = issuer.token(json!({}));
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (header, claims) = message.split_once('.').unwrap();
    for (token, expected) in [
        (token.clone(), "ok"),
        (String::new(), "malformed"),
        ("...".to_owned(), "malformed"),
        (message.to_owned(), "malformed"),
        (format!("{token}."), "malformed"),
        (format!("{token}.x"), "malformed"),
        (format!("{token}.x.y"), "malformed"),
        (format!(" {token}"), "malformed"),
        (format!("{token} "), "signature"),
        (format!("{token}="), "signature"),
        (format!("{header}.{claims}.{signature}\n"), "signature"),
        (json!({"payload": claims, "protected": header, "signature": signature}).to_string(), "malformed"),
        (issuer.token(json!({"pad": "x".repeat(8192)})), "too_long"),
        ("x".repeat(1 << 20), "too_long"),
    ] {
        assert_eq!(verdict(&verifier, &token).await, expected, "{}", &token[..token.len().min(80)]);
    }
    // Tokens that share all but their last letter: the accepted one is remembered and must not lend its subject.
    for last in signature.char_indices().map(|(at, _)| at).rev().take(10) {
        let mut changed = signature.as_bytes().to_vec();
        changed[last] = if changed[last] == b'A' { b'B' } else { b'A' };
        let forged = format!("{message}.{}", String::from_utf8(changed).unwrap());
        assert_eq!(verdict(&verifier, &forged).await, "signature", "{last}");
    }
}

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

//! An issuer of tokens that runs in the test, and tokens of every kind.
#![allow(dead_code, clippy::needless_pass_by_value)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use modelgate_gateway::oidc::{IssuerSettings, Verifier};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub const DISCOVERY: &str = "/.well-known/openid-configuration";
pub const JWKS: &str = "/keys";
pub const RSA_A: &[u8] = include_bytes!("../data/oidc/rsa-a.pem");
pub const RSA_B: &[u8] = include_bytes!("../data/oidc/rsa-b.pem");

pub fn rsa(pem: &[u8]) -> EncodingKey {
    EncodingKey::from_rsa_pem(pem).unwrap()
}

pub fn jwk(key: &EncodingKey, algorithm: Algorithm, kid: &str) -> Value {
    let mut jwk = serde_json::to_value(Jwk::from_encoding_key(key, algorithm).unwrap()).unwrap();
    jwk["kid"] = json!(kid);
    jwk["use"] = json!("sig");
    jwk
}

/// Replaces or (with null) removes members.
pub fn with(mut value: Value, changes: Value) -> Value {
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
pub type Page = (&'static str, String, Vec<u8>);

/// An issuer on loopback.
pub struct Issuer {
    pub url: String,
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
    pub async fn start(keys: Value) -> Self {
        Self::start_with(keys, None).await
    }

    pub async fn start_with(keys: Value, tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
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

    pub fn page(&self, path: &str, body: Value) {
        self.raw(path, "200 OK", "", body.to_string().into_bytes());
    }

    pub fn raw(&self, path: &str, status: &'static str, headers: &str, body: Vec<u8>) {
        self.pages.lock().unwrap().insert(path.to_owned(), (status, headers.to_owned(), body));
    }

    pub fn down(&self) {
        self.pages.lock().unwrap().clear();
    }

    pub fn asked(&self, path: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| *asked == path).count()
    }

    pub fn settings(&self) -> IssuerSettings {
        IssuerSettings {
            issuer: self.url.clone(),
            audiences: vec!["ours".into(), "also-ours".into()],
            ca: None,
            jwks_cache: None,
            reach: Default::default(),
            claims: Vec::new(),
        }
    }

    pub fn claims(&self) -> Value {
        json!({"iss": self.url, "sub": "instance-1", "aud": "ours", "exp": now() + 600, "iat": now(), "nbf": now() - 5})
    }

    /// Signed with the first key.
    pub fn token(&self, changes: Value) -> String {
        sign(
            json!({"alg": "RS256", "typ": "JWT", "kid": "a"}),
            with(self.claims(), changes),
            &rsa(RSA_A),
            Algorithm::RS256,
        )
    }
}

/// Answers one request and closes.
pub async fn answer(
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

pub fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn sign(header: Value, claims: Value, key: &EncodingKey, algorithm: Algorithm) -> String {
    sign_text(&header.to_string(), &claims.to_string(), key, algorithm)
}

pub fn sign_text(header: &str, claims: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = format!("{}.{}", b64(header), b64(claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

pub async fn verdict(verifier: &Verifier, token: &str) -> &'static str {
    match verifier.verify(token).await {
        Ok(_) => "ok",
        Err(refusal) => {
            assert!(!refusal.to_string().contains(token) || token.is_empty());
            refusal.reason()
        }
    }
}

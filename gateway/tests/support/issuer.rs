//! An issuer of tokens on loopback: discovery, keys, and what it signs.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub const KEY: &[u8] = include_bytes!("../data/oidc/rsa-a.pem");
pub const OTHER_KEY: &[u8] = include_bytes!("../data/oidc/rsa-b.pem");

pub struct Issuer {
    pub at: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Issuer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let key = EncodingKey::from_rsa_pem(KEY).unwrap();
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&key, Algorithm::RS256).unwrap()).unwrap();
        jwk["kid"] = json!("a");
        let keys = json!({"keys": [jwk]}).to_string();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let keys = keys.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        let body = match request.uri().path() {
                            "/keys" => keys.clone(),
                            _ => json!({"issuer": format!("http://{at}"), "jwks_uri": format!("http://{at}/keys")})
                                .to_string(),
                        };
                        async move { Ok::<_, std::io::Error>(Response::new(Full::new(Bytes::from(body)))) }
                    });
                    let _ended = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { at, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.at)
    }

    /// A token with these claims beside the usual ones.
    pub fn token(&self, claims: &Value) -> String {
        signed(&self.url(), claims)
    }
}

/// A token that says it is of `issuer`, good for an hour.
pub fn signed(issuer: &str, claims: &Value) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut all = json!({"iss": issuer, "sub": "instance", "aud": "gitlab-ai-gateway", "iat": now, "nbf": now, "exp": now + 3600});
    for (name, value) in claims.as_object().unwrap() {
        all[name] = value.clone();
    }
    let header = Header { kid: Some("a".into()), ..Header::new(Algorithm::RS256) };
    encode(&header, &all, &EncodingKey::from_rsa_pem(KEY).unwrap()).unwrap()
}

//! `token`: a local issuer of tokens, so that the authenticated path can be tried in a minute. Its key lies in a folder,
//! its documents are served on loopback alone, and a gateway believes it only if its configuration names it as an issuer.

use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use modelgate_api::v1alpha1::GoDuration;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::json;
use tokio::net::TcpListener;

use super::misuse;

const KEY_FILE: &str = "key.pem";
const KEY_ID: &str = "local";

/// Arguments of `token`.
#[derive(Debug, clap::Args)]
pub struct Token {
    /// Folder of the issuer's key, made where it is not there
    #[arg(long, value_name = "DIR")]
    issuer_dir: PathBuf,
    /// Loopback address at which the gateway finds the issuer; http:// and this address is the issuer's name
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8085")]
    issuer_listen: SocketAddr,
    /// Print the token, then serve the issuer's documents until the process is ended
    #[arg(long)]
    serve: bool,
    /// Audience of the token
    #[arg(long, value_name = "AUDIENCE", default_value = "gitlab-code-suggestions")]
    audience: String,
    /// Subject of the token
    #[arg(long, value_name = "NAME", default_value = "local")]
    subject: String,
    /// Time after which the token ends
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    expires_in: String,
}

impl Token {
    /// 0, or 2 with what is wrong.
    pub(super) async fn run(self) -> u8 {
        match self.issue().await {
            Ok(()) => 0,
            Err(fault) => misuse(&[fault]),
        }
    }

    async fn issue(self) -> Result<(), String> {
        if !self.issuer_listen.ip().is_loopback() {
            return Err(
                "--issuer-listen: a local issuer is for this machine alone; give a loopback address".into()
            );
        }
        let span =
            GoDuration(self.expires_in.clone()).parse().map_err(|why| format!("--expires-in: {why}"))?;
        let key = key(&self.issuer_dir)?;
        let listener = if self.serve {
            let bound = TcpListener::bind(self.issuer_listen).await;
            Some(bound.map_err(|error| format!("--issuer-listen {}: {error}", self.issuer_listen))?)
        } else {
            None
        };
        // A port of 0 has become a real one.
        let at =
            listener.as_ref().and_then(|listener| listener.local_addr().ok()).unwrap_or(self.issuer_listen);
        let issuer = format!("http://{at}");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let claims = json!({
            "iss": issuer, "sub": self.subject, "aud": self.audience, "iat": now, "exp": now + span.as_secs(),
            "gitlab_realm": "self-managed", "scopes": ["code_suggestions"],
        });
        let header = Header { kid: Some(KEY_ID.into()), ..Header::new(Algorithm::ES256) };
        let token = jsonwebtoken::encode(&header, &claims, &key).map_err(|error| error.to_string())?;
        println!("{token}");
        let Some(listener) = listener else { return Ok(()) };
        eprintln!(
            "serving issuer {issuer}; in the ModelGateway: auth: {{oidc: [{{issuer: \"{issuer}\", audiences: [{}]}}]}}",
            self.audience
        );
        let documents = Arc::new(documents(&issuer, &key)?);
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let documents = Arc::clone(&documents);
            tokio::spawn(async move {
                let service = service_fn(|request| {
                    let answer = answer(&documents, &request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                // Whoever hangs up asks again.
                let _ended = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    }
}

fn documents(issuer: &str, key: &EncodingKey) -> Result<[(&'static str, String); 2], String> {
    let jwk = Jwk::from_encoding_key(key, Algorithm::ES256).map_err(|error| error.to_string())?;
    let mut jwk = serde_json::to_value(jwk).map_err(|error| error.to_string())?;
    jwk["kid"] = json!(KEY_ID);
    jwk["use"] = json!("sig");
    let discovery = json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/jwks.json"),
        "id_token_signing_alg_values_supported": ["ES256"],
    });
    Ok([
        ("/.well-known/openid-configuration", discovery.to_string()),
        ("/jwks.json", json!({"keys": [jwk]}).to_string()),
    ])
}

fn answer(documents: &[(&'static str, String); 2], request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let found = documents.iter().find(|(path, _)| *path == request.uri().path());
    match found {
        Some((_, document)) => crate::server::plain(StatusCode::OK, "application/json", document.clone()),
        None => crate::server::plain(StatusCode::NOT_FOUND, "text/plain", "not found\n"),
    }
}

/// The key in the folder; made at the first time, readable by its owner alone.
fn key(folder: &Path) -> Result<EncodingKey, String> {
    let path = folder.join(KEY_FILE);
    let fault = |why: &dyn std::fmt::Display| format!("--issuer-dir: {}: {why}", path.display());
    let pem = match std::fs::read(&path) {
        Ok(pem) => pem,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
            let made = made.map_err(|_| fault(&"no key can be made: the system gives no random numbers"))?;
            let pem = format!(
                "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
                STANDARD.encode(made)
            );
            std::fs::create_dir_all(folder).map_err(|error| fault(&error))?;
            let mut options = std::fs::OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
                .map_err(|error| fault(&error))?;
            file.write_all(pem.as_bytes()).map_err(|error| fault(&error))?;
            pem.into_bytes()
        }
        Err(error) => return Err(fault(&error)),
    };
    EncodingKey::from_ec_pem(&pem).map_err(|error| fault(&error))
}

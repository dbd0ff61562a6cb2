//! The way out: private CAs, HTTP/2, proxies and the data boundary, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use support::{Gateway, Upstream, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

const ANSWER: &str =
    r#"{"id":"c","object":"text_completion","choices":[{"index":0,"text":"x","finish_reason":"stop"}]}"#;
const ASK: &str = r#"{"model":"m","prompt":"a"}"#;

/// A CA's certificate, PEM, and a server that it vouches for under `name`.
fn certificates(name: &str) -> (String, TlsAcceptor) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let issuer = Issuer::new(ca, ca_key);
    let pem = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap().pem();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (ca_pem, TlsAcceptor::from(Arc::new(config)))
}

/// What a server saw of each request: version, `Authorization`.
type Log = Arc<Mutex<Vec<(http::Version, String)>>>;

/// A model server that speaks whichever HTTP its client begins, over TLS where it has a certificate.
async fn server(tls: Option<TlsAcceptor>, only_h2: bool) -> (SocketAddr, Log) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let log = Log::default();
    let seen = Arc::clone(&log);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (tls, seen) = (tls.clone(), Arc::clone(&seen));
            tokio::spawn(async move {
                match tls {
                    None => serve(stream, seen, only_h2).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            serve(stream, seen, only_h2).await;
                        }
                    }
                }
            });
        }
    });
    (at, log)
}

async fn serve<S>(stream: S, seen: Log, only_h2: bool)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let seen = Arc::clone(&seen);
        async move {
            let authorization =
                request.headers().get("authorization").map_or("", |value| value.to_str().unwrap());
            if request.method() == http::Method::POST {
                seen.lock().unwrap().push((request.version(), authorization.to_owned()));
            }
            let _body = request.into_body().collect().await;
            let response = Response::builder().header("content-type", "application/json");
            Ok::<_, std::convert::Infallible>(response.body(Full::new(Bytes::from(ANSWER))).unwrap())
        }
    });
    let mut builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    if only_h2 {
        builder = builder.http2_only();
    }
    let _ended = builder.serve_connection(TokioIo::new(stream), service).await;
}

fn yaml(external: &str, boundary: &str) -> String {
    format!(
        "apiVersion: modelgate.dev/v1alpha1\nkind: ModelBackend\nmetadata: {{name: b}}\nspec:\n  model: {{name: m}}\n  external: {{protocol: OpenAI, {external}}}\n---\napiVersion: modelgate.dev/v1alpha1\nkind: ModelGateway\nmetadata: {{name: gw}}\nspec:\n  auth: {{anonymous: true}}\n  routes:\n  - {{name: r, dataBoundary: {boundary}, backends: [{{name: b}}]}}\n"
    )
}

fn write_ca(gateway: &Gateway, pem: &str) {
    let folder = gateway.folder.path().join("secrets/private");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("ca.crt"), pem).unwrap();
}

async fn until_reason(gateway: &Gateway, reason: &str) -> serde_json::Value {
    gateway.until(|state| state["backends"][0]["reason"] == reason).await
}

#[tokio::test]
async fn a_backend_with_a_private_ca_is_reached_over_http2_and_a_new_ca_needs_no_restart() {
    let (ca, tls) = certificates("localhost");
    let (other, _) = certificates("localhost");
    let (at, log) = server(Some(tls), false).await;
    let external = format!("url: 'https://localhost:{}/v1', caSecretRef: {{name: private}}", at.port());
    let gateway = Gateway::start(&yaml(&external, "External")).await;
    let state = until_reason(&gateway, "CredentialMissing").await;
    assert!(state["backends"][0]["message"].as_str().unwrap().contains("ca.crt"), "{state}");
    write_ca(&gateway, &other);
    until_reason(&gateway, "Unreachable").await;
    assert_eq!(gateway.post("/v1/completions", ASK).await.status, 502);
    write_ca(&gateway, &ca);
    until_reason(&gateway, "Healthy").await;
    assert_eq!(gateway.post("/v1/completions", ASK).await.status, 200);
    let seen = log.lock().unwrap().clone();
    assert_eq!(seen.iter().map(|(version, _)| *version).collect::<Vec<_>>(), [http::Version::HTTP_2]);
}

#[tokio::test]
async fn h2c_speaks_http2_without_tls_from_the_first_byte() {
    let (at, log) = server(None, true).await;
    let gateway = Gateway::start(&yaml(&format!("url: 'http://{at}/v1', h2c: true"), "Cluster")).await;
    until_reason(&gateway, "Healthy").await;
    assert_eq!(gateway.post("/v1/completions", ASK).await.status, 200);
    assert_eq!(log.lock().unwrap()[0].0, http::Version::HTTP_2);
}

/// A proxy that wants a user, leads every tunnel to `to`, and answers plain requests itself. What it was asked is kept.
async fn proxy(to: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(one(stream, to, Arc::clone(&log)));
        }
    });
    (at, asked)
}

async fn one(mut stream: TcpStream, to: SocketAddr, log: Arc<Mutex<Vec<String>>>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let line = head.lines().next().unwrap().to_owned();
    log.lock().unwrap().push(line.clone());
    // printf 'us:pw' | base64
    if !head.to_ascii_lowercase().contains("proxy-authorization: basic dxm6chc=") {
        return stream
            .write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
            .await;
    }
    if line.starts_with("CONNECT") {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
        let mut target = TcpStream::connect(to).await?;
        tokio::io::copy_bidirectional(&mut stream, &mut target).await?;
        return Ok(());
    }
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{ANSWER}",
        ANSWER.len()
    );
    stream.write_all(answer.as_bytes()).await
}

async fn behind(proxy: SocketAddr, user: &str, yaml: &str) -> Result<Gateway, Vec<String>> {
    let address = format!("http://{user}@{proxy}");
    let env = move |name: &str| match name {
        "HTTPS_PROXY" | "HTTP_PROXY" => Some(address.clone()),
        _ => None,
    };
    Gateway::start_env(yaml, &[], &env).await
}

#[tokio::test]
async fn tls_goes_through_the_proxys_tunnel_and_plain_http_to_the_proxy_itself() {
    let (ca, tls) = certificates("model.test");
    let (at, log) = server(Some(tls), false).await;
    let (through, asked) = proxy(at).await;
    let external = "url: 'https://model.test/v1', caSecretRef: {name: private}";
    let gateway = behind(through, "us:pw", &yaml(external, "External")).await.unwrap();
    write_ca(&gateway, &ca);
    until_reason(&gateway, "Healthy").await;
    assert_eq!(gateway.post("/v1/completions", ASK).await.status, 200);
    assert_eq!(log.lock().unwrap().len(), 1);
    assert!(asked.lock().unwrap().iter().all(|line| line == "CONNECT model.test:443 HTTP/1.1"), "{asked:?}");

    asked.lock().unwrap().clear();
    let gateway = behind(through, "us:pw", &yaml("url: 'http://model.test/v1'", "External")).await.unwrap();
    until_reason(&gateway, "Healthy").await;
    assert_eq!(gateway.post("/v1/completions", ASK).await.status, 200);
    let asked = asked.lock().unwrap().clone();
    assert!(asked.iter().any(|line| line == "POST http://model.test/v1/completions HTTP/1.1"), "{asked:?}");

    let gateway = behind(through, "us:wrong", &yaml(external, "External")).await.unwrap();
    write_ca(&gateway, &ca);
    until_reason(&gateway, "Unreachable").await;
    assert_eq!(gateway.post("/v1/completions", ASK).await.status, 502);
}

#[tokio::test]
async fn a_backend_behind_a_proxy_is_outside_whatever_its_boundary_says() {
    let nowhere = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (through, asked) = proxy(nowhere).await;
    let external = "url: 'http://model.test/v1', boundary: Inside, probe: None";
    let gateway = behind(through, "us:pw", &yaml(external, "Cluster")).await.unwrap();
    let state = gateway.until(|state| state["routes"][0]["serving"] == false).await;
    assert!(state["routes"][0]["message"].as_str().unwrap().contains("dataBoundary"), "{state}");
    let answer = gateway.post("/v1/completions", ASK).await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert!(answer.text.contains("dataBoundary"), "{}", answer.text);
    assert_eq!(asked.lock().unwrap().len(), 0, "no source code left");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Upstream::start(|_| json(ANSWER)).await;
    let target = format!("http://{}/v1/completions", elsewhere.at);
    let upstream = Upstream::start(move |_| {
        let mut response = support::with_status(http::StatusCode::TEMPORARY_REDIRECT, "");
        response.headers_mut().insert("location", target.parse().unwrap());
        response
    })
    .await;
    let gateway = Gateway::start(&yaml(&format!("url: '{}'", upstream.url()), "Cluster")).await;
    until_reason(&gateway, "Healthy").await;
    assert_eq!(gateway.post("/v1/completions", ASK).await.status, 502);
    assert_eq!((upstream.count(), elsewhere.count()), (1, 0));
}

#[tokio::test]
async fn metadata_addresses_are_refused_before_anything_is_sent() {
    for url in [
        "http://169.254.169.254/v1",
        "http://2852039166/v1",
        "http://0xa9fea9fe/v1",
        "http://[::ffff:a9fe:a9fe]/v1",
    ] {
        let faults =
            Gateway::start_with(&yaml(&format!("url: '{url}', boundary: Inside"), "Cluster"), &[]).await;
        let faults = faults.err().expect(url);
        assert!(
            faults[0].contains("169.254.169.254") && faults[0].contains("no backend may be there"),
            "{faults:?}"
        );
    }
}

#[tokio::test]
async fn issuers_and_collectors_of_telemetry_are_reached_by_the_proxy_too() {
    let nowhere = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (through, asked) = proxy(nowhere).await;
    let upstream = Upstream::start(|_| json(ANSWER)).await;
    let address = format!("http://us:pw@{through}");
    let env = move |name: &str| match name {
        "HTTPS_PROXY" | "HTTP_PROXY" => Some(address.clone()),
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some("http://collector.test:4318".into()),
        _ => None,
    };
    let auth = "oidc: [{issuer: 'http://issuer.test', audiences: [a]}]";
    let yaml = yaml(&format!("url: '{}'", upstream.url()), "Cluster").replace("anonymous: true", auth);
    let gateway = Gateway::start_env(&yaml, &[], &env).await.unwrap();
    assert_eq!(gateway.post("/v1/completions", ASK).await.status, 401);
    for wanted in [
        "GET http://issuer.test/.well-known/openid-configuration HTTP/1.1",
        "POST http://collector.test:4318/v1/traces HTTP/1.1",
    ] {
        for round in 0.. {
            if asked.lock().unwrap().iter().any(|line| line == wanted) {
                break;
            }
            assert!(round < 400, "{wanted} is not among {:?}", asked.lock().unwrap());
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

//! TLS of the listeners, client certificates, the login of scrapes, and HTTP/2 with and without TLS.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// A story told in one piece is easier to follow than its parts.
#![allow(clippy::too_many_lines)]

mod support;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use modelgate_gateway::limits;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::json;
use support::{Gateway, fake};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A CA in `folder`, as `ca.crt` and `ca.key`.
fn authority(folder: &Path, name: &str) {
    openssl(
        folder,
        &[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            &format!("/CN={name}"),
            "-keyout",
            "ca.key",
            "-out",
            "ca.crt",
        ],
    );
}

/// A certificate of the CA in `folder` for localhost, as `tls.crt` and `tls.key`; `serial` tells it from others.
fn certificate(folder: &Path, serial: &str, usage: &str) {
    std::fs::write(folder.join("ext"), format!("subjectAltName=DNS:localhost\nextendedKeyUsage={usage}\n"))
        .unwrap();
    openssl(
        folder,
        &[
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=localhost",
            "-keyout",
            "tls.key",
            "-out",
            "csr",
        ],
    );
    openssl(
        folder,
        &[
            "x509",
            "-req",
            "-in",
            "csr",
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-days",
            "2",
            "-set_serial",
            serial,
            "-extfile",
            "ext",
            "-out",
            "tls.crt",
        ],
    );
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let done =
        Command::new("openssl").args(arguments).current_dir(folder).output().expect("openssl is installed");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

struct Client {
    roots: rustls::RootCertStore,
    own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    alpn: Vec<Vec<u8>>,
}

impl Client {
    fn trusting(folder: &Path) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(folder.join("ca.crt")).unwrap()).unwrap();
        Self { roots, own: None, alpn: Vec::new() }
    }

    fn with_own(mut self, folder: &Path) -> Self {
        let certificate = CertificateDer::from_pem_file(folder.join("tls.crt")).unwrap();
        self.own = Some((vec![certificate], PrivateKeyDer::from_pem_file(folder.join("tls.key")).unwrap()));
        self
    }

    async fn connect(&self, at: std::net::SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
        let builder =
            rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(self.roots.clone());
        let mut config = match &self.own {
            Some((chain, key)) => builder.with_client_auth_cert(chain.clone(), key.clone_key()).unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        connector.connect(ServerName::try_from("localhost").unwrap(), TcpStream::connect(at).await?).await
    }

    /// The status line of a request on a fresh connection, and the serial number of the certificate shown.
    async fn get(
        &self,
        at: std::net::SocketAddr,
        path: &str,
        headers: &str,
    ) -> std::io::Result<(String, Vec<u8>)> {
        let mut stream = self.connect(at).await?;
        let shown = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
        stream
            .write_all(
                format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n")
                    .as_bytes(),
            )
            .await?;
        let mut answer = Vec::new();
        // A server that refuses a client certificate says so here, with TLS 1.3.
        match stream.read_to_end(&mut answer).await {
            Err(error) if answer.is_empty() => return Err(error),
            _ => {}
        }
        Ok((String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned(), shown))
    }
}

const HEALTH: &str = "/monitoring/healthz";

#[tokio::test]
async fn certificates_are_exchanged_without_touching_connections() {
    let work = tempfile::tempdir().unwrap();
    authority(work.path(), "first");
    certificate(work.path(), "1", "serverAuth");
    let yaml = fake("x", "") + "  listeners: {tls: {secretRef: {name: own}}}\n";
    let gateway = Gateway::start(&yaml).await;
    let client = Client::trusting(work.path());
    assert!(
        client.get(gateway.at.http, HEALTH, "").await.is_err(),
        "without a certificate nobody is served in the clear"
    );
    let state = gateway.state("").await;
    let shown = &state["certificates"][0];
    assert_eq!(
        (&shown["listener"], &shown["secret"], &shown["serving"]),
        (&json!("http"), &json!("own"), &json!(false))
    );
    assert!(shown["message"].as_str().unwrap().contains("own/tls.crt"), "{shown}");
    let secret = gateway.folder.path().join("secrets/own");
    std::fs::create_dir_all(&secret).unwrap();
    let install = || {
        for file in ["tls.key", "tls.crt"] {
            std::fs::copy(work.path().join(file), secret.join(file)).unwrap();
        }
    };
    install();
    let mut first = None;
    for _ in 0..100 {
        if let Ok((status, shown)) = client.get(gateway.at.http, HEALTH, "").await {
            assert_eq!(status, "HTTP/1.1 200 OK");
            first = Some(shown);
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let first = first.expect("the certificate is found while the gateway runs");
    gateway
        .until(|state| {
            state["certificates"][0]
                == json!({"listener": "http", "secret": "own", "serving": true, "message": ""})
        })
        .await;
    let mut kept = client.connect(gateway.at.http).await.unwrap();
    certificate(work.path(), "2", "serverAuth");
    install();
    let mut renewed = false;
    for _ in 0..100 {
        renewed = client.get(gateway.at.http, HEALTH, "").await.unwrap().1 != first;
        if renewed {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(renewed, "new connections see the new certificate");
    std::fs::write(secret.join("tls.crt"), "nonsense").unwrap();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(client.get(gateway.at.http, HEALTH, "").await.is_ok(), "the last good one serves on");
    gateway
        .until(|state| {
            state["certificates"][0]["serving"] == true && state["certificates"][0]["message"] != ""
        })
        .await;
    let mut slash = client.connect(gateway.at.http).await.unwrap();
    slash.write_all(b"POST /v2/completions/ HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _end = slash.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).to_lowercase();
    assert!(
        answer.contains("307") && answer.contains("location: https://localhost/v2/completions\r\n"),
        "{answer}"
    );
    kept.write_all(b"GET /monitoring/healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = [0; 15];
    kept.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK", "the old connection was not touched");
    // In the clear there is nothing.
    let mut plain = TcpStream::connect(gateway.at.http).await.unwrap();
    plain.write_all(b"GET /monitoring/healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _reset = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

#[tokio::test]
async fn a_client_ca_lets_in_its_own_certificates_alone() {
    let (server, clients, strangers) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    authority(server.path(), "server");
    certificate(server.path(), "1", "serverAuth");
    for folder in [clients.path(), strangers.path()] {
        authority(folder, "clients");
        certificate(folder, "7", "clientAuth");
    }
    let yaml =
        fake("x", "") + "  listeners: {tls: {secretRef: {name: own}, clientCaSecretRef: {name: clients}}}\n";
    let gateway = Gateway::start(&yaml).await;
    let secrets = gateway.folder.path().join("secrets");
    std::fs::create_dir_all(secrets.join("own")).unwrap();
    std::fs::create_dir_all(secrets.join("clients")).unwrap();
    for file in ["tls.key", "tls.crt"] {
        std::fs::copy(server.path().join(file), secrets.join("own").join(file)).unwrap();
    }
    std::fs::copy(clients.path().join("ca.crt"), secrets.join("clients/ca.crt")).unwrap();
    let known = Client::trusting(server.path()).with_own(clients.path());
    let mut let_in = false;
    for _ in 0..100 {
        let_in = known.get(gateway.at.http, HEALTH, "").await.is_ok();
        if let_in {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(let_in);
    let nobody = Client::trusting(server.path());
    assert!(nobody.get(gateway.at.http, HEALTH, "").await.is_err(), "no certificate");
    let stranger = Client::trusting(server.path()).with_own(strangers.path());
    assert!(stranger.get(gateway.at.http, HEALTH, "").await.is_err(), "another CA of the same name");
}

#[tokio::test]
async fn a_scrape_gives_name_and_password_over_tls() {
    let work = tempfile::tempdir().unwrap();
    authority(work.path(), "metrics");
    certificate(work.path(), "1", "serverAuth");
    let yaml = fake("x", "")
        + "  listeners: {metrics: {basicAuthSecretRef: {name: login}, tlsSecretRef: {name: own}}}\n";
    let gateway = Gateway::start(&yaml).await;
    let secrets = gateway.folder.path().join("secrets");
    std::fs::create_dir_all(secrets.join("own")).unwrap();
    std::fs::create_dir_all(secrets.join("login")).unwrap();
    for file in ["tls.key", "tls.crt"] {
        std::fs::copy(work.path().join(file), secrets.join("own").join(file)).unwrap();
    }
    let client = Client::trusting(work.path());
    let scrape = async |login: &str| {
        let mut last = String::new();
        for _ in 0..100 {
            if let Ok((status, _)) = client.get(gateway.at.metrics, "/metrics", login).await {
                last = status;
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        last
    };
    // printf prometheus:secret | base64
    let good = "authorization: Basic cHJvbWV0aGV1czpzZWNyZXQ=\r\n";
    assert_eq!(scrape(good).await, "HTTP/1.1 401 Unauthorized", "without the files nobody may");
    std::fs::write(secrets.join("login/username"), "prometheus").unwrap();
    std::fs::write(secrets.join("login/password"), "secret\n").unwrap();
    assert_eq!(scrape(good).await, "HTTP/1.1 200 OK");
    for bad in [
        "",
        "authorization: Basic cHJvbWV0aGV1czpzZWNyZXR4\r\n",
        "authorization: Bearer cHJvbWV0aGV1czpzZWNyZXQ=\r\n",
        "authorization: Basic !\r\n",
    ] {
        assert_eq!(scrape(bad).await, "HTTP/1.1 401 Unauthorized", "{bad}");
    }
}

#[tokio::test]
async fn http_2_is_spoken_by_alpn_and_by_prior_knowledge() {
    let work = tempfile::tempdir().unwrap();
    authority(work.path(), "h2");
    certificate(work.path(), "1", "serverAuth");
    let plain = Gateway::start(&fake("x", "")).await;
    let h2c = TcpStream::connect(plain.at.http).await.unwrap();
    assert_eq!(completion(h2c).await, (200, Version::HTTP_2));

    let secret = plain.folder.path().join("secrets/own");
    std::fs::create_dir_all(&secret).unwrap();
    for file in ["tls.key", "tls.crt"] {
        std::fs::copy(work.path().join(file), secret.join(file)).unwrap();
    }
    // TLS is switched on while the gateway runs.
    let yaml = fake("x", "") + "  listeners: {tls: {secretRef: {name: own}}}\n";
    std::fs::write(plain.folder.path().join("config.yaml"), yaml).unwrap();
    let mut client = Client::trusting(work.path());
    client.alpn = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut stream = None;
    for _ in 0..100 {
        stream = client.connect(plain.at.http).await.ok();
        if stream.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let stream = stream.expect("TLS");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    assert_eq!(completion(stream).await, (200, Version::HTTP_2));
}

async fn completion<S>(stream: S) -> (u16, Version)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let running = tokio::spawn(connection);
    let body = Full::new(Bytes::from_static(br#"{"model":"canned","prompt":"x"}"#));
    let request = Request::post("http://localhost/v1/completions").body(body).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    let (status, version) = (answer.status().as_u16(), answer.version());
    answer.into_body().collect().await.unwrap();
    drop(sender);
    running.abort();
    (status, version)
}

/// A frame of HTTP/2: length, type, flags, stream, payload.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `:method GET`, `:scheme http`, `:path /`, from the static table of HPACK.
const HEAD: [u8; 3] = [0x82, 0x86, 0x84];

/// Sends HTTP/2 frames after the preface; returns whether the server ended the connection, with its last bytes.
async fn attack(gateway: &Gateway, frames: &[u8]) -> (bool, Vec<u8>) {
    let mut stream = TcpStream::connect(gateway.at.http).await.unwrap();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    bytes.extend_from_slice(frames);
    let _cut = stream.write_all(&bytes).await;
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
    (ended.is_ok(), answer)
}

#[tokio::test]
async fn floods_of_http_2_end_the_connection_that_sends_them() {
    let gateway = Gateway::start(&fake("x", "")).await;
    let reset = |stream| [frame(1, 0x4, stream, &HEAD), frame(3, 0, stream, &8_u32.to_be_bytes())].concat();
    let rapid: Vec<u8> = (0..5000).flat_map(|index| reset(2 * index + 1)).collect();
    // A window update of 0 is the client's mistake: each makes the server reset a stream.
    let made = |stream| [frame(1, 0x4, stream, &HEAD), frame(8, 0, stream, &[0; 4])].concat();
    let made_you_reset: Vec<u8> = (0..5000).flat_map(|index| made(2 * index + 1)).collect();
    let pieces: Vec<u8> = (0..20_000).flat_map(|_| frame(9, 0, 1, &[0; 16])).collect();
    let continuation = [frame(1, 0, 1, &HEAD), pieces].concat();
    for (name, frames) in
        [("rapid reset", rapid), ("made you reset", made_you_reset), ("continuation", continuation)]
    {
        let (ended, _) = attack(&gateway, &frames).await;
        assert!(ended, "{name}: the connection is still open");
        assert_eq!(gateway.get(HEALTH).await.status.as_u16(), 200, "{name}: others are served");
    }
    // A header list above the limit is refused, whatever the path would have been answered.
    let served = attack(&gateway, &frame(1, 0x5, 1, &HEAD)).await.1;
    assert_eq!(answered(&served), Some(0x8d), "404, from the static table of HPACK");
    let long = vec![b'a'; limits::H2_HEADER_LIST_BYTES as usize + 1];
    let mut literal = HEAD.to_vec();
    literal.extend([0x00, 0x01, b'x', 0x7f]);
    let mut rest = long.len() - 127;
    while rest >= 128 {
        literal.push(u8::try_from(rest % 128).unwrap() | 0x80);
        rest /= 128;
    }
    literal.push(u8::try_from(rest).unwrap());
    literal.extend(&long);
    let (first, more) = literal.split_at(16_000);
    let frames = [frame(1, 0x1, 1, first), frame(9, 0x4, 1, more)].concat();
    let refused = attack(&gateway, &frames).await.1;
    assert_ne!(answered(&refused), Some(0x8d), "{refused:?}");
}

/// First byte of the first answer's headers, among the server's frames.
fn answered(mut frames: &[u8]) -> Option<u8> {
    while frames.len() >= 9 {
        let length = usize::from(frames[0]) << 16 | usize::from(frames[1]) << 8 | usize::from(frames[2]);
        let payload = frames.get(9..9 + length)?;
        if frames[3] == 1 {
            return payload.first().copied();
        }
        frames = &frames[9 + length..];
    }
    None
}

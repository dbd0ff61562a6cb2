//! A gateway in this process, a backend that does what a test says, and a client, all over real sockets.
#![allow(dead_code)]

pub mod script;

pub mod issuer;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use modelgate_gateway::app::{Addresses, App};
use modelgate_gateway::args::Args;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

pub type Body = BoxBody<Bytes, std::io::Error>;

/// A gateway with free ports and a configuration file of its own.
pub struct Gateway {
    pub at: Addresses,
    pub folder: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    running: tokio::task::JoinHandle<()>,
}

impl Gateway {
    pub async fn start(yaml: &str) -> Self {
        Self::start_with(yaml, &[]).await.expect("a valid configuration")
    }

    pub async fn start_with(yaml: &str, flags: &[&str]) -> Result<Self, Vec<String>> {
        Self::start_env(yaml, flags, &|_| None).await
    }

    pub async fn start_env(
        yaml: &str,
        flags: &[&str],
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.yaml");
        std::fs::write(&config, yaml).unwrap();
        let own = ["modelgate-gateway", "--config", config.to_str().unwrap(), "--listen", "127.0.0.1:0"];
        let rest = [
            "--metrics-listen",
            "127.0.0.1:0",
            "--control-listen",
            "127.0.0.1:0",
            "--debug-listen",
            "127.0.0.1:0",
        ];
        let secrets = folder.path().join("secrets");
        let more = ["--secrets", secrets.to_str().unwrap(), "--drain-grace", "300ms"];
        let all = own.iter().chain(&rest).chain(&more).chain(flags);
        let settings = Args::try_parse_from(all).unwrap().into_settings(env)?;
        let app = App::start(settings).await?;
        let at = app.addresses();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(app.run(async move {
            let _dropped = stopped.await;
        }));
        Ok(Self { at, folder, stop: Some(stop), running })
    }

    pub fn write_config(&self, yaml: &str) {
        std::fs::write(self.folder.path().join("config.yaml"), yaml).unwrap();
    }

    pub fn begin_stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    pub async fn stopped(self) {
        tokio::time::timeout(Duration::from_secs(30), self.running).await.expect("it ends").unwrap();
    }

    pub async fn post(&self, path: &str, body: &str) -> Answer {
        self.send(Method::POST, path, &[("content-type", "application/json")], body).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        Answer::read(send(self.at.http, method, path, headers, body).await).await
    }

    pub async fn metrics(&self) -> String {
        Answer::read(send(self.at.metrics, Method::GET, "/metrics", &[], "").await).await.text
    }

    /// Waits until the metrics hold `line`: an answer is accounted just after its last byte.
    pub async fn until_metric(&self, line: &str) {
        for _ in 0..200 {
            if self.metrics().await.contains(line) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{line} is not in {}", self.metrics().await);
    }

    pub async fn state(&self, query: &str) -> serde_json::Value {
        let answer =
            Answer::read(send(self.at.control, Method::GET, &format!("/v1/state{query}"), &[], "").await)
                .await;
        serde_json::from_str(&answer.text).unwrap()
    }

    /// Polls the state until `reached`, for at most 20 s.
    pub async fn until(&self, reached: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        let mut state = self.state("").await;
        for _ in 0..200 {
            if reached(&state) {
                return state;
            }
            state = self.state(&format!("?since={}&wait=100ms", state["seq"])).await;
        }
        panic!("not reached: {state:#}");
    }

    pub async fn until_serving(&self) {
        self.until(|state| state["routes"].as_array().unwrap().iter().all(|route| route["serving"] == true))
            .await;
    }
}

/// An answer read whole; `broken` when its body broke off.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: http::HeaderMap,
    pub text: String,
    pub broken: bool,
}

impl Answer {
    pub async fn read(response: Response<Incoming>) -> Self {
        let (parts, mut body) = response.into_parts();
        let mut bytes = Vec::new();
        let mut broken = false;
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Err(_) => broken = true,
            }
        }
        Self { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes).unwrap(), broken }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

pub async fn send(
    at: SocketAddr,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response<Incoming> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let mut request = Request::builder().method(method).uri(format!("http://{at}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let sending = client.request(request.body(Full::new(Bytes::from(body.to_owned()))).unwrap());
    tokio::time::timeout(Duration::from_secs(30), sending)
        .await
        .expect("an answer in time")
        .expect("an answer")
}

/// What a backend saw.
#[derive(Clone, Debug)]
pub struct Seen {
    pub path: String,
    pub headers: http::HeaderMap,
    pub body: String,
}

/// A backend that answers as its function says; `GET …/models` is answered by itself.
pub struct Upstream {
    pub at: SocketAddr,
    pub seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Upstream {
    pub async fn start<F>(answer: F) -> Self
    where
        F: Fn(Seen) -> Response<Body> + Send + Sync + 'static,
    {
        Self::serving(|_| json("{\"object\":\"list\",\"data\":[]}"), answer, false).await
    }

    /// The same with answers of its own to `GET`, by path, which are not logged, and to questions for tokens, which are
    /// otherwise unknown and not logged either: the gateway asks them by itself.
    pub async fn start_with<G, F>(get: G, answer: F) -> Self
    where
        G: Fn(&str) -> Response<Body> + Send + Sync + 'static,
        F: Fn(Seen) -> Response<Body> + Send + Sync + 'static,
    {
        Self::serving(get, answer, true).await
    }

    async fn serving<G, F>(get: G, answer: F, tokenizes: bool) -> Self
    where
        G: Fn(&str) -> Response<Body> + Send + Sync + 'static,
        F: Fn(Seen) -> Response<Body> + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (answer, get, log) = (Arc::new(answer), Arc::new(get), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (answer, get, log) = (Arc::clone(&answer), Arc::clone(&get), Arc::clone(&log));
                tokio::spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        let (answer, get, log) = (Arc::clone(&answer), Arc::clone(&get), Arc::clone(&log));
                        async move {
                            let (parts, body) = request.into_parts();
                            if parts.method == Method::GET {
                                return Ok::<_, std::io::Error>(get(parts.uri.path()));
                            }
                            if parts.uri.path() == "/tokenize" && !tokenizes {
                                return Ok(with_status(StatusCode::NOT_FOUND, "{}"));
                            }
                            let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
                            let body = String::from_utf8(body.to_vec()).unwrap();
                            let seen = Seen { path: parts.uri.path().into(), headers: parts.headers, body };
                            log.lock().unwrap().push(seen.clone());
                            Ok(answer(seen))
                        }
                    });
                    let _ended = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { at, seen, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}/v1", self.at)
    }

    pub fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().expect("a request").clone()
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub fn json(body: &str) -> Response<Body> {
    with_status(StatusCode::OK, body)
}

pub fn with_status(status: StatusCode, body: &str) -> Response<Body> {
    let body = Full::new(Bytes::from(body.to_owned())).map_err(|never| match never {}).boxed();
    Response::builder().status(status).header("content-type", "application/json").body(body).unwrap()
}

/// A stream of events that the test sends piece by piece; an error cuts the connection.
pub fn events() -> (mpsc::Sender<Result<Bytes, std::io::Error>>, Response<Body>) {
    let (sender, mut receiver) = mpsc::channel::<Result<Bytes, std::io::Error>>(16);
    let stream = futures::stream::poll_fn(move |cx| {
        receiver.poll_recv(cx).map(|next| next.map(|piece| piece.map(Frame::data)))
    });
    let body = BodyExt::boxed(StreamBody::new(stream));
    (sender, Response::builder().header("content-type", "text/event-stream").body(body).unwrap())
}

/// A gateway without authentication whose only route leads to the addresses given, one backend each.
pub fn config(urls: &[&str], gateway: &str) -> String {
    let mut text = String::new();
    for (index, url) in urls.iter().enumerate() {
        text += &format!(
            "apiVersion: modelgate.dev/v1alpha1\nkind: ModelBackend\nmetadata: {{name: b{index}}}\nspec:\n  model: {{name: upstream-model, aliases: [alias]}}\n  external: {{protocol: OpenAI, url: \"{url}\"}}\n---\n"
        );
    }
    let backends: Vec<String> = (0..urls.len()).map(|index| format!("{{name: b{index}}}")).collect();
    text + &format!(
        "apiVersion: modelgate.dev/v1alpha1\nkind: ModelGateway\nmetadata: {{name: gw}}\nspec:\n  auth: {{anonymous: true}}\n  routes:\n  - name: r\n    backends: [{}]\n    timeout: {{connect: 1s, firstByte: 2s, idle: 1s, total: 20s}}\n{gateway}",
        backends.join(", ")
    )
}

/// A gateway whose only backend is a fake one.
pub fn fake(text: &str, more: &str) -> String {
    format!(
        "apiVersion: modelgate.dev/v1alpha1\nkind: ModelBackend\nmetadata: {{name: canned}}\nspec:\n  model: {{name: canned}}\n  fake: {{text: \"{text}\"{more}}}\n---\napiVersion: modelgate.dev/v1alpha1\nkind: ModelGateway\nmetadata: {{name: gw}}\nspec:\n  auth: {{anonymous: true}}\n  routes:\n  - name: r\n    backends: [{{name: canned}}]\n"
    )
}

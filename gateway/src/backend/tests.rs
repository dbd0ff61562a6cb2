//! A model that wakes while a completion waits for it, over real sockets. Which addresses a name has is the resolver's to say,
//! so here the test says it in its place.

use std::time::Duration;

use clap::Parser;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::app::App;
use crate::args::Args;

const CONFIG: &str = "formatVersion: \"1.0\"
inputs: []
gateway: gw
namespace: team
httpPort: 5000
metricsPort: 8082
protocols: [GitLab, OpenAI]
auth: {anonymous: true}
compat: Current
completion: {deadlineMs: 30000}
routes:
- name: r
  models: [m]
  dataBoundary: Cluster
  backends: [{name: b, weight: 1}]
  timeout: {connectMs: 1000, firstByteMs: 30000, firstTokenMs: 30000, idleMs: 5000, totalMs: 60000}
backends:
  b: {model: m, aliases: [], contextLength: 2048, boundary: Inside, boundaryReason: x, admission: {coldStartMs: 10000}, target: {type: pods, host: nothing.invalid, port: 1}}
";

async fn settled(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..600 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what}: never");
}

/// A model server that answers every request with one completion.
async fn model() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut bytes = vec![0; 64 * 1024];
                while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {
                    let body = r#"{"choices":[{"text":"awake","finish_reason":"stop"}]}"#;
                    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length:";
                    let answer = format!("{head} {}\r\n\r\n{body}", body.len());
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    format!("http://{at}/v1")
}

#[tokio::test]
async fn a_completion_that_is_held_is_answered_as_soon_as_its_model_is_awake() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    std::fs::write(&file, CONFIG).unwrap();
    let any = "127.0.0.1:0";
    let flags = ["modelgate-gateway", "--config", file.to_str().unwrap(), "--listen", any];
    let more = ["--metrics-listen", any, "--control-listen", any, "--debug-listen", any];
    let settings = Args::try_parse_from(flags.iter().chain(&more)).unwrap().into_settings(&|_| None).unwrap();
    let app = App::start(settings).await.unwrap();
    let (gateway, at) = (app.gateway(), app.addresses().http);
    let running = tokio::spawn(app.run(std::future::pending()));
    let snapshot = gateway.snapshot.load_full();
    let backend = &snapshot.backends["b"];
    settled("the name is looked up", || backend.state().reason == "NoEndpoints").await;

    let asking = tokio::spawn(async move {
        let body = r#"{"current_file":{"file_name":"a.py","content_above_cursor":"x = ","content_below_cursor":"\n"}}"#;
        let mut stream = TcpStream::connect(at).await.unwrap();
        let head = "POST /v2/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length:";
        stream.write_all(format!("{head} {}\r\n\r\n{body}", body.len()).as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    });
    settled("it is held", || backend.state().held == 1).await;
    assert!(!asking.is_finished(), "no answer before the model is there");
    assert!(backend.state().demand >= 1, "and it counts as a wish for the model");
    backend.set_endpoints(&[model().await]);
    let answer = tokio::time::timeout(Duration::from_secs(30), asking).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(r#""text":"awake""#), "{answer}");
    assert!(answer.contains("x-modelgate-outcome: success"), "{answer}");
    assert_eq!(backend.state().held, 0);
    running.abort();
}

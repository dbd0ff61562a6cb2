//! Limits shared in Redis: a real server, slow, gone and started anew. Needs Debian's redis-server (7).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use http::Method;
use modelgate_gateway::limit::redis::{Address, Connection, Value};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use support::{Gateway, events, fake};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// A Redis server with a password.
struct Server {
    at: SocketAddr,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Server {
    async fn start() -> Self {
        // A port that was free a moment ago.
        let at = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Self::start_at(at).await
    }

    async fn start_at(at: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = at.port().to_string();
        let child = Command::new("redis-server")
            .args(["--port", &port, "--bind", "127.0.0.1", "--requirepass", "se cret"])
            .args(["--save", "", "--appendonly", "no"])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("redis-server is needed: apt-get install redis-server");
        for _ in 0..200 {
            if TcpStream::connect(at).await.is_ok() {
                return Self { at, child, _folder: folder };
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("Redis does not listen on {at}");
    }

    fn url(&self) -> String {
        format!("redis://:se%20cret@{}/2", self.at)
    }

    async fn call(&self, command: &[&[u8]]) -> Value {
        let stream = TcpStream::connect(self.at).await.unwrap();
        let address = Address::parse(&self.url()).unwrap();
        Connection::open(Box::new(stream), &address).await.unwrap().call(command).await.unwrap()
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args([signal, &id]).status().unwrap().success());
    }
}

/// A gateway that counts in Redis, and knows its address once [`connect`] wrote it.
fn yaml(limits: &str) -> String {
    fake("x", "")
        + &format!("  limits: [{limits}]\n  cache: {{store: Redis, redis: {{secretRef: {{name: redis}}}}}}\n")
}

fn connect(gateway: &Gateway, server: &Server) {
    let folder = gateway.folder.path().join("secrets/redis");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("url"), server.url()).unwrap();
}

const ASK: &str = r#"{"model":"canned","prompt":"x"}"#;

async fn status(gateway: &Gateway) -> u16 {
    status_of(gateway, "group/secret-project").await
}

async fn status_of(gateway: &Gateway, project: &str) -> u16 {
    let headers = [("openai-project", project)];
    gateway.send(Method::POST, "/v1/completions", &headers, ASK).await.status.as_u16()
}

/// How often a gateway could not count in Redis.
async fn store_failures(gateways: &[&Gateway]) -> Vec<String> {
    let mut lines = Vec::new();
    for gateway in gateways {
        let scrape = gateway.metrics().await;
        let of_store = scrape.lines().filter(|line| line.starts_with("modelgate_limit_store_failures_total"));
        lines.extend(of_store.map(str::to_owned));
    }
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_share_their_counts_and_none_is_exceeded() {
    let server = Server::start().await;
    let limits = "{name: few, by: Project, requestsPerMinute: 10}";
    let (one, two) = (Gateway::start(&yaml(limits)).await, Gateway::start(&yaml(limits)).await);
    connect(&one, &server);
    connect(&two, &server);
    for gateway in [&one, &two] {
        status_of(gateway, "first").await;
        gateway.until_metric("\nmodelgate_limit_store_up 1").await;
    }
    // While Redis is late the limit is each pod's own; a machine that is that slow is asked again, for another project.
    let mut undisturbed = None;
    for attempt in 0..10 {
        let project = format!("group/secret-project-{attempt}");
        let late = store_failures(&[&one, &two]).await;
        let asked = (0..40).map(|index| status_of(if index % 2 == 0 { &one } else { &two }, &project));
        let began = Instant::now();
        let answers = futures::future::join_all(asked).await;
        if store_failures(&[&one, &two]).await == late {
            undisturbed = Some((answers, began.elapsed()));
            break;
        }
    }
    let (answers, took) = undisturbed.expect("Redis was late ten times");
    let admitted = answers.iter().filter(|status| **status == 200).count();
    // One comes back every 6 s.
    let refilled = usize::try_from(took.as_secs() / 6 + 1).unwrap();
    assert!((10..=10 + refilled).contains(&admitted), "{answers:?}");
    assert!(answers.iter().all(|status| matches!(status, 200 | 429)), "{answers:?}");
    let Value::List(keys) = server.call(&[b"KEYS", b"*"]).await else { panic!("a list") };
    let keys = format!(
        "{:?}",
        keys.iter()
            .map(|key| match key {
                Value::Bulk(Some(bytes)) => String::from_utf8(bytes.clone()).unwrap(),
                other => format!("{other:?}"),
            })
            .collect::<Vec<_>>()
    );
    assert!(keys.contains("few/requests/") && !keys.contains("secret-project"), "only hashes: {keys}");
}

#[tokio::test]
async fn requests_under_way_are_counted_together_and_given_back() {
    let server = Server::start().await;
    let (sender, body) = events();
    let body = std::sync::Mutex::new(Some(body));
    let upstream = support::Upstream::start(move |_| body.lock().unwrap().take().expect("one request")).await;
    let limits = "  limits: [{name: one, by: Model, concurrent: 1}]\n  cache: {store: Redis, redis: {secretRef: {name: redis}}}\n";
    let slow = Gateway::start(&support::config(&[&upstream.url()], limits)).await;
    connect(&slow, &server);
    // A stream's head goes to the client with its first event.
    sender.send(Ok(bytes::Bytes::from("data: {\"choices\":[{\"text\":\"a\"}]}\n\n"))).await.unwrap();
    let stream = r#"{"model":"upstream-model","prompt":"x","stream":true}"#;
    let first = support::send(slow.at.http, Method::POST, "/v1/completions", &[], stream).await;
    assert_eq!(first.status().as_u16(), 200);
    let refused = slow.post("/v1/completions", stream).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "1"));
    let Value::List(keys) = server.call(&[b"KEYS", b"*concurrent*"]).await else { panic!("a list") };
    assert_eq!(keys.len(), 1);
    drop(first);
    drop(sender);
    for round in 0.. {
        if server.call(&[b"KEYS", b"*concurrent*"]).await == Value::List(Vec::new()) {
            break;
        }
        assert!(round < 200, "the place was not given back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A CA of the test's own, and what it vouches for: a server at `localhost`.
fn certificates(folder: &std::path::Path) -> String {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = ca.self_signed(&ca_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let issuer = Issuer::new(ca, ca_key);
    let own = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    std::fs::write(folder.join("own.crt"), own.pem()).unwrap();
    std::fs::write(folder.join("own.key"), key.serialize_pem()).unwrap();
    pem
}

#[tokio::test]
async fn over_tls_redis_is_trusted_by_its_own_ca_alone() {
    let folder = tempfile::tempdir().unwrap();
    let ca = certificates(folder.path());
    let other = certificates(tempfile::tempdir().unwrap().path());
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let _server = Command::new("redis-server")
        .args(["--port", "0", "--bind", "127.0.0.1", "--requirepass", "se cret", "--save", ""])
        .args(["--tls-port", &port.to_string(), "--tls-cert-file", "own.crt", "--tls-key-file", "own.key"])
        .args(["--tls-ca-cert-file", "own.crt", "--tls-auth-clients", "no"])
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("redis-server is needed: apt-get install redis-server");
    let limits = "  limits: [{name: few, by: Project, requestsPerMinute: 3}]\n  cache: {store: Redis, redis: {secretRef: {name: redis}, caSecretRef: {name: redis, key: ca.crt}}}\n";
    let gateway = Gateway::start(&(fake("x", "") + limits)).await;
    let secret = gateway.folder.path().join("secrets/redis");
    std::fs::create_dir_all(&secret).unwrap();
    std::fs::write(secret.join("url"), format!("rediss://:se%20cret@localhost:{port}")).unwrap();
    std::fs::write(secret.join("ca.crt"), other).unwrap();
    assert!(matches!(status(&gateway).await, 200 | 429), "the limit holds all the same");
    gateway.until_metric("\nmodelgate_limit_store_up 0").await;
    std::fs::write(secret.join("ca.crt"), ca).unwrap();
    until_up(&gateway).await;
}

#[tokio::test]
async fn without_redis_each_pod_applies_the_limits_by_itself() {
    let limits = "{name: few, by: Subject, requestsPerMinute: 3}";
    let gateway = Gateway::start(&yaml(limits)).await;
    // Nobody said yet where Redis is.
    assert_eq!([status(&gateway).await, status(&gateway).await], [200, 200]);
    gateway.until_metric("\nmodelgate_limit_store_up 0").await;
    assert_eq!([status(&gateway).await, status(&gateway).await], [200, 429], "the limit holds all the same");

    let server = Server::start().await;
    connect(&gateway, &server);
    until_up(&gateway).await;

    // Slow: nobody waits for it longer than its time.
    server.signal("-STOP");
    let began = Instant::now();
    for _ in 0..20 {
        assert!(matches!(status(&gateway).await, 200 | 429));
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    gateway.until_metric("\nmodelgate_limit_store_up 0").await;
    server.signal("-CONT");
    until_up(&gateway).await;

    // Started anew: it knows neither the scripts nor the counts, and connections of before are dead.
    let at = server.at;
    let mut gone = server;
    gone.child.kill().await.unwrap();
    assert!(matches!(status(&gateway).await, 200 | 429), "gone");
    let _server = Server::start_at(at).await;
    until_up(&gateway).await;
}

async fn until_up(gateway: &Gateway) {
    for _ in 0..100 {
        assert!(matches!(status(gateway).await, 200 | 429));
        if gateway.metrics().await.contains("\nmodelgate_limit_store_up 1") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("Redis was not found again");
}

/// Three pods that come one after another use one budget: each finds what the others used, adds nothing of its own, and
/// settles every request once. `false` when Redis was late, so that pods counted by themselves.
async fn budget_of_three_pods(server: &Server, url: &str, project: &str) -> bool {
    const LIMIT: f64 = 600.0;
    let limits = "  limits: [{name: budget, by: Project, tokensPerMinute: 600}]\n  cache: {store: Redis, redis: {secretRef: {name: redis}}}\n";
    let yaml = support::config(&[url], limits);
    let ask = r#"{"model":"alias","max_tokens":40,"prompt":"x"}"#;
    let estimate = f64::from(u32::try_from(ask.len() / 3).unwrap() + 40);
    let send = async |pod: &Gateway, project: &str| {
        pod.send(Method::POST, "/v1/completions", &[("openai-project", project)], ask).await
    };
    let mut pods: Vec<Gateway> = Vec::new();
    let mut used = 0.0;
    let mut began = None;
    for number in 0..3 {
        let pod = Gateway::start(&yaml).await;
        connect(&pod, server);
        for _ in 0..100 {
            send(&pod, &format!("{project}-{number}")).await;
            if pod.metrics().await.contains("\nmodelgate_limit_store_up 1") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        pods.push(pod);
        let began = *began.get_or_insert_with(Instant::now);
        let late = store_failures(&pods.iter().collect::<Vec<_>>()).await;
        for turn in 0..6 {
            if turn == 5 {
                // Accounts are settled just after an answer's last byte.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            let answer = send(&pods[turn % pods.len()], project).await;
            if store_failures(&pods.iter().collect::<Vec<_>>()).await != late {
                return false;
            }
            assert_eq!(answer.status.as_u16(), 200, "{answer:?}");
            let told: f64 = answer.header("x-ratelimit-remaining-tokens").parse().unwrap();
            // Without what this one reserved.
            let left = told + estimate;
            let refilled = began.elapsed().as_secs_f64() * LIMIT / 60.0;
            assert!(left <= LIMIT - used + refilled + 2.0, "{left} left after {used}; {refilled} came back");
            assert!(turn < 5 || left >= LIMIT - used - 2.0, "{left} left after {used}");
            used += 20.0;
        }
    }
    true
}

#[tokio::test]
async fn complaint_11_a_budget_does_not_drift_when_pods_come_and_each_request_is_settled_once() {
    let server = Server::start().await;
    let usage = r#"{"choices":[{"index":0,"text":"x","finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":15}}"#;
    let upstream = support::Upstream::start(move |_| support::json(usage)).await;
    for attempt in 0..10 {
        if budget_of_three_pods(&server, &upstream.url(), &format!("p{attempt}")).await {
            return;
        }
    }
    panic!("Redis was late ten times");
}

#[tokio::test]
async fn complaint_18_a_store_that_never_answers_delays_nobody_for_long() {
    // Takes connections and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = silent.local_addr().unwrap();
    let gateway = Gateway::start(&yaml("{name: many, by: Project, requestsPerMinute: 1000}")).await;
    let folder = gateway.folder.path().join("secrets/redis");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("url"), format!("redis://:secret@{at}")).unwrap();
    let began = Instant::now();
    let at_once = futures::future::join_all((0..20).map(|_| status(&gateway))).await;
    assert!(at_once.iter().all(|status| *status == 200), "{at_once:?}");
    for _ in 0..40 {
        assert_eq!(status(&gateway).await, 200);
    }
    // Those that ask wait for 100 ms, and while the store is gone only one in a second asks; others of its kind wait for
    // 30 s each.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    gateway.until_metric("\nmodelgate_limit_store_up 0").await;
}

//! An engine process on a port of its own, and a plain HTTP/1.1 client for it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

/// Generous: the machine may be busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A running `modelgate-engine serve`; stopped when dropped.
pub struct Engine {
    child: Child,
    address: String,
}

/// A response that has arrived whole.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: String,
}

impl Engine {
    /// Starts an engine with more arguments and waits until it serves.
    pub fn start(more: &[&str]) -> Self {
        let engine = Self::start_unready(more);
        let deadline = Instant::now() + PATIENCE;
        while engine.get("/health").status != 200 {
            assert!(Instant::now() < deadline, "the engine is not ready in time");
            std::thread::sleep(Duration::from_millis(50));
        }
        engine
    }

    /// Starts an engine and waits only until it listens.
    pub fn start_unready(more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_modelgate-engine"))
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--log-format",
                "json",
                "--model-name",
                "smol",
                "--model",
            ])
            .arg(super::model_file::path())
            .args(more)
            .env("RUST_LOG", "info,llama-cpp-2=off")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        log.read_line(&mut line).unwrap();
        let first: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("first log line: {line}"));
        let address = first["fields"]["address"].as_str().unwrap().to_owned();
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, address }
    }

    /// Asks the process to stop.
    pub fn terminate(&self) {
        let status = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the process to end and gives its exit code.
    pub fn exit_code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the engine does not stop");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn get(&self, path: &str) -> Reply {
        finish(self.send(&format!("GET {path} HTTP/1.1\r\n"), ""))
    }

    pub fn post(&self, path: &str, body: &Value) -> Reply {
        finish(self.open(path, body))
    }

    /// Sends a request and leaves the answer unread.
    pub fn open(&self, path: &str, body: &Value) -> TcpStream {
        self.send(&format!("POST {path} HTTP/1.1\r\n"), &body.to_string())
    }

    pub fn send(&self, first_line: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        // One write: a server that refuses a long body early may close before a second one.
        let request =
            format!("{first_line}Host: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
        let _refused_early = stream.write_all(request.as_bytes());
        stream
    }

    /// The text of a completion, with the pieces joined if it was streamed.
    pub fn complete(&self, body: &Value) -> (String, String) {
        let reply = self.post("/v1/completions", body);
        assert_eq!(reply.status, 200, "{}", reply.body);
        if body["stream"] != true {
            let answer: Value = serde_json::from_str(&reply.body).unwrap();
            let choice = &answer["choices"][0];
            return (text(&choice["text"]), text(&choice["finish_reason"]));
        }
        let events = events(&reply.body);
        let finish = events.iter().find_map(|event| event["choices"][0]["finish_reason"].as_str()).unwrap();
        (events.iter().filter_map(|event| event["choices"][0]["text"].as_str()).collect(), finish.into())
    }

    /// Waits until a series has a value.
    pub fn wait_for(&self, series: &str, wanted: f64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let have = self.metric(series);
            if have == Some(wanted) {
                return;
            }
            assert!(Instant::now() < deadline, "{series} is {have:?}, not {wanted}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn metric(&self, series: &str) -> Option<f64> {
        let text = self.get("/metrics").body;
        let line =
            text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')))?;
        line.rsplit(' ').next()?.parse().ok()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _already_ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// The JSON events of a stream, which must end with `[DONE]`.
pub fn events(body: &str) -> Vec<Value> {
    let data: Vec<&str> =
        body.split("\n\n").filter_map(|event| event.trim().strip_prefix("data: ")).collect();
    assert_eq!(data.last(), Some(&"[DONE]"), "{body}");
    data[..data.len() - 1].iter().map(|event| serde_json::from_str(event).unwrap()).collect()
}

/// Reads a response to its end.
pub fn finish(mut stream: TcpStream) -> Reply {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
    Reply { status, body: if chunked { unchunk(body) } else { body.into() } }
}

fn unchunk(mut rest: &str) -> String {
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n").expect("the answer was cut");
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return body;
        }
        body += &after[..size];
        rest = &after[size + 2..];
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not text: {value}")).into()
}

//! Fetching a model file from a small server that misbehaves on purpose.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::PathBuf,
    process::{Command, Output},
};

const BODY: &[u8] = b"GGUF and then some weights";
const SHA256: &str = "6bcdc1281478b3a6d14016a480feae22ec96e450adc896dd0973f33e94c10dbf";

/// Answers one request after the other, and then no more.
fn server(answers: Vec<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for answer in answers {
            let (stream, _) = listener.accept().unwrap();
            let head = BufReader::new(&stream).lines();
            head.map(Result::unwrap).take_while(|line| !line.is_empty()).for_each(drop);
            (&stream).write_all(&answer).unwrap();
        }
    });
    format!("http://user:secret@{address}/m.gguf?token=secret")
}

fn answer(status: &str, length: usize, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    [head.as_bytes(), body].concat()
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("modelgate-fetch-{name}-{}", std::process::id()));
        Self(path.join("made"))
    }

    fn fetch(&self, url: &str, sha256: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_modelgate-engine"))
            .args(["fetch", "--url", url, "--sha256", sha256, "--output"])
            .arg(self.output())
            .output()
            .unwrap()
    }

    fn output(&self) -> PathBuf {
        self.0.join("m.gguf")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _already_gone = std::fs::remove_dir_all(self.0.parent().unwrap());
    }
}

fn said(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(!text.contains("secret"), "{text}");
    text
}

#[test]
fn a_file_arrives_whole_although_the_first_answers_fail_and_is_not_fetched_twice() {
    let folder = Folder::new("whole");
    let url = server(vec![
        answer("503 Service Unavailable", 0, b""),
        answer("200 OK", BODY.len(), &BODY[..7]),
        answer("200 OK", BODY.len(), BODY),
    ]);
    let output = folder.fetch(&url, SHA256);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(std::fs::read(folder.output()).unwrap(), BODY);
    // Nobody answers any more.
    let output = folder.fetch(&url, SHA256);
    assert_eq!(output.status.code(), Some(0));
    assert!(said(&output).contains("there already"));
}

#[test]
fn a_file_that_is_another_one_is_not_kept_and_both_sums_are_said() {
    let folder = Folder::new("other");
    let wrong = "0".repeat(64);
    let output = folder.fetch(&server(vec![answer("200 OK", BODY.len(), BODY)]), &wrong);
    assert_eq!(output.status.code(), Some(2));
    let said = said(&output);
    assert!(said.contains(&wrong) && said.contains(SHA256), "{said}");
    assert!(!folder.output().exists());
}

#[test]
fn what_another_attempt_would_not_mend_ends_at_once() {
    let folder = Folder::new("refused");
    let output = folder.fetch(&server(vec![answer("404 Not Found", 0, b"")]), SHA256);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("/m.gguf: the server answers 404"));
    assert_eq!(folder.fetch("file:///etc/passwd", SHA256).status.code(), Some(2));
    assert_eq!(folder.fetch("http://127.0.0.1/", "abc").status.code(), Some(2));
}

#[test]
fn whoever_asks_is_told_how_far_a_fetch_is() {
    let folder = Folder::new("progress");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/m.gguf", listener.local_addr().unwrap());
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let head = BufReader::new(&stream).lines();
        head.map(Result::unwrap).take_while(|line| !line.is_empty()).for_each(drop);
        let whole = answer("200 OK", BODY.len(), BODY);
        let half = whole.len() - BODY.len() + 7;
        (&stream).write_all(&whole[..half]).unwrap();
        wait.recv().unwrap();
        (&stream).write_all(&whole[half..]).unwrap();
    });
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut fetching = Command::new(env!("CARGO_BIN_EXE_modelgate-engine"))
        .args([
            "fetch",
            "--url",
            &url,
            "--sha256",
            SHA256,
            "--progress-listen",
            &free.to_string(),
            "--output",
        ])
        .arg(folder.output())
        .spawn()
        .unwrap();
    let wanted = format!("\"bytes\":7,\"total\":{}", BODY.len());
    let told = (0..600).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        let Ok(mut stream) = std::net::TcpStream::connect(free) else { return false };
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut stream, &mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
        text.contains(&wanted)
    });
    go_on.send(()).unwrap();
    assert!(fetching.wait().unwrap().success());
    assert!(told, "never told {wanted}");
}

//! `modelgate-gateway token`: the authenticated path tried in a minute, as docs/authentication.md says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::process::Stdio;

use http::Method;
use support::{Gateway, fake};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

#[tokio::test]
async fn a_local_issuer_and_its_token_open_the_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let command = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_modelgate-gateway"));
        command.arg("token").arg("--issuer-dir").arg(folder.path()).args(more);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    };
    let mut serving = command(&["--serve", "--issuer-listen", "127.0.0.1:0"]).spawn().unwrap();
    let mut lines = BufReader::new(serving.stdout.take().unwrap()).lines();
    let token = lines.next_line().await.unwrap().expect("the token");
    let mut told = BufReader::new(serving.stderr.take().unwrap()).lines();
    let told = told.next_line().await.unwrap().expect("where the issuer is");
    let auth = told.split_once("auth: {").unwrap().1.strip_suffix('}').unwrap();
    let gateway = Gateway::start(&fake("x", "").replace("anonymous: true", auth)).await;
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("x-gitlab-authentication-type", "oidc")];
    let body =
        r#"{"current_file":{"file_name":"a.py","content_above_cursor":"x","content_below_cursor":""}}"#;
    let answer = gateway.send(Method::POST, "/v2/code/completions", &headers, body).await;
    assert_eq!(answer.status.as_u16(), 200, "{answer:?}");
    assert_eq!(gateway.post("/v2/code/completions", body).await.status.as_u16(), 401);

    // A second token of the same key, while the issuer serves.
    let issuer =
        told.split(' ').nth(2).unwrap().trim_end_matches(';').trim_start_matches("http://").to_owned();
    let second = command(&["--issuer-listen", &issuer, "--subject", "other"]).output().await.unwrap();
    let second = format!("Bearer {}", String::from_utf8(second.stdout).unwrap().trim());
    let body = r#"{"model":"canned","prompt":"x"}"#;
    let answer = gateway.send(Method::POST, "/v1/completions", &[("authorization", &second)], body).await;
    assert_eq!(answer.status.as_u16(), 200, "{answer:?}");
    // An address that others could reach.
    let refused = command(&["--issuer-listen", "0.0.0.0:0"]).output().await.unwrap();
    assert_eq!(refused.status.code(), Some(2));
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(folder.path().join("key.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "the key is its owner's alone");
    serving.kill().await.unwrap();
}

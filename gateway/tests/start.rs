//! What a user sees who starts the program wrongly: every mistake at once, exit code 2, no port opened.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::process::{Command, Output};

use support::{Gateway, fake};

fn run(config: Option<&str>, args: &[&str], env: &[(&str, &str)]) -> (Output, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_modelgate-gateway"));
    command.env_clear().envs(env.iter().copied());
    if let Some(config) = config {
        let path = folder.path().join("gateway.yaml");
        std::fs::write(&path, config).unwrap();
        command.arg("--config").arg(path);
    }
    let output = command.args(args).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, text)
}

fn errors(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("error:")).collect()
}

const VLLM: &str = "apiVersion: modelgate.dev/v1alpha1\nkind: ModelBackend\nmetadata: {name: big}\nspec:\n  model: {name: m, source: {hf: {repo: a/b}}}\n  server: {engine: VLLM}\n  accelerator: {count: 1}\n---\napiVersion: modelgate.dev/v1alpha1\nkind: ModelGateway\nmetadata: {name: gw}\nspec:\n  auth: {anonymous: true}\n  routes: [{name: r, backends: [{name: big}]}]\n";

#[test]
fn a_server_that_is_not_started_here_gives_exactly_one_error_with_the_flag() {
    let (output, text) = run(Some(VLLM), &[], &[]);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert_eq!(errors(&text).len(), 1, "{text}");
    assert!(text.contains("big") && text.contains("--endpoint big=URL"), "{text}");
}

#[test]
fn every_mistake_is_told_before_a_port_opens() {
    let config = fake("x", ", failrate: 1") + "  protocls: [GitLab]\n";
    let (output, text) = run(Some(&config), &[], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains("spec.fake.failrate") && text.contains("spec.protocls"), "{text}");
    let (output, text) = run(None, &["--endpoint", "nonsense"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains("--config is missing") && text.contains("--endpoint nonsense"), "{text}");
}

#[test]
fn nobody_is_let_in_without_a_token_on_an_address_that_others_reach() {
    let (output, text) = run(Some(&fake("x", "")), &["--listen", "0.0.0.0:0"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains("anonymousExposed"), "{text}");
    let env =
        [("USE_FAKE_MODELS", "true"), ("AUTH_BYPASS_EXTERNAL", "true"), ("FASTAPI_API_HOST", "0.0.0.0")];
    let (output, text) = run(None, &[], &env);
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains("AUTH_BYPASS_EXTERNAL"), "{text}");
}

#[test]
fn a_model_file_that_cannot_be_read_is_named_with_the_flag() {
    let config = VLLM
        .replace("VLLM", "Embedded")
        .replace("hf: {repo: a/b}", "pvc: {claim: c, path: m.gguf}")
        .replace("  accelerator: {count: 1}\n", "");
    let (output, text) = run(Some(&config), &[], &[]);
    assert_eq!((output.status.code(), errors(&text).len()), (Some(2), 1), "{text}");
    assert!(text.contains("--model big=FILE"), "{text}");
    let (output, text) = run(Some(&config), &["--model", "big=/nonexistent.gguf"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains("/nonexistent.gguf"), "{text}");
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_flag() {
    let gateway = Gateway::start(&fake("x", "")).await;
    for (flag, address) in [
        ("--listen", gateway.at.http),
        ("--metrics-listen", gateway.at.metrics),
        ("--control-listen", gateway.at.control),
        ("--debug-listen", gateway.at.debug),
    ] {
        let mut flags = vec![
            "--listen",
            "127.0.0.1:0",
            "--metrics-listen",
            "127.0.0.1:0",
            "--control-listen",
            "127.0.0.1:0",
            "--debug-listen",
            "127.0.0.1:0",
        ];
        let address = address.to_string();
        let position = flags.iter().position(|other| *other == flag).unwrap();
        flags[position + 1] = &address;
        let (output, text) = run(Some(&fake("x", "")), &flags, &[]);
        assert_eq!(output.status.code(), Some(2));
        assert!(text.contains(&address) && text.contains(&format!("by {flag} ")), "{text}");
    }
}

#[test]
fn help_and_version_are_there() {
    let (output, _) = run(None, &["--help"], &[]);
    let help = String::from_utf8(output.stdout).unwrap();
    for flag in [
        "--config",
        "--listen",
        "--metrics-listen",
        "--control-listen",
        "--debug-listen",
        "--secrets",
        "--models",
        "--model",
        "--endpoint",
        "--engine-bin",
        "--log-format",
        "--log-level",
        "--drain-grace",
        "--drain-timeout",
    ] {
        assert!(help.contains(flag), "{flag}");
    }
    let (output, _) = run(None, &["--version"], &[]);
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("modelgate-gateway "));
}

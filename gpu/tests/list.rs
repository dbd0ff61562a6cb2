//! `modelgate-gpu list` on machines without a working driver.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::{Command, Output};

fn list(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_modelgate-gpu")).arg("list").args(arguments).output().unwrap()
}

#[test]
fn without_a_driver_it_says_so_and_succeeds() {
    let output = list(&["--nvml-library", "/nonexistent/libnvidia-ml.so.1"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("no NVIDIA driver found (/nonexistent/libnvidia-ml.so.1"), "{text}");
    assert!(text.contains("no GPU to list"), "{text}");
}

#[test]
fn without_a_driver_json_is_an_empty_list_with_the_reason() {
    let output = list(&["--json", "--nvml-library", "/nonexistent/libnvidia-ml.so.1"]);
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["gpus"], serde_json::json!([]));
    assert!(value["reason"].as_str().unwrap().contains("no NVIDIA driver found"), "{value}");
}

#[test]
fn a_file_that_is_no_library_is_an_error_with_the_fix() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "not a library, only a long enough text to be read as the head of one")
        .unwrap();
    let output = list(&["--nvml-library", file.path().to_str().unwrap()]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("cannot load") && error.contains("--nvml-library"), "{error}");
}

/// The C library is a shared library every test machine has, and none of NVIDIA's functions is in it.
#[test]
fn a_library_without_the_functions_is_an_error_with_the_fix() {
    let output = list(&["--nvml-library", "libc.so.6"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("starting NVIDIA's management library failed"), "{error}");
    assert!(error.contains("install driver"), "{error}");
}

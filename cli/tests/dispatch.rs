//! The dispatcher as a user meets it: the real binary beside and among fake programs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// Two folders of programs. Everything is written before the first child starts: a file still open for writing in a
/// child that was just forked cannot be executed.
struct Fixture {
    home: PathBuf,
    path: PathBuf,
}

fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<(tempfile::TempDir, Fixture)> = OnceLock::new();
    let (_, fixture) = FIXTURE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let (home, path) = (folder.path().join("home"), folder.path().join("path"));
        fs::create_dir_all(&home).unwrap();
        fs::create_dir_all(&path).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_modelgate"), home.join("modelgate")).unwrap();
        program(&home.join("modelgate-gateway"), "printf '%s|' beside \"$@\"; exit 7", 0o755);
        program(&path.join("modelgate-gateway"), "echo path; exit 8", 0o755);
        program(&path.join("modelgate-hello"), "printf '%s|' hello \"$@\"", 0o755);
        program(&path.join("modelgate-data"), "echo never", 0o644);
        fs::write(path.join("modelgate-broken"), "#!/no/such/interpreter\n").unwrap();
        fs::set_permissions(path.join("modelgate-broken"), Permissions::from_mode(0o755)).unwrap();
        (folder, Fixture { home, path })
    });
    fixture
}

fn program(path: &Path, body: &str, mode: u32) {
    fs::write(path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn modelgate(arguments: &[&str]) -> Output {
    let fixture = fixture();
    Command::new(fixture.home.join("modelgate")).args(arguments).env("PATH", &fixture.path).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn serve_runs_the_gateway_beside_the_binary_with_its_arguments_and_exit_code() {
    let output = modelgate(&["serve", "--config", "a file.yaml", ""]);
    assert_eq!(text(&output.stdout), "beside|--config|a file.yaml||");
    assert_eq!(output.status.code(), Some(7), "the program's own exit code");
}

#[test]
fn a_program_that_is_not_beside_the_binary_is_found_in_path() {
    assert_eq!(text(&modelgate(&["hello", "--version"]).stdout), "hello|--version|");
    assert_eq!(text(&modelgate(&["help", "hello"]).stdout), "hello|--help|");
}

#[test]
fn an_unknown_command_names_what_was_looked_for_and_where() {
    for command in ["nonsense", "data"] {
        let output = modelgate(&[command]);
        assert_eq!(output.status.code(), Some(127), "{command}");
        let error = text(&output.stderr);
        assert!(error.contains(&format!("modelgate-{command}")), "{error}");
        assert!(error.contains(&fixture().home.canonicalize().unwrap().display().to_string()), "{error}");
        assert!(error.contains("PATH"), "{error}");
    }
}

#[test]
fn a_program_that_cannot_start_says_so() {
    let output = modelgate(&["broken"]);
    assert_eq!(output.status.code(), Some(126));
    assert!(text(&output.stderr).contains("modelgate-broken"), "{}", text(&output.stderr));
}

#[test]
fn help_lists_what_was_found_and_what_is_missing() {
    let output = modelgate(&["--help"]);
    assert!(output.status.success());
    let help = text(&output.stdout);
    let line = |name: &str| help.lines().find(|line| line.trim_start().starts_with(name)).map(str::to_owned);
    assert!(line("serve ").is_some_and(|line| !line.contains("not installed")), "{help}");
    assert!(
        line("engine ").is_some_and(|line| line.contains("not installed: no modelgate-engine found")),
        "{help}"
    );
    assert!(line("hello ").is_some_and(|line| line.contains("modelgate-hello")), "{help}");
    assert!(line("data ").is_none(), "not executable: {help}");
    assert_eq!(modelgate(&[]).status.code(), Some(2), "without a command the help is an error");
}

#[test]
fn version_and_options_are_the_dispatchers_own_before_a_command() {
    assert_eq!(text(&modelgate(&["--version"]).stdout), format!("modelgate {}\n", env!("CARGO_PKG_VERSION")));
    let output = modelgate(&["--config", "x"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("modelgate COMMAND --config"), "{}", text(&output.stderr));
}

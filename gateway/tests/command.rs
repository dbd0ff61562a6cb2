//! Commands of the program, run as a user runs them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

fn gateway(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_modelgate-gateway"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

const VALID: &str = "apiVersion: modelgate.dev/v1alpha1\nkind: ModelBackend\nmetadata: {name: canned}\nspec:\n  model: {name: canned}\n  fake: {}\n---\napiVersion: modelgate.dev/v1alpha1\nkind: ModelGateway\nmetadata: {name: gw}\nspec:\n  auth: {anonymous: true}\n  routes: [{name: r, backends: [{name: canned}]}]\n";

#[test]
fn validate_tells_every_mistake_of_every_file_and_exits_2() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("good.yaml"), VALID).unwrap();
    let bad = VALID.replace("{name: canned}]}]", "{name: lost}]}, {name: r, backends: [{name: gone}]}]");
    std::fs::write(folder.path().join("bad.yaml"), bad).unwrap();
    let good = gateway(folder.path(), &["validate", "-f", "good.yaml"], &[]);
    assert_eq!(good.status.code(), Some(0), "{}", text(&good.stderr));
    assert!(text(&good.stdout).starts_with("good.yaml: valid: 1 route, 1 backend, configHash "));
    let both = gateway(folder.path(), &["validate", "-f", "bad.yaml", "-f", "absent.yaml"], &[]);
    assert_eq!(both.status.code(), Some(2));
    let told = text(&both.stderr);
    for needle in ["lost", "gone", "absent.yaml"] {
        assert!(told.contains(needle), "{needle}: {told}");
    }
    let exposed = gateway(folder.path(), &["validate", "--exposed", "-f", "good.yaml"], &[]);
    assert_eq!(exposed.status.code(), Some(2));
    assert!(text(&exposed.stderr).contains("anonymousExposed"), "{}", text(&exposed.stderr));
}

#[test]
fn print_config_tells_where_each_value_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("c.yaml"), VALID).unwrap();
    let env_file = "MODELGATE_DRAIN_GRACE=7s\nFASTAPI_API_PORT=5052 # as the seed has it\nMODELGATE_LOG_LEVEL=warn\nSECRET_OF_OTHERS=hidden\n";
    std::fs::write(folder.path().join(".env"), env_file).unwrap();
    let environment = [("MODELGATE_LOG_LEVEL", "debug"), ("LOG_FORMAT_JSON", "true")];
    let flags = ["print-config", "--json", "--config", "c.yaml", "--debug-listen", "127.0.0.1:9"];
    let printed = gateway(folder.path(), &flags, &environment);
    assert_eq!(printed.status.code(), Some(0), "{}", text(&printed.stderr));
    let shown: serde_json::Value = serde_json::from_slice(&printed.stdout).unwrap();
    let setting = |name: &str| {
        let all = shown["settings"].as_array().unwrap();
        let found = all.iter().find(|setting| setting["name"] == name).unwrap();
        (found["value"].as_str().unwrap().to_owned(), found["origin"].as_str().unwrap().to_owned())
    };
    let expected = [
        ("config", "c.yaml", "flag --config"),
        ("listen", "127.0.0.1:5052", ".env FASTAPI_API_PORT"),
        ("metrics-listen", "127.0.0.1:8082", "configuration listeners.metrics.port"),
        ("control-listen", "127.0.0.1:8083", "default"),
        ("debug-listen", "127.0.0.1:9", "flag --debug-listen"),
        ("log-level", "debug", "environment MODELGATE_LOG_LEVEL"),
        ("log-format", "json", "environment LOG_FORMAT_JSON"),
        ("drain-grace", "7s", ".env MODELGATE_DRAIN_GRACE"),
    ];
    for (name, value, origin) in expected {
        assert_eq!(setting(name), (value.into(), origin.into()), "{name}");
    }
    assert_eq!(shown["configuration"]["backends"]["canned"]["model"], "canned");
    assert!(!text(&printed.stdout).contains("hidden"));
}

#[test]
fn complete_shows_what_was_sent_answered_and_made_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = VALID.replace("fake: {}", "fake: {text: \"a + b  \"}");
    std::fs::write(folder.path().join("c.yaml"), config).unwrap();
    std::fs::write(folder.path().join("add.py"), "def add(a, b):\r\n    return \r\n").unwrap();
    let tried = gateway(folder.path(), &["complete", "add.py:2:12", "--config", "c.yaml"], &[]);
    let shown = text(&tried.stdout);
    assert_eq!(tried.status.code(), Some(0), "{shown}{}", text(&tried.stderr));
    for needle in [
        "=== request to the backend",
        "def add(a, b)",
        "=== answer of the model",
        "=== SpecialTokens: nothing changed",
        "=== Scope: nothing changed",
        "=== WhiteSpace\na + b\n",
        "by canned",
        "language python",
        "=== completion, finish reason",
    ] {
        assert!(shown.contains(needle), "{needle}: {shown}");
    }
    let tried = gateway(folder.path(), &["complete", "add.py:2:12", "--json", "--config", "c.yaml"], &[]);
    let shown: Value = serde_json::from_slice(&tried.stdout).unwrap();
    let steps = shown["steps"].as_array().unwrap();
    let named = |name: &str| steps.iter().find(|step| step["name"] == name).cloned().unwrap_or_default();
    assert_eq!(named("request to the backend")["text"]["model"], "canned", "{shown}");
    assert_eq!(named("WhiteSpace"), json!({"name": "WhiteSpace", "changed": true, "text": "a + b"}));
    assert_eq!(steps.iter().filter(|step| step["changed"] == false).count(), 11, "{shown}");
    assert_eq!(shown["completed"]["choices"], json!([{"text": "a + b", "finish": "stop"}]));
    let beyond = gateway(folder.path(), &["complete", "add.py:2:99", "--config", "c.yaml"], &[]);
    assert_eq!(beyond.status.code(), Some(2));
    assert!(text(&beyond.stderr).contains("column 12"), "{}", text(&beyond.stderr));
}

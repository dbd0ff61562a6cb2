//! Deployments of GitLab's gateway of 2023 start with this one: by their `.env` file and their environment.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Command;

/// The file that the gateway of 2023 told its developers to write.
const ENV_2023: &str = "AUTH_BYPASS_EXTERNAL=true\nF_IS_THIRD_PARTY_AI_DEFAULT=true\nF_THIRD_PARTY_ROLLOUT_PERCENTAGE=100\nPALM_TEXT_MODEL_NAME=text-bison\nPALM_TEXT_PROJECT=my-project\nFASTAPI_DOCS_URL=/docs\nFASTAPI_OPENAPI_URL=/openapi.json\nFASTAPI_API_PORT=5052\nFASTAPI_RELOADED=1\nUSE_LOCAL_CACHE=True  # Uses a local in-memory cache instead of Redis\n";

fn print_config(dot_env: &str, env: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".env"), dot_env).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_modelgate-gateway"))
        .arg("print-config")
        .env_clear()
        .envs(env.iter().copied())
        .current_dir(folder.path())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn line<'a>(text: &'a str, beginning: &str) -> &'a str {
    text.lines().find(|line| line.starts_with(beginning)).unwrap_or_else(|| panic!("{beginning}: {text}"))
}

#[test]
fn the_file_of_2023_makes_a_configuration_and_every_value_tells_its_origin() {
    let (code, text, errors) = print_config(ENV_2023, &[("FASTAPI_API_PORT", "5053")]);
    assert_eq!(code, Some(0), "{text}{errors}");
    let listen = line(&text, "listen ");
    assert!(
        listen.contains("127.0.0.1:5053") && listen.ends_with("environment FASTAPI_API_PORT"),
        "{listen}"
    );
    let project = line(&text, "ModelBackend spec.external.vertex.project");
    assert!(project.contains("my-project") && project.ends_with(".env PALM_TEXT_PROJECT"), "{project}");
    for told in ["not known and are ignored: FASTAPI_RELOADED", "compat: Strict", "all-text-bison"] {
        assert!(text.contains(told), "{told}: {text}");
    }
    assert!(!text.contains("USE_LOCAL_CACHE has no effect"), "it says what is so anyway: {text}");
}

#[test]
fn the_example_file_starts_a_gateway() {
    let (code, text, errors) = print_config(include_str!("../../example.env"), &[]);
    assert_eq!(code, Some(0), "{text}{errors}");
    assert!(
        text.contains("fake code suggestion from PaLM Text") && text.contains("fake-palm-model"),
        "{text}"
    );
}

#[test]
fn mistakes_name_the_variable() {
    let wrong = "USE_FAKE_MODELS=maybe\nPALM_TEXT_PROJECT=p\nFASTAPI_REDOC_URL=redoc\nGITLAB_URL=https://gitlab.com/\n";
    let (code, _, errors) = print_config(wrong, &[]);
    assert_eq!(code, Some(2));
    for name in ["USE_FAKE_MODELS=maybe", "FASTAPI_REDOC_URL redoc"] {
        assert!(errors.contains(name), "{errors}");
    }
    let (code, _, errors) = print_config("USE_FAKE_MODELS=1\nGITLAB_URL=https://gitlab.com/\n", &[]);
    assert!(code == Some(2) && errors.contains("MODELGATE_GITLAB_NAMESPACE_IDS"), "{errors}");
}

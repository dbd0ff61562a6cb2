//! `make run CLUSTER=current` on clusters that are pretended: programs of the machine are stand-ins that write down how they
//! were called.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::root;

/// What was said, the exit code, and the calls in order.
struct Ran {
    code: i32,
    said: String,
    calls: Vec<String>,
}

/// Runs the script with stand-ins for `tools`; kubectl's context is `context`.
fn run(context: &str, tools: &[&str], variables: &[(&str, &str)]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("calls");
    for tool in tools {
        let answer = format!(
            "#!/bin/bash\ncase \"$*\" in\n'config current-context') echo {context}; exit ;;\n'config view'*) echo team; exit ;;\nesac\necho \"{tool} $*\" >>{}\n",
            log.display()
        );
        let file = folder.path().join(tool);
        std::fs::write(&file, answer).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    // Of the machine's own programs only those that every machine has.
    let path = format!("{}:{}", folder.path().display(), plain(folder.path()));
    let mut command = Command::new("/bin/bash");
    command
        .arg(root().join(".ci/run-current"))
        .env_clear()
        .env("PATH", path)
        .stdin(std::process::Stdio::null());
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let calls = std::fs::read_to_string(&log).unwrap_or_default();
    Ran {
        code: output.status.code().unwrap(),
        said: String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        calls: calls.lines().map(str::to_owned).collect(),
    }
}

/// A folder with links to the few programs that the script needs besides.
fn plain(beside: &Path) -> String {
    let folder = beside.join("plain");
    std::fs::create_dir(&folder).unwrap();
    for program in ["bash", "dirname", "head", "mktemp", "rm", "sed"] {
        let found = ["/usr/bin", "/bin"].map(|place| Path::new(place).join(program));
        let found = found.iter().find(|path| path.exists()).unwrap_or_else(|| panic!("no {program}"));
        std::os::unix::fs::symlink(found, folder.join(program)).unwrap();
    }
    folder.display().to_string()
}

const EVERY: [&str; 4] = ["kubectl", "helm", "cargo", "curl"];

#[test]
fn a_cluster_that_pulls_says_before_anything_is_built_what_to_set() {
    for (tools, variables, expected) in [
        (&EVERY[..], &[("YES", "1")][..], "set IMAGE_REGISTRY="),
        (
            &EVERY[..],
            &[("YES", "1"), ("IMAGE_REGISTRY", "r.example.com/t")][..],
            "needs skopeo, podman or docker",
        ),
        (&["kubectl", "cargo", "curl"][..], &[("YES", "1")][..], "helm is not in PATH"),
    ] {
        let ran = run("production", tools, variables);
        assert!(ran.code == 2 && ran.said.contains(expected), "{}", ran.said);
        assert_eq!(ran.calls, [""; 0], "nothing was built and nothing changed");
    }
}

#[test]
fn nothing_happens_before_somebody_agreed() {
    let ran = run("kind-dev", &[&EVERY[..], &["kind"]].concat(), &[]);
    assert_eq!(ran.code, 2, "{}", ran.said);
    assert!(ran.said.contains("context kind-dev") && ran.said.contains("namespace team"), "{}", ran.said);
    assert!(ran.said.contains("set YES=1"), "{}", ran.said);
    assert_eq!(ran.calls, [""; 0]);
}

#[test]
fn images_are_loaded_or_pushed_before_the_chart_names_them() {
    for (context, tool, load) in [
        ("kind-dev", "kind", "kind load image-archive"),
        ("k3d-dev", "k3d", "k3d image import"),
        ("minikube", "minikube", "minikube image load"),
        ("production", "skopeo", "skopeo copy docker-archive:"),
    ] {
        let variables = [("YES", "1"), ("ONCE", "1"), ("IMAGE_REGISTRY", "r.example.com/t")];
        let ran = run(context, &[&EVERY[..], &[tool]].concat(), &variables);
        assert_eq!(ran.code, 0, "{context}: {}", ran.said);
        let at = |start: &str| ran.calls.iter().position(|call| call.starts_with(start)).expect("called");
        assert!(at("cargo build") < at(load) && at(load) < at("helm upgrade"), "{:?}", ran.calls);
        assert!(
            at("helm upgrade") < at("kubectl apply") && at("kubectl wait") < at("curl"),
            "{:?}",
            ran.calls
        );
        assert_eq!(ran.calls.iter().filter(|call| call.starts_with(load)).count(), 3);
        let pushed = ran.calls[at("helm upgrade")].contains("image.registry=r.example.com/t");
        assert_eq!(pushed, tool == "skopeo", "{:?}", ran.calls);
    }
}

//! Who may import whom. The rules are those of `deny.toml` and two more that cargo-deny cannot say; here they are checked
//! by `cargo metadata` and `cargo tree`, which need nothing installed.

use crate::{none, root};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::process::Command;

/// Our packages, and which of ours each may depend on in its own code (tests apart).
const MAY_IMPORT: [(&str, &[&str]); 9] = [
    ("modelgate-api", &[]),
    ("modelgate-operator", &["modelgate-api"]),
    ("modelgate-completion", &[]),
    ("modelgate-gateway", &["modelgate-api", "modelgate-completion"]),
    ("modelgate-engine", &[]),
    ("modelgate-gpu", &[]),
    ("modelgate", &[]),
    ("testkit", &[]),
    ("loadbench", &["testkit"]),
];
/// What our tests may use besides.
const TESTS_MAY_IMPORT: [(&str, &[&str]); 3] = [
    ("modelgate-operator", &["testkit"]),
    ("modelgate-gateway", &["testkit"]),
    ("testkit", &["modelgate-api"]),
];
/// Packages that may name a Kubernetes client among their dependencies.
const KUBERNETES_CLIENTS: [&str; 3] = ["modelgate-api", "modelgate-operator", "testkit"];
/// What must not be linked into the gateway: its pods hold no cluster credential and need no client.
const NOT_IN_GATEWAY: [&str; 6] =
    ["kube", "kube-client", "kube-core", "kube-runtime", "k8s-openapi", "schemars"];

fn metadata(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// `(name, is for tests only)` of each direct dependency, by package.
fn direct() -> BTreeMap<String, Vec<(String, bool)>> {
    let metadata = metadata(&["--no-deps"]);
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap().iter();
            let named = dependencies
                .map(|dependency| {
                    (dependency["name"].as_str().unwrap().to_owned(), dependency["kind"] == "dev")
                })
                .collect();
            (package["name"].as_str().unwrap().to_owned(), named)
        })
        .collect()
}

#[test]
fn our_crates_import_each_other_only_as_the_design_allows() {
    let direct = direct();
    let ours: BTreeSet<&str> = MAY_IMPORT.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        direct.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        ours,
        "every package has its rule here"
    );
    let allowed = |table: &[(&str, &[&str])], from: &str, to: &str| {
        table.iter().any(|(name, list)| *name == from && list.contains(&to))
    };
    let mut findings = Vec::new();
    for (from, dependencies) in &direct {
        for (to, tests_only) in dependencies.iter().filter(|(to, _)| ours.contains(to.as_str())) {
            let fine =
                allowed(&MAY_IMPORT, from, to) || (*tests_only && allowed(&TESTS_MAY_IMPORT, from, to));
            if !fine {
                findings
                    .push(format!("{from} depends on {to}{}", if *tests_only { " (for tests)" } else { "" }));
            }
        }
    }
    none(&findings, "dependencies between our crates that the design refuses");
}

#[test]
fn a_kubernetes_client_stands_only_in_api_operator_and_testkit() {
    let mut findings = Vec::new();
    for (package, dependencies) in direct() {
        if KUBERNETES_CLIENTS.contains(&package.as_str()) {
            continue;
        }
        findings.extend(
            dependencies
                .iter()
                .filter(|(name, _)| NOT_IN_GATEWAY.contains(&name.as_str()))
                .map(|(name, _)| format!("{package} depends on {name}")),
        );
    }
    none(&findings, "crates that must do without a Kubernetes client");
}

#[test]
fn nothing_linked_into_the_gateway_is_a_kubernetes_client() {
    // `cargo tree` resolves the gateway's features alone, as a build of it does; the workspace's metadata would mix in
    // the features that the operator asks of `api`.
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--offline",
            "-p",
            "modelgate-gateway",
            "-e",
            "normal,build",
            "--prefix",
            "none",
        ])
        .args(["--no-dedupe", "--format", "{p}"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let linked: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(linked.contains("modelgate-api"), "the tree is the gateway's: {tree}");
    let findings: Vec<String> =
        NOT_IN_GATEWAY.iter().filter(|name| linked.contains(*name)).map(|name| (*name).to_owned()).collect();
    none(&findings, "linked into the gateway; `cargo tree -p modelgate-gateway -i NAME` says by whom");
}

#[test]
fn operator_and_gateway_never_reach_each_other() {
    let metadata = metadata(&[]);
    let mut edges: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for node in metadata["resolve"]["nodes"].as_array().unwrap() {
        let to = node["dependencies"].as_array().unwrap().iter().map(|id| id.as_str().unwrap());
        edges.insert(node["id"].as_str().unwrap(), to.collect());
    }
    let id = |name: &str| {
        let package = metadata["packages"].as_array().unwrap().iter().find(|package| package["name"] == name);
        package.unwrap_or_else(|| panic!("no package {name}"))["id"].as_str().unwrap()
    };
    for (from, to) in
        [("modelgate-operator", "modelgate-gateway"), ("modelgate-gateway", "modelgate-operator")]
    {
        assert!(!reaches(&edges, id(from), id(to)), "{from} reaches {to}");
    }
    assert!(reaches(&edges, id("modelgate-gateway"), id("modelgate-api")), "the walk follows edges");
}

fn reaches<'a>(edges: &BTreeMap<&'a str, Vec<&'a str>>, from: &'a str, to: &str) -> bool {
    let mut seen = BTreeSet::from([from]);
    let mut queue = VecDeque::from([from]);
    while let Some(node) = queue.pop_front() {
        for next in edges.get(node).into_iter().flatten() {
            if *next == to {
                return true;
            }
            if seen.insert(next) {
                queue.push_back(next);
            }
        }
    }
    false
}

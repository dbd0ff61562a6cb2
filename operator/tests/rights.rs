//! What the operator may do and what its pods may be, judged on the chart's rendered output and on everything that the
//! builders make.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use clap::Parser;
use modelgate_operator::args::{Args, Command};
use modelgate_operator::k8s::child::ChildKind;
use serde_json::{Value, json};
use support::restricted::violations;

/// The chart's output with its defaults, as it is checked in.
fn rendered() -> Vec<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = std::fs::read_to_string(root.join("manifests/base/modelgate.yaml")).unwrap();
    let documents = text.split("\n---\n").filter(|document| document.contains("kind:"));
    documents.map(|document| serde_saphyr::from_str(document).unwrap()).collect()
}

fn of_kind(kind: &str) -> Vec<Value> {
    rendered().into_iter().filter(|object| object["kind"] == kind).collect()
}

fn strings(value: &Value) -> BTreeSet<String> {
    value.as_array().into_iter().flatten().map(|item| item.as_str().unwrap().to_owned()).collect()
}

/// Verbs that the operator's account has, by `group/resource`.
fn granted() -> BTreeMap<String, BTreeSet<String>> {
    let mut granted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let roles = of_kind("ClusterRole").into_iter().chain(of_kind("Role"));
    // The roles for people end with -edit and -view.
    let own = roles.filter(|role| {
        let name = role["metadata"]["name"].as_str().unwrap();
        !(name.ends_with("-edit") || name.ends_with("-view"))
    });
    for rule in own.flat_map(|role| role["rules"].as_array().unwrap().clone()) {
        for group in strings(&rule["apiGroups"]) {
            for resource in strings(&rule["resources"]) {
                granted.entry(format!("{group}/{resource}")).or_default().extend(strings(&rule["verbs"]));
            }
        }
    }
    granted
}

#[test]
fn no_right_is_a_wildcard_and_none_is_on_secrets_or_roles() {
    for (resource, verbs) in granted() {
        assert!(!resource.contains('*') && !verbs.contains("*"), "{resource}: {verbs:?}");
        assert!(!resource.contains("secret"), "{resource}");
        assert!(!resource.starts_with("rbac.authorization.k8s.io/"), "{resource}");
        for verb in ["escalate", "bind", "impersonate", "deletecollection"] {
            assert!(!verbs.contains(verb), "{resource}: {verb}");
        }
        assert!(!resource.contains("pods/"), "{resource}: no way into a pod");
    }
    let text = serde_json::to_string(&rendered()).unwrap();
    assert!(!text.contains("cluster-admin"));
}

/// Kinds that are watched and never written.
const WATCHED_ALONE: [ChildKind; 1] = [ChildKind::Certificate];
/// Kinds that every gateway has for as long as it lives: the garbage collector deletes them, not we.
const NEVER_DELETED: [ChildKind; 3] =
    [ChildKind::ConfigMap, ChildKind::ServiceAccount, ChildKind::PodDisruptionBudget];

#[test]
fn rights_on_children_are_those_that_their_kinds_need() {
    let granted = granted();
    for kind in ChildKind::ALL {
        let resource = kind.resource();
        let key = format!("{}/{}", resource.group, resource.plural);
        let mut needed = BTreeSet::from(["list", "watch"]);
        if !WATCHED_ALONE.contains(&kind) {
            needed.extend(["get", "create", "patch"]);
            if !NEVER_DELETED.contains(&kind) {
                needed.insert("delete");
            }
        }
        let found: BTreeSet<&str> = granted.get(&key).into_iter().flatten().map(String::as_str).collect();
        assert_eq!(found, needed, "{key}");
    }
}

#[test]
fn whatever_kind_the_operator_writes_its_admission_policy_looks_at() {
    let policies = of_kind("ValidatingAdmissionPolicy");
    let children = policies.iter().find(|policy| policy["metadata"]["name"] == "modelgate-operator-children");
    let rules = children.unwrap()["spec"]["matchConstraints"]["resourceRules"].as_array().unwrap().clone();
    for kind in ChildKind::ALL.into_iter().filter(|kind| !WATCHED_ALONE.contains(kind)) {
        let resource = kind.resource();
        let held = rules.iter().any(|rule| {
            strings(&rule["apiGroups"]).contains(&resource.group)
                && strings(&rule["resources"]).contains(&resource.plural)
        });
        assert!(held, "{} may be written past the policy", kind.as_str());
    }
    for binding in of_kind("ValidatingAdmissionPolicyBinding") {
        let name = binding["metadata"]["name"].as_str().unwrap();
        let users = name.ends_with("-gateways") || name.ends_with("-backends");
        let action = if users { "Warn" } else { "Deny" };
        assert_eq!(binding["spec"]["validationActions"], json!([action]), "{name}");
    }
}

#[test]
fn every_pod_that_is_shipped_or_made_passes_pod_security_restricted() {
    let made = support::cases().into_iter().flat_map(|case| support::build(&case)).map(|child| child.body);
    let mut seen = 0;
    for object in rendered().into_iter().chain(made) {
        let Some(pod) = object.pointer("/spec/template/spec") else { continue };
        seen += 1;
        assert_eq!(violations(pod), [""; 0], "{} {}", object["kind"], object["metadata"]["name"]);
    }
    assert!(seen > 20, "{seen} pods");
}

#[test]
fn the_check_of_pods_finds_what_restricted_forbids() {
    let good = || {
        support::golden("gateway-min")
            .into_iter()
            .find_map(|object| object.pointer("/spec/template/spec").cloned())
            .unwrap()
    };
    let spoil: [(&str, Value, &str); 10] = [
        ("/hostNetwork", json!(true), "hostNetwork"),
        ("/volumes/0", json!({"name": "v", "hostPath": {"path": "/"}}), "hostPath"),
        ("/securityContext/runAsNonRoot", json!(false), "root"),
        ("/securityContext/runAsUser", json!(0), "user 0"),
        ("/securityContext/seccompProfile", json!({"type": "Unconfined"}), "seccomp"),
        ("/containers/0/securityContext/privileged", json!(true), "privileged"),
        ("/containers/0/securityContext/allowPrivilegeEscalation", json!(true), "gain privileges"),
        ("/containers/0/securityContext/capabilities", json!({"drop": ["NET_RAW"]}), "drop all"),
        (
            "/containers/0/securityContext/capabilities",
            json!({"drop": ["ALL"], "add": ["SYS_ADMIN"]}),
            "adds",
        ),
        ("/containers/0/ports/0/hostPort", json!(80), "port of its node"),
    ];
    for (path, value, expected) in spoil {
        let mut pod = good();
        let (parent, field) = path.rsplit_once('/').unwrap();
        let parent = pod.pointer_mut(parent).unwrap();
        match field.parse::<usize>() {
            Ok(index) => parent[index] = value,
            Err(_) => parent[field] = value,
        }
        let found = violations(&pod);
        assert!(found.iter().any(|found| found.contains(expected)), "{path}: {found:?}");
    }
}

/// Docker Hub's images have a short name too.
fn short(image: &str) -> &str {
    image.strip_prefix("docker.io/").unwrap_or(image)
}

#[test]
fn images_of_the_chart_are_those_that_the_operator_takes_by_itself() {
    let Command::Run(own) = Args::parse_from(["modelgate-operator", "run"]).command else { panic!() };
    let own = BTreeMap::from([
        ("GATEWAY", own.gateway_image),
        ("ENGINE", own.engine_image),
        ("VLLM", own.vllm_image),
        ("SGLANG", own.sglang_image),
        ("TGI", own.tgi_image),
        ("LLAMA_CPP", own.llama_cpp_image),
        ("LLAMA_CPP_CUDA", own.llama_cpp_cuda_image),
        ("TRITON", own.triton_image),
    ]);
    let deployment = of_kind("Deployment").remove(0);
    let env = deployment.pointer("/spec/template/spec/containers/0/env").unwrap().as_array().unwrap().clone();
    for (name, image) in own {
        let name = format!("MODELGATE_{name}_IMAGE");
        let given = env.iter().find(|var| var["name"] == name.as_str()).expect("set by the chart");
        assert_eq!(short(given["value"].as_str().unwrap()), image, "{name}: values.yaml and args.rs differ");
    }
}

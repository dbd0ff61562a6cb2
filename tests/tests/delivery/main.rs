//! What is delivered, made by the real Helm and kubectl: the chart, the manifests made of it, kustomize's overlays. Needs the
//! built tools and no cluster.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod current;
mod olm;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use testkit::cache::Cache;
use testkit::tools::{HELM, KUBERNETES, Tools};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn program(helm: bool) -> PathBuf {
    let tools = Tools::locate(&Cache::from_environment().unwrap()).unwrap();
    let found = if helm { tools.program(&HELM, "helm") } else { tools.program(&KUBERNETES, "kubectl") };
    found.expect("`make tools` builds it")
}

/// `helm template` as `make manifests` calls it, with further arguments.
fn template(more: &[&str]) -> Output {
    let fixed = ["template", "modelgate", "charts/modelgate", "--namespace", "modelgate-system"];
    Command::new(program(true)).current_dir(root()).args(fixed).args(more).output().unwrap()
}

fn objects(text: &str) -> Vec<Value> {
    let documents = text.split("\n---\n").filter(|document| document.contains("kind:"));
    documents.map(|document| serde_saphyr::from_str(document).unwrap()).collect()
}

fn rendered(more: &[&str]) -> Vec<Value> {
    let output = template(more);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    objects(&String::from_utf8(output.stdout).unwrap())
}

fn named<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}

#[test]
fn two_renders_are_equal_byte_by_byte_and_equal_to_what_is_checked_in() {
    // The definitions stand in crds/, which the base names.
    let fixed = ["--no-hooks", "--set=crds.install=false"];
    let (first, second) = (template(&fixed), template(&fixed));
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    assert!(first.stdout == second.stdout, "two renders differ");
    let file = root().join("manifests/base/modelgate.yaml");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &first.stdout).unwrap();
    }
    let same = std::fs::read(&file).unwrap() == first.stdout;
    assert!(
        same,
        "manifests/base/modelgate.yaml differs from the chart; run `make manifests` and read the diff"
    );
}

#[test]
fn definitions_are_upgraded_with_the_chart_and_kept_without_it() {
    let objects = rendered(&[]);
    for plural in ["modelbackends", "modelgateways"] {
        let crd = named(&objects, "CustomResourceDefinition", &format!("{plural}.modelgate.dev"));
        assert_eq!(crd["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
        let file = std::fs::read_to_string(root().join(format!("crds/{plural}.yaml"))).unwrap();
        let own: Value = serde_saphyr::from_str(&file).unwrap();
        assert!(
            decimal(&crd["spec"]) == decimal(&own["spec"]),
            "crds/{plural}.yaml differs from the chart's"
        );
    }
}

/// The same with every number as a decimal: Helm reads 1 and writes 1, others write 1.0.
fn decimal(value: &Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().into(),
        Value::Array(list) => list.iter().map(decimal).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), decimal(value))).collect(),
        other => other.clone(),
    }
}

/// Argo CD and Flux render without a cluster: nothing may depend on one but the list of APIs.
#[test]
fn nothing_of_the_chart_asks_the_cluster_and_hooks_are_tests_alone() {
    let folder = root().join("charts/modelgate/templates");
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        for word in ["lookup ", "randAlpha", "genCA", "genSelfSigned", "uuidv4", "now "] {
            assert!(
                !text.contains(&format!("{{{{ {word}")) && !text.contains(&format!("({word}")),
                "{path:?}: {word}"
            );
        }
        assert!(!text.contains("helm.sh/hook:"), "{path:?}: a hook outside tests/");
    }
    let hooks = rendered(&[]);
    let hooks = hooks.iter().filter(|object| object["metadata"]["annotations"]["helm.sh/hook"] == "test");
    assert_eq!(hooks.count(), 4);
}

#[test]
fn a_registry_a_digest_and_pull_secrets_reach_every_image() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let objects = rendered(&[
        "--set=global.imageRegistry=mirror.example.com/m",
        "--set=global.imagePullSecrets[0].name=mirror",
        "--set=imagePullSecrets[0].name=mirror",
        "--set=serviceAccount.annotations.iam\\.example\\.com/role=reader",
        &format!("--set=image.digest={digest}"),
    ]);
    let pod = &named(&objects, "Deployment", "modelgate-operator")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(container["image"], format!("mirror.example.com/m/modelgate/operator@{digest}").as_str());
    assert_eq!(pod["imagePullSecrets"], serde_json::json!([{"name": "mirror"}]), "named once");
    let images: Vec<&Value> = container["env"].as_array().unwrap().iter().collect();
    let images: Vec<_> =
        images.into_iter().filter(|var| var["name"].as_str().unwrap().ends_with("_IMAGE")).collect();
    assert_eq!(images.len(), 8);
    for image in images {
        assert!(image["value"].as_str().unwrap().starts_with("mirror.example.com/m/"), "{image}");
    }
    let account = named(&objects, "ServiceAccount", "modelgate-operator");
    assert_eq!(account["metadata"]["annotations"]["iam.example.com/role"], "reader");
}

#[test]
fn wrong_values_are_refused_by_name() {
    for (wrong, named) in [
        ("imagse.tag=x", "imagse"),
        ("image.digest=sha256:short", "digest"),
        ("replicas=0", "replicas"),
        ("logFormat=xml", "logFormat"),
        ("admission.users.actions[0]=Shout", "actions"),
        ("images.vllm.tga=1", "tga"),
    ] {
        let output = template(&[&format!("--set={wrong}")]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(named), "{wrong}: {said}");
    }
}

#[test]
fn watched_namespaces_make_roles_there_and_no_rights_elsewhere() {
    let objects =
        rendered(&["--no-hooks", "--set=watchNamespaces={team-a,team-b}", "--set=rbac.aggregate=false"]);
    let kinds = |kind: &str| objects.iter().filter(|object| object["kind"] == kind).count();
    assert_eq!((kinds("ClusterRole"), kinds("ClusterRoleBinding")), (0, 0));
    let places: Vec<&str> = objects
        .iter()
        .filter(|object| object["kind"] == "Role")
        .map(|role| role["metadata"]["namespace"].as_str().unwrap())
        .collect();
    assert_eq!(places, ["team-a", "team-b", "modelgate-system"], "the last one holds the Lease");
}

#[test]
fn every_overlay_is_built_by_kubectl() {
    for environment in ["local", "staging", "production"] {
        for part in ["", "/models"] {
            let folder = format!("manifests/overlays/{environment}{part}");
            let built = Command::new(program(false))
                .current_dir(root())
                .args(["kustomize", &folder])
                .output()
                .unwrap();
            assert!(built.status.success(), "{folder}: {}", String::from_utf8_lossy(&built.stderr));
            let objects = objects(&String::from_utf8(built.stdout).unwrap());
            if part.is_empty() {
                let operator = named(&objects, "Deployment", "modelgate-operator");
                let wanted = match environment {
                    "local" => 1,
                    "staging" => 2,
                    _ => 3,
                };
                assert_eq!(operator["spec"]["replicas"], wanted);
                named(&objects, "CustomResourceDefinition", "modelgateways.modelgate.dev");
            } else {
                named(&objects, "ModelGateway", "code");
            }
        }
    }
}

#[test]
fn a_deployment_without_an_environment_or_with_a_strange_tag_is_refused_before_anything_is_asked() {
    let deploy = |environment: &str| {
        let output = Command::new(root().join(".ci/deploy")).env("ENV", environment).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for environment in ["", "prod"] {
        let (code, said) = deploy(environment);
        assert!(code == Some(2) && said.contains("ENV=local, ENV=staging or ENV=production"), "{said}");
    }
}

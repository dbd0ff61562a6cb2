//! The bundle for the Operator Lifecycle Manager, made of the chart's output: what it installs is what the chart installs.
//! `make test-full SUITE=bundle` checks it by the ClusterServiceVersion's own schema.

use serde_json::{Value, json};

use crate::{named, objects, rendered, root};

const NAME: &str = "modelgate-operator";

/// Rules of all roles of a kind that are the operator's; those for people end with -edit and -view.
fn rules(objects: &[Value], kind: &str) -> Value {
    let own = objects.iter().filter(|object| {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        object["kind"] == kind && !name.ends_with("-edit") && !name.ends_with("-view")
    });
    own.flat_map(|role| role["rules"].as_array().unwrap().clone()).collect()
}

fn owned(kind: &str, plural: &str, description: &str) -> Value {
    json!({"name": format!("{plural}.modelgate.dev"), "version": "v1alpha1", "kind": kind,
        "displayName": kind, "description": description})
}

/// The ClusterServiceVersion. OLM makes the ServiceAccount and the bindings, and names the Lease's namespace by itself.
fn version() -> Value {
    let objects = rendered(&["--no-hooks", "--set=crds.install=false"]);
    let version = env!("CARGO_PKG_VERSION");
    let deployment = named(&objects, "Deployment", NAME)["spec"].clone();
    let image = deployment["template"]["spec"]["containers"][0]["image"].clone();
    let mode = |kind: &str, supported: bool| json!({"type": kind, "supported": supported});
    json!({
        "apiVersion": "operators.coreos.com/v1alpha1",
        "kind": "ClusterServiceVersion",
        "metadata": {
            "name": format!("{NAME}.v{version}"),
            "namespace": "placeholder",
            "annotations": {
                "capabilities": "Basic Install",
                "categories": "AI/Machine Learning",
                "containerImage": image,
                "alm-examples": examples(),
            },
        },
        "spec": {
            "displayName": "Modelgate",
            "description": "Runs code models, self-hosted on GPUs or hosted elsewhere, behind one gateway. Apply a ModelBackend and a ModelGateway; their status says what serves, and what is missing.",
            "version": version,
            "maturity": "alpha",
            "minKubeVersion": "1.30.0",
            "keywords": ["code completion", "LLM", "GPU", "vLLM"],
            "provider": {"name": "Modelgate"},
            "links": [{"name": "Source", "url": "https://github.com/modelgate/modelgate"}],
            "installModes": [
                mode("OwnNamespace", false), mode("SingleNamespace", false),
                mode("MultiNamespace", false), mode("AllNamespaces", true),
            ],
            "customresourcedefinitions": {"owned": [
                owned("ModelBackend", "modelbackends", "One model and the server that answers for it"),
                owned("ModelGateway", "modelgateways", "A gateway's listeners, who may use it, and its routes"),
            ]},
            "install": {"strategy": "deployment", "spec": {
                "clusterPermissions": [
                    {"serviceAccountName": NAME, "rules": rules(&objects, "ClusterRole")},
                ],
                "permissions": [
                    {"serviceAccountName": NAME, "rules": rules(&objects, "Role")},
                ],
                "deployments": [
                    {"name": NAME, "label": deployment["selector"]["matchLabels"], "spec": deployment},
                ],
            }},
        },
    })
}

/// What a console offers to begin with.
fn examples() -> String {
    let text = std::fs::read_to_string(root().join("manifests/overlays/local/models/models.yaml")).unwrap();
    serde_json::to_string_pretty(&objects(&text)).unwrap()
}

#[test]
fn the_bundle_installs_what_the_chart_installs() {
    let file = root().join("manifests/olm/manifests/modelgate-operator.clusterserviceversion.yaml");
    let text = format!(
        "# Made of the chart; `make manifests` writes it anew.\n{}",
        serde_saphyr::to_string(&version()).unwrap()
    );
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &text).unwrap();
    }
    let same = std::fs::read_to_string(&file).unwrap_or_default() == text;
    assert!(same, "the ClusterServiceVersion differs from the chart; run `make manifests` and read the diff");
}

#[test]
fn the_bundles_metadata_names_the_folders_that_are_there() {
    let text = std::fs::read_to_string(root().join("manifests/olm/metadata/annotations.yaml")).unwrap();
    let annotations: Value = serde_saphyr::from_str(&text).unwrap();
    let of = |name: &str| {
        annotations["annotations"][format!("operators.operatorframework.io.bundle.{name}")].clone()
    };
    assert_eq!(of("mediatype.v1"), "registry+v1");
    assert_eq!(of("package.v1"), "modelgate");
    for folder in ["manifests.v1", "metadata.v1"] {
        let folder = of(folder);
        assert!(root().join("manifests/olm").join(folder.as_str().unwrap()).is_dir(), "{folder}");
    }
}

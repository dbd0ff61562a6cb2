//! The resource definitions on a real API server: every rule with an accepted and a refused spec, unknown fields refused
//! by name, and the status of an object that nobody has seen.

use serde::Deserialize;
use serde_json::{Value, json};
use testkit::cluster::Cluster;
use testkit::command::output;

use crate::world::{PATIENCE, bare, condition, file, get, namespace};

#[derive(Deserialize)]
struct Case {
    kind: String,
    name: Option<String>,
    message: String,
    accepted: Value,
    refused: Value,
}

/// Asks the API server whether it would take an object, as strictly as kubectl does.
fn try_create(cluster: &Cluster, kind: &str, name: &str, spec: &Value) -> Result<String, String> {
    let manifest = json!({
        "apiVersion": "modelgate.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": "default"}, "spec": spec,
    });
    let mut command = cluster.kubectl_command().unwrap();
    command.args(["create", "--dry-run=server", "--validate=strict", "--filename=-"]);
    output(&mut command, Some(&manifest.to_string()), PATIENCE).map_err(|error| format!("{error:#}"))
}

#[test]
fn every_rule_accepts_the_right_spec_and_refuses_the_wrong_one_with_its_message() {
    let cluster = bare();
    let cases: Vec<Case> = serde_saphyr::from_str(&file("tests/data/crd/cases.yaml")).unwrap();
    assert!(cases.len() >= 30);
    for case in cases {
        let accepted = try_create(cluster, &case.kind, "case", &case.accepted);
        assert!(accepted.is_ok(), "{}: the right spec was refused: {accepted:?}", case.message);
        let name = case.name.as_deref().unwrap_or("case");
        match try_create(cluster, &case.kind, name, &case.refused) {
            Ok(_) => panic!("{}: the wrong spec was accepted", case.message),
            Err(said) => {
                assert!(said.contains(&case.message), "expected {:?}, was told {said}", case.message);
            }
        }
    }
}

#[test]
fn an_object_that_nobody_has_seen_is_never_taken_for_finished() {
    let cluster = bare();
    namespace(cluster, "e2e-unseen");
    // `paused` namespaces are no concept of ours: the object is looked at before the operator can have written.
    let manifest = json!({
        "apiVersion": "modelgate.dev/v1alpha1", "kind": "ModelBackend",
        "metadata": {"name": "unseen", "namespace": "e2e-unseen"}, "spec": {"model": {"name": "m"}, "fake": {}},
    });
    let mut command = cluster.kubectl_command().unwrap();
    command.args(["create", "--output=json", "--filename=-"]);
    let created: Value =
        serde_json::from_str(&output(&mut command, Some(&manifest.to_string()), PATIENCE).unwrap()).unwrap();
    assert_eq!(condition(&created, "Ready").0, "Unknown", "{created:#}");
    assert_eq!(condition(&created, "Reconciling").0, "True", "{created:#}");
    assert!(get(cluster, "e2e-unseen", "modelbackend/unseen").is_ok());
    cluster.kubectl(&["delete", "namespace", "e2e-unseen", "--wait=false"]).unwrap();
}

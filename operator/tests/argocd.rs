//! Argo CD's health script against the statuses that the operator writes, phase by phase, run by Lua 5.1 as in Argo CD.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};

use mlua::{Lua, LuaSerdeExt};
use modelgate_api::v1alpha1::ModelGatewayStatus;
use modelgate_operator::conditions::{Conditions, Row};
use modelgate_operator::model_backend::status::{Report, StatusInput, compute};
use serde_json::{Value, json};

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Health and message of an object.
fn health(object: &Value) -> (String, String) {
    let lua = Lua::new();
    let script = std::fs::read_to_string(file("manifests/argocd/health.lua")).unwrap();
    lua.globals().set("obj", lua.to_value(object).unwrap()).unwrap();
    let found: mlua::Table = lua.load(script).eval().unwrap();
    (found.get("status").unwrap(), found.get::<Option<String>>("message").unwrap().unwrap_or_default())
}

fn object(generation: i64, status: &impl serde::Serialize) -> Value {
    // Absent fields are absent in what Argo CD reads.
    let mut status = serde_json::to_value(status).unwrap();
    status.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    json!({"kind": "ModelBackend", "metadata": {"generation": generation}, "spec": {}, "status": status})
}

const PHASES: [(Row, &str, &str); 8] = [
    (Row::Unseen, "Pending", "Progressing"),
    (Row::Serving, "Served", "Healthy"),
    (Row::Serving, "Idle", "Healthy"),
    (Row::PartlyServing, "PartlyServing", "Degraded"),
    (Row::ServingWhileChanging, "Rolling", "Progressing"),
    (Row::UnderWay, "Loading", "Progressing"),
    (Row::Unclear, "InstanceUnreachable", "Progressing"),
    (Row::Stuck, "ProgressDeadlineExceeded", "Degraded"),
];

#[test]
fn a_backend_is_as_healthy_as_its_phase() {
    for (row, reason, expected) in PHASES {
        let mut report = Report::stuck(reason, format!("about {reason}"));
        report.row = row;
        let input = StatusInput { before: None, generation: 3, report, routed: None, dialect: None };
        let status = compute(&input);
        assert_eq!(health(&object(3, &status)), (expected.into(), format!("about {reason}")), "{row:?}");
        assert_eq!(health(&object(4, &status)).0, "Progressing", "{row:?}: the spec has changed since");
    }
}

#[test]
fn a_gateway_is_as_healthy_as_its_phase() {
    for (row, reason, expected) in PHASES {
        let status = ModelGatewayStatus {
            observed_generation: Some(7),
            conditions: Conditions::new(&[], 7).row(row, reason, "as it is").finish(),
            ..ModelGatewayStatus::default()
        };
        assert_eq!(health(&object(7, &status)), (expected.into(), "as it is".into()), "{row:?}");
    }
}

#[test]
fn what_nobody_has_seen_is_progressing_and_what_is_paused_is_suspended() {
    let unseen = json!({"metadata": {"generation": 1}, "spec": {}});
    assert_eq!(health(&unseen).0, "Progressing");
    let crd: Value =
        serde_saphyr::from_str(&std::fs::read_to_string(file("crds/modelbackends.yaml")).unwrap()).unwrap();
    let schema = "/spec/versions/0/schema/openAPIV3Schema/properties/status/default";
    let default = crd.pointer(schema).expect("the definition has a default status");
    assert_eq!(health(&object(1, default)).0, "Progressing", "the definition's default status");
    let status = json!({"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}]});
    let mut paused = object(1, &status);
    assert_eq!(health(&paused).0, "Healthy");
    paused["spec"]["paused"] = json!(true);
    assert_eq!(health(&paused).0, "Suspended");
}

#[test]
fn the_config_map_holds_the_script_for_both_kinds() {
    let script = std::fs::read_to_string(file("manifests/argocd/health.lua")).unwrap();
    let text = std::fs::read_to_string(file("manifests/argocd/argocd-cm.yaml")).unwrap();
    let map: Value = serde_saphyr::from_str(&text).unwrap();
    for kind in ["ModelBackend", "ModelGateway"] {
        let key = format!("resource.customizations.health.modelgate.dev_{kind}");
        assert_eq!(map["data"][&key].as_str(), Some(&*script), "{key}: copy health.lua into argocd-cm.yaml");
    }
}

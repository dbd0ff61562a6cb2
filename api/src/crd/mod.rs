//! The CustomResourceDefinitions: schemas from the Rust types, cross-field rules and the status' default added as data.

pub mod rules;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Map, Value, json};

use crate::conditions::{READY, RECONCILING, reasons};
use crate::names::MAX_RESOURCE_NAME;
use crate::v1alpha1::{ModelBackend, ModelGateway};
use rules::{BACKEND_RULES, GATEWAY_RULES, ListKey, Rule};

/// Why a CustomResourceDefinition could not be made: a rule names a field that the schema does not have.
#[derive(Debug, thiserror::Error)]
pub enum CrdError {
    /// A rule's path leads nowhere.
    #[error("{kind}: no schema at \"{path}\"")]
    NoSuchPath {
        /// The resource.
        kind: &'static str,
        /// The path, in dots; `[]` stands for a list's items.
        path: String,
    },
    /// The result is not a CustomResourceDefinition.
    #[error("the definition cannot be read back: {0}")]
    Json(#[from] serde_json::Error),
}

/// Both definitions, as `crds/` holds them.
///
/// # Errors
/// When [`rules`] and the types have drifted apart.
pub fn all() -> Result<Vec<CustomResourceDefinition>, CrdError> {
    Ok(vec![
        define(
            "ModelBackend",
            serde_json::to_value(ModelBackend::crd())?,
            BACKEND_RULES,
            rules::BACKEND_LISTS,
        )?,
        define(
            "ModelGateway",
            serde_json::to_value(ModelGateway::crd())?,
            GATEWAY_RULES,
            rules::GATEWAY_LISTS,
        )?,
    ])
}

fn define(
    kind: &'static str,
    mut crd: Value,
    rules: &[Rule],
    lists: &[ListKey],
) -> Result<CustomResourceDefinition, CrdError> {
    let missing = |path: &str| CrdError::NoSuchPath { kind, path: path.into() };
    let schema = crd
        .pointer_mut("/spec/versions/0/schema/openAPIV3Schema")
        .ok_or_else(|| missing("openAPIV3Schema"))?;
    tidy(schema);
    let name_rule = Rule {
        path: "",
        rule: "self.metadata.name.size() <= 48",
        message: "metadata.name: must have at most 48 characters, because the names of its Services are made from it",
    };
    debug_assert!(name_rule.rule.ends_with(&MAX_RESOURCE_NAME.to_string()));
    for rule in std::iter::once(&name_rule).chain(rules) {
        let node = at_path(schema, rule.path).ok_or_else(|| missing(rule.path))?;
        let list = node.entry("x-kubernetes-validations").or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.push(json!({"rule": rule.rule, "message": rule.message}));
        }
    }
    for list in lists {
        let node = at_path(schema, list.path).ok_or_else(|| missing(list.path))?;
        node.insert("x-kubernetes-list-type".into(), json!("map"));
        node.insert("x-kubernetes-list-map-keys".into(), json!([list.key]));
    }
    let status = at_path(schema, "status").ok_or_else(|| missing("status"))?;
    status.insert("default".into(), unseen_status());
    Ok(serde_json::from_value(crd)?)
}

/// The status of an object that nobody has looked at, so that no tool takes it for finished (design §3).
fn unseen_status() -> Value {
    let condition = |kind: &str, status: &str| {
        json!({
            "type": kind, "status": status, "reason": reasons::PENDING,
            "message": "waiting for the operator; if this stays, look at the logs of deployment/modelgate-operator",
            "observedGeneration": 0, "lastTransitionTime": "1970-01-01T00:00:00Z",
        })
    };
    json!({
        "phase": "Pending",
        "conditions": [condition(READY, "Unknown"), condition(RECONCILING, "True")],
    })
}

/// The schema's node at `path`, which is written as `spec.routes[].name`.
fn at_path<'a>(schema: &'a mut Value, path: &str) -> Option<&'a mut Map<String, Value>> {
    let mut node = schema;
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let (name, items) = part.strip_suffix("[]").map_or((part, false), |name| (name, true));
        node = node.get_mut("properties")?.get_mut(name)?;
        if items {
            node = node.get_mut("items")?;
        }
    }
    node.as_object_mut()
}

/// Defaults that say nothing (`null`, `[]`, `{}`, `false`) would only be written into every stored object, and formats
/// that the API server does not know (`uint32`) make it warn.
fn tidy(node: &mut Value) {
    match node {
        Value::Object(map) => {
            let empty = match map.get("default") {
                Some(Value::Null | Value::Bool(false)) => true,
                Some(Value::Array(list)) => list.is_empty(),
                Some(Value::Object(object)) => object.is_empty(),
                Some(Value::String(text)) => text.is_empty(),
                Some(Value::Number(number)) => number.as_i64() == Some(0),
                Some(Value::Bool(true)) | None => false,
            };
            if empty {
                map.remove("default");
            }
            if map.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
                map.remove("format");
            }
            map.values_mut().for_each(tidy);
        }
        Value::Array(list) => list.iter_mut().for_each(tidy),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

//! Whether the live object already is what we want, so that nothing needs to be written. Pure.
//!
//! It is when every leaf that we want equals the live leaf, and no leaf that we once applied is left over. Values are
//! compared as the API server stores them: quantities by amount, empty values as absent, keyed lists by key.

use serde_json::{Map, Value};

use super::managed;
use super::quantity;

/// One step of a path into an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A field, or a key of a map.
    Field(String),
    /// An element of a keyed list: the fields that identify it.
    Element(Map<String, Value>),
}

/// Where in an object.
pub type Path = Vec<Step>;

/// Lists whose elements are found by key rather than by position: the fields that make the key.
/// From the `x-kubernetes-list-map-keys` of the kinds that the operator makes.
fn list_keys(list: &str) -> Option<&'static [&'static str]> {
    match list {
        "containers" | "initContainers" | "volumes" | "env" | "imagePullSecrets" => Some(&["name"]),
        "volumeMounts" => Some(&["mountPath"]),
        "ownerReferences" => Some(&["uid"]),
        "topologySpreadConstraints" => Some(&["topologyKey", "whenUnsatisfiable"]),
        "hostAliases" => Some(&["ip"]),
        _ => None,
    }
}

/// `ports` of a container is keyed by containerPort and protocol, of a Service by port and protocol.
pub(crate) fn keys_of(list: &str, element: &Value) -> Option<Vec<&'static str>> {
    if list != "ports" {
        return list_keys(list).map(<[_]>::to_vec);
    }
    ["containerPort", "port"]
        .into_iter()
        .find(|key| element.get(key).is_some())
        .map(|key| vec![key, "protocol"])
}

/// Fields that the API server drops when they are false.
const DROPPED_WHEN_FALSE: [&str; 1] = ["publishNotReadyAddresses"];

/// Whether applying `desired` would change nothing.
#[must_use]
pub fn is_satisfied(desired: &Value, live: &Value, manager: &str) -> bool {
    differences(desired, live).is_empty() && managed::holds_exactly(desired, live, manager)
}

/// Paths at which the live object is not as desired.
#[must_use]
pub fn differences(desired: &Value, live: &Value) -> Vec<Path> {
    let mut found = Vec::new();
    compare(desired, Some(live), &mut Vec::new(), &mut found);
    found
}

fn compare(desired: &Value, live: Option<&Value>, at: &mut Path, found: &mut Vec<Path>) {
    match (desired, live) {
        (Value::Object(desired), Some(Value::Object(live))) => {
            for (key, value) in desired {
                at.push(Step::Field(key.clone()));
                compare(value, live.get(key), at, found);
                at.pop();
            }
        }
        (Value::Array(desired), Some(Value::Array(live))) => compare_lists(desired, live, at, found),
        (_, live) => {
            if !equal_leaf(desired, live, at) {
                found.push(at.clone());
            }
        }
    }
}

fn compare_lists(desired: &[Value], live: &[Value], at: &mut Path, found: &mut Vec<Path>) {
    let list = last_field(at).unwrap_or_default().to_owned();
    let keyed = desired.first().and_then(|first| keys_of(&list, first));
    let Some(keys) = keyed else {
        let mut inner = Vec::new();
        for (desired, live) in desired.iter().zip(live) {
            compare(desired, Some(live), at, &mut inner);
        }
        if desired.len() != live.len() || !inner.is_empty() {
            found.push(at.clone());
        }
        return;
    };
    for element in desired {
        let key: Map<String, Value> = keys
            .iter()
            .filter_map(|key| element.get(key).map(|value| ((*key).to_owned(), value.clone())))
            .collect();
        let twin = live.iter().find(|live| key.iter().all(|(name, value)| live.get(name) == Some(value)));
        at.push(Step::Element(key));
        match twin {
            Some(twin) => compare(element, Some(twin), at, found),
            None => found.push(at.clone()),
        }
        at.pop();
    }
}

fn equal_leaf(desired: &Value, live: Option<&Value>, at: &Path) -> bool {
    let Some(live) = live else {
        let dropped = matches!(desired, Value::Bool(false))
            && last_field(at).is_some_and(|field| DROPPED_WHEN_FALSE.contains(&field));
        return dropped || is_empty(desired);
    };
    match (desired, live) {
        (Value::String(desired), Value::String(live)) if is_quantity(at) => quantity::equal(desired, live),
        _ => desired == live,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Resource amounts and sizes of volumes.
fn is_quantity(at: &Path) -> bool {
    let parent = at.len().checked_sub(2).and_then(|index| at.get(index));
    matches!(parent, Some(Step::Field(name)) if name == "limits" || name == "requests")
        || last_field(at) == Some("sizeLimit")
}

fn last_field(at: &Path) -> Option<&str> {
    match at.last() {
        Some(Step::Field(name)) => Some(name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn satisfied(desired: &Value, live: &Value) -> bool {
        differences(desired, live).is_empty()
    }

    #[test]
    fn what_the_server_adds_or_rewrites_is_no_difference() {
        let desired = json!({"spec": {"replicas": 1, "publishNotReadyAddresses": false, "template": {"containers": [
            {"name": "engine", "args": ["a"], "env": [{"name": "E", "value": ""}],
             "ports": [{"containerPort": 1, "protocol": "TCP"}], "resources": {"limits": {"cpu": "1000m"}}}]}}});
        let live = json!({"spec": {"replicas": 1, "clusterIP": "x", "template": {"containers": [
            {"name": "sidecar"},
            {"name": "engine", "args": ["a"], "env": [{"name": "E"}], "imagePullPolicy": "Always",
             "ports": [{"containerPort": 2, "protocol": "TCP"}, {"containerPort": 1, "protocol": "TCP", "name": "x"}],
             "resources": {"limits": {"cpu": "1"}}}]}}});
        assert_eq!(differences(&desired, &live), Vec::<Path>::new());
    }

    #[test]
    fn a_foreign_edit_of_any_leaf_is_a_difference() {
        let desired = json!({"a": {"b": false, "args": ["x", "y"]}, "env": [{"name": "E", "value": "1"}]});
        for live in [
            json!({"a": {"args": ["x", "y"]}, "env": [{"name": "E", "value": "1"}]}),
            json!({"a": {"b": false, "args": ["y", "x"]}, "env": [{"name": "E", "value": "1"}]}),
            json!({"a": {"b": false, "args": ["x", "y", "z"]}, "env": [{"name": "E", "value": "1"}]}),
            json!({"a": {"b": false, "args": ["x", "y"]}, "env": [{"name": "E", "value": "2"}]}),
            json!({"a": {"b": false, "args": ["x", "y"]}, "env": []}),
        ] {
            assert!(!satisfied(&desired, &live), "{live}");
        }
    }

    fn document() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z]{1,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 48, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z]{1,4}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// Every leaf of a document by JSON pointer.
    fn leaves(value: &Value, at: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                map.iter().for_each(|(key, value)| leaves(value, &format!("{at}/{key}"), found));
            }
            Value::Array(list) => {
                list.iter()
                    .enumerate()
                    .for_each(|(index, value)| leaves(value, &format!("{at}/{index}"), found));
            }
            _ => found.push(at.to_owned()),
        }
    }

    proptest! {
        #[test]
        fn every_document_satisfies_itself(document in document()) {
            prop_assert!(satisfied(&document, &document));
        }

        #[test]
        fn fields_added_by_others_are_no_difference(document in document(), foreign in document()) {
            let desired = json!({"spec": document});
            let live = json!({"spec": document, "status": foreign, "other": 1});
            prop_assert!(satisfied(&desired, &live));
        }

        #[test]
        fn changing_any_one_leaf_is_a_difference(document in document(), pick in any::<prop::sample::Index>()) {
            let mut found = Vec::new();
            leaves(&document, "", &mut found);
            prop_assume!(!found.is_empty());
            let mut live = document.clone();
            let leaf = live.pointer_mut(&found[pick.index(found.len())]).unwrap();
            *leaf = json!("CHANGED");
            prop_assert!(!satisfied(&document, &live));
        }
    }
}

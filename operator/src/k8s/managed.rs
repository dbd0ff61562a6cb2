//! Reading `metadata.managedFields`: which leaves our last apply left behind, and who else wrote what. Pure.

use serde_json::{Map, Value};

use super::satisfied::{Path, Step};

/// Whether the fields that `manager` applied are all still in `desired`. An entry that is missing counts as no: then we
/// do not own what we want.
#[must_use]
pub fn holds_exactly(desired: &Value, live: &Value, manager: &str) -> bool {
    let own = entries(live).find(|entry| {
        entry.get("manager").and_then(Value::as_str) == Some(manager)
            && entry.get("operation").and_then(Value::as_str) == Some("Apply")
            && entry.get("subresource").is_none()
    });
    own.and_then(|entry| entry.get("fieldsV1"))
        .and_then(Value::as_object)
        .is_some_and(|owned| covers(desired, owned))
}

/// The part of `live` that `manager` applied last; `None` when it applied nothing.
#[must_use]
pub fn extract(live: &Value, manager: &str) -> Option<Value> {
    let own = entries(live).find(|entry| {
        entry.get("manager").and_then(Value::as_str) == Some(manager)
            && entry.get("operation").and_then(Value::as_str) == Some("Apply")
            && entry.get("subresource").is_none()
    })?;
    Some(part(live, own.get("fieldsV1")?.as_object()?))
}

fn part(value: &Value, owned: &Map<String, Value>) -> Value {
    let below = |key: &str| owned.get(key).and_then(Value::as_object);
    match value {
        _ if owned.keys().all(|key| key == ".") => value.clone(),
        Value::Object(map) => {
            let fields = map
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), part(value, below(&format!("f:{name}"))?))));
            Value::Object(fields.collect())
        }
        // In the order of the list; an element is owned by its key or by its value.
        Value::Array(list) => {
            let elements = list.iter().filter_map(|element| {
                owned.iter().find_map(|(key, below)| {
                    let (kind, text) = key.split_once(':')?;
                    let wanted: Value = serde_json::from_str(text).ok()?;
                    let matches = match (kind, &wanted) {
                        ("k", Value::Object(keys)) => {
                            keys.iter().all(|(name, key)| element.get(name) == Some(key))
                        }
                        ("v", wanted) => element == wanted,
                        _ => false,
                    };
                    matches.then(|| {
                        below.as_object().map_or_else(|| element.clone(), |below| part(element, below))
                    })
                })
            });
            Value::Array(elements.collect())
        }
        leaf => leaf.clone(),
    }
}

/// Managers other than `manager` that own one of `paths`, sorted and without repetition.
#[must_use]
pub fn others(live: &Value, paths: &[Path], manager: &str) -> Vec<String> {
    let mut found: Vec<String> = entries(live)
        .filter_map(|entry| {
            let name = entry.get("manager")?.as_str()?;
            let fields = entry.get("fieldsV1")?.as_object()?;
            (name != manager && paths.iter().any(|path| owns(fields, path))).then(|| name.to_owned())
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

fn entries(live: &Value) -> impl Iterator<Item = &Value> {
    live.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten()
}

fn covers(desired: &Value, owned: &Map<String, Value>) -> bool {
    owned.iter().all(|(key, below)| {
        let Some(part) = child(desired, key) else { return false };
        below.as_object().is_none_or(|below| part.is_null() || below.is_empty() || covers(part, below))
    })
}

/// The part of `value` that a key of fieldsV1 stands for: `f:name`, `k:{…}`, `v:…`, `i:n` or `.` (the value itself).
fn child<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match key.split_once(':') {
        None => (key == ".").then_some(&Value::Null),
        Some(("f", field)) => value.get(field),
        Some(("k", keys)) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).ok()?;
            value
                .as_array()?
                .iter()
                .find(|element| keys.iter().all(|(name, key)| element.get(name) == Some(key)))
        }
        Some(("v", item)) => {
            let item: Value = serde_json::from_str(item).ok()?;
            value.as_array()?.iter().find(|element| **element == item)
        }
        Some(("i", index)) => value.get(index.parse::<usize>().ok()?),
        Some(_) => None,
    }
}

fn owns(fields: &Map<String, Value>, path: &[Step]) -> bool {
    let Some((step, rest)) = path.split_first() else { return true };
    let below = match step {
        Step::Field(name) => fields.get(&format!("f:{name}")),
        Step::Element(key) => fields.iter().find_map(|(name, below)| {
            let keys: Map<String, Value> = serde_json::from_str(name.strip_prefix("k:")?).ok()?;
            key.iter().all(|(name, value)| keys.get(name) == Some(value)).then_some(below)
        }),
    };
    match below.and_then(Value::as_object) {
        Some(below) if below.is_empty() => true,
        Some(below) => owns(below, rest),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::k8s::satisfied::{differences, is_satisfied};

    fn live(env_value: &str) -> Value {
        json!({
            "metadata": {"managedFields": [
                {"manager": "modelgate-operator", "operation": "Apply", "fieldsV1": {
                    "f:metadata": {"f:labels": {"f:a": {}}},
                    "f:spec": {"f:containers": {"k:{\"name\":\"e\"}": {".": {}, "f:name": {}, "f:env": {
                        "k:{\"name\":\"X\"}": {".": {}, "f:name": {}, "f:value": {}}}}}}}},
                {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {
                    "f:spec": {"f:containers": {"k:{\"name\":\"e\"}": {"f:env": {
                        "k:{\"name\":\"X\"}": {"f:value": {}}}}}}}},
            ], "labels": {"a": "1"}},
            "spec": {"containers": [{"name": "e", "env": [{"name": "X", "value": env_value}]}]},
        })
    }

    fn desired() -> Value {
        json!({"metadata": {"labels": {"a": "1"}},
               "spec": {"containers": [{"name": "e", "env": [{"name": "X", "value": "1"}]}]}})
    }

    #[test]
    fn an_entry_removed_from_the_spec_is_not_satisfied_while_it_lives() {
        assert!(is_satisfied(&desired(), &live("1"), "modelgate-operator"));
        let without = json!({"metadata": {"labels": {"a": "1"}}, "spec": {"containers": [{"name": "e"}]}});
        assert!(!is_satisfied(&without, &live("1"), "modelgate-operator"));
        let unlabelled = json!({"spec": desired()["spec"]});
        assert!(!is_satisfied(&unlabelled, &live("1"), "modelgate-operator"));
    }

    #[test]
    fn an_object_that_we_never_applied_is_not_satisfied() {
        assert!(!is_satisfied(&desired(), &live("1"), "somebody"));
    }

    #[test]
    fn the_manager_that_edited_a_field_of_ours_is_named() {
        let live = live("2");
        let paths = differences(&desired(), &live);
        assert_eq!(others(&live, &paths, "modelgate-operator"), ["kubectl-edit"]);
        assert!(others(&live, &[vec![Step::Field("status".into())]], "modelgate-operator").is_empty());
    }
}

//! `podOverrides` laid over a pod template. Pure. What would widen a pod's rights was refused before.

use modelgate_api::v1alpha1::Schemaless;
use serde_json::{Map, Value};

use super::pods::container_security;
use super::satisfied::keys_of;

/// The template with the overrides over it: objects field by field, keyed lists item by item, all else as the overrides
/// say; `null` takes a field away. A container that is added is as restricted as ours.
pub fn lay(template: &mut Value, overrides: &Schemaless) {
    merge(template, &Value::Object(overrides.0.clone()), "");
    for list in ["containers", "initContainers"] {
        let containers = template.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let mut context = container_security();
            if let Some(given) = container.get("securityContext") {
                merge(&mut context, given, "");
            }
            if let Some(container) = container.as_object_mut() {
                container.insert("securityContext".into(), context);
            }
        }
    }
}

fn merge(under: &mut Value, over: &Value, field: &str) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (field, over) in over {
                merge(under.entry(field.clone()).or_insert(Value::Null), over, field);
            }
        }
        (Value::Array(under), Value::Array(over))
            if over.iter().all(|item| keys_of(field, item).is_some()) =>
        {
            for item in over {
                match under.iter_mut().find(|candidate| same(field, candidate, item)) {
                    Some(twin) => merge(twin, item, ""),
                    None => under.push(item.clone()),
                }
            }
        }
        (under, over) => *under = over.clone(),
    }
}

/// Whether two items of a keyed list have the same key; a protocol that is not named is TCP.
fn same(list: &str, left: &Value, right: &Value) -> bool {
    let part = |item: &Value, key: &str| match item.get(key) {
        None if key == "protocol" => Value::from("TCP"),
        found => found.cloned().unwrap_or_default(),
    };
    keys_of(list, right).is_some_and(|keys| keys.iter().all(|key| part(left, key) == part(right, key)))
}

/// `nodeAffinity` that holds what the devices ask for besides what the user does: terms are alternatives, so each of the
/// one is joined with each of the other.
#[must_use]
pub fn affinity(of_user: Option<&Schemaless>, of_devices: Option<Value>) -> Value {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    let mut affinity = Value::Object(of_user.map(|affinity| affinity.0.clone()).unwrap_or_default());
    let Some(of_devices) = of_devices else {
        return if of_user.is_some() { affinity } else { Value::Null };
    };
    let terms = |of: &Value| -> Vec<Value> {
        let terms = of.get(REQUIRED).and_then(|required| required.get("nodeSelectorTerms"));
        terms.and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let theirs = affinity.get("nodeAffinity").map(terms).unwrap_or_default();
    let ours = terms(&of_devices);
    let joined: Vec<Value> = if theirs.is_empty() {
        ours
    } else {
        ours.iter().flat_map(|ours| theirs.iter().map(|theirs| join(ours, theirs))).collect()
    };
    let node = serde_json::json!({REQUIRED: {"nodeSelectorTerms": joined}});
    merge(&mut affinity, &serde_json::json!({"nodeAffinity": node}), "");
    affinity
}

fn join(left: &Value, right: &Value) -> Value {
    let mut joined = Map::new();
    for field in ["matchExpressions", "matchFields"] {
        let of = |term: &Value| term.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
        let both: Vec<Value> = of(left).into_iter().chain(of(right)).collect();
        if !both.is_empty() {
            joined.insert(field.into(), Value::Array(both));
        }
    }
    Value::Object(joined)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn overrides(yaml: &str) -> Schemaless {
        serde_saphyr::from_str(yaml).unwrap()
    }

    #[test]
    fn overrides_meet_list_items_by_their_keys() {
        let mut template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {
            "containers": [{"name": "engine", "image": "x", "env": [{"name": "A", "value": "1"}],
                "ports": [{"name": "http", "containerPort": 8000, "protocol": "TCP"}], "args": ["a", "b"]}],
            "volumes": [{"name": "tmp", "emptyDir": {}}], "tolerations": [{"key": "x"}]}});
        lay(
            &mut template,
            &overrides(
                "{metadata: {labels: {team: ml}}, spec: {schedulerName: volcano, tolerations: [{key: other}], \
                 volumes: [{name: tmp, emptyDir: {sizeLimit: 1Gi}}, {name: more, emptyDir: {}}], \
                 containers: [{name: engine, env: [{name: A, value: '2'}, {name: B, value: '3'}], args: [c]}, {name: side, image: s}]}}",
            ),
        );
        let engine = &template["spec"]["containers"][0];
        assert_eq!(engine["env"], json!([{"name": "A", "value": "2"}, {"name": "B", "value": "3"}]));
        assert_eq!((&engine["args"], &engine["image"]), (&json!(["c"]), &json!("x")));
        assert_eq!(engine["ports"].as_array().unwrap().len(), 1);
        let side = &template["spec"]["containers"][1];
        assert_eq!(side["securityContext"], container_security(), "an added container is restricted");
        assert_eq!(template["spec"]["volumes"][0]["emptyDir"]["sizeLimit"], "1Gi");
        assert_eq!(template["spec"]["tolerations"], json!([{"key": "other"}]));
        assert_eq!(template["metadata"]["labels"], json!({"a": "b", "team": "ml"}));
    }

    #[test]
    fn what_devices_need_of_a_node_is_required_beside_what_the_user_asks() {
        let term = |key: &str| json!({"matchExpressions": [{"key": key, "operator": "Exists"}]});
        let required = |terms: Vec<Value>| json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}});
        let user = overrides(
            &json!({"nodeAffinity": required(vec![term("u"), term("v")]), "podAntiAffinity": {}}).to_string(),
        );
        let both = affinity(Some(&user), Some(required(vec![term("d")])));
        let terms =
            &both["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
        assert_eq!(terms.as_array().unwrap().len(), 2);
        for (index, key) in [(0, "u"), (1, "v")] {
            let keys: Vec<_> = terms[index]["matchExpressions"]
                .as_array()
                .unwrap()
                .iter()
                .map(|e| e["key"].clone())
                .collect();
            assert_eq!(keys, ["d", key]);
        }
        assert!(both.get("podAntiAffinity").is_some());
        assert_eq!(affinity(None, None), Value::Null);
    }
}

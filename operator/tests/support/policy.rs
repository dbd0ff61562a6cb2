//! NetworkPolicy of `networking.k8s.io/v1`, evaluated: may this pod open a TCP connection to that port of that pod? Only the
//! ingress side; whatever it does not know makes it panic rather than guess.

use std::collections::BTreeMap;

use serde_json::Value;

/// A pod, as policies see it.
#[derive(Clone, Debug)]
pub struct Pod {
    pub namespace: String,
    pub labels: BTreeMap<String, String>,
}

/// A cluster, as policies see it.
pub struct World {
    /// Labels of each namespace.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    pub policies: Vec<Value>,
}

/// A pod that no policy selects is open to all; one that some select is open to what any of them admits.
pub fn allowed(world: &World, from: &Pod, to: &Pod, port: u16) -> bool {
    let mut selecting = world
        .policies
        .iter()
        .filter(|policy| {
            assert_eq!(policy["spec"]["policyTypes"], serde_json::json!(["Ingress"]));
            policy["metadata"]["namespace"] == to.namespace.as_str()
                && selects(&policy["spec"]["podSelector"], &to.labels)
        })
        .peekable();
    if selecting.peek().is_none() {
        return true;
    }
    selecting.any(|policy| {
        list(&policy["spec"]["ingress"]).iter().any(|rule| {
            known(rule, &["from", "ports"]);
            let (peers, ports) = (list(&rule["from"]), list(&rule["ports"]));
            let comes = peers.is_empty() || peers.iter().any(|peer| is_peer(world, policy, peer, from));
            comes && (ports.is_empty() || ports.iter().any(|found| is_port(found, port)))
        })
    })
}

fn is_port(found: &Value, port: u16) -> bool {
    known(found, &["port", "protocol"]);
    found["protocol"] == "TCP" && found["port"].as_u64().expect("a number") == u64::from(port)
}

fn is_peer(world: &World, policy: &Value, peer: &Value, from: &Pod) -> bool {
    known(peer, &["podSelector", "namespaceSelector"]);
    assert!(peer.as_object().is_some_and(|peer| !peer.is_empty()), "an empty peer is refused by the API");
    let namespace = match peer.get("namespaceSelector") {
        Some(selector) => selects(selector, &world.namespaces[&from.namespace]),
        None => policy["metadata"]["namespace"] == from.namespace.as_str(),
    };
    namespace && peer.get("podSelector").is_none_or(|selector| selects(selector, &from.labels))
}

/// A label selector; an empty one selects everything.
fn selects(selector: &Value, labels: &BTreeMap<String, String>) -> bool {
    known(selector, &["matchLabels", "matchExpressions"]);
    let pairs = selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten();
    let all = pairs.into_iter().all(|(key, value)| labels.get(key).map(String::as_str) == value.as_str());
    let expressions = selector.get("matchExpressions").map_or(&[][..], list);
    all && expressions.iter().all(|expression| {
        known(expression, &["key", "operator", "values"]);
        assert_eq!(expression["operator"], "In", "the only operator that we use");
        let found = labels.get(expression["key"].as_str().expect("a key"));
        found.is_some_and(|found| list(&expression["values"]).iter().any(|value| value == found.as_str()))
    })
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn known(value: &Value, fields: &[&str]) {
    let unknown: Vec<_> =
        value.as_object().expect("an object").keys().filter(|key| !fields.contains(&key.as_str())).collect();
    assert!(unknown.is_empty(), "fields that the evaluator does not know: {unknown:?}");
}

//! NetworkPolicies of the golden cases, judged by an evaluator of its own: who reaches which pod at which port, and who must
//! not. The evaluator follows the API's words and knows nothing of how the policies are built.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;

use modelgate_api::v1alpha1::AllowedGateways;
use proptest::prelude::*;
use serde_json::{Value, json};
use support::policy::{Pod, World, allowed};

/// Labels as a map.
fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn pod(namespace: &str, pairs: &[(&str, &str)]) -> Pod {
    Pod { namespace: namespace.into(), labels: labels(pairs) }
}

fn world(policies: Vec<Value>) -> World {
    let namespaces = ["team", "other", "modelgate-system", "monitoring"]
        .map(|name| (name.to_owned(), labels(&[("kubernetes.io/metadata.name", name)])));
    World { namespaces: namespaces.into(), policies }
}

const NAME: &str = "app.kubernetes.io/name";

/// Everybody of interest, by a short name.
fn people() -> Vec<(&'static str, Pod)> {
    vec![
        ("gateway", pod("team", &[(NAME, "modelgate-gateway"), ("modelgate.dev/gateway", "code")])),
        ("gateway of another namespace", pod("other", &[(NAME, "modelgate-gateway")])),
        ("engine", pod("team", &[(NAME, "modelgate-engine"), ("modelgate.dev/backend", "large")])),
        ("operator", pod("modelgate-system", &[(NAME, "modelgate-operator")])),
        ("pretended operator", pod("other", &[(NAME, "modelgate-operator")])),
        ("prometheus", pod("monitoring", &[(NAME, "prometheus")])),
        ("pretended prometheus", pod("other", &[(NAME, "prometheus")])),
        ("neighbour", pod("team", &[("app", "web")])),
        ("stranger", pod("other", &[])),
    ]
}

fn policies(case: &str) -> Vec<Value> {
    let made = support::golden(case);
    made.into_iter().filter(|object| object["kind"] == "NetworkPolicy").collect()
}

/// Who reaches `to` at `port`, by name.
fn who(world: &World, to: &Pod, port: u16) -> Vec<&'static str> {
    people().into_iter().filter(|(_, from)| allowed(world, from, to, port)).map(|(name, _)| name).collect()
}

#[test]
fn a_models_pods_are_reached_by_gateways_the_operator_and_prometheus_alone() {
    let world = world(policies("vllm-2gpu"));
    let engine = pod("team", &[(NAME, "modelgate-engine"), ("modelgate.dev/backend", "large")]);
    assert_eq!(who(&world, &engine, 8000), ["gateway", "operator", "prometheus"]);
    assert_eq!(who(&world, &engine, 22), [""; 0], "no other port");
    let other = pod("team", &[(NAME, "modelgate-engine"), ("modelgate.dev/backend", "another")]);
    assert_eq!(who(&world, &other, 8000).len(), people().len(), "a policy speaks of its own model alone");
}

#[test]
fn a_shared_models_pods_are_reached_by_the_gateways_of_the_namespaces_that_it_allows() {
    let engine = pod("team", &[(NAME, "modelgate-engine"), ("modelgate.dev/backend", "large")]);
    for (allowed, expected) in [
        ("{from: Same}", &["gateway"][..]),
        ("{from: Selector, namespaces: [other]}", &["gateway", "gateway of another namespace"]),
        ("{from: Selector, namespaces: [monitoring]}", &["gateway"]),
        ("{from: All}", &["gateway", "gateway of another namespace"]),
    ] {
        let parsed: AllowedGateways = serde_saphyr::from_str(allowed).unwrap();
        let made = support::golden_with("vllm-2gpu", |spec| spec.allowed_gateways = Some(parsed.clone()));
        let policies = made.into_iter().filter(|object| object["kind"] == "NetworkPolicy").collect();
        let found = who(&world(policies), &engine, 8000);
        let gateways: Vec<_> = found.into_iter().filter(|name| name.contains("gateway")).collect();
        assert_eq!(gateways, expected, "{allowed}");
    }
}

#[test]
fn metrics_on_a_port_of_their_own_are_for_prometheus() {
    let world = world(policies("engine-triton"));
    let engine = pod("team", &[(NAME, "modelgate-engine"), ("modelgate.dev/backend", "one")]);
    assert_eq!(who(&world, &engine, 8002), ["prometheus"]);
    assert_eq!(who(&world, &engine, 8000), ["gateway", "operator"]);
}

#[test]
fn a_gateways_clients_come_from_everywhere_and_its_other_ports_are_for_one_audience_each() {
    let world = world(policies("gateway-min"));
    let gateway = pod("team", &[(NAME, "modelgate-gateway"), ("modelgate.dev/gateway", "code")]);
    assert_eq!(who(&world, &gateway, 5000).len(), people().len());
    assert_eq!(who(&world, &gateway, 8082), ["prometheus"]);
    assert_eq!(who(&world, &gateway, 8083), ["operator"]);
    assert_eq!(who(&world, &gateway, 8084), [""; 0]);
}

fn some_labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    let key = prop::sample::select(vec![NAME, "modelgate.dev/gateway", "app"]);
    let value =
        prop::sample::select(vec!["modelgate-gateway", "modelgate-operator", "prometheus", "code", "x"]);
    prop::collection::btree_map(key.prop_map(str::to_owned), value.prop_map(str::to_owned), 0..3)
}

fn some_pod() -> impl Strategy<Value = Pod> {
    let namespace = prop::sample::select(vec!["team", "other", "modelgate-system", "monitoring"]);
    (namespace, some_labels()).prop_map(|(namespace, labels)| Pod { namespace: namespace.into(), labels })
}

fn some_selector() -> impl Strategy<Value = Value> {
    some_labels().prop_map(|labels| json!({"matchLabels": labels}))
}

fn some_peer() -> impl Strategy<Value = Value> {
    prop_oneof![
        some_selector().prop_map(|pods| json!({"podSelector": pods})),
        some_selector().prop_map(|spaces| json!({"namespaceSelector": spaces})),
        (some_selector(), some_selector())
            .prop_map(|(pods, spaces)| json!({"podSelector": pods, "namespaceSelector": spaces})),
    ]
}

fn some_policy() -> impl Strategy<Value = Value> {
    let ports = prop::collection::vec(prop::sample::select(vec![5000_u16, 8082, 8083]), 0..2);
    let rule = (prop::collection::vec(some_peer(), 0..3), ports).prop_map(|(from, ports)| {
        let ports: Vec<_> = ports.iter().map(|port| json!({"port": port, "protocol": "TCP"})).collect();
        json!({"from": from, "ports": ports})
    });
    let namespace = prop::sample::select(vec!["team", "other"]);
    (namespace, some_selector(), prop::collection::vec(rule, 0..3)).prop_map(
        |(namespace, selector, rules)| {
            json!({"kind": "NetworkPolicy", "metadata": {"namespace": namespace},
            "spec": {"podSelector": selector, "policyTypes": ["Ingress"], "ingress": rules}})
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// The model's policy against the sentence that it must mean, for pods with whatever labels in whatever namespace.
    #[test]
    fn whatever_pods_there_are_a_models_policy_means_its_sentence(from in some_pod()) {
        let world = world(policies("vllm-2gpu"));
        let engine = pod("team", &[(NAME, "modelgate-engine"), ("modelgate.dev/backend", "large")]);
        let is = |name: &str| from.labels.get(NAME).is_some_and(|found| found == name);
        let meant = (is("modelgate-gateway") && from.namespace == "team")
            || (is("modelgate-operator") && from.namespace == "modelgate-system")
            || (is("prometheus") && from.namespace == "monitoring");
        prop_assert_eq!(allowed(&world, &from, &engine, 8000), meant);
    }

    /// Laws of the API itself, which keep the evaluator honest whatever policies others add beside ours.
    #[test]
    fn policies_of_others_add_up_and_never_open_a_pod_that_none_of_them_selects(
        from in some_pod(), to in some_pod(), port in prop::sample::select(vec![5000_u16, 8082, 9]),
        policies in prop::collection::vec(some_policy(), 0..4), more in some_policy(),
    ) {
        let before = world(policies.clone());
        let selected = |policy: &Value| {
            policy["metadata"]["namespace"] == to.namespace.as_str()
                && policy["spec"]["podSelector"]["matchLabels"].as_object().unwrap().iter()
                    .all(|(key, value)| to.labels.get(key).map(String::as_str) == value.as_str())
        };
        if !policies.iter().any(selected) {
            prop_assert!(allowed(&before, &from, &to, port), "nobody speaks of it, so everybody reaches it");
        }
        let after = world(policies.iter().cloned().chain([more.clone()]).collect());
        if !selected(&more) {
            prop_assert_eq!(allowed(&before, &from, &to, port), allowed(&after, &from, &to, port));
        } else if policies.iter().any(selected) && allowed(&before, &from, &to, port) {
            prop_assert!(allowed(&after, &from, &to, port), "a further policy takes nothing away");
        } else if selected(&more) && more["spec"]["ingress"] == json!([]) && !policies.iter().any(selected) {
            prop_assert!(!allowed(&after, &from, &to, port), "a policy without rules closes the pod");
        }
        let mut reversed = policies;
        reversed.reverse();
        prop_assert_eq!(allowed(&before, &from, &to, port), allowed(&world(reversed), &from, &to, port));
    }
}

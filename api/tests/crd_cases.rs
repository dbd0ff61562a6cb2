//! The rules that the API server holds and those of `compile::check` refuse the same specs: the corpus that the end-to-end
//! suite tries on a real API server is tried here on ours, so a gateway without Kubernetes is no laxer.
#![cfg(feature = "crd")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use modelgate_api::compile::{check_backend, check_gateway};
use modelgate_api::crd::rules::{BACKEND_RULES, GATEWAY_RULES};
use modelgate_api::v1alpha1::{ModelBackendSpec, ModelGatewaySpec};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Case {
    kind: String,
    name: Option<String>,
    #[serde(default)]
    schema: bool,
    message: String,
    accepted: Value,
    refused: Value,
}

fn cases() -> Vec<Case> {
    serde_saphyr::from_str(include_str!("../../tests/data/crd/cases.yaml")).unwrap()
}

/// Problems that our own check finds; a spec that does not even deserialise counts as one.
fn problems(kind: &str, spec: &Value) -> Vec<String> {
    let found = match kind {
        "ModelBackend" => {
            serde_json::from_value::<ModelBackendSpec>(spec.clone()).map(|spec| check_backend("x", &spec))
        }
        _ => serde_json::from_value::<ModelGatewaySpec>(spec.clone()).map(|spec| check_gateway("x", &spec)),
    };
    found.map_or_else(|error| vec![error.to_string()], |list| list.iter().map(ToString::to_string).collect())
}

#[test]
fn every_rule_has_a_case() {
    let cases = cases();
    for (kind, rules) in [("ModelBackend", BACKEND_RULES), ("ModelGateway", GATEWAY_RULES)] {
        for rule in rules {
            let covered = cases.iter().any(|case| case.kind == kind && rule.message.contains(&case.message));
            assert!(covered, "no case for {kind}: {}", rule.message);
        }
    }
}

#[test]
fn our_check_accepts_and_refuses_what_the_rules_do() {
    for case in cases() {
        let accepted = problems(&case.kind, &case.accepted);
        assert!(accepted.is_empty(), "{}: {accepted:?}", case.message);
        // Names of objects and unknown fields are the manifest reader's; exposure depends on the place, see compile's tests.
        let exposed = case.message.starts_with("spec.auth.anonymous: with spec.expose");
        if case.name.is_some() || exposed || case.message.starts_with("unknown field") {
            continue;
        }
        let harmless = case.message.starts_with("spec.protocols");
        assert!(
            harmless || !problems(&case.kind, &case.refused).is_empty(),
            "our check accepts what the {} refuses: {}",
            if case.schema { "schema" } else { "rule" },
            case.message
        );
    }
}

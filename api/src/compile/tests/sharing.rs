//! Backends of other namespaces: whose they are decides who may use them.

use super::{EMBEDDED, GATEWAY, cluster, external, run};
use crate::compile::Reason;

fn shared(backend: &str, allowed: &str) -> String {
    let elsewhere = backend.replace("namespace: team}", "namespace: models}");
    assert_ne!(elsewhere, backend);
    elsewhere.replace("spec:", &format!("spec:\n  allowedGateways: {allowed}"))
}

fn gateway() -> String {
    GATEWAY.replace("backends: [{name: b}]", "backends: [{name: b, namespace: models}]")
}

#[test]
fn a_backend_of_another_namespace_is_used_where_it_admits_the_gateways_own() {
    for allowed in ["{from: All}", "{from: Selector, namespaces: [other, team]}"] {
        let config = run(&gateway(), &shared(EMBEDDED, allowed), &cluster()).expect(allowed);
        assert_eq!(config.routes[0].backends[0].name, "models/b");
        let target = format!("{:?}", config.backends["models/b"].target);
        assert!(target.contains("b-engine-pods.models.svc.cluster.local"), "{target}");
        assert!(config.inputs.iter().any(|input| input.name == "models/b"));
    }
    for allowed in ["{}", "{from: Same}", "{from: Selector, namespaces: [other]}"] {
        let problems = run(&gateway(), &shared(EMBEDDED, allowed), &cluster()).expect_err(allowed);
        assert_eq!(problems[0].0, Reason::BackendNotFound);
        assert!(problems[0].1.contains("allowedGateways"), "{problems:?}");
    }
    // One of another name and one that may not be used cannot be told apart.
    let missing = run(&gateway(), EMBEDDED, &cluster()).expect_err("there is none");
    let hidden = run(&gateway(), &shared(EMBEDDED, "{}"), &cluster()).expect_err("it may not be used");
    assert_eq!(missing, hidden);
}

#[test]
fn a_credential_is_mounted_in_its_own_namespace_alone() {
    for secret in ["authSecretRef: {name: key}", "caSecretRef: {name: private}"] {
        let hosted = external("http://llm.models.svc/v1", &format!(", boundary: Inside, {secret}"));
        let problems = run(&gateway(), &shared(&hosted, "{from: All}"), &cluster()).expect_err(secret);
        assert!(problems[0].1.contains("only pods of its own namespace can mount"), "{problems:?}");
    }
    let open = external("http://llm.models.svc/v1", ", boundary: Inside");
    run(&gateway(), &shared(&open, "{from: All}"), &cluster()).expect("no Secret is needed");
}

//! Objects that the builders make, case by case: `golden/<case>/in.yaml` → `out.yaml`. `UPDATE=1` rewrites `out.yaml`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::Path;

#[path = "support/mod.rs"]
mod support;

use k8s_openapi::api::{apps, core, networking, policy};
use modelgate_api::manifest::Manifests;
use modelgate_operator::args::Render;
use modelgate_operator::k8s::child::OwnerKind;
use modelgate_operator::k8s::satisfied::differences;
use modelgate_operator::model_gateway;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use support::{build, cases, owner, read, render};

#[test]
fn every_case_is_built_as_recorded() {
    for case in cases() {
        let documents: Vec<_> =
            build(&case).iter().map(|child| serde_saphyr::to_string(&child.body).unwrap()).collect();
        let text = documents.join("---\n");
        let file = case.join("out.yaml");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&file, &text).unwrap();
        }
        let recorded = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(text == recorded, "{} differs; look at it, then run with UPDATE=1", file.display());
    }
}

/// The API server refuses fields that it does not know; so do the types.
fn survives<T: DeserializeOwned + Serialize>(body: &Value) {
    let typed: T = serde_json::from_value(body.clone()).unwrap_or_else(|error| panic!("{error}: {body:#}"));
    let again = serde_json::to_value(typed).unwrap();
    let lost = differences(body, &again);
    assert!(lost.is_empty(), "fields that the type does not know: {lost:?}");
}

#[test]
fn every_object_has_only_fields_that_kubernetes_knows() {
    for child in cases().iter().flat_map(|case| build(case)) {
        match child.body["kind"].as_str().unwrap() {
            "Deployment" => survives::<apps::v1::Deployment>(&child.body),
            "Service" => survives::<core::v1::Service>(&child.body),
            "ConfigMap" => survives::<core::v1::ConfigMap>(&child.body),
            "ServiceAccount" => survives::<core::v1::ServiceAccount>(&child.body),
            "PodDisruptionBudget" => survives::<policy::v1::PodDisruptionBudget>(&child.body),
            "PersistentVolumeClaim" => survives::<core::v1::PersistentVolumeClaim>(&child.body),
            "Ingress" => survives::<networking::v1::Ingress>(&child.body),
            "NetworkPolicy" => survives::<networking::v1::NetworkPolicy>(&child.body),
            "HTTPRoute" => assert!(child.body.pointer("/spec/rules/0/backendRefs/0/port").is_some()),
            "ServiceMonitor" => assert!(child.body.pointer("/spec/selector/matchLabels").is_some()),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn names_of_all_objects_are_those_that_the_other_half_looks_for() {
    let names: BTreeMap<String, Vec<String>> = cases()
        .iter()
        .map(|case| {
            let name = case.file_name().unwrap().to_string_lossy().into_owned();
            (
                name,
                build(case).iter().map(|child| format!("{}/{}", child.kind.as_str(), child.name)).collect(),
            )
        })
        .collect();
    let engine = |name: &str, monitored: bool| {
        let mut names = vec![
            format!("Service/{name}-engine"),
            format!("Service/{name}-engine-pods"),
            format!("NetworkPolicy/{name}-engine"),
            format!("Deployment/{name}-engine"),
        ];
        names.extend(monitored.then(|| format!("ServiceMonitor/{name}-engine")));
        names
    };
    assert_eq!(names["embedded-pvc"], engine("small", true));
    assert_eq!(names["embedded-http"], engine("fetched", false));
    assert_eq!(names["vllm-2gpu"], engine("large", true));
    let gateway = ["ServiceAccount", "ConfigMap", "Service", "PodDisruptionBudget", "Deployment"];
    let gateway: Vec<_> = gateway.iter().map(|kind| format!("{kind}/code-gateway")).collect();
    let with = |more: &[&str]| -> Vec<String> {
        gateway.iter().cloned().chain(more.iter().map(|kind| format!("{kind}/code-gateway"))).collect()
    };
    assert_eq!(names["gateway-min"], with(&["NetworkPolicy", "ServiceMonitor"]));
    let mut public = with(&["NetworkPolicy"]);
    public.extend(["Service/code-gateway-public".to_owned(), "ServiceMonitor/code-gateway".to_owned()]);
    assert_eq!(names["gateway-loadbalancer-tls"], public);
    assert_eq!(
        names["gateway-nodeport-open"],
        ["Service/code-gateway-public", "ServiceMonitor/code-gateway"].map(str::to_owned).iter().fold(
            with(&[]),
            |mut all, name| {
                all.push(name.clone());
                all
            }
        )
    );
    assert_eq!(names["gateway-httproute"], with(&["NetworkPolicy", "HTTPRoute", "ServiceMonitor"]));
    assert_eq!(
        names["gateway-oidc-external-secret-ingress"],
        with(&["NetworkPolicy", "Ingress", "ServiceMonitor"])
    );
}

#[test]
fn every_pod_is_restricted_and_holds_no_credential_of_the_cluster() {
    for child in cases().iter().flat_map(|case| build(case)) {
        let Some(pod) = child.body.pointer("/spec/template/spec") else { continue };
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert_eq!(pod["enableServiceLinks"], false);
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        let containers =
            ["containers", "initContainers"].iter().filter_map(|list| pod.get(list)?.as_array()).flatten();
        for container in containers {
            assert_eq!(
                container["securityContext"],
                json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}})
            );
        }
    }
}

#[test]
fn a_change_of_the_configuration_alone_makes_no_new_pods() {
    let case = cases().into_iter().find(|case| case.ends_with("gateway-min")).unwrap();
    let deployment = |manifests: &Manifests| {
        let gateway = &manifests.gateways[0];
        let owner = owner(OwnerKind::Gateway, &gateway.name);
        let valid =
            model_gateway::validate::validate(&owner, 3, &gateway.spec, &manifests.backends, &render())
                .unwrap();
        let resources = model_gateway::build::build(&valid, &render());
        (resources.deployment, resources.config_map)
    };
    let before = deployment(&read(&case));
    let mut changed = read(&case);
    changed.backends[0].generation = 9;
    changed.backends[0].spec.model.aliases = vec!["another".into()];
    let after = deployment(&changed);
    assert_eq!(before.0, after.0);
    assert_ne!(before.1, after.1);
}

#[test]
fn what_the_operator_was_given_for_gateways_is_their_environment() {
    let case = cases().into_iter().find(|case| case.ends_with("gateway-min")).unwrap();
    let manifests = read(&case);
    let gateway = &manifests.gateways[0];
    let owner = owner(OwnerKind::Gateway, &gateway.name);
    let container = |render: &Render| {
        let valid =
            model_gateway::validate::validate(&owner, 3, &gateway.spec, &manifests.backends, render).unwrap();
        let body = model_gateway::build::build(&valid, render).deployment.body;
        body.pointer("/spec/template/spec/containers/0").unwrap().clone()
    };
    let proxy = BTreeMap::from([("HTTPS_PROXY".to_owned(), "http://proxy.example.com:3128".to_owned())]);
    let given = container(&Render { gateway_env: proxy, ..render() });
    assert_eq!(given["env"], json!([{"name": "HTTPS_PROXY", "value": "http://proxy.example.com:3128"}]));
    assert_eq!(container(&render()).get("env"), None, "pods of those who give none stay as they are");
}

#[test]
fn definitions_of_the_chart_are_those_of_the_repository() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for file in ["modelbackends.yaml", "modelgateways.yaml"] {
        let (own, chart) =
            (root.join("crds").join(file), root.join("charts/modelgate/files/crds").join(file));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::copy(&own, &chart).unwrap();
        }
        let same = std::fs::read_to_string(&own).unwrap() == std::fs::read_to_string(&chart).unwrap();
        assert!(same, "charts/modelgate/files/crds/{file} differs from crds/{file}; run with UPDATE=1");
    }
}

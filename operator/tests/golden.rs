//! Objects that the builders make, case by case: `golden/<case>/in.yaml` → `out.yaml`. `UPDATE=1` rewrites `out.yaml`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::{apps, core, networking, policy};
use modelgate_api::manifest::{self, Manifests};
use modelgate_operator::args::Render;
use modelgate_operator::k8s::child::{Child, Owner, OwnerKind, Prepared};
use modelgate_operator::k8s::satisfied::differences;
use modelgate_operator::{model_backend, model_gateway};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn render() -> Render {
    Render {
        gateway_image: "ghcr.io/modelgate/gateway:1".into(),
        engine_image: "ghcr.io/modelgate/engine:1".into(),
        vllm_image: "vllm/vllm-openai:1".into(),
        sglang_image: "lmsysorg/sglang:1".into(),
        tgi_image: "ghcr.io/huggingface/text-generation-inference:1".into(),
        llama_cpp_image: "ghcr.io/ggml-org/llama.cpp:server-1".into(),
        llama_cpp_cuda_image: "ghcr.io/ggml-org/llama.cpp:server-cuda-1".into(),
        triton_image: "nvcr.io/nvidia/tritonserver:1".into(),
        image_pull_policy: "IfNotPresent".into(),
        cluster_domain: "cluster.local".into(),
        monitor_labels: BTreeMap::from([("release".into(), "prometheus".into())]),
    }
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert_eq!(cases.len(), 12, "{cases:?}");
    cases
}

fn read(case: &Path) -> Manifests {
    manifest::parse("in.yaml", &std::fs::read_to_string(case.join("in.yaml")).unwrap()).unwrap()
}

fn owner(kind: OwnerKind, name: &str) -> Owner {
    Owner { kind, name: name.into(), namespace: "team".into(), uid: format!("uid-of-{name}") }
}

/// Everything made for the objects of a case: the gateway's children, or else the backends'.
fn build(case: &Path) -> Vec<Child<Prepared>> {
    let manifests = read(case);
    if let [gateway] = manifests.gateways.as_slice() {
        let owner = owner(OwnerKind::Gateway, &gateway.name);
        let valid =
            model_gateway::validate::validate(&owner, 3, &gateway.spec, &manifests.backends, &render())
                .unwrap();
        let model_gateway::build::Resources {
            service_account,
            config_map,
            service,
            disruption_budget,
            deployment,
            ingress,
            monitor,
        } = model_gateway::build::build(&valid, &render());
        let always = [service_account, config_map, service, disruption_budget, deployment];
        return always.into_iter().chain(ingress).chain(monitor).collect();
    }
    let mut made = Vec::new();
    for backend in &manifests.backends {
        let owner = owner(OwnerKind::Backend, &backend.name);
        let valid = model_backend::validate::validate(&owner, &backend.spec).unwrap();
        let model_backend::build::Resources { service, headless, deployment, monitor } =
            model_backend::build::build(&valid, &render());
        made.extend([service, headless, deployment, monitor].into_iter().flatten());
    }
    made
}

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
            "Ingress" => survives::<networking::v1::Ingress>(&child.body),
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
    assert_eq!(names["gateway-min"], with(&["ServiceMonitor"]));
    assert_eq!(names["gateway-oidc-external-secret-ingress"], with(&["Ingress", "ServiceMonitor"]));
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
fn definitions_of_the_chart_are_those_of_the_repository() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for file in ["modelbackends.yaml", "modelgateways.yaml"] {
        let (own, chart) = (root.join("crds").join(file), root.join("charts/modelgate/crds").join(file));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::copy(&own, &chart).unwrap();
        }
        let same = std::fs::read_to_string(&own).unwrap() == std::fs::read_to_string(&chart).unwrap();
        assert!(same, "charts/modelgate/crds/{file} differs from crds/{file}; run with UPDATE=1");
    }
}

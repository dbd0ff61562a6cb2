//! The golden cases, built: for every test that judges what the builders make.
#![allow(dead_code, reason = "each test binary takes what it needs")]

pub mod policy;
pub mod restricted;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use modelgate_api::manifest::{self, Manifests};
use modelgate_api::v1alpha1::ModelBackendSpec;
use modelgate_operator::args::{Admitted, Render};
use modelgate_operator::k8s::child::{Child, Owner, OwnerKind, Prepared};
use modelgate_operator::{model_backend, model_gateway};
use serde_json::Value;

pub fn render() -> Render {
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
        gateway_env: BTreeMap::new(),
        admitted: Admitted {
            operator_namespace: Some("modelgate-system".into()),
            prometheus_namespaces: vec!["monitoring".into()],
            prometheus_labels: BTreeMap::from([("app.kubernetes.io/name".into(), "prometheus".into())]),
        },
    }
}

pub fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert_eq!(cases.len(), 17, "{cases:?}");
    cases
}

pub fn read(case: &Path) -> Manifests {
    manifest::parse("in.yaml", &std::fs::read_to_string(case.join("in.yaml")).unwrap()).unwrap()
}

pub fn owner(kind: OwnerKind, name: &str) -> Owner {
    Owner { kind, name: name.into(), namespace: "team".into(), uid: format!("uid-of-{name}") }
}

/// Everything made for the objects of a case: the gateway's children, or else the backends'.
pub fn build(case: &Path) -> Vec<Child<Prepared>> {
    build_all(&read(case))
}

fn build_all(manifests: &Manifests) -> Vec<Child<Prepared>> {
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
            network_policy,
            ingress,
            route,
            public,
            monitor,
        } = model_gateway::build::build(&valid, &render());
        let always = [service_account, config_map, service, disruption_budget, deployment];
        let optional = [network_policy, ingress, route, public, monitor];
        return always.into_iter().chain(optional.into_iter().flatten()).collect();
    }
    let mut made = Vec::new();
    for backend in &manifests.backends {
        let owner = owner(OwnerKind::Backend, &backend.name);
        let valid = model_backend::validate::validate(&owner, &backend.spec).unwrap();
        let model_backend::build::Resources { service, headless, cache, network_policy, deployment, monitor } =
            model_backend::build::build(&valid, &render());
        made.extend([service, headless, cache, network_policy, deployment, monitor].into_iter().flatten());
    }
    made
}

/// The objects of a case by its name.
pub fn golden(case: &str) -> Vec<Value> {
    let case = cases().into_iter().find(|found| found.ends_with(case)).expect("a case");
    build(&case).into_iter().map(|child| child.body).collect()
}

/// The objects of a case whose backends are changed first.
pub fn golden_with(case: &str, change: impl Fn(&mut ModelBackendSpec)) -> Vec<Value> {
    let case = cases().into_iter().find(|found| found.ends_with(case)).expect("a case");
    let mut manifests = read(&case);
    manifests.backends.iter_mut().for_each(|backend| change(&mut backend.spec));
    build_all(&manifests).into_iter().map(|child| child.body).collect()
}
